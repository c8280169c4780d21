"""The three durable steps that spool, outbox and keys share."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

_PIECE_BYTES = 1024 * 1024


def sync_folder(folder: Path) -> None:
    """Make a folder's entries survive a power cut; a renamed or linked file needs this too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_synced(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file to the disk itself; give the SHA-256 and the length of what was copied."""
    digest, length = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while piece := reader.read(_PIECE_BYTES):
            digest.update(piece)
            length += len(piece)
            writer.write(piece)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest(), length


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open a SQLite file whose every commit survives a power cut."""
    connection = sqlite3.connect(path.absolute(), isolation_level=None, timeout=30.0)  # no URI
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(schema)
    return connection
