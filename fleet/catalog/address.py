"""Tell a catalog's file from its database URL. A path is never parsed, a password never shown."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from edge.contracts.errors import OperatorError

Address = Path | URL
"""A SQLite file, or a database server."""


def address_of(where: Path | str) -> Address:
    """Tell a file from a database URL, and refuse a URL under which no catalog can be shared.

    A file's path is made absolute: SQLite reads ``file:a/b`` as a URI.

    Args:
        where: A path; text with ``://`` is a SQLAlchemy URL.

    Raises:
        OperatorError: The URL is malformed, or names no file and no PostgreSQL server.
    """
    if isinstance(where, Path) or "://" not in where:
        return Path(where).absolute()
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise OperatorError(
            "the catalog's URL is malformed; expected for instance sqlite:////srv/fleet.sqlite"
        ) from None  # the cause quotes the URL, and a URL may hold a password
    if url.get_backend_name() == "postgresql":
        return url
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise OperatorError(f"no catalog in {url.drivername!r}; there are sqlite and postgresql")
    if url.host or url.query or url.database in {None, "", ":memory:"}:
        raise OperatorError(
            "a catalog in SQLite is one file that several processes open: "
            "expected sqlite:///PATH without options"
        )
    assert url.database is not None
    return Path(url.database).absolute()


def shown(address: Address) -> str:
    """Write an address for a person, without user, password and options."""
    if isinstance(address, Path):
        return str(address)
    port = f":{address.port}" if address.port else ""
    return f"{address.get_backend_name()}://{address.host or ''}{port}/{address.database or ''}"


def is_same(first: Address, second: Address) -> bool:
    """Return whether two addresses name the same catalog; user and password do not matter."""
    if isinstance(first, Path) and isinstance(second, Path):
        return first.resolve() == second.resolve()
    return shown(first) == shown(second)
