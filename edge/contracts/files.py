"""Replace files whole, and durably where nothing can be made again: steps that vehicle and fleet share."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


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
    """Replace a small file so that readers and power cuts meet the old or the new one, never a mix."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that readers meet the old or the new one, however many write it at once.

    For caches and results: unlike ``write_synced`` it waits for no disk, and a power cut may undo it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
