"""Make an empty catalog: all tables and their revision at once, or nothing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine

from edge.contracts.errors import OperatorError
from fleet.catalog.address import address_of, shown
from fleet.catalog.database import Catalog
from fleet.catalog.engine import database_errors, engine_of, new_file, sqlite_engine
from fleet.catalog.revision import HEAD, VERSION, shape_of
from fleet.catalog.tables import METADATA


def create_catalog(where: Path | str) -> Catalog:
    """Make a catalog where there is none, and open it.

    Args:
        where: A file, or text with ``://``: a SQLAlchemy URL.

    Raises:
        OperatorError: The URL cannot be honoured, or something is there already.
        StoreUnavailableError: The database refuses.
    """
    address = address_of(where)
    with ExitStack() as stack, database_errors():
        if isinstance(address, Path):
            _make_file(address)
        else:
            _make_tables(engine_of(address, stack), shown(address))
    return Catalog(where)


def _make_file(path: Path) -> None:
    """Make a SQLite catalog, complete under its name at once."""
    temporary = new_file(path)
    try:
        engine = sqlite_engine(temporary)
        _make_tables(engine, str(path))
        engine.dispose()
        os.link(temporary, path)
    except FileExistsError as error:
        raise OperatorError(f"catalog not made: {path} exists already") from error
    finally:
        temporary.unlink(missing_ok=True)


def _make_tables(engine: Engine, where: str) -> None:
    with engine.execution_options(is_write=True).begin() as connection:
        present = sorted(shape_of(connection).keys() & set(METADATA.tables))
        if present:
            raise OperatorError(f"catalog not made: {where} holds the table {present[0]} already")
        METADATA.create_all(connection)
        VERSION.create(connection)
        connection.execute(VERSION.insert().values(version_num=HEAD))
