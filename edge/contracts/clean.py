"""Clean sensor readings: drop or replace values that no sensor can have measured.

One radar point that is not a number makes every output of a network one, and one sealed into a clip
makes the clip unreadable. So vehicle, recorder, labels and training all clean here, by the same bounds,
and count what they drop. Clean readings pass untouched, as the very same object.

Own motion cannot be left out: an impossible speed or rate is the last frame set's, an impossible place is
where these lead from its place, and the runtime limits for how long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Rig
from edge.contracts.sensors import (
    RADAR_FIELDS,
    ULTRASONIC_MAX_RANGE_M,
    Drop,
    Dropped,
    DropReason,
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    Reading,
    Route,
    UltrasonicScan,
)
from edge.contracts.time import NS_PER_S, is_one_time_base

RADAR_LIMITS = np.array([300.0, 300.0, 100.0, 64.0], np.float32)
"""Largest magnitude of each of ``RADAR_FIELDS``: no automotive radar reaches further than 300 m, nothing
on a road passes at 360 km/h, and cross-sections are reported within +-64 dBsm (Continental ARS 408)."""

MAX_RADAR_POINTS = 1024
"""Of one scan, the nearest. Radars report a few hundred, and clustering takes memory by their square."""

LATE_S = 0.06
"""An image this much older than its frame set is late: at 13 m/s it shows the road 0.8 m behind, the largest
error of place that a match of boxes forgives; two periods of a camera at 36 Hz stay below it."""
STALE_S = 0.5
"""An older image is missing: it shows another moment."""
MAX_STAMP_NS = 2**63 - 1
CORRECTION_M = 20.0
"""Localisation that finds a satellite again corrects itself by less; what lies further is another place."""

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
_MAX_ROUTE_POINTS = 1024

DropKey = tuple[Reading, str, DropReason]
"""What a count of dropped readings is kept by: kind, sensor, reason."""


def clean(frame_set: FrameSet, rig: Rig, last: FrameSet | None = None) -> FrameSet:
    """Drop the readings that are not finite or beyond physical bounds; count them in ``dropped``.

    Args:
        frame_set: As sensed, or cleaned before: then it is returned as it is, with its count.
        rig: What the vehicle has: how many images and ranges there are, and of what size.
        last: The clean frame set before it. Own motion, speed limit and stop distance are held from
            it where they make no sense; without it they take their defaults.
    """
    counts: Counter[DropKey] = Counter()
    stamp_ns = _clean_stamp(frame_set.stamp_ns, last, counts)
    changes: dict[str, Any] = {
        "index": _clean_index(frame_set.index, last),
        "stamp_ns": stamp_ns,
        "frames": _clean_frames(frame_set.frames, rig.cameras, stamp_ns, counts),
        "radar": clean_radar(frame_set.radar, rig, counts),
        "ultrasonics": clean_ultrasonics(frame_set.ultrasonics, len(rig.ultrasonics), counts),
        "ego": _clean_ego(frame_set.ego, last.ego if last else None, stamp_ns, counts),
        "route": _clean_route(frame_set.route, last.route if last else Route(), counts),
    }
    changes = {name: new for name, new in changes.items() if new is not getattr(frame_set, name)}
    if counts:
        changes["dropped"] = total_dropped(frame_set.dropped, as_dropped(counts))
    return replace(frame_set, **changes) if changes else frame_set


def is_reachable(last: FrameSet, now: FrameSet) -> bool:
    """Return whether a vehicle can have driven from one place to the next one, or localisation has jumped.

    Args:
        last: The clean frame set before, of the same time base.
        now: The one after it, cleaned.
    """
    then, here = last.ego.world_from_ego, now.ego.world_from_ego
    way_m = math.hypot(here.x_m - then.x_m, here.y_m - then.y_m)
    if way_m <= CORRECTION_M:
        return True
    passed_s = max(now.stamp_ns - last.stamp_ns, 0) / NS_PER_S
    return way_m <= CORRECTION_M + _EGO_LIMITS["speed_mps"] * passed_s


def clean_radar(scan: RadarScan, rig: Rig, counts: Counter[DropKey] | None = None) -> RadarScan:
    """Drop radar points that are not finite, beyond ``RADAR_LIMITS`` or too many; count them.

    A scan that is no table of points has none. Points of a radar that the rig does not have count as the
    first radar's.
    """
    counts = Counter() if counts is None else counts
    columns = len(RADAR_FIELDS)
    points = _as_numbers(scan.points_ego)
    if points.ndim != 2 or points.shape[1] != columns:
        counts[Reading.RADAR_POINT, "", DropReason.WRONG_SHAPE] += -(-points.size // columns)
        return RadarScan()
    sensor = _clean_sensor(scan.sensor, len(points), len(rig.radars))
    is_good: NDArray[np.bool_] = np.all(np.abs(points) <= RADAR_LIMITS, axis=1)  # NaN: no bound
    if not is_good.all():
        _count_radar(points, ~is_good, sensor, rig, counts)
    if np.count_nonzero(is_good) > MAX_RADAR_POINTS:
        range_m = np.where(is_good, np.hypot(points[:, 0], points[:, 1]), np.inf)
        far = np.argsort(range_m, kind="stable")[MAX_RADAR_POINTS:]
        counts[Reading.RADAR_POINT, "", DropReason.TOO_MANY] += int(is_good[far].sum())
        is_good[far] = False
    if is_good.all():
        is_untouched = points is scan.points_ego and sensor is scan.sensor
        return scan if is_untouched else RadarScan(points, sensor)
    return RadarScan(points[is_good], None if sensor is None else sensor[is_good])


def clean_ultrasonics(
    scan: UltrasonicScan, sensors: int, counts: Counter[DropKey] | None = None
) -> UltrasonicScan:
    """Make ranges that are not finite or outside 0 to the maximum a missing echo; count them.

    So does a range that is not there; what is beyond ``sensors`` is dropped.
    """
    counts = Counter() if counts is None else counts
    ranges_m = _as_numbers(scan.ranges_m)
    is_good = (ranges_m >= 0.0) & (ranges_m <= ULTRASONIC_MAX_RANGE_M)
    if is_good.shape == (sensors,) and is_good.all():
        return scan if ranges_m is scan.ranges_m else UltrasonicScan(ranges_m)
    silent = np.where(is_good, ranges_m, np.float32(ULTRASONIC_MAX_RANGE_M)).ravel()
    for number in np.flatnonzero(~is_good.ravel()[:sensors]).tolist():
        reason = _reason(float(ranges_m.ravel()[number]))
        counts[Reading.ULTRASONIC, f"ultrasonic-{number}", reason] += 1
    lacking = sensors - len(silent)
    if lacking:
        counts[Reading.ULTRASONIC, "", DropReason.WRONG_SHAPE] += abs(lacking)
    whole = np.pad(silent, (0, max(lacking, 0)), constant_values=ULTRASONIC_MAX_RANGE_M)[:sensors]
    return UltrasonicScan(whole)


def total_dropped(*parts: Dropped) -> Dropped:
    """Add up counts of dropped readings, per kind, sensor and reason."""
    total: Counter[DropKey] = Counter()
    for drop in (drop for part in parts for drop in part):
        total[drop.reading, drop.sensor, drop.reason] += drop.count
    return as_dropped(total)


def as_dropped(counts: Mapping[DropKey, int]) -> Dropped:
    """List counts in a fixed order, without the kinds that lost nothing."""
    order = {reading: k for k, reading in enumerate(Reading)}
    kinds = sorted((k for k, count in counts.items() if count), key=lambda k: (order[k[0]], *k[1:]))
    return tuple(
        Drop(reading, counts[reading, sensor, reason], sensor, reason)
        for reading, sensor, reason in kinds
    )


def by_reading(dropped: Iterable[Drop]) -> dict[Reading, int]:
    """Add up counts of dropped readings, per kind alone."""
    total: Counter[Reading] = Counter()
    for drop in dropped:
        total[drop.reading] += drop.count
    return dict(total)


def _clean_index(index: Any, last: FrameSet | None) -> int:
    if type(index) is int and 0 <= index < 2**53:
        return index
    number = _number(index)
    is_index = math.isfinite(number) and 0 <= number < 2**53
    return int(number) if is_index else (last.index + 1 if last else 0)


def _clean_stamp(stamp_ns: Any, last: FrameSet | None, counts: Counter[DropKey]) -> int:
    """Return a stamp that a record can hold; one that is none is the last one's."""
    if type(stamp_ns) is int and 0 <= stamp_ns <= MAX_STAMP_NS:
        return stamp_ns
    try:
        whole = int(stamp_ns)
    except (TypeError, ValueError, OverflowError):
        whole = -1
    if 0 <= whole <= MAX_STAMP_NS:
        return whole
    counts[Reading.STAMP, "", DropReason.OUT_OF_BOUNDS] += 1
    return last.stamp_ns if last else 0


