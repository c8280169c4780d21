"""A clip that is still coming in: a file that grows, hashed as it grows, and goes on after a restart."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_PIECE_BYTES = 1024 * 1024


class Part:
    """The bytes received so far.

    They are not synced: after a power cut the file may hold anything. Its hash tells, and then only a
    fresh transfer can say whether the vehicle or our disk was wrong; hence ``is_fresh``.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Open what is there, or begin.

        Args:
            path: The part file; its folder exists.
            size_bytes: Length of the whole; a longer file is no part of it and begins anew.
        """
        self.path = path
        self.size_bytes = size_bytes
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
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
        """Add the next bytes."""
        self._file.write(piece)
        self._digest.update(piece)
        self.have_bytes += len(piece)

    def flush(self) -> None:
        """Make what is here visible to whoever reads the file by its path."""
        self._file.flush()

    def restart(self) -> None:
        """Throw away what is here."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.have_bytes = 0
        self.is_fresh = True

    def close(self) -> None:
        """Keep the file, to go on with later."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete: the clip is in the store."""
        self._file.close()
        self.path.unlink(missing_ok=True)
