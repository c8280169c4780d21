"""Settings of the blob store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

TimeoutSeconds = Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)]


@dataclass
class StoreSettings:
    """Place of the blobs. Credentials come from the S3 client's own environment, never from here."""

    kind: str = "folder"
    """``folder`` or ``s3``: a key of ``fleet.store.STORES``."""
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
