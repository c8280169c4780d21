"""Decide whether a received clip is what its manifest states: evidence in, an answer with reasons out.

Nothing here touches disk, network or clock. A clip that fails is quarantined with every reason that applies,
never thrown away: the fault may be the fleet's, and a calibration can be registered a day late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.contracts.clip import ClipManifest, Privacy, decode_clip_manifest
from edge.contracts.errors import SchemaError
from edge.contracts.time import NS_PER_S, VIRTUAL_EPOCH_NS, ClockKind
from edge.contracts.wire import AdmissionAnswer, ClipOffer
from fleet.catalog import TrustState, VehicleRow

_DAY_S = 86_400.0
MAX_REASON_CHARACTERS = 2_000
"""What fits into ``ClipDone.reasons``."""


@dataclass
class AdmissionSettings:
    """Bounds of a plausible clip, and the quota of one vehicle."""

    max_clip_s: float = 120.0
    """Longest plausible clip."""
    max_drive_s: float = 7 * _DAY_S
    """A virtual clock has not run longer than this."""
    max_ahead_s: float = 300.0
    """How far a vehicle's UTC clock may be ahead of the fleet's."""
    quota_window_s: float = _DAY_S
    """Time over which the quota of a vehicle counts."""
    max_clips_per_window: int = 1_000
    """Per vehicle, admitted and quarantined together."""
    max_bytes_per_window: int = 20 * 1024**3
    """Most bytes of one vehicle, admitted and quarantined together."""
    max_clip_pixels: int = 1_000_000_000
    """Of all images of a clip, which are decoded before it is admitted: about 8 s of a core."""


@dataclass(frozen=True)
class BlobFacts:
    """Facts of the received bytes, whatever was promised."""

    blob_id: str
    """Their SHA-256."""
    size_bytes: int
    sealed_manifest: bytes | None
    """The manifest inside the file; None when the file does not open."""
    fault: str = ""
    """Why it does not open."""
    undeclared_gaps: tuple[str, ...] = ()
    """Cameras of which more is absent than the sealed manifest says."""
    image_faults: tuple[str, ...] = ()
    """Images that do not decode. Empty also before they are decoded."""


@dataclass(frozen=True)
class Known:
    """The fleet's knowledge before this clip."""

    vehicle: VehicleRow
    """The vehicle whose key brought it."""
    admitted_blob_id: str | None = None
    """What was admitted under the same clip id before."""
    used_clips: int = 0
    """What the vehicle sent within the quota's window."""
    used_bytes: int = 0


@dataclass(frozen=True)
class Admission:
    """Ingest's answer. ``manifest`` is None only when it does not decode."""

    answer: AdmissionAnswer
    reasons: tuple[str, ...]
    manifest: ClipManifest | None


@dataclass(frozen=True)
class _Evidence:
    offer: ClipOffer
    manifest: ClipManifest
    manifest_bytes: bytes
    blob: BlobFacts
    known: Known
    settings: AdmissionSettings
    now_ns: int


def admit(
    offer: ClipOffer,
    manifest_bytes: bytes,
    blob: BlobFacts,
    known: Known,
    settings: AdmissionSettings,
    *,
    now_ns: int,
) -> Admission:
    """Decide about one clip.

    Args:
        offer: What the vehicle promised.
        manifest_bytes: As sent ahead of the clip.
        blob: What was received.
        known: What the fleet knew before.
        settings: Bounds.
        now_ns: UTC.

    Returns:
        Admitted, or quarantined with one reason per broken rule, each beginning with its name.
    """
    try:
        manifest = decode_clip_manifest(manifest_bytes)
    except SchemaError as error:
        return Admission(AdmissionAnswer.QUARANTINED, (_reason("schema", str(error)),), None)
    evidence = _Evidence(offer, manifest, manifest_bytes, blob, known, settings, now_ns)
    reasons = tuple(
        _reason(name, why) for name, check in ADMISSION_CHECKS.items() for why in check(evidence)
    )
    answer = AdmissionAnswer.QUARANTINED if reasons else AdmissionAnswer.ADMITTED
    return Admission(answer, reasons, manifest)


def _reason(name: str, why: str) -> str:
    return f"{name}: {why}"[:MAX_REASON_CHARACTERS]


def _vehicle(evidence: _Evidence) -> Iterator[str]:
    claimed, vehicle = evidence.manifest.vehicle_id, evidence.known.vehicle
    if claimed != vehicle.vehicle_id:
        yield f"recorded by {claimed}, brought by {vehicle.vehicle_id}"
    if vehicle.state is not TrustState.ACTIVE:
        yield f"{vehicle.vehicle_id} is {vehicle.state}"


