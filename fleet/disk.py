"""Small steps on the fleet's own disk; those that the vehicle takes too are in ``edge.contracts.files``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge.contracts.files import (
    create_synced,
    sync_file,
    sync_folder,
    write_synced,
    write_whole,
)

__all__ = ["create_synced", "sha256_of", "sync_file", "sync_folder", "write_synced", "write_whole"]


def sha256_of(path: Path) -> str:
    """Hash the content of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