def _clean_frames(
    frames: tuple[Frame, ...], cameras: tuple[Camera, ...], stamp_ns: int, counts: Counter[DropKey]
) -> tuple[Frame, ...]:
    """Return one frame per camera of the rig; what is no image of its camera is ``CORRUPT``."""
    if len(frames) != len(cameras):
        counts[Reading.IMAGE, "", DropReason.WRONG_SHAPE] += abs(len(frames) - len(cameras))
        lacking = (Frame(None, stamp_ns, FrameStatus.MISSING),) * len(cameras)
        frames = (*frames, *lacking)[: len(cameras)]
    pairs = zip(frames, cameras, strict=True)
    cleaned = tuple(_clean_frame(frame, camera, stamp_ns, counts) for frame, camera in pairs)
    is_untouched = all(new is old for new, old in zip(cleaned, frames, strict=True))
    return frames if is_untouched else cleaned


def _clean_frame(frame: Frame, camera: Camera, stamp_ns: int, counts: Counter[DropKey]) -> Frame:
    own_ns = frame.stamp_ns
    if not (type(own_ns) is int and 0 <= own_ns <= MAX_STAMP_NS):
        counts[Reading.STAMP, camera.name, DropReason.OUT_OF_BOUNDS] += 1
        own_ns = stamp_ns
    status, image = frame.status, frame.image
    if image is None:
        status = status if status is not FrameStatus.FRESH else FrameStatus.MISSING
    elif not _is_image(image, camera):
        counts[Reading.IMAGE, camera.name, DropReason.WRONG_SHAPE] += 1
        status, image = FrameStatus.CORRUPT, None
    elif status is FrameStatus.FRESH and stamp_ns - own_ns > LATE_S * 1e9:
        status = FrameStatus.LATE if stamp_ns - own_ns <= STALE_S * 1e9 else FrameStatus.MISSING
    if status is frame.status and image is frame.image and own_ns is frame.stamp_ns:
        return frame
    return Frame(image, own_ns, status)


