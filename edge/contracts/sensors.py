"""Readings of one instant: images, radar, ultrasonics, own motion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.fields import (
    Acceleration,
    Count,
    Metres,
    OpenEnum,
    Radians,
    Range,
    Speed,
    StampNs,
    Text,
)
from edge.contracts.geometry import Pose

RADAR_FIELDS = ("x_m", "y_m", "radial_speed_mps", "rcs_dbsm")
"""Columns of ``RadarScan.points_ego``; radial speed is over the ground, positive when going away."""

ULTRASONIC_MAX_RANGE_M = 5.0


class EgoState(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle's own motion from odometry and localisation."""

    stamp_ns: StampNs
    world_from_ego: Pose
    speed_mps: Speed = 0.0
    acceleration_mps2: Acceleration = 0.0
    yaw_rate_radps: Radians = 0.0
    steering_rad: Radians = 0.0


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The route of the navigation: lane-centre points ahead in the ego frame, about 2 m apart."""

    points_ego: tuple[tuple[Metres, Metres], ...] = ()
    speed_limit_mps: Speed = 13.9
    stop_distance_m: Range | None = None
    """Distance along the route to a red light or the end of the route; None when free."""


class Reading(OpenEnum):
    """The kinds of readings that ``edge.contracts.clean`` checks."""

    IMAGE = "image"
    STAMP = "stamp"
    RADAR_POINT = "radar_point"
    ULTRASONIC = "ultrasonic"
    POSE = "pose"
    EGO = "ego"
    ROUTE = "route"
    UNKNOWN = "unknown"


class DropReason(OpenEnum):
    """Why a reading was dropped or replaced."""

    NOT_FINITE = "not_finite"
    OUT_OF_BOUNDS = "out_of_bounds"
    WRONG_SHAPE = "wrong_shape"
    """Not a number, not an array of the expected shape, or a sensor that the rig does not have."""
    TOO_MANY = "too_many"
    UNKNOWN = "unknown"


class Drop(msgspec.Struct, frozen=True, array_like=True):
    """How many readings of one kind and sensor were dropped or replaced for one reason."""

    reading: Reading
    count: Count
    sensor: Text = ""
    """Its name in the rig; empty where the vehicle has one, or where schema 1 did not say."""
    reason: DropReason = DropReason.UNKNOWN


Dropped = tuple[Drop, ...]
"""What was taken out; kinds that lost nothing are left out."""


@dataclass(frozen=True, eq=False)
class RadarScan:
    """One sweep of all radars. ``points_ego``: float32 (N, 4), see ``RADAR_FIELDS``.

    ``sensor``: uint8 (N,), which of ``Rig.radars`` measured each point; None: the first measured all.
    """

    points_ego: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    sensor: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class UltrasonicScan:
    """Distances of the ultrasonic sensors. ``ranges_m``: float32 (K,), the maximum means no echo.

    K is the number of ``Rig.ultrasonics``, in their order.
    """

    ranges_m: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


class FrameStatus(OpenEnum):
    """Status of one image; it decides whether the image is shown to a network."""

    FRESH = "fresh"
    LATE = "late"
    """Exposed noticeably before the reference stamp of its frame set."""
    MISSING = "missing"
    FROZEN = "frozen"
    """The same image as before, while the vehicle moves or for longer than noise allows."""
    BLACK = "black"
    SATURATED = "saturated"
    CORRUPT = "corrupt"
    """Not an image of the size and type that the rig states."""
    UNKNOWN = "unknown"


USABLE = frozenset({FrameStatus.FRESH, FrameStatus.LATE})
"""The statuses of images that are shown to a network."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera's image at one instant. ``image``: uint8 (H, W, 3), RGB, or None where there is none.

    ``stamp_ns`` is when it was exposed, by the clock of its frame set.
    """

    image: NDArray[np.uint8] | None
    stamp_ns: int
    status: FrameStatus = FrameStatus.FRESH

    @property
    def is_usable(self) -> bool:
        """Whether a network may look at the image."""
        return self.image is not None and self.status in USABLE


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Everything sensed at one instant; plain memory, never serialised whole.

    ``frames``: one per camera of the rig, in its order. ``stamp_ns`` is the reference stamp of the set: what
    readings without a stamp of their own belong to. ``dropped``: what ``edge.contracts.clean`` took out.
    """

    index: int
    stamp_ns: int
    frames: tuple[Frame, ...]
    radar: RadarScan
    ultrasonics: UltrasonicScan
    ego: EgoState
    route: Route = field(default_factory=Route)
    dropped: Dropped = ()

    @property
    def usable(self) -> tuple[bool, ...]:
        """Per camera, whether a network may look at its image."""
        return tuple(frame.is_usable for frame in self.frames)


def frames_of(images: Iterable[NDArray[np.uint8] | None], stamp_ns: int) -> tuple[Frame, ...]:
    """Return the frames of cameras that were exposed at one stamp; None is a camera that gave nothing."""
    return tuple(
        Frame(image, stamp_ns, FrameStatus.MISSING if image is None else FrameStatus.FRESH)
        for image in images
    )
