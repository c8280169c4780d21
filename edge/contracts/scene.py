"""Conclusions of one tick: boxes, agents and their futures, and the plan that was chosen."""

from __future__ import annotations

import msgspec

from edge.contracts.classes import Category
from edge.contracts.fields import (
    Acceleration,
    Count,
    Finite,
    Length,
    Metres,
    Milliseconds,
    Name,
    OpenEnum,
    Radians,
    Ratio,
    Seconds,
    Speed,
    StampNs,
)


class Attribute(OpenEnum):
    """What a road user is doing, as far as it can be seen."""

    MOVING = "moving"
    STOPPED = "stopped"
    PARKED = "parked"
    FALLEN = "fallen"
    UNKNOWN = "unknown"


STANDING_MPS = 0.5
"""Speed under which a road user counts as stopped; slower motion is lost in the noise of a track."""


def attribute_at(speed_mps: float) -> Attribute:
    """Return what a road user of a speed is doing: moving or stopped."""
    return Attribute.STOPPED if speed_mps < STANDING_MPS else Attribute.MOVING


class BoxSource(OpenEnum):
    """Which part of the software reports the box."""

    NETWORK = "network"
    RADAR = "radar"
    TRACKER = "tracker"
    HINDSIGHT = "hindsight"
    ANNOTATOR = "annotator"
    UNKNOWN = "unknown"


class Box3D(msgspec.Struct, frozen=True, kw_only=True):
    """One road user at one instant: an upright cuboid in the ego frame, centre at (x, y, z)."""

    category: Category
    x_m: Metres
    y_m: Metres
    z_m: Metres
    length_m: Length
    width_m: Length
    height_m: Length
    yaw_rad: Radians
    vx_mps: Speed = 0.0
    """Velocity over the ground, in ego axes."""
    vy_mps: Speed = 0.0
    score: Ratio = 1.0
    attribute: Attribute = Attribute.UNKNOWN
    source: BoxSource = BoxSource.NETWORK
    track_id: Count | None = None
    covariance: tuple[Finite, Finite, Finite] | None = None
    """Position covariance (xx, xy, yy) in square metres."""


class Trajectory(msgspec.Struct, frozen=True, kw_only=True):
    """One possible future: positions in the ego frame of the tick, every ``step_s`` seconds from then."""

    points_ego: tuple[tuple[Metres, Metres], ...]
    step_s: Seconds
    probability: Ratio = 1.0


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """A tracked road user: its box now, how long it is known, and up to six futures."""

    track_id: Count
    box: Box3D
    first_seen_ns: StampNs
    hits: Count
    is_confirmed: bool
    futures: tuple[Trajectory, ...] = ()


class RadarTrack(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the radar follows on its own, formed outside the network."""

    track_id: Count
    x_m: Metres
    y_m: Metres
    vx_mps: Speed
    vy_mps: Speed
    hits: Count
    age_s: Seconds
    rcs_dbsm: Finite = 0.0


class Rung(OpenEnum):
    """The ways to run a tick, richest first.

    ``cameras_subset`` is read in clips of older software and never chosen: it fed the full graph with fewer
    images, which saved no time.
    """

    FULL = "full"
    SMALL = "small"
    CAMERAS_SUBSET = "cameras_subset"
    RADAR_ONLY = "radar_only"
    MINIMUM_RISK = "minimum_risk"
    UNKNOWN = "unknown"


class Perception(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle's conclusions about one instant."""

    stamp_ns: StampNs
    rung: Rung
    bundle_id: Name
    boxes: tuple[Box3D, ...] = ()
    agents: tuple[Agent, ...] = ()
    radar_tracks: tuple[RadarTrack, ...] = ()
    has_fault: bool = False
    """The network failed, or its output was unusable (NaN, wrong shape) and was thrown away."""


class PlanSource(OpenEnum):
    """Origin of the chosen plan, best first."""

    NETWORK = "network"
    ROUTE = "route"
    MINIMUM_RISK = "minimum_risk"
    UNKNOWN = "unknown"


class CauseKind(OpenEnum):
    """Kind of thing that a vehicle brakes or waits for."""

    NONE = "none"
    """It neither brakes nor waits, or only for a bend or a speed limit."""
    AGENT = "agent"
    RADAR_TRACK = "radar_track"
    """Known to the radar alone."""
    ECHO = "echo"
    """Measured by the ultrasonics."""
    LIGHT = "light"
    END_OF_ROUTE = "end_of_route"
    UNKNOWN = "unknown"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The thing that one plan brakes or waits for, in the ego frame of its tick."""

    kind: CauseKind = CauseKind.NONE
    track_id: Count | None = None
    """Of the agent or the radar track."""
    x_m: Metres | None = None
    y_m: Metres | None = None


class PlanPoint(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A place of the vehicle in its plan, in the ego frame of the tick, and the speed there."""

    x_m: Metres
    y_m: Metres
    yaw_rad: Radians
    speed_mps: Speed


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one tick and why it was allowed."""

    stamp_ns: StampNs
    source: PlanSource
    points: tuple[PlanPoint, ...]
    step_s: Seconds
    acceleration_mps2: Acceleration
    """Commanded now."""
    steering_rad: Radians
    min_ttc_s: Seconds
    """Smallest time to collision over the plan; ``TTC_FREE_S`` when nothing is in the way."""
    rejected: tuple[tuple[Name, Count], ...] = ()
    """How many proposals each check refused."""
    cause: Cause = Cause()
    """What it brakes or waits for."""


TTC_FREE_S = 60.0


class StageTime(msgspec.Struct, frozen=True, kw_only=True):
    """Time of one stage of a tick."""

    stage: Name
    ms: Milliseconds
