"""Blobs as objects of one bucket of any S3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.contracts.errors import OperatorError, StoreUnavailableError
from fleet.store.blob import (
    BlobStore,
    blob_key,
    check_hash,
    checked,
    hash_of,
    log_replaced,
    no_such_blob,
)
from fleet.store.settings import StoreSettings

_HASHED_BYTES = 16 * 1024 * 1024
"""Up to this size, twice a usual clip, an object found under a blob's name is fetched and hashed; of a larger
one only the size is compared."""
_TRIES = 3
"""Of one put, when others replace the same object at the same time."""


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
        check_hash(blob_id, hash_of(source))
        size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        with self._errors(f"blob {blob_id}"):
            for _ in range(_TRIES):
                if self._put(key, source, blob_id, IfNoneMatch="*"):
                    return True
                found = self._found(key)
                if found is None:
                    continue
                if self._is_whole(key, blob_id, found, size_bytes):
                    return False
                if self._put(key, source, blob_id, IfMatch=found["ETag"]):
                    log_replaced(blob_id, found["ContentLength"], f"bucket {self.bucket}")
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
                    raise no_such_blob(blob_id, f"bucket {self.bucket}") from None
                raise
        return checked(blob_id, content)

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
        """Return whether an object under a blob's name is the blob, by size and, up to a limit, by hash."""
        if found["ContentLength"] != size_bytes:
            return False
        if size_bytes > _HASHED_BYTES:
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


def s3_client(settings: StoreSettings) -> Any:
    """Make a client; credentials come from its own environment.

    Raises:
        OperatorError: The endpoint is no URL.
    """
    import boto3  # here, so that it is loaded for stores in S3 alone
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


@contextmanager
def _body(source: Path | bytes) -> Iterator[Any]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        yield file


def _status(error: Any) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
