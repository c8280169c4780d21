"""Limit the speed of drivers towards things that SUMO does not know of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.place.rectangles import Rectangle

COMFORT_BRAKING_MPS2, EMERGENCY_BRAKING_MPS2 = 3.5, 8.0
KEEP_AWAY_M = 2.5
"""Gap in front of the bumper that a driver wants to keep."""
SIDE_GAP_M = 0.4
_LOOK_AHEAD_M = 28.0


@dataclass(frozen=True, eq=False)
class RoundHazards:
    """Round things on the road. float64 (M,) each: world frame, metres; speed in m/s."""

    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    radius_m: NDArray[np.float64]
    speed_mps: NDArray[np.float64]

    def moving(self) -> RoundHazards:
        """Return those that move on their own and will be gone some time."""
        keep = self.speed_mps > 0.0
        return RoundHazards(
            self.x_m[keep], self.y_m[keep], self.radius_m[keep], self.speed_mps[keep]
        )


def hazards_of(things: Iterable[tuple[Rectangle, float]]) -> RoundHazards:
    """Cover footprints, each with its speed, by circles as wide as they are narrow."""
    circles = []
    for body, speed_mps in things:
        radius_m = 0.5 * min(body.length_m, body.width_m)
        half_m = 0.5 * max(body.length_m, body.width_m) - radius_m
        yaw = body.yaw_rad + (0.0 if body.length_m >= body.width_m else 0.5 * math.pi)
        for along_m in np.linspace(
            -half_m, half_m, 1 + math.ceil(2.0 * half_m / radius_m)
        ).tolist():
            x, y = body.x_m + along_m * math.cos(yaw), body.y_m + along_m * math.sin(yaw)
            circles.append((x, y, radius_m, speed_mps))
    return RoundHazards(*np.array(circles).reshape(-1, 4).T)


def allowed_speeds_mps(fronts: NDArray[np.float64], hazards: RoundHazards) -> NDArray[np.float64]:
    """Return the speed at which each vehicle can still stop in front of what is straight ahead.

    From v^2 = 2 a d. Far things count only near the axis, for the road may bend before them.

    Args:
        fronts: (N, 4): x, y of the front bumper, yaw, half of the vehicle's width.
        hazards: M things.

    Returns:
        (N,) in m/s; infinite where nothing is ahead.
    """
    dx = hazards.x_m[None] - fronts[:, :1]
    dy = hazards.y_m[None] - fronts[:, 1:2]
    cos, sin = np.cos(fronts[:, 2:3]), np.sin(fronts[:, 2:3])
    ahead, aside = dx * cos + dy * sin, np.abs(dy * cos - dx * sin)  # (N, M)
    corridor = fronts[:, 3:4] + hazards.radius_m[None] + SIDE_GAP_M - 0.02 * np.maximum(ahead, 0.0)
    is_ahead = (ahead > -hazards.radius_m) & (ahead < _LOOK_AHEAD_M) & (aside < corridor)
    gap = np.maximum(ahead - hazards.radius_m[None] - KEEP_AWAY_M, 0.0)
    speed = np.where(is_ahead, np.sqrt(2.0 * COMFORT_BRAKING_MPS2 * gap), np.inf)
    slowest: NDArray[np.float64] = speed.min(axis=1, initial=np.inf)
    return slowest
