"""Measure plans and forecasts against what then happened, in metres, without driving by them.

A plan that differs from what was driven need not be worse, so these errors say whether a head still
works, not how well a vehicle drives; closed-loop episodes say that. Beside the plan stands the answer
that needs no network: straight on at constant speed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.contracts.scene import Box3D, Trajectory

Floats = NDArray[np.floating]

NEAR_M = 2.0
"""A forecast belongs to a road user of its class whose box is at most this far away."""
MOVING_MPS = 0.5
"""Slower road users count as standing and are not measured: their forecast is trivial."""


class OpenLoop(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of one model against the three seconds after one sample."""

    place_id: str
    plan_l2_m: float
    """Of the plan with the highest score."""
    straight_l2_m: float
    """Of going straight on at constant speed."""
    forecast_ade_m: tuple[float, ...] = ()
    """Of the best of the six forecasts, for each moving road user that was found."""


def mean_distance_m(points: ArrayLike, truth: ArrayLike) -> float:
    """Average the distance of two tracks over their instants: L2 of a plan, ADE of a forecast.

    Args:
        points: (T, 2) x, y in m.
        truth: (T, 2), at the same instants, in the same frame.
    """
    return float(np.hypot(*(np.asarray(points) - np.asarray(truth)).T).mean())


def straight_on(speed_mps: float, *, steps: int, step_s: float) -> Floats:
    """Return the points of constant speed straight ahead, (steps, 2) in the ego frame of now."""
    x_m = speed_mps * step_s * np.arange(1, steps + 1)
    return np.stack([x_m, np.zeros(steps)], axis=1)


def forecast_ade_m(
    agent: Box3D,
    future: ArrayLike,
    boxes: Sequence[Box3D],
    forecasts: Sequence[Sequence[Trajectory]],
) -> float | None:
    """Measure the best forecast (minADE) of the box that is nearest to a road user, of its class.

    Offsets from each one's own centre are compared: a misplaced box is the detector's error.

    Args:
        agent: Where the road user is.
        future: (T, 2) offsets from its centre.
        boxes: What a model found.
        forecasts: Of each box, its modes; none where it has no query.

    Returns:
        None where no box with forecasts is near enough.
    """
    near = [
        (float(np.hypot(box.x_m - agent.x_m, box.y_m - agent.y_m)), box, modes)
        for box, modes in zip(boxes, forecasts, strict=True)
        if modes and box.category == agent.category
    ]
    if not near:
        return None
    distance_m, box, modes = min(near, key=lambda found: found[0])
    if distance_m > NEAR_M:
        return None
    centre = (box.x_m, box.y_m)
    return min(mean_distance_m(np.array(mode.points_ego) - centre, future) for mode in modes)
