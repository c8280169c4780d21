"""The sensor rig of a simulated vehicle: eight cameras all around and twelve ultrasonics in the bumpers.

The rig is left-right symmetric to the last bit, because training mirrors images, cameras and boxes
together (``mirrored_rig``) and a mirrored scene must be one that this very rig could have seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig, UltrasonicMount
from sim.world.ego import EGO_SHAPE

IMAGE_WIDTH_PX, IMAGE_HEIGHT_PX = 256, 128
PITCH_RAD = -0.06
"""All cameras look slightly down: road from about 2.5 m before the bumper, and still some sky."""


@dataclass(frozen=True)
class _View:
    """Where a camera sits (ego frame), where it looks and how wide."""

    x_m: float
    y_m: float
    z_m: float
    yaw_deg: float
    fov_deg: float


_VIEWS: dict[str, _View] = {
    "front_main": _View(1.70, 0.0, 1.50, 0.0, 60.0),
    "front_narrow": _View(1.70, 0.0, 1.55, 0.0, 35.0),
    "front_wide": _View(1.75, 0.0, 1.50, 0.0, 120.0),
    "forward_left": _View(1.10, 0.85, 1.50, 60.0, 75.0),
    "forward_right": _View(1.10, -0.85, 1.50, -60.0, 75.0),
    "rearward_left": _View(1.40, 0.90, 1.40, 125.0, 75.0),
    "rearward_right": _View(1.40, -0.90, 1.40, -125.0, 75.0),
    "rear": _View(-0.90, 0.0, 1.50, 180.0, 75.0),
}

_BUMPER_Y_M = (0.80, 0.50, 0.17)
_BUMPER_YAW_RAD = (math.radians(60.0), math.radians(25.0), math.radians(6.0))
_BUMPER_SETBACK_M = (0.25, 0.08, 0.0)
"""How far the bumper curves back from its foremost point at each of the three half-width positions."""


def ego_from_cam(x_m: float, y_m: float, z_m: float, *, yaw_rad: float, pitch_rad: float) -> Pose:
    """Build the pose of a level camera that looks along ``yaw_rad``, up by ``pitch_rad``."""
    cy, sy, cp, sp = math.cos(yaw_rad), math.sin(yaw_rad), math.cos(pitch_rad), math.sin(pitch_rad)
    forward = np.array([cy * cp, sy * cp, sp])
    right = np.array([sy, -cy, 0.0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = (x_m, y_m, z_m)
    return Pose.from_matrix(matrix)


def default_rig(width_px: int = IMAGE_WIDTH_PX, height_px: int = IMAGE_HEIGHT_PX) -> Rig:
    """Give the rig that every simulated vehicle carries."""
    cameras = tuple(_camera(name, view, width_px, height_px) for name, view in _VIEWS.items())
    return Rig(name="sim-eight", cameras=cameras, ultrasonics=_bumper_mounts())


def _camera(name: str, view: _View, width_px: int, height_px: int) -> Camera:
    pose = ego_from_cam(
        view.x_m, view.y_m, view.z_m, yaw_rad=math.radians(view.yaw_deg), pitch_rad=PITCH_RAD
    )
    intrinsics = Intrinsics.from_fov(math.radians(view.fov_deg), width_px, height_px)
    return Camera(name=name, intrinsics=intrinsics, ego_from_cam=pose)


def _bumper_mounts() -> tuple[UltrasonicMount, ...]:
    """Six in the front bumper, then six in the rear one, each from left to right."""
    left = tuple(zip(_BUMPER_Y_M, _BUMPER_YAW_RAD, _BUMPER_SETBACK_M, strict=True))
    row = left + tuple((-y, -yaw, back) for y, yaw, back in reversed(left))
    front = [
        UltrasonicMount(x_m=EGO_SHAPE.front_m - back, y_m=y, yaw_rad=yaw) for y, yaw, back in row
    ]
    rear = [
        UltrasonicMount(
            x_m=back - EGO_SHAPE.rear_overhang_m,
            y_m=y,
            yaw_rad=math.copysign(math.pi, yaw) - yaw,
        )
        for y, yaw, back in row
    ]
    return tuple(front + rear)