def _is_image(image: Any, camera: Camera) -> bool:
    size = (camera.intrinsics.height_px, camera.intrinsics.width_px, 3)
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == size


def _clean_sensor(sensor: Any, points: int, radars: int) -> NDArray[np.uint8] | None:
    if sensor is None:
        return None
    numbers = np.asarray(sensor)
    if numbers.shape != (points,) or numbers.dtype.kind not in "iu":
        return None
    if numbers.dtype == np.uint8 and (not points or int(numbers.max()) < radars):
        return numbers
    return np.where((numbers >= 0) & (numbers < radars), numbers, 0).astype(np.uint8)


def _count_radar(
    points: NDArray[np.float32],
    is_bad: NDArray[np.bool_],
    sensor: NDArray[np.uint8] | None,
    rig: Rig,
    counts: Counter[DropKey],
) -> None:
    for number in np.flatnonzero(is_bad).tolist():
        radar = 0 if sensor is None else int(sensor[number])
        name = rig.radars[radar].name if radar < len(rig.radars) else ""
        is_finite = bool(np.isfinite(points[number]).all())
        reason = DropReason.OUT_OF_BOUNDS if is_finite else DropReason.NOT_FINITE
        counts[Reading.RADAR_POINT, name, reason] += 1


def _clean_ego(
    ego: EgoState, last: EgoState | None, stamp_ns: int, counts: Counter[DropKey]
) -> EgoState:
    still = last or EgoState(stamp_ns=stamp_ns, world_from_ego=Pose())
    pose = _held(ego.world_from_ego, lambda: _reached(still, stamp_ns), _POSE_LIMITS,
                 Reading.POSE, counts)  # fmt: skip
    motion = _held(ego, lambda: still, _EGO_LIMITS, Reading.EGO, counts)
    changes: dict[str, Any] = {}
    if pose is not ego.world_from_ego:
        changes["world_from_ego"] = pose
    if not (type(ego.stamp_ns) is int and 0 <= ego.stamp_ns <= MAX_STAMP_NS):
        changes["stamp_ns"] = stamp_ns
    return msgspec.structs.replace(motion, **changes) if changes else motion


