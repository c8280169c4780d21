"""Read a committed SUMO network into lanes that can be driven, walked and painted.

The networks are made once by ``python -m sim.maps_build`` and committed, so that a run needs none of
SUMO's tools.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAP_NAMES = ("grid", "suburb", "suburb_gate")


class LaneKind(enum.StrEnum):
    """What a strip of ground is for."""

    DRIVING = "driving"
    PARKING = "parking"
    """Asphalt between the rightmost driving lane and the pavement where vehicles stand at the kerb."""
    PAVEMENT = "pavement"
    CROSSING = "crossing"
    JUNCTION = "junction"
    """A driving lane inside a junction."""
    WALKINGAREA = "walkingarea"
    """A polygon where pavements and crossings meet."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One strip of ground.

    ``line_world``: float64 (N, 2), metres, world frame; the centre line in driving direction, or the
    closed outline (first point not repeated) of a walking area, whose width is 0.
    """

    lane_id: str
    edge_id: str
    kind: LaneKind
    line_world: NDArray[np.float64]
    width_m: float
    speed_limit_mps: float
    is_rightmost: bool = False
    """The driving lane nearest to the kerb."""


class Split(enum.StrEnum):
    """What frames of a place may be used for."""

    TRAIN = "train"
    TUNE = "tune"
    GATE = "gate"


@dataclass(frozen=True)
class Place:
    """Where a drive can start: on a driving lane, ``offset_m`` from its beginning."""

    place_id: str
    lane_id: str
    offset_m: float
    x_m: float
    y_m: float
    yaw_rad: float
    split: Split


@dataclass(frozen=True, eq=False)
class RoadMap:
    """A map: its lanes and where drives can start. ``bounds_m`` is (x min, y min, x max, y max)."""

    name: str
    lanes: tuple[Lane, ...]
    bounds_m: tuple[float, float, float, float]
    places: tuple[Place, ...] = ()
