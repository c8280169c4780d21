"""One small record that must survive anything: two copies, each with its own checksum.

Both copies are replaced atomically, one after the other, so that at every instant at least one of them
is whole; reading takes the newest that is.
"""

from __future__ import annotations

import hashlib
from typing import Generic, TypeVar

import msgspec

from edge.ota.disk import Disk, write_durably

RECORD_MAGIC = b"RINGROAD"
DIGEST_BYTES = 32

T = TypeVar("T", bound=msgspec.Struct)


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    generation: int
    record: msgspec.Raw


class DurableRecord(Generic[T]):
    """A record of type ``kind`` under a name on a disk."""

    def __init__(self, disk: Disk, name: str, kind: type[T]) -> None:
        self._disk = disk
        self._paths = (name, f"{name}.backup")
        self._kind = kind

    def load(self) -> T | None:
        """Read the newest intact copy; None when there is none."""
        return max(self._copies(), key=lambda copy: copy[0], default=(0, None))[1]

    def save(self, record: T) -> None:
        """Write both copies, each of them durable before the next begins.

        Raises:
            OSError: The disk refused; at least one whole copy, old or new, remains.
        """
        generation = max((copy[0] for copy in self._copies()), default=0) + 1
        payload = msgspec.msgpack.encode(
            _Envelope(generation=generation, record=msgspec.Raw(msgspec.msgpack.encode(record)))
        )
        data = RECORD_MAGIC + hashlib.sha256(payload).digest() + payload
        for path in self._paths:
            write_durably(self._disk, path, data)

    def _copies(self) -> list[tuple[int, T]]:
        copies = (self._parse(self._disk.read(path)) for path in self._paths)
        return [copy for copy in copies if copy is not None]

    def _parse(self, data: bytes | None) -> tuple[int, T] | None:
        head = len(RECORD_MAGIC) + DIGEST_BYTES
        if data is None or not data.startswith(RECORD_MAGIC):
            return None
        if hashlib.sha256(data[head:]).digest() != data[len(RECORD_MAGIC) : head]:
            return None
        try:
            envelope = msgspec.msgpack.decode(data[head:], type=_Envelope)
            return envelope.generation, msgspec.msgpack.decode(envelope.record, type=self._kind)
        except msgspec.MsgspecError:
            return None
