"""Camera against radar: the radar follows something on which the network put no box.

Only this rule can find a class that the network has never learnt. Radar also follows walls, signs and ghosts,
and ordinary misses far outnumber rare objects, so the value is built to rank them: it grows with how long the
track has been without a box, how near it is, whether it moves or stands on the road ahead, and how many such
tracks move together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.scene import RadarTrack
from edge.trigger.moment import (
    Finding,
    Moment,
    TriggerSettings,
    nearness,
    period_s,
    seconds_between,
)

_SHORTEST_BASELINE_S = 0.3
"""Displacement over less time than this is noise, not speed."""
_MOST_COMPANIONS = 4
_COMPANION_SHARE = 0.5


@dataclass(frozen=True)
class _Lone:
    """A radar track without a box: how long it has been one, and how it moves over the ground."""

    track: RadarTrack
    range_m: float
    unmatched_s: float
    vx_mps: float
    vy_mps: float
    """Displacement over time, world axes."""
    speed_mps: float
    """Lower bound of its speed: the smaller of displacement over time and the tracker's own estimate.

    The reflex point of a wall moves along with the vehicle but has no measured speed; a ghost has a measured
    speed and is not displaced.
    """


def radar_without_box(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Find radar tracks near the ego that no box explains.

    Value: seconds unmatched (saturating) x nearness x relevance x (1 + half per companion, at most
    four). A single moving track at half range is worth about 0.65, a herd of three there 1.3.
    """
    now = moments[-1]
    if not now.can_see:
        return ()
    lone = [
        _lone(track, moments)
        for track in now.unmatched.values()
        if track.hits >= settings.radar_min_hits
        and math.hypot(track.x_m, track.y_m) < settings.radar_range_m
    ]
    return tuple(_finding(one, lone, now, settings) for one in lone)


def _lone(track: RadarTrack, moments: Sequence[Moment]) -> _Lone:
    """Gather the past moments of a track without a box."""
    past = [m for m in moments if m.can_see and track.track_id in m.unmatched]
    first, now = past[0], moments[-1]
    before = first.unmatched[track.track_id]
    x0_m, y0_m = first.to_world(before.x_m, before.y_m)
    x1_m, y1_m = now.to_world(track.x_m, track.y_m)
    elapsed_s = seconds_between(first, now)
    vx_mps = vy_mps = 0.0
    if elapsed_s >= _SHORTEST_BASELINE_S:
        vx_mps, vy_mps = (x1_m - x0_m) / elapsed_s, (y1_m - y0_m) / elapsed_s
    return _Lone(
        track=track,
        range_m=math.hypot(track.x_m, track.y_m),
        unmatched_s=len(past) * period_s(moments),
        vx_mps=vx_mps,
        vy_mps=vy_mps,
        speed_mps=min(math.hypot(vx_mps, vy_mps), math.hypot(track.vx_mps, track.vy_mps)),
    )


def _finding(one: _Lone, lone: Sequence[_Lone], now: Moment, settings: TriggerSettings) -> Finding:
    relevance = min(one.speed_mps / settings.radar_moving_mps, 1.0)
    if relevance < 1.0:
        relevance = max(relevance, _road_share(one.track, now.route.points_ego, settings))
    company = 1.0 + _COMPANION_SHARE * min(_companions(one, lone, settings), _MOST_COMPANIONS)
    value = (
        min(one.unmatched_s, settings.radar_persistence_s)
        * nearness(one.range_m, settings.radar_range_m)
        * relevance
        * company
    )
    return Finding(
        value=value,
        worth=value / (1.0 + value),
        track_id=one.track.track_id,
        x_m=one.track.x_m,
        y_m=one.track.y_m,
    )


def _companions(one: _Lone, lone: Sequence[_Lone], settings: TriggerSettings) -> int:
    """Count the other unexplained tracks that move along with this one; what stands has none."""
    least_mps = 0.5 * settings.radar_moving_mps
    if one.speed_mps < least_mps:
        return 0
    return sum(
        other is not one
        and other.speed_mps >= least_mps
        and math.dist((one.track.x_m, one.track.y_m), (other.track.x_m, other.track.y_m))
        < settings.radar_company_radius_m
        and math.dist((one.vx_mps, one.vy_mps), (other.vx_mps, other.vy_mps))
        < settings.radar_company_mps
        for other in lone
    )


def _road_share(
    track: RadarTrack, route_ego: Sequence[tuple[float, float]], settings: TriggerSettings
) -> float:
    """Weigh a track by its distance to the route: 1 on the road, 0 among the buildings."""
    line = [(0.0, 0.0), *(route_ego or ((settings.radar_range_m, 0.0),))]
    point = (track.x_m, track.y_m)
    off_m = min(_segment_gap_m(point, a, b) for a, b in itertools.pairwise(line))
    beyond_m = off_m - settings.radar_road_half_width_m
    return 1.0 - min(max(beyond_m / settings.radar_road_fade_m, 0.0), 1.0)


def _segment_gap_m(
    point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]
) -> float:
    """Measure from a point to a line segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length2 = dx * dx + dy * dy
    px, py = point[0] - start[0], point[1] - start[1]
    share = min(max((px * dx + py * dy) / length2, 0.0), 1.0) if length2 > 0.0 else 0.0
    return math.hypot(px - share * dx, py - share * dy)
