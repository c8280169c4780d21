"""Which road users could be hit: confirmed agents, and radar tracks without a box.

A velocity is doubted before it is used: a slow one counts as standing; a young track's sideways motion is
mostly noise; a radar measures motion along its line of sight well and across it badly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.columns import Columns
from edge.contracts.rig import Body
from edge.contracts.scene import Agent, RadarTrack

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass
class OutlineSettings:
    """Which road users are considered, and how far their velocity is trusted."""

    max_range_m: float = 80.0
    """Road users further away are not considered."""
    max_count: int = 48
    """Largest number of road users, the nearest ones; it bounds the work of a tick."""
    standing_mps: float = 0.5
    """Below this speed a short road user stands still."""
    standing_vehicle_mps: float = 1.0
    """Below this speed a road user of at least ``vehicle_length_m`` stands still."""
    vehicle_length_m: float = 3.0
    """Length from which a box counts as a vehicle."""
    standing_radar_mps: float = 0.9
    """Below this speed a radar track without a box stands still: echoes move over a body as the vehicle
    passes it."""
    agent_trust_hits: int = 18
    """Hits after which an agent's sideways speed counts in full, at any rate."""
    radar_trust_s: float = 2.0
    """Age at which a radar track's sideways speed counts in full."""
    radar_half_size_m: float = 0.5
    """Half the side of the square that a radar track without a box stands for."""
    radar_match_m: float = 1.5
    """A radar track this close to a box is that box."""


@dataclass(frozen=True, eq=False)
class Outlines(Columns):
    """Upright rectangles in the ego frame of this tick, one row each."""

    position: Floats  # (A, 2)
    velocity: Floats  # (A, 2) over the ground; exactly zero for what stands
    yaw_rad: Floats  # (A,)
    half_length_m: Floats  # (A,)
    half_width_m: Floats  # (A,)
    trust: Floats  # (A,) in [0, 1], how much of the sideways motion counts
    agent: Ints  # (A,) number of the agent, -1 for a radar track that no box explains
    radar: Ints  # (A,) number of that radar track, -1 for an agent

    def __len__(self) -> int:
        return len(self.agent)

    @property
    def is_radar(self) -> Bools:
        """Which are known to the radar alone, (A,)."""
        return np.asarray(self.agent < 0)

    @property
    def is_standing(self) -> Bools:
        """Which stand still, (A,)."""
        return np.asarray(~self.velocity.any(axis=1))


def outlines(
    agents: Sequence[Agent],
    radar_tracks: Sequence[RadarTrack],
    vehicle: Body,
    settings: OutlineSettings,
) -> Outlines:
    """List the outlines of road users that could be hit.

    A road user that comes from behind is left out: it must keep its distance. So is one whose place is inside
    the vehicle's own outline.
    """
    boxed = _of_agents(agents, settings)
    alone = _of_radar(radar_tracks, settings)
    alone = alone.select(~_is_explained(alone, boxed, settings.radar_match_m))
    everyone = boxed.followed_by(alone)
    return everyone.select(_matters(everyone.position, vehicle, settings))


def _of_agents(agents: Sequence[Agent], settings: OutlineSettings) -> Outlines:
    sure = [(number, agent) for number, agent in enumerate(agents) if agent.is_confirmed]
    rows = np.array(
        [
            (b.x_m, b.y_m, b.vx_mps, b.vy_mps, b.yaw_rad, b.length_m, b.width_m, agent.hits)
            for _, agent in sure
            for b in (agent.box,)
        ],
        np.float64,
    ).reshape(-1, 8)
    is_vehicle = rows[:, 5] >= settings.vehicle_length_m
    standing = np.where(is_vehicle, settings.standing_vehicle_mps, settings.standing_mps)
    return Outlines(
        position=rows[:, 0:2],
        velocity=_calmed(rows[:, 2:4], standing),
        yaw_rad=rows[:, 4],
        half_length_m=0.5 * rows[:, 5],
        half_width_m=0.5 * rows[:, 6],
        trust=np.minimum(rows[:, 7] / settings.agent_trust_hits, 1.0),
        agent=np.array([number for number, _ in sure], np.int64),
        radar=np.full(len(sure), -1, np.int64),
    )


def _of_radar(tracks: Sequence[RadarTrack], settings: OutlineSettings) -> Outlines:
    rows = np.array(
        [(t.x_m, t.y_m, t.vx_mps, t.vy_mps, t.age_s) for t in tracks], np.float64
    ).reshape(-1, 5)
    position, velocity = rows[:, 0:2], rows[:, 2:4]
    trust = np.minimum(rows[:, 4] / settings.radar_trust_s, 1.0)
    sight = position / np.maximum(np.hypot(*position.T), 0.1)[:, None]
    along = (velocity * sight).sum(axis=1, keepdims=True) * sight
    half = np.full(len(rows), settings.radar_half_size_m)
    return Outlines(
        position=position,
        velocity=_calmed(
            along + trust[:, None] * (velocity - along),
            np.full(len(rows), settings.standing_radar_mps),
        ),
        yaw_rad=np.zeros(len(rows)),
        half_length_m=half,
        half_width_m=half,
        trust=trust,
        agent=np.full(len(rows), -1, np.int64),
        radar=np.arange(len(rows), dtype=np.int64),
    )


def _calmed(velocity: Floats, standing_mps: Floats) -> Floats:
    """Stop what is slower than noise; (A, 2)."""
    is_moving = np.hypot(*velocity.T) >= standing_mps
    return np.where(is_moving[:, None], velocity, 0.0)


def _is_explained(alone: Outlines, boxed: Outlines, match_m: float) -> Bools:
    """Return which radar tracks lie in or beside a box, (R,)."""
    gap = alone.position[:, None] - boxed.position[None]  # (R, A, 2)
    c, s = np.cos(boxed.yaw_rad), np.sin(boxed.yaw_rad)
    along = np.abs(c * gap[..., 0] + s * gap[..., 1]) < boxed.half_length_m + match_m
    across = np.abs(c * gap[..., 1] - s * gap[..., 0]) < boxed.half_width_m + match_m
    return np.asarray((along & across).any(axis=1))


def _matters(position: Floats, vehicle: Body, settings: OutlineSettings) -> Bools:
    x, y = position.T
    is_ahead = x > -vehicle.rear_overhang_m
    is_inside = is_ahead & (x < vehicle.front_m) & (np.abs(y) < vehicle.half_width_m)
    distance = np.hypot(x, y)
    is_kept = is_ahead & ~is_inside & (distance < settings.max_range_m)
    by_distance = np.argsort(np.where(is_kept, distance, np.inf), kind="stable")
    is_kept[by_distance[settings.max_count :]] = False
    return np.asarray(is_kept)