def _reached(last: EgoState, stamp_ns: int) -> Pose:
    """Return the pose that the last speed and yaw rate lead to, in the plane (dead reckoning)."""
    if not is_one_time_base(last.stamp_ns, stamp_ns):
        return last.world_from_ego
    dt_s = (stamp_ns - last.stamp_ns) / NS_PER_S
    turned_rad = last.yaw_rate_radps * dt_s
    way_m = last.speed_mps * dt_s
    step = Pose.from_xy_yaw(
        way_m * math.cos(0.5 * turned_rad), way_m * math.sin(0.5 * turned_rad), turned_rad
    )
    return last.world_from_ego @ step


def _clean_route(route: Route, last: Route, counts: Counter[DropKey]) -> Route:
    """Drop impossible route points; a stop beyond the reach of any route counts as no stop."""
    if _is_good_route(route):
        return route
    points = tuple(filter(None, map(_route_point, route.points_ego[:_MAX_ROUTE_POINTS])))
    limit_mps, stop_m = _number(route.speed_limit_mps), route.stop_distance_m
    is_limit = abs(limit_mps) <= _SPEED_LIMIT_MPS
    is_stop = stop_m is None or 0.0 <= _number(stop_m) <= _ROUTE_REACH_M
    lost = len(route.points_ego) - len(points) + (not is_limit) + (not is_stop)
    if lost:
        counts[Reading.ROUTE, "", DropReason.OUT_OF_BOUNDS] += lost
    if not is_stop:
        stop_m = None if _number(stop_m) > _ROUTE_REACH_M else last.stop_distance_m
    return Route(
        points_ego=points,
        speed_limit_mps=limit_mps if is_limit else last.speed_limit_mps,
        stop_distance_m=None if stop_m is None else _number(stop_m),
    )


def _route_point(point: Any) -> tuple[float, float] | None:
    """Return a point of a route as two floats within reach; None where it is none."""
    try:
        x, y = map(_number, point)
    except (TypeError, ValueError):
        return None
    is_near = abs(x) <= _ROUTE_REACH_M and abs(y) <= _ROUTE_REACH_M
    return (x, y) if is_near else None


def _is_good_route(route: Route) -> bool:
    """Return whether a route holds Python floats alone, which a record can hold, and all within reach."""
    reach_m, stop_m, limit_mps = _ROUTE_REACH_M, route.stop_distance_m, route.speed_limit_mps
    is_stop = stop_m is None or (type(stop_m) is float and 0.0 <= stop_m <= reach_m)
    is_limit = type(limit_mps) is float and abs(limit_mps) <= _SPEED_LIMIT_MPS
    if not (is_stop and is_limit) or len(route.points_ego) > _MAX_ROUTE_POINTS:
        return False
    try:
        return all(
            type(x) is type(y) is float and abs(x) <= reach_m and abs(y) <= reach_m
            for x, y in route.points_ego
        )
    except (TypeError, ValueError):
        return False


def _held(
    record: _Record,
    instead: Callable[[], _Record],
    limits: Mapping[str, float],
    reading: Reading,
    counts: Counter[DropKey],
) -> _Record:
    """Replace fields beyond their limits by those of ``instead``, and numbers of other types by floats."""
    changes: dict[str, float] = {}
    for name, limit in limits.items():
        value = getattr(record, name)
        number = value if type(value) is float else _number(value)
        if not abs(number) <= limit:
            counts[reading, "", _reason(number)] += 1
            changes[name] = min(max(getattr(instead(), name), -limit), limit)
        elif number is not value:
            changes[name] = number
    return msgspec.structs.replace(record, **changes) if changes else record


def _number(value: Any) -> float:
    """Return a value as a float; NaN where it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _reason(number: float) -> DropReason:
    return DropReason.OUT_OF_BOUNDS if math.isfinite(number) else DropReason.NOT_FINITE


def _as_numbers(values: Any) -> NDArray[np.float32]:
    """Return an array of float32, the same object where it is one; empty where they are no numbers."""
    try:
        array = np.asarray(values)
    except ValueError:  # a ragged list
        return np.zeros(0, np.float32)
    if array.dtype.kind not in "fiu":
        return np.zeros(0, np.float32)
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        return array.astype(np.float32, copy=False)
