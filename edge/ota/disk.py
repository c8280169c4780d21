"""The few operations with which an update touches the disk, so that a test can cut the power at each.

Nothing is durable until it is synced: a file's bytes by syncing the file, its name by syncing the folder
that lists it. Paths are relative, with forward slashes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Protocol

from edge.contracts.files import sync_folder, sync_path

READ_BYTES = 1024 * 1024


class Disk(Protocol):
    """A folder of the vehicle's disk."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes | None:
        """Read a file or a piece of it; None when there is no such file."""
        ...

    def size(self, path: str) -> int | None:
        """Give a file's size in bytes; None when there is no such file."""
        ...

    def names(self, folder: str) -> tuple[str, ...]:
        """List a folder's entries in order; empty when there is no such folder."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Create or overwrite a file; not durable yet."""
        ...

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to a file, creating it; not durable yet."""
        ...

    def truncate(self, path: str, size: int) -> None:
        """Cut a file to a size; not durable yet."""
        ...

    def replace(self, source: str, target: str) -> None:
        """Move a file over another in one step; durable once both folders are synced."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file if it is there; durable once its folder is synced."""
        ...

    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents, durably; fine when it exists."""
        ...

    def sync(self, path: str) -> None:
        """Make a file's bytes, or a folder's entries, survive a power cut."""
        ...

    def free_bytes(self) -> int:
        """Return how much room is left."""
        ...

    def locate(self, path: str) -> Path:
        """Return the path by which other programs reach a file or folder."""
        ...


class LocalDisk:
    """A folder of the file system; what each operation promises is said in ``Disk``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def locate(self, path: str) -> Path:
        """See ``Disk.locate``."""
        return self._root / path

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes | None:
        """See ``Disk.read``."""
        try:
            with self.locate(path).open("rb") as file:
                file.seek(offset)
                return file.read() if length is None else file.read(length)
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:
        """See ``Disk.size``."""
        try:
            return self.locate(path).stat().st_size
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> tuple[str, ...]:
        """See ``Disk.names``."""
        try:
            return tuple(sorted(os.listdir(self.locate(folder))))
        except FileNotFoundError:
            return ()

    def write(self, path: str, data: bytes) -> None:
        """See ``Disk.write``."""
        self.locate(path).write_bytes(data)

    def append(self, path: str, data: bytes) -> None:
        """See ``Disk.append``."""
        with self.locate(path).open("ab") as file:
            file.write(data)

    def truncate(self, path: str, size: int) -> None:
        """See ``Disk.truncate``."""
        os.truncate(self.locate(path), size)

    def replace(self, source: str, target: str) -> None:
        """See ``Disk.replace``."""
        self.locate(source).replace(self.locate(target))

    def remove(self, path: str) -> None:
        """See ``Disk.remove``."""
        self.locate(path).unlink(missing_ok=True)

    def make_folder(self, folder: str) -> None:
        """See ``Disk.make_folder``."""
        path = self.locate(folder)
        path.mkdir(parents=True, exist_ok=True)
        while path != self._root:
            sync_folder(path.parent)
            path = path.parent

    def sync(self, path: str) -> None:
        """See ``Disk.sync``."""
        sync_path(self.locate(path))

    def free_bytes(self) -> int:
        """See ``Disk.free_bytes``."""
        return shutil.disk_usage(self._root).free


def write_durably(disk: Disk, path: str, data: bytes) -> None:
    """Replace a file in one step: afterwards it holds the old bytes or the new, never a mixture."""
    fresh = f"{path}.new"
    disk.write(fresh, data)
    disk.sync(fresh)
    disk.replace(fresh, path)
    disk.sync(folder_of(path))


def hash_on_disk(disk: Disk, path: str) -> str | None:
    """Hash a file piece by piece; None when there is no such file."""
    if disk.size(path) is None:
        return None
    digest, offset = hashlib.sha256(), 0
    while piece := disk.read(path, offset, READ_BYTES):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()


def folder_of(path: str) -> str:
    """Return the folder that lists ``path``."""
    return path.rpartition("/")[0]
