"""Refuse a table of code that lacks a row: when the program starts, and not when the row is missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Named(Protocol):
    """A row that says what it is called."""

    @property
    def name(self) -> str:
        """Its key in a table."""
        ...


NamedT = TypeVar("NamedT", bound=Named)


def complete(rows: Mapping[K, V], keys: Iterable[K], table: str) -> dict[K, V]:
    """Return a table that has a row for each of these keys and no other.

    Raises:
        TypeError: A row is missing, or has a key that is none of these.
    """
    expected = set(keys)
    require(map(str, expected), map(str, rows), table)
    strange = sorted(str(key) for key in rows.keys() - expected)
    if strange:
        raise TypeError(f"{table}: nothing asks for the row of {', '.join(strange)}")
    return dict(rows)


def by_name(rows: Iterable[NamedT], table: str) -> dict[str, NamedT]:
    """Return rows by their names.

    Raises:
        TypeError: Two rows have one name.
    """
    found: dict[str, NamedT] = {}
    for row in rows:
        if row.name in found:
            raise TypeError(f"{table}: two rows are called {row.name}")
        found[row.name] = row
    return found


def require(names: Iterable[str], known: Iterable[str], table: str) -> None:
    """Refuse a name that has no row.

    Raises:
        TypeError: A name has none.
    """
    rows = set(known)
    missing = sorted({name for name in names if name not in rows})
    if missing:
        raise TypeError(f"{table}: no row for {', '.join(missing)}")
