"""Blobs as files of one folder."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.contracts.errors import StoreUnavailableError
from fleet.disk import sync_file, sync_folder
from fleet.store.blob import (
    BlobStore,
    blob_key,
    check_hash,
    checked,
    hash_of,
    log_replaced,
    no_such_blob,
    pieces,
)

_log = logging.getLogger(__name__)


class FolderStore(BlobStore):
    """Blobs as files. A reader sees a whole blob or none, even after a power cut in mid-write."""

    def __init__(self, root: Path, *, is_read_only: bool = False) -> None:
        self.root = root
        self._incoming = root / "incoming"
        if is_read_only:
            return
        with _store_errors(f"folder {root}"):
            self._incoming.mkdir(parents=True, exist_ok=True)
            (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            sync_folder(root / "blobs")
            sync_folder(root)

    def put_if_absent(self, blob_id: str, source: Path | bytes) -> bool:
        """See ``BlobStore``. File and folder are synced before this returns, also when it is False."""
        target = self.root / blob_key(blob_id)
        temporary = self._incoming / f"{blob_id}.{secrets.token_hex(8)}"
        with _store_errors(f"blob {blob_id}"):
            try:
                _copy_synced(source, temporary, blob_id)
                _make_folder(target.parent)
                try:
                    os.link(temporary, target)
                    is_new = True
                except FileExistsError:
                    is_new = self._replaced(target, temporary, blob_id)
                sync_folder(target.parent)
            finally:
                _drop(temporary)
        return is_new

    def _replaced(self, target: Path, temporary: Path, blob_id: str) -> bool:
        """Put a whole blob in the place of what lies there, unless that is the blob."""
        try:
            found_bytes = target.stat().st_size
            if found_bytes == temporary.stat().st_size and hash_of(target) == blob_id:
                return False
        except FileNotFoundError:  # a link that leads nowhere, or gone since
            found_bytes = 0
        temporary.replace(target)
        log_replaced(blob_id, found_bytes, str(target))
        return True

    def get(self, blob_id: str) -> bytes:
        """See ``BlobStore``."""
        with _store_errors(f"blob {blob_id}"):
            try:
                content = (self.root / blob_key(blob_id)).read_bytes()
            except FileNotFoundError:
                raise no_such_blob(blob_id, f"folder {self.root}") from None
        return checked(blob_id, content)

    def head(self, blob_id: str) -> int | None:
        """See ``BlobStore``."""
        with _store_errors(f"blob {blob_id}"):
            try:
                return (self.root / blob_key(blob_id)).stat().st_size
            except FileNotFoundError:
                return None

    def list(self, prefix: str = "") -> Iterator[str]:
        """See ``BlobStore``."""
        with _store_errors(f"folder {self.root}"):
            paths = (self.root / "blobs" / "sha256").glob(f"{prefix[:2]}*/{prefix}*")
            names = sorted(path.name for path in paths)
        yield from names

    def sweep(self, before_s: float) -> int:
        """Delete unfinished writes older than ``before_s`` (seconds since 1970) and count them."""
        count = 0
        for path in self._incoming.iterdir():
            try:
                if path.stat().st_mtime < before_s:
                    path.unlink()
                    count += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                _log.warning("unfinished_write_stays", extra={"error": str(error)})
        return count


def _copy_synced(source: Path | bytes, target: Path, blob_id: str) -> None:
    digest = hashlib.sha256()
    with target.open("xb") as file:
        for piece in pieces(source):
            digest.update(piece)
            file.write(piece)
        check_hash(blob_id, digest.hexdigest())
        sync_file(file)


def _drop(temporary: Path) -> None:
    """Delete an unfinished write; one that cannot be deleted now is swept later."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def _store_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"{what}: {error}") from error
