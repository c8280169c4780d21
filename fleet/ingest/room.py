"""Check that a clip fits on the disk before its bytes flow: a vehicle pays for every byte it sends."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from edge.contracts.errors import StoreUnavailableError
from edge.contracts.wire import ClipOffer


def check_room(offer: ClipOffer, part: Path, store: Path | None) -> None:
    """Refuse a clip that finds no room now; its vehicle keeps it and offers it again.

    A clip needs its room twice while it is made durable: in its part file, and in the store.

    Args:
        offer: Of the clip.
        part: Its part file, which may hold the beginning; the folder exists.
        store: Folder of the blobs; None when they do not lie on a disk of this machine.

    Raises:
        StoreUnavailableError: There is no room.
    """
    have_bytes = part.stat().st_size if part.exists() else 0
    wanted: Counter[int] = Counter()
    free: dict[int, int] = {}
    for folder, size_bytes in (
        (part.parent, offer.blob_bytes - have_bytes),
        (store, offer.blob_bytes),
    ):
        if folder is not None:
            device = folder.stat().st_dev
            wanted[device] += max(0, size_bytes)
            free[device] = shutil.disk_usage(folder).free
    for device, size_bytes in wanted.items():
        if size_bytes > free[device]:
            raise StoreUnavailableError(
                f"no room for clip {offer.clip_id}: it needs {size_bytes} bytes, "
                f"the disk has {free[device]}"
            )
