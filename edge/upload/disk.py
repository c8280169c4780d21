"""Durable steps that spool, outbox and keys share, and how to tell that a disk is full."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from edge.contracts.files import sync_file

_log = logging.getLogger(__name__)

_PIECE_BYTES = 1024 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_HARD_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
_REFUSALS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""SQLite's codes for a write that finds no room; the errors above it name only ENOSPC."""
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
"""SQLite's codes for a file that is no database, a damaged one, or one of another shape."""


def is_disk_full(error: OSError | sqlite3.Error) -> bool:
    """Return whether an error means that there was no room: a retry helps once something was deleted."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return _code(error) in _REFUSALS


def copy_synced(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file, durably; return the SHA-256 and the length of what was copied."""
    digest, length = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while piece := reader.read(_PIECE_BYTES):
            digest.update(piece)
            length += len(piece)
            writer.write(piece)
        sync_file(writer)
    return digest.hexdigest(), length


def hash_file(path: Path) -> tuple[str, int]:
    """Return the SHA-256 and the length of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


def link_synced(source: Path, target: Path) -> bool:
    """Give a file a second name, durable and without a copy; False where the file system has no links."""
    with source.open("rb") as file:
        sync_file(file)
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno in _NO_HARD_LINK:
            return False
        raise
    return True


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open a SQLite file whose every commit survives a power cut; make it where there is none.

    A file that is no such database is set aside, not deleted, and an empty one takes its place. A full disk
    is no reason to fail, because waiting clips must be able to leave: SQLite then does without shared memory,
    which needs a file, and where a new database finds no room, it is in memory.

    Raises:
        sqlite3.OperationalError: Another process keeps the file locked.
    """
    connection = _open(path, schema)
    if connection is None:
        aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
        for end in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
        _log.error("database_set_aside", extra={"file": path.name, "now": aside.name})
        connection = _connect(path, schema)
    return connection


def _open(path: Path, schema: str) -> sqlite3.Connection | None:
    """Open a database; None when it is none, is damaged, or is one of another shape."""
    connection = None
    try:
        connection = _connect(path, schema)
        if _is_whole(connection, schema):
            return connection
    except sqlite3.DatabaseError as error:
        is_no_file = path.is_dir() or (path.is_symlink() and not path.exists())
        if _code(error) not in _DAMAGED and not is_no_file:
            raise
    if connection is not None:
        connection.close()
    return None


def _is_whole(connection: sqlite3.Connection, schema: str) -> bool:
    with closing(sqlite3.connect(":memory:")) as wanted:
        wanted.execute(schema)
        ours = _columns(wanted)
    theirs = _columns(connection)
    tables = {table for table, *_ in ours}
    unknown = {column for column in theirs - ours if column[0] in tables and column[-1]}
    is_ours = ours <= theirs and not unknown
    return is_ours and connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str, int, int]]:
    """List the columns of every table: table, column, place in the key, whether a row must give it."""
    query = (
        'SELECT t.name, c.name, c.pk, c."notnull" AND c.dflt_value IS NULL '
        "FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"
    )
    return set(connection.execute(query))


def _connect(path: Path, schema: str) -> sqlite3.Connection:
    for locking in ("NORMAL", "EXCLUSIVE"):
        try:
            # Absolute, or SQLite takes a name like `file:a` for a URI.
            return _connect_as(path.absolute(), schema, locking=locking)
        except sqlite3.OperationalError as error:
            if not is_disk_full(error):
                raise
            _log.warning("disk_full", extra={"file": path.name, "reason": str(error)})
    return _connect_as(":memory:", schema, locking="NORMAL")


def _connect_as(path: Path | str, schema: str, *, locking: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30.0)
    try:
        connection.execute(f"PRAGMA locking_mode = {locking}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(schema)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
