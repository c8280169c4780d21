"""Clean sensor readings: drop values that no sensor can have measured.

One radar point that is not a number makes every output of a network one, and one sealed into a clip
makes the clip unreadable. So vehicle, recorder, labels and training all clean here, by the same bounds,
and count what they drop. Clean readings pass untouched, as the very same object.

Own motion cannot be left out: an impossible value is replaced by the last frame set's, and the
runtime limits for how long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import Pose
from edge.contracts.sensors import (
    RADAR_FIELDS,
    ULTRASONIC_COUNT,
    ULTRASONIC_MAX_RANGE_M,
    Dropped,
    EgoState,
    FrameSet,
    RadarScan,
    Reading,
    Route,
    UltrasonicScan,
)

RADAR_LIMITS = np.array([300.0, 300.0, 100.0, 64.0], np.float32)
"""Largest magnitude of each of ``RADAR_FIELDS``: no automotive radar reaches further than 300 m, nothing
on a road passes at 360 km/h, and cross-sections are reported within +-64 dBsm (Continental ARS 408)."""

MAX_RADAR_POINTS = 1024
"""Of one scan, the nearest. Radars report a few hundred, and clustering takes memory by their square."""

_Record = TypeVar("_Record", Pose, EgoState)

_POSE_LIMITS = dict.fromkeys(("x_m", "y_m", "z_m"), 1e7)
_EGO_LIMITS = {
    "speed_mps": 200.0,
    "acceleration_mps2": 200.0,
    "yaw_rate_radps": 7.0,
    "steering_rad": 7.0,
}
"""Largest magnitudes, as the records allow: what is cleaned can be written and read back."""
_SPEED_LIMIT_MPS = 200.0
_ROUTE_REACH_M = 1e4


def clean(frame_set: FrameSet, last: FrameSet | None = None) -> FrameSet:
    """Drop the readings that are not finite or beyond physical bounds; count them in ``dropped``.

    Args:
        frame_set: As sensed, or cleaned before: then it is returned as it is, with its count.
        last: The clean frame set before it. Own motion, speed limit and stop distance are held from
            it where they make no sense; without it they take their defaults.
    """
    radar, points = clean_radar(frame_set.radar)
    ultrasonics, ranges = clean_ultrasonics(frame_set.ultrasonics)
    ego, motions = _clean_ego(frame_set.ego, last.ego if last else None)
    route, stretches = _clean_route(frame_set.route, last.route if last else Route())
    counts = {
        Reading.RADAR_POINT: points,
        Reading.ULTRASONIC: ranges,
        Reading.EGO: motions,
        Reading.ROUTE: stretches,
    }
    is_untouched = radar is frame_set.radar and ultrasonics is frame_set.ultrasonics
    if is_untouched and not any(counts.values()):
        return frame_set
    return replace(
        frame_set,
        radar=radar,
        ultrasonics=ultrasonics,
        ego=ego,
        route=route,
        dropped=total_dropped(frame_set.dropped, as_dropped(counts)),
    )


def clean_radar(scan: RadarScan) -> tuple[RadarScan, int]:
    """Drop radar points that are not finite, beyond ``RADAR_LIMITS`` or too many; say how many.

    A scan that is no table of points has none.
    """
    columns = len(RADAR_FIELDS)
    points = _as_numbers(scan.points_ego)
    if points.ndim != 2 or points.shape[1] != columns:
        return RadarScan(), -(-points.size // columns)
    is_good: NDArray[np.bool_] = np.all(np.abs(points) <= RADAR_LIMITS, axis=1)  # NaN: no bound
    if np.count_nonzero(is_good) > MAX_RADAR_POINTS:
        range_m = np.where(is_good, np.hypot(points[:, 0], points[:, 1]), np.inf)
        is_good[np.argsort(range_m, kind="stable")[MAX_RADAR_POINTS:]] = False
    count = len(points) - int(np.count_nonzero(is_good))
    if not count and points is scan.points_ego:
        return scan, 0
    return RadarScan(points[is_good]), count


def clean_ultrasonics(scan: UltrasonicScan) -> tuple[UltrasonicScan, int]:
    """Make ranges that are not finite or outside 0 to the maximum a missing echo; say how many.

    So does a range that is not there; what is beyond ``ULTRASONIC_COUNT`` is dropped.
    """
    ranges_m = _as_numbers(scan.ranges_m)
    is_good = (ranges_m >= 0.0) & (ranges_m <= ULTRASONIC_MAX_RANGE_M)
    if is_good.shape == (ULTRASONIC_COUNT,) and is_good.all() and ranges_m is scan.ranges_m:
        return scan, 0
    silent = np.where(is_good, ranges_m, np.float32(ULTRASONIC_MAX_RANGE_M)).ravel()
    lacking = ULTRASONIC_COUNT - len(silent)
    ends = (0, max(lacking, 0))
    whole = np.pad(silent, ends, constant_values=ULTRASONIC_MAX_RANGE_M)[:ULTRASONIC_COUNT]
    return UltrasonicScan(whole), int(np.count_nonzero(~is_good)) + abs(lacking)


def _as_numbers(values: Any) -> NDArray[np.float32]:
    """Give an array of float32, the same object where it is one; empty where they are no numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        return np.zeros(0, np.float32)
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        return array.astype(np.float32, copy=False)


def total_dropped(*parts: Dropped) -> Dropped:
    """Add up counts of dropped readings, per kind."""
    total: Counter[Reading] = Counter()
    for part in parts:
        total.update(dict(part))
    return as_dropped(total)


def as_dropped(counts: Mapping[Reading, int]) -> Dropped:
    """List counts in the order of ``Reading``, without the kinds that lost nothing."""
    return tuple((kind, counts[kind]) for kind in Reading if counts.get(kind))


def _clean_ego(ego: EgoState, last: EgoState | None) -> tuple[EgoState, int]:
    pose, poses = _held(ego.world_from_ego, last.world_from_ego if last else Pose(), _POSE_LIMITS)
    motion, motions = _held(ego, last or EgoState(stamp_ns=0, world_from_ego=Pose()), _EGO_LIMITS)
    if poses:
        motion = msgspec.structs.replace(motion, world_from_ego=pose)
    return motion, poses + motions


def _clean_route(route: Route, last: Route) -> tuple[Route, int]:
    """Drop impossible route points; a stop beyond the reach of any route counts as no stop."""
    reach_m, stop_m = _ROUTE_REACH_M, route.stop_distance_m
    points = tuple(p for p in route.points_ego if all(-reach_m <= v <= reach_m for v in p))
    changes: dict[str, Any] = {}
    if len(points) < len(route.points_ego):
        changes["points_ego"] = points
    if not -_SPEED_LIMIT_MPS <= route.speed_limit_mps <= _SPEED_LIMIT_MPS:
        changes["speed_limit_mps"] = last.speed_limit_mps
    if stop_m is not None and not 0.0 <= stop_m <= reach_m:
        changes["stop_distance_m"] = None if stop_m > reach_m else last.stop_distance_m
    if not changes:
        return route, 0
    count = len(route.points_ego) - len(points) + len(changes.keys() - {"points_ego"})
    return msgspec.structs.replace(route, **changes), count


def _held(record: _Record, last: _Record, limits: Mapping[str, float]) -> tuple[_Record, int]:
    """Replace the fields beyond their limits by those of ``last``; say how many."""
    bad = [name for name, limit in limits.items() if not abs(getattr(record, name)) <= limit]
    if not bad:
        return record, 0
    held = {name: getattr(last, name) for name in bad}
    return msgspec.structs.replace(record, **held), len(bad)
