"""Test whether a point on the ground belongs to a box."""

from __future__ import annotations

import math

from edge.contracts.scene import Box3D


def is_on(box: Box3D, x_m: float, y_m: float, margin_m: float) -> bool:
    """Return whether a point lies in a box's outline or at most ``margin_m`` beside it, axis by axis.

    Args:
        box: In any frame.
        x_m: Of the point, same frame.
        y_m: Of the point, same frame.
        margin_m: Added on all four sides.
    """
    dx, dy = x_m - box.x_m, y_m - box.y_m
    c, s = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
    along, across = abs(c * dx + s * dy), abs(c * dy - s * dx)
    return along < 0.5 * box.length_m + margin_m and across < 0.5 * box.width_m + margin_m
