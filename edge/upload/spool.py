"""Keep sealed clips on the vehicle's disk until the fleet has them.

The clips are the record and the rows are their index; every clip describes itself. Its file is synced and in
its place before its row is committed, and removed after the row is gone, and at every start a whole clip
without a row gets one. A file that could be a clip is deleted only when the fleet has acknowledged it; a clip
that is offered twice is recognised there.

A full disk must be able to empty itself: a clip comes in under a second name and not as a copy, and goes out
even when its row cannot be deleted.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from edge.clip_file import read_clip
from edge.contracts.clip import ClipManifest, Privacy, decode_clip_manifest
from edge.contracts.errors import ContractError, OperatorError, SchemaError, SpoolFullError
from edge.contracts.files import sync_folder
from edge.contracts.wire import MAX_CLIP_BYTES, MAX_HEADER_BYTES
from edge.upload.disk import (
    copy_synced,
    hash_file,
    is_disk_full,
    link_synced,
    open_database,
)

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
_NOT_GONE = "clip_id NOT IN (SELECT value FROM json_each(?))"
_SUFFIX = ".mcap"
_PART_SUFFIX = ".part"


@dataclass
class SpoolSettings:
    """Limit of the vehicle's disk for waiting clips."""

    capacity_bytes: int = 2 * 1024**3
    """Most bytes of waiting clips; the least valuable ones make room for better ones."""


@dataclass(frozen=True)
class SpoolItem:
    """One clip that waits."""

    clip_id: str
    blob_id: str
    blob_bytes: int
    worth: float
    manifest: bytes
    """As sealed into the clip."""


@dataclass
class Swept:
    """Files that a start found in the folder of clips, beside the clips of the index."""

    adopted: int = 0
    """Whole clips that the index did not know, and knows now."""
    set_aside: int = 0
    """Files that are no clip that may be sent: they lie in ``unreadable`` now."""
    parts: int = 0
    """Unfinished copies, deleted."""
    lost: int = 0
    """Rows without a file, deleted."""


