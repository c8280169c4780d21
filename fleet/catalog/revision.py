"""Decide whether a database is a catalog, and which revision of its tables it has.

The revision stands in the table that Alembic keeps it in; a catalog that was made before revisions were kept
has the tables of the first one and no such table. Everything else is refused by name: an empty database, one
of another program, one that lacks tables or columns, and one that a newer program wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from edge.contracts.errors import OperatorError
from fleet.catalog.tables import METADATA

REVISIONS = ("0001", "0002")
"""Every revision there was, oldest first; each is a file of ``fleet/catalog/migrations/versions``."""
HEAD = REVISIONS[-1]

VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True, nullable=False),
)

TableColumns = Mapping[str, frozenset[str]]
"""Column names by table."""


@dataclass(frozen=True)
class Found:
    """Tables and revision of a database that may be a catalog."""

    revision: str
    shape: TableColumns
    is_versioned: bool
    """Whether the revision is kept in it."""


def shape_of(connection: Connection) -> dict[str, frozenset[str]]:
    """Read which tables and columns a database has."""
    found = inspect(connection).get_multi_columns()
    return {
        name: frozenset(str(c["name"]) for c in columns) for (_, name), columns in found.items()
    }


def head_shape() -> TableColumns:
    """Return the tables and columns that this program works with."""
    return {table.name: frozenset(table.columns.keys()) for table in METADATA.sorted_tables}


def found_in(connection: Connection, where: str) -> Found:
    """Read the revision of a catalog, which is the first one where none is kept, and its tables.

    Args:
        connection: To the database.
        where: How the catalog is shown to a person.

    Raises:
        OperatorError: It is empty, of another program, half made, or newer than this program.
    """
    shape = shape_of(connection)
    kept = list(connection.execute(select(VERSION)).scalars()) if VERSION.name in shape else []
    revision = kept[0] if len(kept) == 1 else ""
    if not shape:
        raise OperatorError(
            f"catalog {where} is empty: it holds no table; restore it from a backup"
        )
    if not shape.keys() & head_shape().keys():
        raise OperatorError(
            f"{where} is no catalog of a fleet: it holds {', '.join(sorted(shape)[:3])}"
        )
    if revision and revision not in REVISIONS:
        raise OperatorError(
            f"catalog {where} has revision {revision}, and this program knows none after {HEAD}; "
            "use the newer program that wrote it"
        )
    if VERSION.name in shape and not revision:
        raise OperatorError(
            f"catalog {where} keeps {len(kept)} revisions, expected one; restore it from a backup"
        )
    return Found(revision or REVISIONS[0], shape, is_versioned=VERSION.name in shape)


def refuse_half(shape: TableColumns, expected: TableColumns, where: str) -> None:
    """Refuse a catalog that lacks a table or a column of its revision.

    Raises:
        OperatorError: It does; the first one is named.
    """
    for table, columns in sorted(expected.items()):
        lacking = sorted(columns - shape.get(table, frozenset()))
        if lacking:
            what = f"table {table}" if table not in shape else f"column {table}.{lacking[0]}"
            raise OperatorError(
                f"catalog {where} is half made: it lacks {what}; restore it from a backup"
            )


def outdated(revision: str, where: str) -> OperatorError:
    """Make the refusal of a catalog that must be migrated before anything is written to it."""
    return OperatorError(
        f"catalog {where} has revision {revision}, expected {HEAD}; "
        "stop its service, and `ringroad fleet migrate` brings it there"
    )
