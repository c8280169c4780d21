"""What the vehicle sends home: why it recorded, and what the recording holds."""

from __future__ import annotations

import hashlib

import msgspec

from edge.contracts.fields import (
    Count,
    Finite,
    Metres,
    Name,
    OpenEnum,
    Ratio,
    Sha256,
    Size,
    StampNs,
    Text,
)
from edge.contracts.sensors import CameraName, CameraRig, Dropped
from edge.contracts.time import Clock

CLIP_SCHEMA = 1


class Privacy(OpenEnum):
    """Why the images may leave the vehicle; anything else stays at home."""

    SYNTHETIC = "synthetic"
    BLURRED = "blurred"
    UNKNOWN = "unknown"


class TriggerRule(OpenEnum):
    """The rules a campaign can arm."""

    RADAR_WITHOUT_BOX = "radar_without_box"
    TRACK_FLICKER = "track_flicker"
    LATE_BIRTH = "late_birth"
    LOW_TTC = "low_ttc"
    HARD_BRAKE = "hard_brake"
    MINIMUM_RISK = "minimum_risk"
    RANDOM = "random"
    UNKNOWN = "unknown"


class TriggerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One firing of one rule, with what an engineer needs to judge it later."""

    rule: TriggerRule
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
    clock: Clock
    rig: CameraRig
    rig_id: Sha256
    bundle_id: Name
    """The bundle that was driving when the clip was recorded."""
    events: tuple[TriggerEvent, ...]
    """At least one, oldest first; overlapping windows were merged and kept their causes."""
    start_ns: StampNs
    end_ns: StampNs
    frame_count: Count
    frame_step: Size = 1
    """Every how many frame sets of the drive one was recorded."""
    missing: tuple[tuple[CameraName, Count], ...] = ()
    """Frames that should be there and are not, per camera."""
    dropped: Dropped = ()
    """Readings that made no sense and are not in the clip, per kind; see ``edge.contracts.clean``."""
    time_base: Count = 0
    """How often the vehicle's clock had stepped in this drive: the same stamp may come again after it."""
    privacy: Privacy
    software: Text = ""

    def __post_init__(self) -> None:
        if not self.events:
            raise ValueError("a clip has at least one trigger event")
        if self.end_ns < self.start_ns:
            raise ValueError(f"clip ends before it starts: {self.end_ns} < {self.start_ns}")

    @classmethod
    def make_id(
        cls, vehicle_id: str, drive_id: str, event: TriggerEvent, time_base: int = 0
    ) -> str:
        """Derive the clip's identity from what caused it, so that a re-run names it the same."""
        parts = (vehicle_id, drive_id, event.stamp_ns, str(event.rule), event.rule_version)
        later = (time_base,) if time_base else ()
        return hashlib.sha256(msgspec.msgpack.encode((*parts, *later))).hexdigest()
