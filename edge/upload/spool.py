"""Keep sealed clips on the vehicle's disk until the fleet has them.

A clip is in the spool when its row is committed: the file is synced and in its place before that, and
removed after the row is gone. So whatever moment the power goes, a row has its file, and a file
without a row is rubbish that the next start sweeps away.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.contracts.clip import ClipManifest, Privacy
from edge.contracts.errors import ContractError, OperatorError, SchemaError, SpoolFullError
from edge.contracts.wire import MAX_CLIP_BYTES, MAX_HEADER_BYTES, decode_record
from edge.upload.disk import copy_synced, open_database, sync_folder

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS clips (
    clip_id TEXT PRIMARY KEY,
    blob_id TEXT NOT NULL,
    blob_bytes INTEGER NOT NULL,
    worth REAL NOT NULL,
    manifest BLOB NOT NULL
)"""
_COLUMNS = "clip_id, blob_id, blob_bytes, worth, manifest"


@dataclass
class SpoolSettings:
    """How much of the vehicle's disk waiting clips may take."""

    capacity_bytes: int = 2 * 1024**3


@dataclass(frozen=True)
class SpoolItem:
    """One clip that waits."""

    clip_id: str
    blob_id: str
    blob_bytes: int
    worth: float
    manifest: bytes
    """As sealed into the clip."""


