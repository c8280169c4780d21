"""Bring a catalog from the revision that it has to the one that this program works with.

Only ``ringroad fleet migrate`` does it, and no other command: a service or a command of the older program may
be at work on the same catalog, and there is no way back but a backup. All steps happen in one transaction, so
a migration that fails leaves the catalog as it was.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from fleet.catalog.address import Address, address_of, shown
from fleet.catalog.engine import damage_named, database_errors, engine_of
from fleet.catalog.revision import (
    HEAD,
    REVISIONS,
    VERSION,
    TableColumns,
    found_in,
    refuse_half,
    shape_of,
)

_MIGRATIONS = "fleet.catalog:migrations"


def migrate_catalog(where: Path | str) -> str:
    """Migrate a catalog and return the revision that it had.

    Args:
        where: A file, or text with ``://``: a SQLAlchemy URL.

    Raises:
        OperatorError: There is no catalog, or none that can be migrated; nothing was changed.
    """
    address = address_of(where)
    with ExitStack() as stack, database_errors():
        return migrate(engine_of(address, stack), address)


def migrate(engine: Engine, address: Address) -> str:
    """Migrate an opened catalog and return the revision that it had.

    Raises:
        OperatorError: It is no catalog, half made, or newer than this program; nothing was changed.
    """
    where = shown(address)
    writer = engine.execution_options(is_write=True)
    with damage_named(where), writer.begin() as connection:
        found = found_in(connection, where)
        refuse_half(found.shape, shape_at(found.revision), where)
        if not found.is_versioned:
            VERSION.create(connection)
            connection.execute(VERSION.insert().values(version_num=found.revision))
        if found.revision != HEAD:
            _upgrade(connection, HEAD)
    return found.revision


def shape_at(revision: str) -> TableColumns:
    """Return the tables and columns of a revision: those that its migrations make in an empty database."""
    assert revision in REVISIONS
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        _upgrade(connection, revision)
        shape = shape_of(connection)
    engine.dispose()
    return {name: columns for name, columns in shape.items() if name != VERSION.name}


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", _MIGRATIONS)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
