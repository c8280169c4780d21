"""A clip that is still coming in: a file that grows, hashed as it grows, and goes on after a restart."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

_PIECE_BYTES = 1024 * 1024


class Part:
    """The bytes received so far.

    Nothing is buffered: ``append`` raises what the disk refuses, and no later clean-up does. The bytes are
    not synced: after a power cut the file may hold anything. Its hash shows that, and then only a fresh
    transfer can show whether the vehicle or the fleet's disk was wrong; hence ``is_fresh``.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Open what is there, or begin.

        Args:
            path: The part file; its folder exists.
            size_bytes: Length of the whole; a longer file is no part of it and begins anew.
        """
        self.path = path
        self.size_bytes = size_bytes
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self._digest = hashlib.sha256()
        self.have_bytes = 0
        while piece := self._file.read(_PIECE_BYTES):
            self._digest.update(piece)
            self.have_bytes += len(piece)
        self.is_fresh = self.have_bytes == 0
        if self.have_bytes > size_bytes:
            self.restart()

    @property
    def is_complete(self) -> bool:
        """Whether every byte is here."""
        return self.have_bytes == self.size_bytes

    @property
    def blob_id(self) -> str:
        """SHA-256 of what is here."""
        return self._digest.hexdigest()

    def append(self, piece: bytes | memoryview) -> None:
        """Add the next bytes.

        Raises:
            OSError: The disk refused. Some of the bytes may be in the file: open it anew to go on.
        """
        left = memoryview(piece)
        while left:
            left = left[self._file.write(left) :]
        self._digest.update(piece)
        self.have_bytes += len(piece)

    def restart(self) -> None:
        """Throw away what is here."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.have_bytes = 0
        self.is_fresh = True

    def close(self) -> None:
        """Keep the file, to go on with later. Never raises: it is called where something has failed."""
        with suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """Close and delete: the clip is in the store. Never raises: a file that stays costs only room."""
        self.close()
        drop(self.path)


def drop(path: Path) -> None:
    """Delete a part file that is not needed any more; one that cannot be deleted is reported."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("part_stays", extra={"part": str(path), "error": str(error)})
