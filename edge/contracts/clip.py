"""The manifest of a clip: why it was recorded, and what it holds."""

from __future__ import annotations

import hashlib

import msgspec

from edge.contracts.errors import SchemaError
from edge.contracts.fields import (
    Count,
    Finite,
    Hertz,
    Metres,
    Name,
    OpenEnum,
    Ratio,
    Seconds,
    Sha256,
    StampNs,
    Text,
)
from edge.contracts.rig import Rig
from edge.contracts.sensors import Dropped, FrameStatus
from edge.contracts.time import NamedClock

CLIP_SCHEMA = 2
_RATE_OF_SCHEMA_1_HZ = 36.0
"""Of the drives of schema 1, which had no other."""


class Privacy(OpenEnum):
    """Why the images may leave the vehicle; anything else stays at home."""

    SYNTHETIC = "synthetic"
    BLURRED = "blurred"
    """Faces and plates were made unrecognisable; ``ClipManifest.blur`` says by what."""
    CONSENTED = "consented"
    """A signed campaign asks for clear images; ``ClipManifest.consent`` names it."""
    UNKNOWN = "unknown"


class Blur(msgspec.Struct, frozen=True, kw_only=True):
    """The software that blurred people and plates in a clip's images, and its counts."""

    version: Name
    images: Count
    """Looked at; every image of the clip."""
    faces: Count
    plates: Count


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """The campaign that asks for clear images, by the bytes that people signed."""

    campaign_id: Name
    campaign_sha256: Sha256
    key_ids: tuple[Name, ...]
    """Whose signatures the vehicle had checked."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Encryption of a clip's images, and the id of its key."""

    key_id: Name
    algorithm: Name


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time, both ends included."""

    start_ns: StampNs
    end_ns: StampNs


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Images of one camera in the window that was asked for."""

    camera: Name
    images: Count
    """In the clip, usable or not."""
    span: Span | None
    """From its first to its last usable image, by their own stamps; None: it has none."""
    longest_gap_s: Seconds
    """Between two usable images, or from one to the nearer end of the window that was asked for."""
    statuses: dict[FrameStatus, Count] = {}
    """Of its frames in the clip."""


class TriggerRule(OpenEnum):
    """The rules a campaign can arm."""

    RADAR_WITHOUT_BOX = "radar_without_box"
    TRACK_FLICKER = "track_flicker"
    LATE_BIRTH = "late_birth"
    LOW_TTC = "low_ttc"
    HARD_BRAKE = "hard_brake"
    MINIMUM_RISK = "minimum_risk"
    IMAGE_HEALTH = "image_health"
    RADAR_SILENT = "radar_silent"
    DEADLINE_MISS = "deadline_miss"
    RUNG_CHANGE = "rung_change"
    NETWORK_FAULT = "network_fault"
    CLOCK_STEP = "clock_step"
    RANDOM = "random"
    UNKNOWN = "unknown"


class TriggerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One firing of one rule, with what an engineer needs to judge it later."""

    rule: TriggerRule
    expression: Text = ""
    """What was evaluated, where the rule is an expression of a campaign."""
    rule_version: Count
    campaign_id: Name
    stamp_ns: StampNs
    value: Finite
    """The number that crossed."""
    threshold: Finite
    """What it crossed."""
    worth: Ratio
    """How much the rule thinks this moment is worth; a drive's quota keeps the best."""
    track_id: Count | None = None
    x_m: Metres | None = None
    """Where, in the ego frame of ``stamp_ns``."""
    y_m: Metres | None = None


class ClipManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one clip is. It is sealed into the clip and travels ahead of it; its bytes are hashed as sent."""

    schema: Count = CLIP_SCHEMA
    clip_id: Sha256
    vehicle_id: Name
    drive_id: Name
    clock: NamedClock
    rig: Rig
    rig_id: Sha256
    bundle_id: Name
    """The bundle that was driving when the clip was recorded."""
    events: tuple[TriggerEvent, ...]
    """The events for which the clip was recorded: at least one, oldest first; merged windows keep theirs."""
    start_ns: StampNs
    end_ns: StampNs
    frame_count: Count
    rate_hz: Hertz = _RATE_OF_SCHEMA_1_HZ
    """Frame sets per second of the drive."""
    recorded_hz: Hertz = _RATE_OF_SCHEMA_1_HZ
    """Frame sets per second that were recorded."""
    asked: Span | None = None
    """The window that the events asked for; None in a clip of schema 1."""
    coverage: tuple[Coverage, ...] = ()
    """What there is of that window, per camera; empty in a clip of schema 1."""
    missing: tuple[tuple[Name, Count], ...] = ()
    """Usable images that should be there and are not, per camera; cameras that lack none are left out."""
    dropped: Dropped = ()
    """Readings that made no sense and are not in the clip; see ``edge.contracts.clean``."""
    time_base: Count = 0
    """How often the vehicle's clock had stepped in this drive: the same stamp may come again after it."""
    is_cut: bool = False
    """Whether a step of the clock ended the window before its end."""
    privacy: Privacy
    blur: Blur | None = None
    consent: Consent | None = None
    envelope: Envelope | None = None
    """None: the images are not encrypted."""
    software: Text = ""

    def __post_init__(self) -> None:
        if not self.events:
            raise ValueError("a clip has at least one trigger event")
        if self.end_ns < self.start_ns:
            raise ValueError(f"clip ends before it starts: {self.end_ns} < {self.start_ns}")
        if self.schema > 1 and self.privacy is Privacy.BLURRED and self.blur is None:
            raise ValueError("a clip marked blurred does not say what blurred it")
        if self.privacy is Privacy.CONSENTED and self.consent is None:
            raise ValueError("a clip marked consented does not name the campaign that asked for it")

    @classmethod
    def make_id(
        cls, vehicle_id: str, drive_id: str, event: TriggerEvent, time_base: int = 0
    ) -> str:
        """Derive the clip's identity from what caused it, so that a re-run names it the same."""
        parts = (vehicle_id, drive_id, event.stamp_ns, str(event.rule), event.rule_version)
        later = (time_base,) if time_base else ()
        return hashlib.sha256(msgspec.msgpack.encode((*parts, *later))).hexdigest()


class _FirstSchema(msgspec.Struct, frozen=True):
    """Fields that only a manifest of schema 1 has."""

    schema: Count
    frame_step: Count = 1


def decode_clip_manifest(content: bytes | memoryview) -> ClipManifest:
    """Decode a manifest of this schema or the first.

    Raises:
        SchemaError: It is none, or of a later schema.
    """
    try:
        first = msgspec.msgpack.decode(content, type=_FirstSchema)
        if first.schema > CLIP_SCHEMA:
            raise SchemaError(
                f"the manifest is of schema {first.schema}; this software reads up to {CLIP_SCHEMA}"
            )
        manifest = msgspec.msgpack.decode(content, type=ClipManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"the manifest does not decode: {error}") from error
    if first.schema > 1:
        return manifest
    recorded_hz = _RATE_OF_SCHEMA_1_HZ / max(first.frame_step, 1)
    return msgspec.structs.replace(manifest, recorded_hz=recorded_hz)
