"""The two places where a bundle can lie, as files: ``slots/a`` and ``slots/b``.

A slot holds ``manifest.json`` and the blobs it lists, each under its SHA-256. A slot that is being filled
gets its manifest last; and before anything drives on a slot, every byte of it is hashed again, so a slot
that was left half-way is seen for what it is.
"""

from __future__ import annotations

import hashlib

from edge.contracts.bundle import BundleManifest
from edge.contracts.errors import HashMismatchError, RingroadError
from edge.contracts.release import MANIFEST_FILE, blob_sizes, decode_manifest
from edge.ota.disk import READ_BYTES, Disk, hash_on_disk, write_durably
from edge.ota.state import Slot, SlotRecord

PARTIAL = "partial"
SLOTS: tuple[Slot, ...] = ("a", "b")


def slot_folder(slot: Slot) -> str:
    """Return the folder of a slot."""
    return f"slots/{slot}"


def partial_path(sha256: str) -> str:
    """Return where a blob grows while it is being fetched."""
    return f"{PARTIAL}/{sha256}"


def make_folders(disk: Disk) -> None:
    """Create the folders of an installation."""
    for folder in (PARTIAL, *(slot_folder(slot) for slot in SLOTS)):
        disk.make_folder(folder)


def is_at_hand(disk: Disk, sha256: str, size_bytes: int) -> bool:
    """Return whether a blob lies whole in some slot, so that it need not be fetched."""
    return _find(disk, sha256, size_bytes) is not None


def fill_slot(disk: Disk, slot: Slot, manifest_bytes: bytes, manifest: BundleManifest) -> None:
    """Put a bundle into a slot, durably, from finished downloads and from blobs of either slot.

    Raises:
        HashMismatchError: A blob is nowhere to be found in one piece.
        OSError: The disk refused; the slot is left half-way.
    """
    folder = slot_folder(slot)
    sizes = blob_sizes(manifest)
    for sha256, size_bytes in sizes.items():
        _bring(disk, f"{folder}/{sha256}", sha256, size_bytes)
    for name in disk.names(folder):
        if name not in {*sizes, MANIFEST_FILE}:
            disk.remove(f"{folder}/{name}")
    disk.sync(PARTIAL)
    disk.sync(folder)
    write_durably(disk, f"{folder}/{MANIFEST_FILE}", manifest_bytes)


def read_slot(disk: Disk, slot: Slot, record: SlotRecord | None = None) -> BundleManifest:
    """Read a slot's manifest after hashing all that it lists.

    Args:
        record: What the slot should hold; None takes any whole bundle.

    Raises:
        HashMismatchError: A file is missing or differs, or the bundle is another one.
        SchemaError: The manifest does not decode.
    """
    folder = slot_folder(slot)
    data = disk.read(f"{folder}/{MANIFEST_FILE}")
    if data is None:
        raise HashMismatchError(f"slot {slot} holds no manifest")
    found_sha256 = hashlib.sha256(data).hexdigest()
    if record is not None and found_sha256 != record.manifest_sha256:
        raise HashMismatchError(
            f"slot {slot} holds manifest {found_sha256[:12]}, expected {record.manifest_sha256[:12]}"
        )
    manifest = decode_manifest(data)
    for sha256 in blob_sizes(manifest):
        if hash_on_disk(disk, f"{folder}/{sha256}") != sha256:
            raise HashMismatchError(f"slot {slot}: blob {sha256[:12]} is missing or damaged")
    return manifest


def record_of(disk: Disk, slot: Slot) -> SlotRecord | None:
    """Describe the bundle that lies whole in a slot; None when there is none."""
    data = disk.read(f"{slot_folder(slot)}/{MANIFEST_FILE}")
    try:
        manifest = read_slot(disk, slot)
    except RingroadError:
        return None
    return SlotRecord(
        manifest_sha256=hashlib.sha256(data or b"").hexdigest(),
        bundle_id=manifest.bundle_id,
        release_counter=manifest.release_counter,
    )


def forget_partials(disk: Disk, kept: frozenset[str] = frozenset()) -> None:
    """Remove downloads that no release needs."""
    for name in disk.names(PARTIAL):
        if name not in kept:
            disk.remove(f"{PARTIAL}/{name}")
    disk.sync(PARTIAL)


def _bring(disk: Disk, target: str, sha256: str, size_bytes: int) -> None:
    source = _find(disk, sha256, size_bytes, partial_path(sha256))
    if source is None:
        raise HashMismatchError(
            f"blob {sha256[:12]} is in no slot and not fetched; slot stays empty"
        )
    if source == target:
        return
    if source == partial_path(sha256):
        disk.replace(source, target)
        return
    _copy(disk, source, target)


def _find(disk: Disk, sha256: str, size_bytes: int, *first: str) -> str | None:
    places = (*first, *(f"{slot_folder(slot)}/{sha256}" for slot in SLOTS))
    for path in places:
        if disk.size(path) == size_bytes and hash_on_disk(disk, path) == sha256:
            return path
    return None


def _copy(disk: Disk, source: str, target: str) -> None:
    disk.write(target, b"")
    offset = 0
    while piece := disk.read(source, offset, READ_BYTES):
        disk.append(target, piece)
        offset += len(piece)
    disk.sync(target)
