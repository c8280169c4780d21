"""Gaps between upright boxes on the ground, many pairs at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def box_gap_m(
    offset: Floats, yaw_a: Floats, half_a: Floats, yaw_b: Floats, half_b: Floats
) -> Floats:
    """Measure the gap between oriented rectangles by the separating-axis theorem.

    Two convex shapes are apart if and only if a line separates them; for rectangles it is enough to try
    the four edge directions (Gottschalk, Lin and Manocha 1996, in two dimensions).

    Args:
        offset: From the centre of a to the centre of b, (K, 2).
        yaw_a: Headings of the a boxes, (K,).
        half_a: Half length and half width, (K, 2).
        yaw_b: As for a.
        half_b: As for a.

    Returns:
        (K,) metres: positive when apart (a lower bound of their distance), negative when they overlap
        (how far one would have to move to be free).
    """
    turn = yaw_b - yaw_a
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    gap = np.full(len(offset), -np.inf)
    for yaw, own, other in ((yaw_a, half_a, half_b), (yaw_b, half_b, half_a)):
        along = np.abs(offset[:, 0] * np.cos(yaw) + offset[:, 1] * np.sin(yaw))
        across = np.abs(offset[:, 1] * np.cos(yaw) - offset[:, 0] * np.sin(yaw))
        gap = np.maximum(gap, along - own[:, 0] - c * other[:, 0] - s * other[:, 1])
        gap = np.maximum(gap, across - own[:, 1] - s * other[:, 0] - c * other[:, 1])
    return gap


def gaps_over_time(
    centre: Floats,
    yaw_rad: Floats,
    half: Floats,
    others_centre: Floats,
    others_yaw_rad: Floats,
    others_half: Floats,
) -> Floats:
    """Measure the gaps of P moving boxes to A moving boxes at T instants.

    Pairs whose circumscribed circles do not meet keep the gap of the circles; only the rest is worth
    the exact sum.

    Args:
        centre: (P, T, 2).
        yaw_rad: (P, T).
        half: (P, T, 2) half length and half width.
        others_centre: (A, T, 2).
        others_yaw_rad: (A, T).
        others_half: (A, 2).

    Returns:
        (P, T, A) metres, negative for an overlap.
    """
    dx = others_centre[:, :, 0].T[None] - centre[:, :, None, 0]  # (P, T, A)
    dy = others_centre[:, :, 1].T[None] - centre[:, :, None, 1]
    reach = np.hypot(half[..., 0], half[..., 1])[..., None]
    reach = reach + np.hypot(others_half[:, 0], others_half[:, 1])
    gap = np.sqrt(dx * dx + dy * dy) - reach
    p, t, a = np.nonzero(gap < 0.0)
    offset = np.stack([dx[p, t, a], dy[p, t, a]], axis=1)
    gap[p, t, a] = box_gap_m(
        offset, yaw_rad[p, t], half[p, t], others_yaw_rad[a, t], others_half[a]
    )
    return gap
