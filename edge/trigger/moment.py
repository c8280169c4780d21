"""The input of the rules: one tick's conclusions, and the facts about it that several rules share.

The facts that cost time are computed once per moment and kept with it, because every moment is read again in
each of the hundred ticks that follow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.contracts.scene import Agent, BoxSource, Perception, Plan, RadarTrack, Rung
from edge.contracts.sensors import EgoState, Route
from edge.contracts.time import NS_PER_S

MATCH_GAP_M = 2.0
"""A radar track this close to a box's footprint is that box: each errs by up to a metre."""

_SEEING_RUNGS = frozenset({Rung.FULL, Rung.SMALL})


@dataclass
class TriggerSettings:
    """Numbers of the rules that a campaign does not choose; a campaign chooses the thresholds."""

    escalation_worth: float = 0.15
    """A subject that has fired fires again when its worth has grown by this much."""

    radar_range_m: float = 30.0
    """Radar tracks further away are no reason for a clip."""
    radar_min_hits: int = 5
    """Fewest hits of a radar track that can be a reason; of scans and not of time by intent."""
    radar_persistence_s: float = 1.0
    """From here on persistence adds nothing: a track is there or it is not."""
    radar_moving_mps: float = 1.0
    """Full relevance for a track that moves at least this fast, wherever it is."""
    radar_road_half_width_m: float = 3.5
    """Full relevance for a track this close to the route, even if it stands still."""
    radar_road_fade_m: float = 4.5
    """Beyond the road's half width relevance falls to nothing over this distance: walls, signs."""
    radar_company_radius_m: float = 8.0
    """Largest distance of two radar tracks that move together."""
    radar_company_mps: float = 1.5
    """Two tracks move together when their velocities differ by less than this."""

    flicker_gap_s: float = 0.15
    """Shortest disappearance that counts; below it is sensor noise."""
    flicker_range_m: float = 40.0
    """Agents further away may flicker without a reason for a clip."""

    birth_lookback_s: float = 1.0
    """How long before its first detection a road user must have been in view."""
    birth_view_range_m: float = 30.0
    """Distance within which a road user is in view and should have been seen before."""
    birth_same_m: float = 3.0
    """A box this close to the birthplace just before was the same road user, renamed."""

    brake_window_s: float = 0.5
    """Time over which a hard brake is measured."""


@dataclass(frozen=True)
class Finding:
    """Result of a rule about one subject in this tick; the rule defines ``value``."""

    value: float
    worth: float
    track_id: int | None = None
    x_m: float | None = None
    y_m: float | None = None


@dataclass(frozen=True)
class Moment:
    """One tick's conclusions. The rules get about three seconds of them, oldest first."""

    perception: Perception
    plan: Plan
    ego: EgoState
    route: Route = field(default_factory=Route)
    faulty_cameras: int = 0
    """How many cameras showed nothing that can be trusted."""
    radar_silent_s: float = 0.0
    """For how long the radar had been silent."""
    late_ms: float = 0.0
    """By how much the plan came after its deadline."""
    has_stepped: bool = False
    """Whether the clock had stepped just before."""
    period_s: float = field(kw_only=True)
    """Time to the next tick at the rate of the source."""

    @property
    def stamp_ns(self) -> int:
        """When it was."""
        return self.perception.stamp_ns

    @cached_property
    def can_see(self) -> bool:
        """Whether the network's boxes could be used: without them, the lack of a box means nothing."""
        return self.perception.rung in _SEEING_RUNGS and not self.perception.has_fault

    @cached_property
    def agents(self) -> dict[int, Agent]:
        """Agents by track."""
        return {agent.track_id: agent for agent in self.perception.agents}

    @cached_property
    def unmatched(self) -> dict[int, RadarTrack]:
        """Radar tracks with no box and no agent within ``MATCH_GAP_M``, by track."""
        tracks = self.perception.radar_tracks
        is_matched = _gaps_m(tracks, self._footprints()) <= MATCH_GAP_M
        return {t.track_id: t for t, matched in zip(tracks, is_matched, strict=True) if not matched}

    def to_world(self, x_m: float, y_m: float) -> tuple[float, float]:
        """Move a point on the ground from the ego frame of this moment to the world."""
        pose, (c, s) = self.ego.world_from_ego, self._heading
        return pose.x_m + c * x_m - s * y_m, pose.y_m + s * x_m + c * y_m

    def from_world(self, x_m: float, y_m: float) -> tuple[float, float]:
        """Move a point on the ground from the world to the ego frame of this moment."""
        pose, (c, s) = self.ego.world_from_ego, self._heading
        dx_m, dy_m = x_m - pose.x_m, y_m - pose.y_m
        return c * dx_m + s * dy_m, -s * dx_m + c * dy_m

    @cached_property
    def _heading(self) -> tuple[float, float]:
        yaw_rad = self.ego.world_from_ego.yaw_rad
        return math.cos(yaw_rad), math.sin(yaw_rad)

    def _footprints(self) -> list[tuple[float, float, float, float, float]]:
        """List all boxes and agents as x, y, yaw, length, width."""
        boxes = [*self.perception.boxes, *(agent.box for agent in self.perception.agents)]
        return [
            (b.x_m, b.y_m, b.yaw_rad, b.length_m, b.width_m)
            for b in boxes
            if b.source is not BoxSource.RADAR
        ]


def _gaps_m(
    tracks: Sequence[RadarTrack], footprints: list[tuple[float, float, float, float, float]]
) -> NDArray[np.float64]:
    """Measure from each track to the nearest oriented rectangle, (T,) metres; infinite if none."""
    if not tracks or not footprints:
        return np.full(len(tracks), np.inf)
    points = np.array([(t.x_m, t.y_m) for t in tracks])  # (T, 2)
    x, y, yaw, length, width = np.array(footprints).T  # (B,) each
    dx, dy = points[:, :1] - x, points[:, 1:] - y  # (T, B)
    along = np.abs(np.cos(yaw) * dx + np.sin(yaw) * dy) - 0.5 * length
    across = np.abs(-np.sin(yaw) * dx + np.cos(yaw) * dy) - 0.5 * width
    gaps_m: NDArray[np.float64] = np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0))
    nearest_m: NDArray[np.float64] = gaps_m.min(axis=1)
    return nearest_m


def period_s(moments: Sequence[Moment]) -> float:
    """Return the mean time between moments, or the source's period when there is only one."""
    if len(moments) < 2:
        return moments[-1].period_s
    return seconds_between(moments[0], moments[-1]) / (len(moments) - 1)


def seconds_between(earlier: Moment, later: Moment) -> float:
    """Return the time from one moment to another."""
    return (later.stamp_ns - earlier.stamp_ns) / NS_PER_S


def nearness(range_m: float, full_range_m: float) -> float:
    """Weigh by distance: 1 at the bumper, falling to 0.3 at ``full_range_m`` and beyond."""
    return 1.0 - 0.7 * min(range_m / full_range_m, 1.0)
