"""Limit the speed beside things that may hide a pedestrian, for instance a van at the kerb.

At the speed of a free road the vehicle cannot stop for a pedestrian who steps out from behind such a thing.
Beside a thing that stands close to the path and is as tall as a person, and for a short way beyond its far
end, the vehicle drives no faster than it can stop within the room that is left once the pedestrian is
visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Body
from edge.contracts.scene import Agent
from edge.plan.outlines import Outlines
from edge.plan.path import Path

Floats = NDArray[np.float64]


@dataclass
class CareSettings:
    """Which things may hide a pedestrian, and how fast the vehicle passes them."""

    speed_mps: float = 7.5
    """Speed limit beside them: from it a vehicle stops within 6 m, with 0.3 s of delay and 8 m/s2."""
    height_m: float = 1.7
    """Least height of a thing that hides a grown person. A lower one may hide a child; for that nothing is
    done."""
    length_m: float = 3.5
    """Least length; a shorter thing hides a pedestrian for a moment only."""
    gap_m: float = 2.0
    """Largest gap to the vehicle's flank; past a thing further away there is time to see who comes."""
    beyond_m: float = 4.0
    """Distance beyond the far end of the thing over which the limit still holds."""


def careful_speeds(
    path: Path,
    seen: Outlines,
    agents: Sequence[Agent],
    vehicle: Body,
    settings: CareSettings,
) -> Floats:
    """Return the highest speed at each station of a path, (S,), in m/s; infinite where nothing is hidden.

    Args:
        path: The drive path.
        seen: Everything that could be hit.
        agents: Those that ``seen.agent`` counts through, for their heights.
        vehicle: Outline of the vehicle.
        settings: What hides.
    """
    limit = np.full(len(path.station_m), np.inf)
    height = np.array([agents[k].box.height_m if k >= 0 else 0.0 for k in seen.agent.tolist()])
    hides = seen.is_standing & (height >= settings.height_m)
    hiding = seen.select(hides & (2.0 * seen.half_length_m >= settings.length_m))
    station, offset = path.project(hiding.position)
    _, yaw = path.at(station)
    turn = hiding.yaw_rad - yaw
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    along = cos * hiding.half_length_m + sin * hiding.half_width_m
    across = sin * hiding.half_length_m + cos * hiding.half_width_m
    gap = np.abs(offset) - across - vehicle.half_width_m
    for k in np.flatnonzero((gap > 0.0) & (gap < settings.gap_m)):
        # The front of the vehicle reaches a place before its origin does.
        start = station[k] - along[k] - vehicle.front_m
        end = station[k] + along[k] + settings.beyond_m
        limit[(path.station_m >= start) & (path.station_m <= end)] = settings.speed_mps
    return limit
