"""Replace files whole, and durably where nothing can be made again: steps that vehicle and fleet share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def sync_file(file: BinaryIO) -> None:
    """Make what was written to an open file survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def sync_path(path: Path, flags: int = 0) -> None:
    """Make a file's bytes, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries survive a power cut; a renamed or linked file needs this too."""
    sync_path(folder, os.O_DIRECTORY)


def write_synced(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a small file durably: readers see the old or the new one, also after a power cut."""
    with _written_beside(path, content, mode) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def create_synced(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Make a small file durably where there is none; of several writers one makes it.

    Raises:
        FileExistsError: There is one; it stays as it is.
    """
    with _written_beside(path, content, mode) as temporary:
        os.link(temporary, path)
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that readers see the old or the new one, however many write it at once.

    For caches and results: unlike ``write_synced`` it waits for no disk, and a power cut may undo it.
    """
    temporary = _temporary(path)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _written_beside(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """Write and sync a temporary file beside ``path``, and delete it afterwards if it is still there."""
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            sync_file(file)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")
