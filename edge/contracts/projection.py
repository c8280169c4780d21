"""From a point in front of a camera to a pixel, for every projection that a rig can name.

The distortion is applied to the points, so an image is never undistorted: the calibration table of a network
looks each cell up where the distorted image shows it.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Camera, Intrinsics, Projection

Floats = NDArray[np.float64]

_NEAREST_M = 0.3
"""What is nearer to the lens than this is part of the vehicle."""


def pixels_from_ego(camera: Camera, points_ego: Floats) -> Floats:
    """Project points of the ego frame.

    Args:
        camera: The calibrated camera.
        points_ego: (..., 3), metres.

    Returns:
        (..., 3): u and v in pixels, and the depth along the optical axis in metres. Where ``is_visible``
        of the same points is false, u and v mean nothing.
    """
    points_cam = camera.ego_from_cam.inverse() @ np.asarray(points_ego, dtype=np.float64)
    return pixels_from_cam(camera.intrinsics, points_cam)


def pixels_from_cam(intrinsics: Intrinsics, points_cam: Floats) -> Floats:
    """Project points (..., 3) of the camera frame; see ``pixels_from_ego``."""
    x, y, depth_m = points_cam[..., 0], points_cam[..., 1], points_cam[..., 2]
    if intrinsics.projection is Projection.FISHEYE:
        horizontal, vertical = _fisheye(intrinsics.distortion, points_cam)
    else:
        safe_m = np.where(np.abs(depth_m) < 1e-6, 1e-6, depth_m)
        horizontal, vertical = x / safe_m, y / safe_m
        if intrinsics.projection is Projection.BROWN_CONRADY:
            horizontal, vertical = _brown_conrady(intrinsics.distortion, horizontal, vertical)
    u_px = intrinsics.cx_px + intrinsics.fx_px * horizontal
    v_px = intrinsics.cy_px + intrinsics.fy_px * vertical
    return np.stack([u_px, v_px, depth_m], axis=-1)


def is_visible(intrinsics: Intrinsics, points_cam: Floats) -> NDArray[np.bool_]:
    """Return which points (..., 3) of the camera frame the lens maps at all, inside the image or not.

    A distortion polynomial that turns round maps points far outside the view back into the image; points
    beyond its turning point are not seen.
    """
    depth_m = points_cam[..., 2]
    off_axis_m = np.hypot(points_cam[..., 0], points_cam[..., 1])
    if intrinsics.projection is Projection.FISHEYE:
        widest_rad = _turning_point(intrinsics.projection, intrinsics.distortion)
        is_near = np.hypot(off_axis_m, depth_m) <= _NEAREST_M
        return np.asarray((np.arctan2(off_axis_m, depth_m) < widest_rad) & ~is_near)
    is_seen = depth_m > _NEAREST_M
    if intrinsics.projection is Projection.BROWN_CONRADY:
        widest = _turning_point(intrinsics.projection, intrinsics.distortion)
        is_seen &= off_axis_m < widest * np.maximum(depth_m, 1e-6)
    return np.asarray(is_seen)


def sharpness_per_m(intrinsics: Intrinsics, points_cam: Floats) -> Floats:
    """Compute how many pixels a metre at each point (..., 3) covers, about the middle of the image."""
    if intrinsics.projection is Projection.FISHEYE:
        distance_m = np.linalg.norm(points_cam, axis=-1)
    else:
        distance_m = points_cam[..., 2]
    return np.asarray(intrinsics.fx_px / np.maximum(distance_m, 1e-3))


def _fisheye(k: tuple[float, ...], points_cam: Floats) -> tuple[Floats, Floats]:
    off_axis_m = np.hypot(points_cam[..., 0], points_cam[..., 1])
    theta = np.arctan2(off_axis_m, points_cam[..., 2])
    bent = theta * (1.0 + sum(c * theta ** (2 * n + 2) for n, c in enumerate(k)))
    ratio = bent / np.maximum(off_axis_m, 1e-9)
    return points_cam[..., 0] * ratio, points_cam[..., 1] * ratio


def _brown_conrady(k: tuple[float, ...], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    k1, k2, p1, p2, k3 = (*k, 0.0)[:5]
    square = x * x + y * y
    radial = 1.0 + square * (k1 + square * (k2 + square * k3))
    return (
        x * radial + 2.0 * p1 * x * y + p2 * (square + 2.0 * x * x),
        y * radial + p1 * (square + 2.0 * y * y) + 2.0 * p2 * x * y,
    )


@functools.lru_cache(maxsize=64)
def _turning_point(projection: Projection, k: tuple[float, ...]) -> float:
    """Find where the radial polynomial stops growing: an angle in rad for a fisheye, else a tangent."""
    limit = np.pi if projection is Projection.FISHEYE else 20.0
    radial = k[:2] + k[4:5] if projection is Projection.BROWN_CONRADY else k
    r = np.linspace(0.0, limit, 4001)
    slope = 1.0 + sum((2 * n + 3) * c * r ** (2 * n + 2) for n, c in enumerate(radial))
    falling = np.flatnonzero(slope <= 0.0)
    return float(r[falling[0]]) if len(falling) else limit
