"""Blobs by the hash of their content: the contract (``blob``), a store a file, and the table (``kinds``)."""

from fleet.store.blob import BlobStore, blob_key, prove_store
from fleet.store.folder import FolderStore
from fleet.store.kinds import STORES, open_store
from fleet.store.s3 import S3Store
from fleet.store.settings import StoreSettings

__all__ = [
    "STORES",
    "BlobStore",
    "FolderStore",
    "S3Store",
    "StoreSettings",
    "blob_key",
    "open_store",
    "prove_store",
]
