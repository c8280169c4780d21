"""Keep blobs by the hash of their content: write once, never change, found under the same key anywhere.

A folder and an S3 bucket look the same from here, down to the key, so that a fleet that outgrows its
disk copies the folder and changes one setting. Writing is create-only: whoever comes second learns
that the blob is there already, and a name that is in use never gets other bytes. A name is no proof of
its content, because copies are interrupted and disks decay: a writer that finds the name taken checks
what lies there and replaces wrong bytes.
"""

import base64
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from edge.contracts.errors import HashMismatchError, OperatorError, StoreUnavailableError
from fleet.disk import sync_folder

_log = logging.getLogger(__name__)

_PIECE_BYTES = 1024 * 1024
_S3_HASHED_BYTES = 16 * 1024 * 1024
"""Up to this size an object found under a blob's name is fetched and hashed; a larger one is believed by
its size. Twice a usual clip."""
_S3_TRIES = 3
"""Of one put, when others replace the same object at the same time."""
_PROOF = b"ringroad: this store takes blobs\n"

TimeoutSeconds = Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)]


@dataclass
class StoreSettings:
    """Where blobs live. Credentials come from the S3 client's own environment, never from here."""

    kind: str = "folder"
    """``folder`` or ``s3``."""
    root: str = ""
    """Folder of the blobs; empty means ``store`` beside the catalog."""
    bucket: str = ""
    """Name of the bucket, for ``s3``."""
    prefix: str = ""
    """Put before every key in the bucket, for instance ``ringroad/``."""
    endpoint_url: str = ""
    """Empty means the S3 client's own default."""
    connect_timeout_s: TimeoutSeconds = 5.0
    """Longest wait for a connection to the S3 service."""
    read_timeout_s: TimeoutSeconds = 30.0
    """Longest silence of the S3 service within an answer."""


class BlobStore(Protocol):
    """Blobs under their SHA-256. Every method raises ``StoreUnavailableError`` when the store fails."""

    def put(self, content: Path | bytes) -> str:
        """Store content durably and return its blob id; content that is there already is stored once."""
        blob_id = _hash(content)
        self.put_if_absent(blob_id, content)
        return blob_id

    def put_if_absent(self, blob_id: str, source: Path | bytes) -> bool:
        """Store ``source`` durably; False when the blob was there already.

        Other bytes under its name are replaced, which is logged. A folder is compared by hash, a bucket
        by size and, up to 16 MiB, by hash.

        Raises:
            HashMismatchError: The content is not what ``blob_id`` promises; nothing was stored.
        """

    def get(self, blob_id: str) -> bytes:
        """Read a whole blob.

        Raises:
            OperatorError: The store has no such blob.
            HashMismatchError: The stored bytes are no longer those of ``blob_id``.
        """

    def head(self, blob_id: str) -> int | None:
        """Give the blob's size in bytes, or None when it is not there."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Give the ids that start with ``prefix``, in order."""


def open_store(
    settings: StoreSettings, default_root: Path, *, is_read_only: bool = False
) -> BlobStore:
    """Open the store that the settings name; for reading, no folder is made.

    Raises:
        OperatorError: The settings name no store, S3 without a bucket, or an endpoint that is no URL.
    """
    if settings.kind == "folder":
        root = Path(settings.root) if settings.root else default_root
        return FolderStore(root, is_read_only=is_read_only)
    if settings.kind == "s3" and settings.bucket:
        return S3Store(settings.bucket, settings.prefix, _s3_client(settings))
    raise OperatorError(
        f"store {settings.kind!r} with bucket {settings.bucket!r}: expected 'folder', or 's3' with a bucket"
    )


def prove_store(store: BlobStore) -> None:
    """Store one tiny blob twice and ask for it: credentials, bucket, room and the create-only write.

    The blob stays in the store, since stores never delete; its bytes are always the same ones.

    Raises:
        OperatorError: The second write was taken for the first, so the store keeps no blob unchanged.
        StoreUnavailableError: The store cannot be reached or written, or lost the blob at once.
    """
    blob_id = store.put(_PROOF)
    if store.put_if_absent(blob_id, _PROOF):
        raise OperatorError(
            "the store overwrites what it holds: expected one that honours If-None-Match on PUT"
        )
    if store.head(blob_id) is None:
        raise StoreUnavailableError(f"the store took blob {blob_id} and does not have it")


def blob_key(blob_id: str) -> str:
    """Give the key of a blob; the first two digits spread the blobs over folders.

    Raises:
        OperatorError: It is not a SHA-256 in lower-case hex.
    """
    if len(blob_id) != 64 or not set(blob_id) <= set("0123456789abcdef"):
        raise OperatorError(f"blob id {blob_id!r}: expected 64 hex digits")
    return f"blobs/sha256/{blob_id[:2]}/{blob_id}"


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
            if found_bytes == temporary.stat().st_size and _hash(target) == blob_id:
                return False
        except FileNotFoundError:  # a link that leads nowhere, or gone since
            found_bytes = 0
        temporary.replace(target)
        _log_replaced(blob_id, found_bytes, str(target))
        return True

    def get(self, blob_id: str) -> bytes:
        """See ``BlobStore``."""
        with _store_errors(f"blob {blob_id}"):
            try:
                content = (self.root / blob_key(blob_id)).read_bytes()
            except FileNotFoundError:
                raise _missing(blob_id, f"folder {self.root}") from None
        return _checked(blob_id, content)

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