def _identity(evidence: _Evidence) -> Iterator[str]:
    manifest = evidence.manifest
    expected = ClipManifest.make_id(
        manifest.vehicle_id, manifest.drive_id, manifest.events[0], manifest.time_base
    )
    if manifest.clip_id != expected:
        yield f"clip id {manifest.clip_id} does not follow from its first event, expected {expected}"
    if evidence.offer.clip_id != manifest.clip_id:
        yield f"offered as {evidence.offer.clip_id}, its manifest says {manifest.clip_id}"
    before = evidence.known.admitted_blob_id
    if before is not None and before != evidence.blob.blob_id:
        yield f"admitted before with another content, blob {before}"


def _hash(evidence: _Evidence) -> Iterator[str]:
    promised, received = evidence.offer.blob_id, evidence.blob.blob_id
    if promised != received:
        yield f"promised blob {promised}, received {received}"


def _sealed(evidence: _Evidence) -> Iterator[str]:
    sealed = evidence.blob.sealed_manifest
    if sealed is None:
        yield f"the file does not open: {evidence.blob.fault}"
    elif sealed != evidence.manifest_bytes:
        yield "the manifest inside the file is not the one that was sent ahead"


def _calibration(evidence: _Evidence) -> Iterator[str]:
    manifest, registered = evidence.manifest, evidence.known.vehicle.rig_id
    if manifest.rig.rig_id != manifest.rig_id:
        yield f"rig id {manifest.rig_id} is not the hash of its rig, {manifest.rig.rig_id}"
    if registered is None:
        yield f"no calibration of {evidence.known.vehicle.vehicle_id} is registered"
    elif manifest.rig_id != registered:
        yield f"recorded with rig {manifest.rig_id}, registered is {registered}"


def _clock(evidence: _Evidence) -> Iterator[str]:
    manifest, settings = evidence.manifest, evidence.settings
    latest_ns = {
        ClockKind.VIRTUAL: VIRTUAL_EPOCH_NS + round(settings.max_drive_s * NS_PER_S),
        ClockKind.UTC: evidence.now_ns + round(settings.max_ahead_s * NS_PER_S),
    }.get(manifest.clock.kind)
    if latest_ns is None:
        yield (
            f"stamps of a {manifest.clock.kind} clock cannot be placed in time, "
            f"expected {ClockKind.VIRTUAL} or {ClockKind.UTC}"
        )
    elif not VIRTUAL_EPOCH_NS <= manifest.start_ns <= manifest.end_ns <= latest_ns:
        yield (
            f"{manifest.start_ns} to {manifest.end_ns} ns is not within "
            f"{VIRTUAL_EPOCH_NS} to {latest_ns} ns"
        )
    stamps = [event.stamp_ns for event in manifest.events]
    if stamps != sorted(stamps):
        yield "its events are not in order of time"
    if not all(manifest.start_ns <= stamp <= manifest.end_ns for stamp in stamps):
        yield "an event lies outside the clip"
    length_s = (manifest.end_ns - manifest.start_ns) / NS_PER_S
    if length_s > settings.max_clip_s:
        yield f"it lasts {length_s:.1f} s, at most {settings.max_clip_s:.1f} s are plausible"


def _complete(evidence: _Evidence) -> Iterator[str]:
    yield from evidence.blob.undeclared_gaps


def _images(evidence: _Evidence) -> Iterator[str]:
    yield from evidence.blob.image_faults


def _privacy(evidence: _Evidence) -> Iterator[str]:
    if evidence.manifest.privacy not in (Privacy.SYNTHETIC, Privacy.BLURRED):
        yield f"images marked {evidence.manifest.privacy} should not have left the vehicle"


def _quota(evidence: _Evidence) -> Iterator[str]:
    known, settings = evidence.known, evidence.settings
    if known.used_clips >= settings.max_clips_per_window:
        yield f"{known.used_clips} clips in the window, at most {settings.max_clips_per_window}"
    if known.used_bytes + evidence.blob.size_bytes > settings.max_bytes_per_window:
        yield (
            f"{known.used_bytes} bytes in the window and {evidence.blob.size_bytes} more, "
            f"at most {settings.max_bytes_per_window}"
        )


ADMISSION_CHECKS: dict[str, Callable[[_Evidence], Iterator[str]]] = {
    "vehicle": _vehicle,
    "identity": _identity,
    "hash": _hash,
    "sealed": _sealed,
    "calibration": _calibration,
    "clock": _clock,
    "privacy": _privacy,
    "complete": _complete,
    "images": _images,
    "quota": _quota,
}
"""Every rule by the name that its reasons begin with."""