class Sealed(Protocol):
    """The file of a sealed clip, which no process writes any more, and its content."""

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
    record = decode_clip_manifest(manifest)
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
        self._unreadable = root / "unreadable"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._gone: set[str] = set()
        """Clips that the fleet has, and whose row the disk has no room to delete."""
        self.swept = Swept()
        self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        is_alone = _lock_alone(self._lock)
        self._database = open_database(root / "spool.sqlite", _SCHEMA)
        if is_alone:
            self._sweep()
            if self.swept != Swept():
                _log.warning("spool_swept", extra=asdict(self.swept))
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Close files and release the lock."""
        self._database.close()
        os.close(self._lock)

    def add(self, sealed: Path, manifest: bytes, worth: float) -> SpoolItem:
        """Take over a sealed clip: on return it is in the spool, and ``sealed`` is gone.

        A clip that waits already is left as it is. On one file system nothing is copied.

        Args:
            sealed: The clip's file, which no process writes any more.
            manifest: As sealed into it.
            worth: Of the whole clip, 0 to 1; worth per byte decides what is sent first.

        Raises:
            SchemaError: The manifest does not decode, or the file is empty or too long to be sent.
            ContractError: The manifest's privacy forbids sending.
            SpoolFullError: The spool or the disk has no room; ``sealed`` stays where it is.
        """
        clip_id = check_manifest(manifest).clip_id
        item = self.get(clip_id)
        if item is None or not self._path(clip_id).exists():
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
        query = f"SELECT {_COLUMNS} FROM clips WHERE {_NOT_GONE} ORDER BY {order}"
        return [SpoolItem(*row) for row in self._database.execute(query, (self._all_gone(),))]

    def get(self, clip_id: str) -> SpoolItem | None:
        """Return a waiting clip, or None."""
        query = f"SELECT {_COLUMNS} FROM clips WHERE clip_id = ? AND {_NOT_GONE}"
        row = self._database.execute(query, (clip_id, self._all_gone())).fetchone()
        return SpoolItem(*row) if row else None

    def read(self, item: SpoolItem, offset: int, size: int) -> bytes:
        """Read a piece of a waiting clip; shorter at its end.

        Raises:
            OperatorError: The file is gone, or the disk cannot read it.
        """
        path = self._path(item.clip_id)
        try:
            with path.open("rb") as file:
                return os.pread(file.fileno(), size, offset)
        except FileNotFoundError as error:
            raise OperatorError(f"clip {item.clip_id} cannot be sent: {path} is gone") from error
        except OSError as error:
            raise OperatorError(f"clip {item.clip_id} cannot be sent: {error}") from error

    def done(self, clip_id: str) -> None:
        """Forget a clip that the fleet has; no matter if it is forgotten already.

        On a full disk the file goes first and so makes room for the row's deletion.
        """
        self._gone.add(clip_id)
        self._delete_rows()
        self._path(clip_id).unlink(missing_ok=True)
        self._delete_rows()

    @property
    def used_bytes(self) -> int:
        """What the waiting clips take together."""
        query = f"SELECT COALESCE(SUM(blob_bytes), 0) FROM clips WHERE {_NOT_GONE}"
        return int(self._database.execute(query, (self._all_gone(),)).fetchone()[0])

    def _all_gone(self) -> str:
        return json.dumps(sorted(self._gone))

    def _delete_rows(self) -> None:
        """Delete the rows of clips that left; rows that a full disk keeps are deleted later."""
        for clip_id in sorted(self._gone):
            try:
                self._database.execute("DELETE FROM clips WHERE clip_id = ?", (clip_id,))
            except sqlite3.OperationalError as error:
                if not is_disk_full(error):
                    raise
                _log.warning("spool_row_stays", extra={"clip_id": clip_id, "reason": str(error)})
                return
            self._gone.discard(clip_id)

    def _store(self, sealed: Path, clip_id: str, manifest: bytes, worth: float) -> SpoolItem:
        size, used = sealed.stat().st_size, self.used_bytes
        if not 0 < size <= MAX_CLIP_BYTES:
            raise SchemaError(f"clip {clip_id} of {size} bytes refused: 1 to {MAX_CLIP_BYTES}")
        if used + size > self._settings.capacity_bytes:
            raise SpoolFullError(
                f"clip {clip_id} of {size} bytes does not fit: "
                f"{used} of {self._settings.capacity_bytes} bytes are taken; send or drop some first"
            )
        try:
            blob_id, blob_bytes = self._place(sealed, clip_id)
            item = SpoolItem(clip_id, blob_id, blob_bytes, worth, manifest)
            self._insert(item)
        except (OSError, sqlite3.OperationalError) as error:
            if not is_disk_full(error):
                raise
            if self.get(clip_id) is None:
                self._path(clip_id).unlink(missing_ok=True)
            raise SpoolFullError(
                f"clip {clip_id} of {size} bytes does not fit on the disk: {error}"
            ) from error
        return item

    def _place(self, sealed: Path, clip_id: str) -> tuple[str, int]:
        """Put a clip's file into the folder, durably; give its SHA-256 and its length."""
        temporary = self._folder / f"{clip_id}.{secrets.token_hex(8)}{_PART_SUFFIX}"
        try:
            if link_synced(sealed, temporary):
                blob_id, blob_bytes = hash_file(temporary)
            else:
                blob_id, blob_bytes = copy_synced(sealed, temporary)
            temporary.replace(self._path(clip_id))
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self._folder)
        return blob_id, blob_bytes

    def _insert(self, item: SpoolItem) -> None:
        insert = f"INSERT OR REPLACE INTO clips ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"
        values = (item.clip_id, item.blob_id, item.blob_bytes, item.worth, item.manifest)
        self._database.execute(insert, values)
        self._gone.discard(item.clip_id)

    def _sweep(self) -> None:
        """Make folder and index agree; where they differ, the folder counts."""
        known = dict(self._database.execute("SELECT clip_id, blob_bytes FROM clips"))
        for path in sorted(path for path in self._folder.iterdir() if not path.is_dir()):
            if path.suffix == _PART_SUFFIX:
                path.unlink()
                self.swept.parts += 1
            elif not path.is_file():  # a pipe, or a link to nothing: neither can be read
                self._put_aside(path, "it is no file")
            elif path.suffix != _SUFFIX or known.get(path.stem) != path.stat().st_size:
                self._adopt(path)
        for clip_id in known:
            if not self._path(clip_id).exists():
                self._gone.add(clip_id)
                self.swept.lost += 1
                _log.error("spool_row_without_clip", extra={"clip_id": clip_id})
        self._delete_rows()

    def _adopt(self, path: Path) -> None:
        """Add the row of a file that the index lacks, if it is a clip; else set it aside."""
        try:
            sealed = read_clip(path).manifest_bytes
            manifest = check_manifest(sealed)
            if path != (place := self._path(manifest.clip_id)):
                if place.exists():
                    raise SchemaError(f"clip {manifest.clip_id} lies here twice")
                path.rename(place)
        except (ContractError, OSError) as error:
            self._put_aside(path, str(error))
            return
        blob_id, blob_bytes = hash_file(place)
        worth = max(event.worth for event in manifest.events)
        try:
            self._insert(SpoolItem(manifest.clip_id, blob_id, blob_bytes, worth, sealed))
        except sqlite3.OperationalError as error:
            if not is_disk_full(error):
                raise
            _log.warning("clip_not_adopted", extra={"file": place.name, "reason": str(error)})
            return
        self.swept.adopted += 1
        _log.warning("clip_adopted", extra={"clip_id": manifest.clip_id})

    def _put_aside(self, path: Path, reason: str) -> None:
        """Keep what cannot be sent out of the way, for a person to look at."""
        try:
            self._unreadable.mkdir(exist_ok=True)
            path.rename(self._unreadable / f"{path.name}.{secrets.token_hex(4)}")
        except OSError as error:
            reason = f"{reason}; it stays where it is: {error}"
        self.swept.set_aside += 1
        _log.error("clip_put_aside", extra={"file": path.name, "reason": reason})

    def _path(self, clip_id: str) -> Path:
        return self._folder / (clip_id + _SUFFIX)


def _lock_alone(descriptor: int) -> bool:
    """Take the lock for this process alone if it is free; else wait until it can be shared."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return False
    return True
