"""Keep blobs by the hash of their content: write once, never change, found under the same key anywhere.

A folder and an S3 bucket have the same keys, so that a fleet that outgrows its disk copies the folder and
changes one setting. Writing is create-only: the second writer of a blob learns that it is there already, and
a name that is in use never gets other bytes. A name is no proof of its content, because copies are
interrupted and disks decay: a writer that finds the name taken checks the stored bytes and replaces wrong
ones.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edge.contracts.errors import HashMismatchError, OperatorError, StoreUnavailableError

_log = logging.getLogger(__name__)

_PIECE_BYTES = 1024 * 1024
_PROOF = b"ringroad: this store takes blobs\n"


class BlobStore(Protocol):
    """Blobs under their SHA-256. Every method raises ``StoreUnavailableError`` when the store fails."""

    def put(self, content: Path | bytes) -> str:
        """Store content durably and return its blob id; content that is there already is stored once."""
        blob_id = hash_of(content)
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
        """Return the blob's size in bytes, or None when it is not there."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Return the ids that start with ``prefix``, in order."""


def prove_store(store: BlobStore) -> None:
    """Store one tiny blob twice and read it: credentials, bucket, room and the create-only write.

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
    """Return the key of a blob; the first two digits spread the blobs over folders.

    Raises:
        OperatorError: It is not a SHA-256 in lower-case hex.
    """
    if len(blob_id) != 64 or not set(blob_id) <= set("0123456789abcdef"):
        raise OperatorError(f"blob id {blob_id!r}: expected 64 hex digits")
    return f"blobs/sha256/{blob_id[:2]}/{blob_id}"


def pieces(source: Path | bytes) -> Iterator[bytes]:
    """Read content piece by piece."""
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def hash_of(source: Path | bytes) -> str:
    """Return the blob id of content."""
    digest = hashlib.sha256()
    for piece in pieces(source):
        digest.update(piece)
    return digest.hexdigest()


def checked(blob_id: str, content: bytes) -> bytes:
    """Return content that a store read.

    Raises:
        HashMismatchError: It is not what ``blob_id`` promises.
    """
    check_hash(blob_id, hash_of(content))
    return content


def check_hash(blob_id: str, found: str) -> None:
    """Compare the hash of content with its id.

    Raises:
        HashMismatchError: They differ.
    """
    if found != blob_id:
        raise HashMismatchError(f"blob {blob_id} refused: its bytes hash to {found}")


def no_such_blob(blob_id: str, where: str) -> OperatorError:
    """Return the error of a blob that a store does not have."""
    return OperatorError(f"blob {blob_id} is not in {where}")


def log_replaced(blob_id: str, found_bytes: int, where: str) -> None:
    """Log that wrong bytes under the name of a blob were replaced."""
    _log.warning(
        "blob_replaced", extra={"blob_id": blob_id, "found_bytes": found_bytes, "where": where}
    )
