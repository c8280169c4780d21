"""Oriented rectangles on the ground: do two of them overlap, and how near is a point to one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle centred at (x, y) whose length lies along ``yaw_rad``; world frame."""

    x_m: float
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float


def overlaps(a: Rectangle, b: Rectangle, gap_m: float = 0.0) -> bool:
    """Return whether two rectangles overlap, or come nearer than ``gap_m`` along a separating axis.

    Separating axis theorem: two convex shapes are apart exactly when their shadows on the normal of
    one of their sides are. Touching is not overlapping.
    """
    dx, dy = b.x_m - a.x_m, b.y_m - a.y_m
    reach = 0.5 * (math.hypot(a.length_m, a.width_m) + math.hypot(b.length_m, b.width_m)) + gap_m
    if dx * dx + dy * dy >= reach * reach:
        return False
    cos, sin = abs(math.cos(b.yaw_rad - a.yaw_rad)), abs(math.sin(b.yaw_rad - a.yaw_rad))
    for here, there in ((a, b), (b, a)):
        ux, uy = math.cos(here.yaw_rad), math.sin(here.yaw_rad)
        along = 0.5 * (here.length_m + there.length_m * cos + there.width_m * sin)
        across = 0.5 * (here.width_m + there.length_m * sin + there.width_m * cos)
        if abs(dx * ux + dy * uy) >= along + gap_m or abs(dy * ux - dx * uy) >= across + gap_m:
            return False
    return True


def ahead_of(
    x_m: float, y_m: float, yaw_rad: float, length_m: float, width_m: float, travel_m: float
) -> Rectangle:
    """Return the rectangle that one sweeps while it goes straight on for ``travel_m``."""
    return Rectangle(
        x_m + 0.5 * travel_m * math.cos(yaw_rad),
        y_m + 0.5 * travel_m * math.sin(yaw_rad),
        yaw_rad,
        length_m + travel_m,
        width_m,
    )


def array_of(rectangles: list[Rectangle]) -> NDArray[np.float64]:
    """Put rectangles into an array (N, 5): x, y, yaw, length, width."""
    return np.array([(r.x_m, r.y_m, r.yaw_rad, r.length_m, r.width_m) for r in rectangles]).reshape(
        -1, 5
    )


def distances_m(
    points_world: NDArray[np.float64], rectangles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of every point to every rectangle, 0 inside.

    Args:
        points_world: (N, 2), metres.
        rectangles: (M, 5), see ``array_of``.

    Returns:
        (N, M), metres.
    """
    delta = points_world[:, None] - rectangles[None, :, :2]  # (N, M, 2)
    cos, sin = np.cos(rectangles[:, 2]), np.sin(rectangles[:, 2])
    ahead = np.abs(delta[..., 0] * cos + delta[..., 1] * sin) - 0.5 * rectangles[:, 3]
    aside = np.abs(delta[..., 1] * cos - delta[..., 0] * sin) - 0.5 * rectangles[:, 4]
    nearest: NDArray[np.float64] = np.hypot(np.maximum(ahead, 0.0), np.maximum(aside, 0.0))
    return nearest
