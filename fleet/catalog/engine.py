"""Open the database under a catalog: SQLite to write, SQLite to read and nothing else, or a server.

SQLite serves several processes on one file: write-ahead log, every commit synced (an acknowledgement to a
vehicle rests on it), one short write transaction at a time that takes its lock at its beginning, so that two
writers wait for each other instead of failing half-way.

A file that is opened for reading is read and nothing is made, not even the files of a lock: it can lie in a
folder that cannot be written.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, NoSuchModuleError

from edge.contracts.errors import OperatorError, StoreUnavailableError
from fleet.catalog.address import Address, shown

BUSY_TIMEOUT_MS = 30_000


def engine_of(address: Address, stack: ExitStack, *, is_read_only: bool = False) -> Engine:
    """Open a catalog's database; ``stack`` closes it and whatever was copied to read it.

    Raises:
        OperatorError: There is no such file, no such database, or its driver is not installed.
    """
    if isinstance(address, URL):
        engine = _server(address)
    elif not address.exists():
        raise OperatorError(f"there is no catalog at {address}")
    elif is_read_only:
        engine = _set_up(_reader(address, stack))
    else:
        engine = sqlite_engine(address)
    stack.callback(engine.dispose)
    return engine


def sqlite_engine(path: Path) -> Engine:
    """Open a SQLite file to read and write."""
    return _set_up(sqlalchemy.create_engine(_sqlite_url(path)))


def new_file(path: Path) -> Path:
    """Make an empty write-ahead database beside ``path``, under a name of its own, and return that name.

    Switching a shared file to write-ahead fails with "locked" when two processes try together, however
    long they may wait; a file that appears in that mode leaves nothing to switch.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with closing(sqlite3.connect(temporary)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    return temporary


def copied(reader: Engine, stack: ExitStack) -> Path:
    """Copy a SQLite database, as it is at one instant, to a folder that ends with ``stack``."""
    copy = _folder(stack) / "catalog.sqlite"
    with closing(sqlite3.connect(copy)) as target, closing(reader.raw_connection()) as source:
        assert isinstance(source.driver_connection, sqlite3.Connection)
        source.driver_connection.backup(target)
    return copy


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what a database raises into the errors of ``Catalog``."""
    try:
        yield
    except IntegrityError as error:
        raise OperatorError(f"catalog refused a row: {error.orig}") from error
    except DBAPIError as error:
        raise StoreUnavailableError(f"catalog: {error.orig}") from error


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """Name the catalog whose file is damaged, or is no database at all, when it is looked at first.

    Raises:
        OperatorError: It is; SQLite raises the plain ``DatabaseError`` for nothing else.
    """
    try:
        yield
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise
        raise OperatorError(
            f"catalog {where} is damaged ({error.orig}); restore it from a backup"
        ) from error


def _server(url: URL) -> Engine:
    try:
        return sqlalchemy.create_engine(url)
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"catalog {shown(url)} cannot be opened: it needs the Python package {error.name}, "
            "which is not installed"
        ) from error
    except NoSuchModuleError as error:
        raise OperatorError(
            f"catalog {shown(url)} cannot be opened: there is no driver {url.drivername!r}"
        ) from error


def _reader(path: Path, stack: ExitStack) -> Engine:
    """Open a file so that neither it nor anything beside it is made or changed.

    Without a write-ahead log no process has the file open, and it is read as it lies there; a reader that
    came as usual would leave a log behind, or fail where it cannot. A log without its index (``-shm``,
    left out by a backup) can only be read by making the index: of a copy, then.
    """
    has_log = _beside(path, "-wal").exists()
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    if has_log and not _beside(path, "-shm").exists():
        log = _beside(path, "-wal")
        path = Path(shutil.copy(path, _folder(stack) / "catalog.sqlite"))
        shutil.copy(log, _beside(path, "-wal"))
    name = f"file://{quote(os.fsencode(path))}?{mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(name, uri=True, check_same_thread=False)

    return sqlalchemy.create_engine(_sqlite_url(path), creator=connect)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringroad-catalog-")))


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _sqlite_url(path: Path) -> URL:
    """Name a file; pasted into a URL, a path with ``%`` or ``?`` would be another one."""
    return URL.create("sqlite", database=str(path))


def _set_up(engine: Engine) -> Engine:
    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin explicitly, see below
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_write = connection.get_execution_options().get("is_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine
