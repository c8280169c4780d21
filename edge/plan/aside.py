"""Make room: drive a little to one side of the lane's middle, past things that stand at its edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Body
from edge.plan.outlines import Outlines
from edge.plan.path import Path

Floats = NDArray[np.float64]


@dataclass
class AsideSettings:
    """Room that is made for things at the edge of the lane."""

    wanted_m: float = 0.5
    """Room wanted between the vehicle's flank and a standing thing."""
    enough_m: float = 0.25
    """Least room with which the vehicle drives past; a thing that leaves less even after stepping aside
    blocks the way."""
    max_m: float = 0.5
    """Largest distance from the middle of the lane."""
    ahead_m: float = 25.0
    """How far ahead things are considered that need room."""


def aside_m(line: Path, seen: Outlines, vehicle: Body, settings: AsideSettings) -> float:
    """Return how far to the left of the route (negative: right) to drive, in m.

    Between things on both sides the middle is taken.

    Args:
        line: The route.
        seen: Everything that could be hit.
        vehicle: Outline of the vehicle.
        settings: How much room to make.
    """
    standing = seen.select(seen.is_standing)
    station, offset = line.project(standing.position)
    here, _ = line.project(np.zeros(2))
    _, yaw = line.at(station)
    turn = standing.yaw_rad - yaw
    across = np.abs(np.sin(turn)) * standing.half_length_m
    across += np.abs(np.cos(turn)) * standing.half_width_m
    lack = vehicle.half_width_m + settings.wanted_m - (np.abs(offset) - across)
    most = settings.max_m + settings.wanted_m - settings.enough_m
    is_passed = (station > here) & (station < here + settings.ahead_m) & (lack > 0) & (lack < most)
    from_left = float(lack[is_passed & (offset > 0.0)].max(initial=0.0))
    from_right = float(lack[is_passed & (offset <= 0.0)].max(initial=0.0))
    wish = from_right - from_left
    wish = 0.5 * wish if from_left > 0.0 and from_right > 0.0 else wish
    return min(max(wish, -settings.max_m), settings.max_m)
