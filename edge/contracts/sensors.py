"""What the vehicle senses in one instant: eight images, radar, twelve ultrasonics, its own motion."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.fields import (
    Acceleration,
    Count,
    Metres,
    Name,
    OpenEnum,
    Pixels,
    Radians,
    Range,
    Size,
    Speed,
    StampNs,
)
from edge.contracts.geometry import Pose

RADAR_FIELDS = ("x_m", "y_m", "radial_speed_mps", "rcs_dbsm")
"""Columns of ``RadarScan.points_ego``; radial speed is over the ground, positive when going away."""

ULTRASONIC_COUNT = 12
ULTRASONIC_MAX_RANGE_M = 5.0


class CameraName(OpenEnum):
    """The eight cameras, in the order in which every (8, ...) array holds them."""

    FRONT_MAIN = "front_main"
    FRONT_NARROW = "front_narrow"
    FRONT_WIDE = "front_wide"
    FORWARD_LEFT = "forward_left"
    FORWARD_RIGHT = "forward_right"
    REARWARD_LEFT = "rearward_left"
    REARWARD_RIGHT = "rearward_right"
    REAR = "rear"
    UNKNOWN = "unknown"


CAMERAS: tuple[CameraName, ...] = tuple(n for n in CameraName if n is not CameraName.UNKNOWN)
MIRRORED_CAMERAS: tuple[int, ...] = (0, 1, 2, 4, 3, 6, 5, 7)
"""Index of the camera that sees the left-right mirrored scene of camera i."""


class Intrinsics(msgspec.Struct, frozen=True, kw_only=True):
    """A pinhole camera in pixels; the centre of the top-left pixel is at (0.5, 0.5)."""

    fx_px: Pixels
    fy_px: Pixels
    cx_px: Pixels
    cy_px: Pixels
    width_px: Size
    height_px: Size

    def __post_init__(self) -> None:
        if self.fx_px <= 0 or self.fy_px <= 0:
            raise ValueError(f"focal lengths must be positive, got {self.fx_px}, {self.fy_px}")

    @classmethod
    def from_fov(cls, horizontal_fov_rad: float, width_px: int, height_px: int) -> Intrinsics:
        """Build square-pixel intrinsics from a horizontal field of view."""
        focal_px = 0.5 * width_px / math.tan(0.5 * horizontal_fov_rad)
        return cls(
            fx_px=focal_px,
            fy_px=focal_px,
            cx_px=0.5 * width_px,
            cy_px=0.5 * height_px,
            width_px=width_px,
            height_px=height_px,
        )

    def scaled(self, width_px: int, height_px: int) -> Intrinsics:
        """Give the intrinsics of the same view resized to another resolution."""
        sx, sy = width_px / self.width_px, height_px / self.height_px
        return Intrinsics(
            fx_px=self.fx_px * sx,
            fy_px=self.fy_px * sy,
            cx_px=self.cx_px * sx,
            cy_px=self.cy_px * sy,
            width_px=width_px,
            height_px=height_px,
        )


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """One calibrated camera."""

    name: CameraName
    intrinsics: Intrinsics
    ego_from_cam: Pose


class UltrasonicMount(msgspec.Struct, frozen=True, kw_only=True):
    """Where one ultrasonic sensor sits and looks, in the ego frame."""

    x_m: Metres
    y_m: Metres
    yaw_rad: Radians


class CameraRig(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration of a vehicle: its eight cameras in ``CAMERAS`` order and its ultrasonic mounts."""

    name: Name
    cameras: tuple[Camera, ...]
    ultrasonics: tuple[UltrasonicMount, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(c.name for c in self.cameras)
        if names != CAMERAS:
            raise ValueError(
                f"a rig lists the eight cameras in order, got {[str(n) for n in names]}"
            )

    @property
    def rig_id(self) -> str:
        """SHA-256 of the calibration: a model table made for one rig never meets another unnoticed."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).hexdigest()


class EgoState(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle's own motion from odometry and localisation."""

    stamp_ns: StampNs
    world_from_ego: Pose
    speed_mps: Speed = 0.0
    acceleration_mps2: Acceleration = 0.0
    yaw_rate_radps: Radians = 0.0
    steering_rad: Radians = 0.0


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where navigation wants to go: lane-centre points ahead in the ego frame, about 2 m apart."""

    points_ego: tuple[tuple[Metres, Metres], ...] = ()
    speed_limit_mps: Speed = 13.9
    stop_distance_m: Range | None = None
    """Distance along the route to a red light or the end of the route; None when free."""


class Reading(OpenEnum):
    """The kinds of readings that ``edge.contracts.clean`` checks."""

    RADAR_POINT = "radar_point"
    ULTRASONIC = "ultrasonic"
    EGO = "ego"
    ROUTE = "route"
    UNKNOWN = "unknown"


Dropped = tuple[tuple[Reading, Count], ...]
"""How many readings of each kind were dropped; kinds that lost none are left out."""


@dataclass(frozen=True, eq=False)
class RadarScan:
    """One radar sweep around the vehicle. ``points_ego``: float32 (N, 4), see ``RADAR_FIELDS``."""

    points_ego: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))


@dataclass(frozen=True, eq=False)
class UltrasonicScan:
    """Distances of the ultrasonic sensors. ``ranges_m``: float32 (12,), the maximum means no echo."""

    ranges_m: NDArray[np.float32] = field(
        default_factory=lambda: np.full(ULTRASONIC_COUNT, ULTRASONIC_MAX_RANGE_M, np.float32)
    )


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Everything sensed at one instant; plain memory, never serialised whole.

    ``images``: uint8 (8, H, W, 3), RGB, in ``CAMERAS`` order. ``is_present``: bool (8,); a missing
    camera has a black image. ``dropped``: what ``edge.contracts.clean`` took out of the other fields.
    """

    index: int
    stamp_ns: int
    images: NDArray[np.uint8]
    radar: RadarScan
    ultrasonics: UltrasonicScan
    ego: EgoState
    route: Route = field(default_factory=Route)
    is_present: NDArray[np.bool_] = field(default_factory=lambda: np.ones(8, np.bool_))
    dropped: Dropped = ()
