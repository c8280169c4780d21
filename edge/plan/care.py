"""Slow down beside what may hide somebody: a van at the kerb, and who steps out in front of it.

Whoever is hidden cannot be braked for in time at the speed of a free road. Past something that stands
close beside our path and is as tall as people are, and for a little way beyond its far end, the vehicle
goes no faster than it can stop in the room that is left once somebody shows.
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
    """What hides, and how slowly it is passed."""

    speed_mps: float = 7.5
    """Stopped from, at 8 m/s2 and after 0.3 s, within 6 m."""
    height_m: float = 1.7
    """Over what is lower a grown person is seen; a child is not, and this does not help it."""
    length_m: float = 3.5
    """What is shorter hides somebody only for a moment."""
    gap_m: float = 2.0
    """What leaves more room than this to our flank gives time to see who comes."""
    beyond_m: float = 4.0
    """So far past its far end somebody may still step out unseen."""


def careful_speeds(
    path: Path,
    seen: Outlines,
    agents: Sequence[Agent],
    vehicle: Body,
    settings: CareSettings,
) -> Floats:
    """Give the highest speed at each station of a path, (S,); infinite where nothing hides anybody.

    Args:
        path: The drive path.
        seen: Everything that could be hit.
        agents: Theirs, for how tall they are.
        vehicle: Our outline.
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
        # Our front reaches a place before our origin does.
        start = station[k] - along[k] - vehicle.front_m
        end = station[k] + along[k] + settings.beyond_m
        limit[(path.station_m >= start) & (path.station_m <= end)] = settings.speed_mps
    return limit
