"""Find the bundle that a vehicle drives on: after the factory, after an update, after any damage.

These functions need neither network nor fleet nor agent; a runtime that starts calls ``active_bundle`` and
drives.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge.contracts.bundle import BundleManifest
from edge.contracts.errors import ContractError, HashMismatchError, OperatorError
from edge.contracts.release import MANIFEST_FILE, blob_sizes, decode_manifest
from edge.ota import state as states
from edge.ota.disk import Disk, LocalDisk
from edge.ota.record import DurableRecord
from edge.ota.refusal import RefusalKind
from edge.ota.slots import (
    PARTIAL,
    SLOTS,
    fill_slot,
    make_folders,
    read_slot,
    record_of,
    slot_folder,
)
from edge.ota.state import BundlePhase, InstallState

STATE_FILE = "state"


def active_bundle(root: Path) -> tuple[BundleManifest, Path]:
    """Return the bundle that drives and its folder, where each blob lies under its SHA-256.

    Every byte is hashed first; when the active slot is damaged, the proven bundle of the other slot
    answers instead (the agent makes that lasting and reports it).

    Raises:
        OperatorError: No bundle was ever installed.
        HashMismatchError: No slot holds a whole bundle any more.
    """
    disk = LocalDisk(root)
    stored = DurableRecord(disk, STATE_FILE, InstallState).load()
    return read_active(disk, recovered(disk, stored, now_ns=0))


def install_factory_bundle(root: Path, folder: Path) -> BundleManifest:
    """Put the first bundle into slot A; doing it again with the same bundle changes nothing.

    Args:
        root: Where this vehicle keeps its bundles; created.
        folder: Holds ``manifest.json`` and each blob under its SHA-256.

    Raises:
        OperatorError: Another bundle is installed already, or the folder holds none.
        HashMismatchError: A blob of the folder is missing or differs from the manifest.
    """
    disk = LocalDisk(root)
    if not (folder / MANIFEST_FILE).is_file():
        raise OperatorError(f"{folder} holds no {MANIFEST_FILE}; nothing installed")
    data = (folder / MANIFEST_FILE).read_bytes()
    manifest = decode_manifest(data)
    record = DurableRecord(disk, STATE_FILE, InstallState)
    stored = record.load()
    if stored is not None:
        if stored.driving.manifest_sha256 == hashlib.sha256(data).hexdigest():
            return manifest
        raise OperatorError(
            f"{root} already drives on {stored.driving.bundle_id}; only an update may replace it"
        )
    make_folders(disk)
    for sha256 in blob_sizes(manifest):
        source = folder / sha256
        disk.write(f"{PARTIAL}/{sha256}", source.read_bytes() if source.is_file() else b"")
        disk.sync(f"{PARTIAL}/{sha256}")
    fill_slot(disk, "a", data, manifest)
    found = record_of(disk, "a")
    if found is None:
        raise HashMismatchError(f"bundle {manifest.bundle_id} did not arrive whole in slot a")
    record.save(states.first(found))
    return manifest


def recovered(disk: Disk, stored: InstallState | None, now_ns: int) -> InstallState:
    """Find the state to go on from, given the one that was stored.

    A lost memory is rebuilt from what lies in the slots, the older bundle first: the newer one may
    never have proven itself. A damaged active slot gives way to the proven bundle of the other.

    Raises:
        OperatorError: No bundle was ever installed.
        HashMismatchError: No slot holds a whole bundle any more.
    """
    state = stored if stored is not None else _rebuilt(disk, now_ns)
    if is_whole(disk, state, state.active):
        return state
    is_way_back = state.phase is not BundlePhase.STAGED and is_whole(disk, state, state.inactive)
    if not is_way_back:
        raise HashMismatchError(
            f"slot {state.active} is damaged and slot {state.inactive} holds no proven bundle; "
            "install a factory bundle in an empty folder"
        )
    return states.reverted(state, f"slot {state.active} is damaged", now_ns, is_bad=False)


def is_whole(disk: Disk, state: InstallState, slot: states.Slot) -> bool:
    """Return whether a slot holds, to the last byte, what the state says."""
    record = state.slot(slot)
    if record is None:
        return False
    try:
        read_slot(disk, slot, record)
    except ContractError:
        return False
    return True


def read_active(disk: Disk, state: InstallState) -> tuple[BundleManifest, Path]:
    """Read the bundle that a state says drives; raises like ``read_slot``."""
    manifest = read_slot(disk, state.active, state.driving)
    return manifest, disk.locate(slot_folder(state.active))


def _rebuilt(disk: Disk, now_ns: int) -> InstallState:
    found = [(record_of(disk, slot), slot) for slot in SLOTS]
    whole = [(record, slot) for record, slot in found if record is not None]
    if not whole:
        raise OperatorError("no bundle is installed here; install a factory bundle first")
    record, slot = min(whole, key=lambda pair: pair[0].release_counter)
    reason = f"the memory of both slots was lost; driving on {record.bundle_id} of slot {slot}"
    return states.refused(states.first(record, slot), RefusalKind.MEMORY_LOST, reason, now_ns)
