"""The vehicle as data: its cameras, radars and ultrasonics with their poses, and its body.

A rig may have one to ``MAX_CAMERAS`` cameras, each with its own name, image size and projection. Which of
the network's inputs a camera feeds is decided in ``edge.perceive.tensors.slots``.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Any

import msgspec
import numpy as np

from edge.contracts.fields import (
    Finite,
    Length,
    Metres,
    Name,
    OpenEnum,
    Pixels,
    Radians,
    Size,
)
from edge.contracts.geometry import Pose

MAX_CAMERAS = 8
MAX_RADARS = 16
MAX_ULTRASONICS = 32


class Projection(OpenEnum):
    """How a camera maps a ray to a pixel; the distortion coefficients are OpenCV's, in its order."""

    PINHOLE = "pinhole"
    """No distortion."""
    BROWN_CONRADY = "brown_conrady"
    """k1, k2, p1, p2 and, optionally, k3 (Brown 1971; OpenCV ``projectPoints``)."""
    FISHEYE = "fisheye"
    """Equidistant: theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8), Kannala and Brandt 2006."""
    UNKNOWN = "unknown"


_COEFFICIENTS: dict[Projection, tuple[int, ...]] = {
    Projection.PINHOLE: (0,),
    Projection.BROWN_CONRADY: (4, 5),
    Projection.FISHEYE: (4,),
}


class Intrinsics(msgspec.Struct, frozen=True, kw_only=True):
    """A camera's projection in pixels; the centre of the top-left pixel is at (0.5, 0.5)."""

    fx_px: Pixels
    fy_px: Pixels
    cx_px: Pixels
    cy_px: Pixels
    width_px: Size
    height_px: Size
    projection: Projection = Projection.PINHOLE
    distortion: tuple[Finite, ...] = ()

    def __post_init__(self) -> None:
        if self.fx_px <= 0 or self.fy_px <= 0:
            raise ValueError(f"focal lengths must be positive, got {self.fx_px}, {self.fy_px}")
        expected = _COEFFICIENTS.get(self.projection)
        if expected is not None and len(self.distortion) not in expected:
            raise ValueError(
                f"a {self.projection} camera has {' or '.join(map(str, expected))} distortion "
                f"coefficients, got {len(self.distortion)}"
            )

    @classmethod
    def from_fov(cls, horizontal_fov_rad: float, width_px: int, height_px: int) -> Intrinsics:
        """Build a square-pixel pinhole from a horizontal field of view."""
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
        """Return the intrinsics of the same view resized to another resolution."""
        sx, sy = width_px / self.width_px, height_px / self.height_px
        return msgspec.structs.replace(
            self,
            fx_px=self.fx_px * sx,
            fy_px=self.fy_px * sy,
            cx_px=self.cx_px * sx,
            cy_px=self.cy_px * sy,
            width_px=width_px,
            height_px=height_px,
        )

    @property
    def horizontal_fov_rad(self) -> float:
        """Angle between the left and the right edge of the image, without distortion."""
        if self.projection is Projection.FISHEYE:
            return min(self.width_px / self.fx_px, 2.0 * math.pi)
        right = (self.width_px - self.cx_px) / self.fx_px
        return math.atan2(self.cx_px, self.fx_px) + math.atan(right)


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """One calibrated camera."""

    name: Name
    intrinsics: Intrinsics
    ego_from_cam: Pose
    slot: Name | None = None
    """Which of the network's inputs it feeds; None: decided by where it looks."""

    @property
    def yaw_rad(self) -> float:
        """Where it looks in the ego frame: 0 ahead, positive to the left."""
        x, y, _ = self.ego_from_cam.rotation[:, 2]
        return math.atan2(y, x)


def ego_from_cam(
    x_m: float, y_m: float, z_m: float, *, yaw_rad: float, pitch_rad: float, roll_rad: float = 0.0
) -> Pose:
    """Build the pose of a camera that looks along ``yaw_rad``, up by ``pitch_rad``.

    Args:
        x_m: Of the camera in the ego frame, forward.
        y_m: Of the camera in the ego frame, to the left.
        z_m: Of the camera in the ego frame, up.
        yaw_rad: 0 ahead, positive to the left.
        pitch_rad: Positive upwards.
        roll_rad: Turn about the optical axis, positive clockwise as seen from behind the camera.
    """
    cy, sy, cp, sp = math.cos(yaw_rad), math.sin(yaw_rad), math.cos(pitch_rad), math.sin(pitch_rad)
    forward = np.array([cy * cp, sy * cp, sp])
    right = np.array([sy, -cy, 0.0])
    down = np.cross(forward, right)
    c, s = math.cos(roll_rad), math.sin(roll_rad)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    matrix[:3, 3] = (x_m, y_m, z_m)
    return Pose.from_matrix(matrix)