class Sealed(Protocol):
    """A clip's file that nobody writes any more, and what stands in it."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def manifest_bytes(self) -> bytes:
        """As sealed into it."""

    @property
    def worth(self) -> float:
        """Of the whole clip, 0 to 1."""


def check_manifest(manifest: bytes) -> ClipManifest:
    """Decode a manifest and make sure that its images may leave the vehicle.

    Raises:
        SchemaError: It does not decode, or is too long to be sent.
        ContractError: Its privacy is neither synthetic nor blurred.
    """
    if len(manifest) > MAX_HEADER_BYTES:
        raise SchemaError(f"manifest of {len(manifest)} bytes refused: at most {MAX_HEADER_BYTES}")
    record: ClipManifest = decode_record(manifest, ClipManifest, "clip manifest")
    if record.privacy not in (Privacy.SYNTHETIC, Privacy.BLURRED):
        raise ContractError(
            f"clip {record.clip_id} stays on the vehicle: privacy is {record.privacy}, "
            f"expected {Privacy.SYNTHETIC} or {Privacy.BLURRED}"
        )
    return record


class Spool:
    """Clips waiting on the vehicle's disk. Several processes may share one folder."""

    def __init__(self, root: Path, settings: SpoolSettings | None = None) -> None:
        self._settings = settings or SpoolSettings()
        self._folder = root / "clips"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        is_alone = _lock_alone(self._lock)
        self._database = open_database(root / "spool.sqlite", _SCHEMA)
        if is_alone:
            self._sweep()
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go of files and lock."""
        self._database.close()
        os.close(self._lock)

    def add(self, sealed: Path, manifest: bytes, worth: float) -> SpoolItem:
        """Take over a sealed clip: when this returns it will be sent, and ``sealed`` is gone.

        A clip that waits already is left as it is.

        Args:
            sealed: The clip's file, which nobody writes any more.
            manifest: As sealed into it.
            worth: Of the whole clip, 0 to 1; worth per byte decides what is sent first.

        Raises:
            SchemaError: The manifest does not decode, or the file is empty or too long to be sent.
            ContractError: The manifest's privacy forbids sending.
            SpoolFullError: There is no room; ``sealed`` stays where it is.
        """
        clip_id = check_manifest(manifest).clip_id
        item = self.get(clip_id)
        if item is None:
            item = self._store(sealed, clip_id, manifest, worth)
            _log.info("clip_spooled", extra={"clip_id": clip_id, "blob_bytes": item.blob_bytes})
        sealed.unlink(missing_ok=True)
        return item

    def take(self, clips: Iterable[Sealed]) -> list[SpoolItem]:
        """Take over sealed clips, best first; what finds no room stays where it is, for later.

        Raises:
            SchemaError: As ``add``.
            ContractError: As ``add``.
        """
        taken = []
        for clip in sorted(clips, key=lambda clip: -clip.worth):
            try:
                taken.append(self.add(clip.path, clip.manifest_bytes, clip.worth))
            except SpoolFullError as error:
                _log.warning("clip_waits", extra={"file": clip.path.name, "reason": str(error)})
        return taken

    def pending(self) -> list[SpoolItem]:
        """List what waits: highest worth per byte first, then by id."""
        order = "worth / blob_bytes DESC, clip_id"
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM clips ORDER BY {order}")
        return [SpoolItem(*row) for row in rows]

    def get(self, clip_id: str) -> SpoolItem | None:
        """Give a waiting clip, or None."""
        query = f"SELECT {_COLUMNS} FROM clips WHERE clip_id = ?"
        row = self._database.execute(query, (clip_id,)).fetchone()
        return SpoolItem(*row) if row else None

    def read(self, item: SpoolItem, offset: int, size: int) -> bytes:
        """Read a piece of a waiting clip; shorter at its end.

        Raises:
            OperatorError: Somebody took the file away.
        """
        path = self._path(item.clip_id)
        try:
            with path.open("rb") as file:
                return os.pread(file.fileno(), size, offset)
        except FileNotFoundError as error:
            raise OperatorError(f"clip {item.clip_id} cannot be sent: {path} is gone") from error

    def done(self, clip_id: str) -> None:
        """Forget a clip that the fleet has; no matter if it is forgotten already."""
        self._database.execute("DELETE FROM clips WHERE clip_id = ?", (clip_id,))
        self._path(clip_id).unlink(missing_ok=True)

    @property
    def used_bytes(self) -> int:
        """What the waiting clips take together."""
        query = "SELECT COALESCE(SUM(blob_bytes), 0) FROM clips"
        return int(self._database.execute(query).fetchone()[0])

    def _store(self, sealed: Path, clip_id: str, manifest: bytes, worth: float) -> SpoolItem:
        size, used = sealed.stat().st_size, self.used_bytes
        if not 0 < size <= MAX_CLIP_BYTES:
            raise SchemaError(f"clip {clip_id} of {size} bytes refused: 1 to {MAX_CLIP_BYTES}")
        if used + size > self._settings.capacity_bytes:
            raise SpoolFullError(
                f"clip {clip_id} of {size} bytes does not fit: "
                f"{used} of {self._settings.capacity_bytes} bytes are taken; send or drop some first"
            )
        temporary = self._folder / f"{clip_id}.{secrets.token_hex(8)}.part"
        try:
            blob_id, blob_bytes = copy_synced(sealed, temporary)
            temporary.replace(self._path(clip_id))
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self._folder)
        item = SpoolItem(clip_id, blob_id, blob_bytes, worth, manifest)
        insert = f"INSERT INTO clips ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"
        self._database.execute(insert, (clip_id, blob_id, blob_bytes, worth, manifest))
        return item

    def _sweep(self) -> None:
        waiting = {row[0] for row in self._database.execute("SELECT clip_id FROM clips")}
        found = {path.name: path for path in self._folder.iterdir()}
        for name, path in found.items():
            if name not in {f"{clip_id}.mcap" for clip_id in waiting}:
                path.unlink()
                _log.warning("spool_rubbish_swept", extra={"file": name})
        for clip_id in waiting:
            if f"{clip_id}.mcap" not in found:
                self._database.execute("DELETE FROM clips WHERE clip_id = ?", (clip_id,))
                _log.error("spooled_clip_lost", extra={"clip_id": clip_id})

    def _path(self, clip_id: str) -> Path:
        return self._folder / f"{clip_id}.mcap"


def _lock_alone(descriptor: int) -> bool:
    """Lock for ourselves when nobody else is here, else wait for whoever sweeps and share."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return False
    return True
