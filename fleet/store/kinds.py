"""The table of stores: what opens each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.contracts.errors import OperatorError
from fleet.store.blob import BlobStore
from fleet.store.folder import FolderStore
from fleet.store.s3 import S3Store, s3_client
from fleet.store.settings import StoreSettings


def open_store(
    settings: StoreSettings, default_root: Path, *, is_read_only: bool = False
) -> BlobStore:
    """Open the store that the settings name; for reading, no folder is made.

    Raises:
        OperatorError: The settings name no store, S3 without a bucket, or an endpoint that is no URL.
    """
    if settings.kind not in STORES:
        raise OperatorError(f"there is no store {settings.kind!r}; there are {', '.join(STORES)}")
    return STORES[settings.kind](settings, default_root, is_read_only)


def _open_folder(settings: StoreSettings, default_root: Path, is_read_only: bool) -> FolderStore:
    root = Path(settings.root) if settings.root else default_root
    return FolderStore(root, is_read_only=is_read_only)


def _open_bucket(settings: StoreSettings, _: Path, __: bool) -> BlobStore:
    if not settings.bucket:
        raise OperatorError("store s3 has no bucket; name one with store.bucket=NAME")
    return S3Store(settings.bucket, settings.prefix, s3_client(settings))


STORES: dict[str, Callable[[StoreSettings, Path, bool], BlobStore]] = {
    "folder": _open_folder,
    "s3": _open_bucket,
}
"""By kind. Each takes the settings, the folder beside the catalog, and whether it is only read."""
