"""The door for readings: what no sensor can have measured is dropped and counted, all else is untouched."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.contracts.clean import (
    MAX_RADAR_POINTS,
    RADAR_LIMITS,
    DropKey,
    by_reading,
    clean,
    clean_radar,
    total_dropped,
)
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, RadarMount, Rig, UltrasonicMount
from edge.contracts.sensors import (
    ULTRASONIC_MAX_RANGE_M,
    Drop,
    DropReason,
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    Reading,
    Route,
    UltrasonicScan,
    frames_of,
)
from edge.contracts.time import NS_PER_S

RIG = Rig(
    name="rig",
    cameras=tuple(
        Camera(name=f"c{k}", intrinsics=Intrinsics.from_fov(1.0, 2, 2), ego_from_cam=Pose())
        for k in range(8)
    ),
    ultrasonics=(UltrasonicMount(x_m=3.0, y_m=0.0, yaw_rad=0.0),) * 12,
)

ANY = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e30, -1e30])
ANY_64 = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e300])
POINTS = arrays.arrays(np.float32, st.tuples(st.integers(0, 8), st.just(4)), elements=ANY)
RANGES = arrays.arrays(np.float32, 12, elements=ANY)
EGOS = st.builds(
    lambda place, motion: EgoState(
        stamp_ns=0,
        world_from_ego=Pose(x_m=place[0], y_m=place[1], z_m=place[2]),
        speed_mps=motion[0],
        acceleration_mps2=motion[1],
        yaw_rate_radps=motion[2],
        steering_rad=motion[3],
    ),
    st.tuples(ANY_64, ANY_64, ANY_64),
    st.tuples(ANY_64, ANY_64, ANY_64, ANY_64),
)
ROUTES = st.builds(
    lambda points, limit, stop: Route(
        points_ego=tuple(points), speed_limit_mps=limit, stop_distance_m=stop
    ),
    st.lists(st.tuples(ANY_64, ANY_64), max_size=5),
    ANY_64,
    ANY_64 | st.none(),
)


def sensed(**changes) -> FrameSet:
    fields = {
        "index": 0,
        "stamp_ns": 0,
        "frames": frames_of(np.zeros((8, 2, 2, 3), np.uint8), 0),
        "radar": RadarScan(np.array([[30.0, 2.0, 0.0, 5.0]], np.float32)),
        "ultrasonics": UltrasonicScan(np.full(12, 5.0, np.float32)),
        "ego": EgoState(stamp_ns=0, world_from_ego=Pose(x_m=7.0), speed_mps=8.0),
        "route": Route(points_ego=((0.0, 0.0), (2.0, 0.0)), stop_distance_m=20.0),
    }
    return FrameSet(**(fields | changes))


FRAME_SETS = st.builds(
    lambda points, ranges, ego, route: sensed(
        radar=RadarScan(points), ultrasonics=UltrasonicScan(ranges), ego=ego, route=route
    ),
    POINTS,
    RANGES,
    EGOS,
    ROUTES,
)


@given(FRAME_SETS)
def test_whatever_floats_come_in_only_finite_ones_within_bounds_go_out(dirty: FrameSet) -> None:
    cleaned = clean(dirty, RIG, sensed())
    assert (np.abs(cleaned.radar.points_ego) <= RADAR_LIMITS).all()
    ranges_m = cleaned.ultrasonics.ranges_m
    assert ((ranges_m >= 0.0) & (ranges_m <= ULTRASONIC_MAX_RANGE_M)).all()
    for record in (cleaned.ego, cleaned.route):
        sent = msgspec.msgpack.encode(record)
        assert msgspec.msgpack.decode(sent, type=type(record)) == record


@given(FRAME_SETS)
def test_good_readings_stay_bit_for_bit_and_in_order(dirty: FrameSet) -> None:
    cleaned = clean(dirty, RIG, sensed())
    points = dirty.radar.points_ego
    good = [
        row for row in points if all(abs(v) <= b for v, b in zip(row, RADAR_LIMITS, strict=True))
    ]
    assert cleaned.radar.points_ego.tobytes() == b"".join(row.tobytes() for row in good)
    assert cleaned.radar.points_ego.dtype == points.dtype
    before, after = dirty.ultrasonics.ranges_m, cleaned.ultrasonics.ranges_m
    is_good = (before >= 0.0) & (before <= ULTRASONIC_MAX_RANGE_M)
    assert before[is_good].tobytes() == after[is_good].tobytes() and before.dtype == after.dtype
    assert (after[~is_good] == ULTRASONIC_MAX_RANGE_M).all()
    counted = by_reading(cleaned.dropped)
    assert counted.get(Reading.RADAR_POINT, 0) == len(points) - len(good)
    assert counted.get(Reading.ULTRASONIC, 0) == (~is_good).sum()


@given(FRAME_SETS)
def test_clean_readings_come_back_as_the_very_same_object(dirty: FrameSet) -> None:
    cleaned = clean(dirty, RIG, sensed())
    assert clean(cleaned, RIG, sensed(stamp_ns=1)) is cleaned
    assert cleaned.dropped or cleaned is dirty


def test_readings_at_their_bounds_are_good() -> None:
    edge = sensed(
        radar=RadarScan(np.stack([RADAR_LIMITS, -RADAR_LIMITS])),
        ultrasonics=UltrasonicScan(np.array([0.0, 5.0] * 6, np.float32)),
    )
    assert clean(edge, RIG) is edge


@pytest.mark.parametrize(
    "point",
    [
        (math.nan, 0, 0, 5),
        (20, math.inf, 0, 5),
        (1e30, 1, 0, 5),
        (1000, 1, 0, 5),
        (20, 3, 500, 5),
        (20, 3, 0, -math.inf),
        (20, 3, 0, 1e3),
    ],
)
def test_one_bad_radar_point_costs_itself_alone(point: tuple[float, ...]) -> None:
    good = sensed().radar.points_ego
    cleaned = clean(sensed(radar=RadarScan(np.vstack([point, good]).astype(np.float32))), RIG)
    np.testing.assert_array_equal(cleaned.radar.points_ego, good)
    assert by_reading(cleaned.dropped) == {Reading.RADAR_POINT: 1}


def test_of_a_flood_of_radar_points_the_nearest_are_kept_in_their_order() -> None:
    far = np.tile(np.array([[200.0, 0.0, 0.0, 5.0]], np.float32), (100_000, 1))
    near = np.array([[k / 10.0, 1.0, 0.0, 5.0] for k in range(MAX_RADAR_POINTS)], np.float32)
    flood = np.concatenate([far[:50_000], near, far[50_000:]])
    counts: Counter[DropKey] = Counter()
    scan = clean_radar(RadarScan(flood), RIG, counts)
    np.testing.assert_array_equal(scan.points_ego, near)
    assert counts == {(Reading.RADAR_POINT, "", DropReason.TOO_MANY): 100_000}
    full = RadarScan(near)
    assert clean_radar(full, RIG) is full


@pytest.mark.parametrize(
    ("values", "dropped"),
    [
        ([], 0),
        (np.zeros((0, 0)), 0),
        (None, 0),
        (np.zeros((2, 3), np.float32), 2),
        (np.zeros((2, 5), np.float32), 3),
        (np.zeros(4, np.float32), 1),
        (np.zeros((1, 2, 4), np.float32), 2),
        (np.array([[None] * 4]), 0),
        (np.full((1, 4), -(2**15), np.int16), 1),
        (np.full((1, 4), 1e300), 1),
        (np.ma.masked_invalid(np.full((2, 4), np.nan)), 2),
    ],
)
def test_a_radar_scan_that_is_no_table_of_points_has_none(values: object, dropped: int) -> None:
    dirty = sensed(radar=RadarScan(values))
    cleaned = clean(dirty, RIG)
    assert cleaned.radar.points_ego.shape == (0, 4)
    assert cleaned.radar.points_ego.dtype == np.float32
    assert by_reading(cleaned.dropped).get(Reading.RADAR_POINT, 0) == dropped
    assert clean(cleaned, RIG) is cleaned


@pytest.mark.parametrize(
    ("values", "expected_m", "dropped"),
    [
        (np.full(11, 2.0, np.float32), [2.0] * 11 + [5.0], 1),
        (np.full(14, 2.0, np.float32), [2.0] * 12, 2),
        ([2.0] * 12, [2.0] * 12, 0),
        (None, [5.0] * 12, 12),
        (np.full((12, 1), 2.0), [2.0] * 12, 0),
        (np.full(12, -1), [5.0] * 12, 12),
        (np.full(12, 65535, np.uint16), [5.0] * 12, 12),
    ],
)
def test_an_ultrasonic_sensor_that_says_nothing_hears_nothing(
    values: object, expected_m: list[float], dropped: int
) -> None:
    cleaned = clean(sensed(ultrasonics=UltrasonicScan(values)), RIG)
    assert cleaned.ultrasonics.ranges_m.tolist() == expected_m
    assert cleaned.ultrasonics.ranges_m.dtype == np.float32
    assert by_reading(cleaned.dropped).get(Reading.ULTRASONIC, 0) == dropped
    assert clean(cleaned, RIG) is cleaned


def test_own_motion_that_makes_no_sense_is_held_from_the_last_frame_set() -> None:
    pose = Pose(x_m=math.nan, y_m=3.0)
    dirty = sensed(ego=EgoState(stamp_ns=9, world_from_ego=pose, speed_mps=math.inf))
    ego = clean(dirty, RIG, sensed()).ego
    assert (ego.stamp_ns, ego.speed_mps) == (9, 8.0)
    assert (ego.world_from_ego.x_m, ego.world_from_ego.y_m) == (7.0, 3.0)
    assert clean(dirty, RIG).ego.speed_mps == 0.0, "nothing to hold it from"
    assert by_reading(clean(dirty, RIG, sensed()).dropped) == {Reading.POSE: 1, Reading.EGO: 1}


def test_place_that_cannot_be_read_is_where_speed_and_yaw_rate_lead() -> None:
    turning = EgoState(stamp_ns=0, world_from_ego=Pose(x_m=7.0), speed_mps=8.0, yaw_rate_radps=0.5)
    lost = EgoState(stamp_ns=0, world_from_ego=Pose(x_m=math.nan, y_m=math.inf), speed_mps=8.0)
    at_ns = NS_PER_S // 2
    pose = clean(sensed(stamp_ns=at_ns, ego=lost), RIG, sensed(ego=turning)).ego.world_from_ego
    assert pose.x_m == pytest.approx(7.0 + 4.0 * math.cos(0.125))
    assert pose.y_m == pytest.approx(4.0 * math.sin(0.125))
    edge = msgspec.structs.replace(turning, world_from_ego=Pose(x_m=1e7))
    pose = clean(sensed(stamp_ns=at_ns, ego=lost), RIG, sensed(ego=edge)).ego.world_from_ego
    assert pose.x_m == 1e7, "what is cleaned can be written"


def test_route_loses_the_points_that_make_no_sense() -> None:
    points = ((0.0, 0.0), (math.nan, 0.0), (4.0, 1e9), (6.0, 0.0))
    cleaned = clean(sensed(route=Route(points_ego=points)), RIG)
    assert cleaned.route.points_ego == (points[0], points[3])
    assert by_reading(cleaned.dropped) == {Reading.ROUTE: 2}


@pytest.mark.parametrize(
    ("stop_m", "expected_m"), [(math.nan, 20.0), (-1.0, 20.0), (math.inf, None), (1e6, None)]
)
def test_red_light_that_cannot_be_read_stays_where_it_was_and_one_at_infinity_is_none(
    stop_m: float, expected_m: float | None
) -> None:
    dirty = sensed(route=Route(stop_distance_m=stop_m, speed_limit_mps=math.nan))
    route = clean(dirty, RIG, sensed(route=Route(stop_distance_m=20.0, speed_limit_mps=7.0))).route
    assert (route.stop_distance_m, route.speed_limit_mps) == (expected_m, 7.0)


def test_what_was_dropped_before_stays_counted_by_sensor_and_reason() -> None:
    once = clean(sensed(radar=RadarScan(np.full((2, 4), np.nan, np.float32))), RIG)
    ranges_m = np.full(12, 5.0, np.float32)
    ranges_m[11] = -1.0
    again = clean(replace(once, ultrasonics=UltrasonicScan(ranges_m)), RIG)
    radar = Drop(Reading.RADAR_POINT, 2, "around", DropReason.NOT_FINITE)
    behind = Drop(Reading.ULTRASONIC, 1, "ultrasonic-11", DropReason.OUT_OF_BOUNDS)
    assert again.dropped == (radar, behind)
    total = total_dropped(again.dropped, once.dropped)
    assert total == (Drop(Reading.RADAR_POINT, 4, "around", DropReason.NOT_FINITE), behind)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"stamp_ns": -1}, 1),
        ({"stamp_ns": 2**64}, 1),
        ({"stamp_ns": math.nan}, 1),
        ({"stamp_ns": np.int64(9)}, 0),
        ({"frames": ()}, 8),
        ({"frames": frames_of(np.zeros((9, 2, 2, 3), np.uint8), 0)}, 1),
        ({"frames": frames_of(np.zeros((8, 2, 2, 3), np.float32), 0)}, 8),
        ({"frames": (Frame(np.zeros((2, 2, 3), np.uint8), -5),) * 8}, 8),
        ({"ego": EgoState(stamp_ns=2**63, world_from_ego=Pose(x_m=np.float64(3)))}, 0),
        ({"index": np.int32(4)}, 0),
        ({"route": Route(points_ego=((np.float32(1.0), "no number"),))}, 1),
    ],
)
def test_whatever_a_driver_hands_over_becomes_what_a_record_can_hold(
    changes: dict[str, Any], count: int
) -> None:
    cleaned = clean(sensed(**changes), RIG, sensed())
    assert len(cleaned.frames) == 8
    assert sum(by_reading(cleaned.dropped).values()) == count
    plain = (cleaned.index, cleaned.stamp_ns, cleaned.ego, cleaned.route)
    sent = msgspec.msgpack.encode(plain)
    assert msgspec.msgpack.decode(sent, type=tuple[int, int, EgoState, Route]) == plain


def test_an_image_older_than_its_frame_set_is_late_and_then_missing() -> None:
    stamp_ns, image = 10**9, np.zeros((2, 2, 3), np.uint8)
    ages_ms = (0, 59, 61, 500, 501, -20, 0, 0)
    frames = tuple(Frame(image, stamp_ns - age * 10**6) for age in ages_ms)
    cleaned = clean(sensed(stamp_ns=stamp_ns, frames=frames), RIG)
    fresh, late, missing = FrameStatus.FRESH, FrameStatus.LATE, FrameStatus.MISSING
    statuses = [frame.status for frame in cleaned.frames]
    assert statuses == [fresh, fresh, late, late, missing, fresh, fresh, fresh]
    assert cleaned.usable == (True, True, True, True, False, True, True, True)


def test_radar_points_name_the_radar_that_measured_them() -> None:
    mounts = (RadarMount(name="front", x_m=3.6), RadarMount(name="rear", x_m=-1.0))
    rig = msgspec.structs.replace(RIG, radars=mounts)
    points = np.array([[math.nan] * 4, [20, 1, 0, 5], [20, 2, 0, 5]], np.float32)
    sensor = np.array([1, 0, 7], np.uint8)
    cleaned = clean(sensed(radar=RadarScan(points, sensor)), rig)
    assert cleaned.dropped == (Drop(Reading.RADAR_POINT, 1, "rear", DropReason.NOT_FINITE),)
    assert cleaned.radar.sensor is not None and cleaned.radar.sensor.tolist() == [0, 0]


def test_pose_that_rounding_left_a_little_too_long_can_be_read_back() -> None:
    pose = Pose(qw=1.0000001)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(pose), type=Pose) == pose
