"""Conditions, order and limit of a read, in SQL, so that Python loads only the rows that it needs.

A condition is made from column names and values here and becomes SQL where the table and the database are
known. A prefix is compared byte by byte on every database: ``LIKE`` ignores case in SQLite, and a range of
text follows the collation of the server in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, false, func, or_

from edge.contracts.errors import OperatorError

Value = str | int | float | bytes | bool | None
Condition = Callable[[Table, str], ColumnElement[bool]]
"""Makes SQL for a table, in the dialect of that name."""

_LAST_CHARACTER = "\U0010ffff"


def prefix(column: str, *words: str) -> Condition:
    """Keep rows whose text in ``column`` begins with any of the words; no word keeps none."""

    def condition(table: Table, dialect: str) -> ColumnElement[bool]:
        return or_(false(), *(_begins(table.c[column], word, dialect) for word in words))

    return condition


def among(column: str, values: Collection[Value]) -> Condition:
    """Keep rows whose value in ``column`` is one of ``values``; an empty list keeps none."""
    return lambda table, dialect: table.c[column].in_(values)


def since(at_ns: int, column: str = "at_ns") -> Condition:
    """Keep rows whose stamp is at or after ``at_ns``."""
    return lambda table, dialect: table.c[column] >= at_ns


def before(at_ns: int, column: str = "at_ns") -> Condition:
    """Keep rows whose stamp is earlier than ``at_ns``."""
    return lambda table, dialect: table.c[column] < at_ns


def narrowed(
    query: Select[Any],
    table: Table,
    dialect: str,
    conditions: Collection[Condition],
    equal: Mapping[str, Value],
) -> Select[Any]:
    """Add conditions, and columns that must equal a value, to a query on a table.

    Raises:
        OperatorError: The table has no such column.
    """
    try:
        same = [table.c[name] == value for name, value in equal.items()]
        return query.where(*same, *(condition(table, dialect) for condition in conditions))
    except KeyError as error:
        raise _no_column(table, error) from error


def ordered(query: Select[Any], table: Table, order: str, limit: int | None) -> Select[Any]:
    """Put rows in the order of a column, rows of one value in the order of their key.

    Args:
        query: A query on the table.
        table: Whose rows.
        order: A column; ``-at_ns`` puts the largest first; empty means the key alone.
        limit: Most rows; None means all.

    Raises:
        OperatorError: The table has no such column.
    """
    try:
        column = [table.c[order.removeprefix("-")]] if order else []
    except KeyError as error:
        raise _no_column(table, error) from error
    keys = [*column, *table.primary_key.columns]
    query = query.order_by(*(key.desc() if order.startswith("-") else key for key in keys))
    return query if limit is None else query.limit(limit)


def _begins(column: Any, word: str, dialect: str) -> ColumnElement[bool]:
    if dialect == "sqlite":  # compares text as bytes, so that an index serves the range
        return and_(column >= word, column < word + _LAST_CHARACTER)
    return func.substr(column, 1, len(word)) == word


def _no_column(table: Table, error: KeyError) -> OperatorError:
    columns = ", ".join(table.c.keys())
    return OperatorError(f"table {table.name} has no column {error}; there are {columns}")