class UltrasonicMount(msgspec.Struct, frozen=True, kw_only=True):
    """Where one ultrasonic sensor sits and looks, in the ego frame."""

    x_m: Metres
    y_m: Metres
    yaw_rad: Radians


class RadarMount(msgspec.Struct, frozen=True, kw_only=True):
    """Where one radar sits and looks, in the ego frame; radial speeds are along lines through it."""

    name: Name
    x_m: Metres
    y_m: Metres = 0.0
    yaw_rad: Radians = 0.0
    field_of_view_rad: Annotated[float, msgspec.Meta(gt=0.0, le=6.284)] = 2.0 * math.pi


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Outline and limits of the vehicle; the ego frame's origin is on the ground under the rear axle.

    A planner stays below these limits by its own margins; a simulated vehicle moves up to them.
    """

    length_m: Length = 4.6
    width_m: Length = 1.8
    height_m: Length = 1.6
    wheelbase_m: Length = 2.8
    rear_overhang_m: Annotated[float, msgspec.Meta(ge=0.0, le=20.0)] = 1.0
    """From the rear axle back to the rear bumper."""
    max_steering_rad: Annotated[float, msgspec.Meta(gt=0.0, le=1.5)] = 0.6
    max_acceleration_mps2: Annotated[float, msgspec.Meta(gt=0.0, le=200.0)] = 3.5
    max_braking_mps2: Annotated[float, msgspec.Meta(gt=0.0, le=200.0)] = 9.0

    def __post_init__(self) -> None:
        if self.wheelbase_m + self.rear_overhang_m > self.length_m:
            raise ValueError(
                f"a body {self.length_m} m long cannot hold a wheelbase of {self.wheelbase_m} m "
                f"and a rear overhang of {self.rear_overhang_m} m"
            )

    @property
    def front_m(self) -> float:
        """From the rear axle to the front bumper."""
        return self.length_m - self.rear_overhang_m

    @property
    def centre_m(self) -> float:
        """From the rear axle forward to the middle of the outline."""
        return 0.5 * self.length_m - self.rear_overhang_m

    @property
    def half_length_m(self) -> float:
        """Half of the length from bumper to bumper."""
        return 0.5 * self.length_m

    @property
    def half_width_m(self) -> float:
        """Half of the width."""
        return 0.5 * self.width_m


BODY = Body()
"""The body of the simulated vehicles, and of every rig of schema 1, which did not name one."""
RADARS = (RadarMount(name="around", x_m=1.3),)
"""One radar that reports all around the vehicle from the middle of the body; as for ``BODY``."""


class Rig(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration of one vehicle: cameras, radars, ultrasonics, and its body."""

    name: Name
    cameras: tuple[Camera, ...]
    ultrasonics: tuple[UltrasonicMount, ...] = ()
    radars: tuple[RadarMount, ...] = RADARS
    body: Body = BODY

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if not 1 <= len(names) <= MAX_CAMERAS:
            raise ValueError(f"a rig has 1 to {MAX_CAMERAS} cameras, got {len(names)}")
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two cameras of a rig are called {', '.join(twice)}")
        if len(self.radars) > MAX_RADARS or len(self.ultrasonics) > MAX_ULTRASONICS:
            raise ValueError(
                f"a rig has at most {MAX_RADARS} radars and {MAX_ULTRASONICS} ultrasonics, "
                f"got {len(self.radars)} and {len(self.ultrasonics)}"
            )

    @property
    def rig_id(self) -> str:
        """SHA-256 of the calibration: a model table made for one rig never meets another unnoticed.

        What schema 1 could not say is left out where it has the value that schema 1 meant, so that a rig
        keeps its id.
        """
        return hashlib.sha256(msgspec.msgpack.encode(_without_defaults(self))).hexdigest()


def _without_defaults(rig: Rig) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(rig)
    if rig.radars == RADARS:
        del plain["radars"]
    if rig.body == BODY:
        del plain["body"]
    for camera in plain["cameras"]:
        if camera["slot"] is None:
            del camera["slot"]
        intrinsics = camera["intrinsics"]
        if intrinsics["projection"] == Projection.PINHOLE:
            del intrinsics["projection"], intrinsics["distortion"]
    return plain