class S3Store(BlobStore):
    """Blobs as objects of one bucket of any S3; ``client`` is boto3's.

    The store must honour ``If-None-Match: *`` on PUT, and ``If-Match`` where it knows it. Its checksum
    verdict is not relied upon (some servers accept a wrong one): every read is hashed here.
    """

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._client = client

    def put_if_absent(self, blob_id: str, source: Path | bytes) -> bool:
        """See ``BlobStore``."""
        key = self._key(blob_id)
        _check_hash(blob_id, _hash(source))
        size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        with self._errors(f"blob {blob_id}"):
            for _ in range(_S3_TRIES):
                if self._put(key, source, blob_id, IfNoneMatch="*"):
                    return True
                found = self._found(key)
                if found is None:
                    continue
                if self._is_whole(key, blob_id, found, size_bytes):
                    return False
                if self._put(key, source, blob_id, IfMatch=found["ETag"]):
                    _log_replaced(blob_id, found["ContentLength"], f"bucket {self.bucket}")
                    return True
        raise StoreUnavailableError(
            f"blob {blob_id} in bucket {self.bucket}: others write it at the same time"
        )

    def get(self, blob_id: str) -> bytes:
        """See ``BlobStore``."""
        with self._errors(f"blob {blob_id}"):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(blob_id))
                content: bytes = answer["Body"].read()
            except self._client.exceptions.ClientError as error:
                if _status(error) == 404:
                    raise _missing(blob_id, f"bucket {self.bucket}") from None
                raise
        return _checked(blob_id, content)

    def head(self, blob_id: str) -> int | None:
        """See ``BlobStore``."""
        with self._errors(f"blob {blob_id}"):
            found = self._found(self._key(blob_id))
        return None if found is None else int(found["ContentLength"])

    def list(self, prefix: str = "") -> Iterator[str]:
        """See ``BlobStore``."""
        folder = f"{self.prefix}blobs/sha256/"
        start = f"{folder}{prefix[:2]}/{prefix}" if len(prefix) >= 2 else folder + prefix
        with self._errors(f"bucket {self.bucket}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=start):
                for item in page.get("Contents", ()):
                    yield item["Key"].rpartition("/")[2]

    def _key(self, blob_id: str) -> str:
        return self.prefix + blob_key(blob_id)

    def _put(self, key: str, source: Path | bytes, blob_id: str, **condition: str) -> bool:
        """Write an object on a condition; False when that does not hold."""
        checksum = base64.b64encode(bytes.fromhex(blob_id)).decode()
        where = {"Bucket": self.bucket, "Key": key, "ChecksumSHA256": checksum}
        try:
            with _body(source) as body:
                self._client.put_object(Body=body, **where, **condition)
        except self._client.exceptions.ClientError as error:
            if _status(error) == 412 or ("IfMatch" in condition and _status(error) in (404, 409)):
                return False
            if "IfMatch" not in condition or _status(error) != 501:
                raise
            with _body(source) as body:  # a server that cannot replace on a condition
                self._client.put_object(Body=body, **where)
        return True

    def _is_whole(self, key: str, blob_id: str, found: Mapping[str, Any], size_bytes: int) -> bool:
        """Say whether what lies under a blob's name is the blob, as far as this is looked at."""
        if found["ContentLength"] != size_bytes:
            return False
        if size_bytes > _S3_HASHED_BYTES:
            return True
        answer = self._client.get_object(Bucket=self.bucket, Key=key)
        return hashlib.sha256(answer["Body"].read()).hexdigest() == blob_id

    def _found(self, key: str) -> Mapping[str, Any] | None:
        """Ask for an object's size and ETag; None when there is none."""
        try:
            found: Mapping[str, Any] = self._client.head_object(Bucket=self.bucket, Key=key)
        except self._client.exceptions.ClientError as error:
            if _status(error) == 404:
                return None
            raise
        return found

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise StoreUnavailableError(f"{what} in bucket {self.bucket}: {error}") from error


def _pieces(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _copy_synced(source: Path | bytes, target: Path, blob_id: str) -> None:
    digest = hashlib.sha256()
    with target.open("xb") as file:
        for piece in _pieces(source):
            digest.update(piece)
            file.write(piece)
        _check_hash(blob_id, digest.hexdigest())
        file.flush()
        os.fsync(file.fileno())


def _hash(source: Path | bytes) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(source):
        digest.update(piece)
    return digest.hexdigest()


def _checked(blob_id: str, content: bytes) -> bytes:
    _check_hash(blob_id, _hash(content))
    return content


def _check_hash(blob_id: str, found: str) -> None:
    if found != blob_id:
        raise HashMismatchError(f"blob {blob_id} refused: its bytes hash to {found}")


def _missing(blob_id: str, where: str) -> OperatorError:
    return OperatorError(f"blob {blob_id} is not in {where}")


def _log_replaced(blob_id: str, found_bytes: int, where: str) -> None:
    _log.warning(
        "blob_replaced", extra={"blob_id": blob_id, "found_bytes": found_bytes, "where": where}
    )


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


@contextmanager
def _body(source: Path | bytes) -> Iterator[Any]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        yield file


def _status(error: Any) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _s3_client(settings: StoreSettings) -> Any:
    import boto3  # here, so that only who keeps blobs in S3 pays for loading it
    from botocore.config import Config

    config = Config(
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"max_attempts": 3, "mode": "standard"},
    )
    try:
        return boto3.client("s3", endpoint_url=settings.endpoint_url or None, config=config)
    except ValueError as error:
        raise OperatorError(
            f"store endpoint_url {settings.endpoint_url!r}: expected http:// or https://, host and port"
        ) from error
