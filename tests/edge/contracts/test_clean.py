"""The door for readings: what no sensor can have measured is dropped and counted, all else is untouched."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.contracts.clean import (
    MAX_RADAR_POINTS,
    RADAR_LIMITS,
    as_dropped,
    clean,
    clean_radar,
    total_dropped,
)
from edge.contracts.geometry import Pose
from edge.contracts.sensors import (
    ULTRASONIC_MAX_RANGE_M,
    EgoState,
    FrameSet,
    RadarScan,
    Reading,
    Route,
    UltrasonicScan,
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
        "images": np.zeros((8, 2, 2, 3), np.uint8),
        "radar": RadarScan(np.array([[30.0, 2.0, 0.0, 5.0]], np.float32)),
        "ultrasonics": UltrasonicScan(),
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
    cleaned = clean(dirty, sensed())
    assert (np.abs(cleaned.radar.points_ego) <= RADAR_LIMITS).all()
    ranges_m = cleaned.ultrasonics.ranges_m
    assert ((ranges_m >= 0.0) & (ranges_m <= ULTRASONIC_MAX_RANGE_M)).all()
    for record in (cleaned.ego, cleaned.route):
        sent = msgspec.msgpack.encode(record)
        assert msgspec.msgpack.decode(sent, type=type(record)) == record


@given(FRAME_SETS)
def test_good_readings_stay_bit_for_bit_and_in_order(dirty: FrameSet) -> None:
    cleaned = clean(dirty, sensed())
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
    counted = dict(cleaned.dropped)
    assert counted.get(Reading.RADAR_POINT, 0) == len(points) - len(good)
    assert counted.get(Reading.ULTRASONIC, 0) == (~is_good).sum()


@given(FRAME_SETS)
def test_clean_readings_come_back_as_the_very_same_object(dirty: FrameSet) -> None:
    cleaned = clean(dirty, sensed())
    assert clean(cleaned, sensed(stamp_ns=1)) is cleaned
    assert cleaned.dropped or cleaned is dirty


def test_readings_at_their_bounds_are_good() -> None:
    edge = sensed(
        radar=RadarScan(np.stack([RADAR_LIMITS, -RADAR_LIMITS])),
        ultrasonics=UltrasonicScan(np.array([0.0, 5.0] * 6, np.float32)),
    )
    assert clean(edge) is edge


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
    cleaned = clean(sensed(radar=RadarScan(np.vstack([point, good]).astype(np.float32))))
    np.testing.assert_array_equal(cleaned.radar.points_ego, good)
    assert cleaned.dropped == ((Reading.RADAR_POINT, 1),)


def test_of_a_flood_of_radar_points_the_nearest_are_kept_in_their_order() -> None:
    far = np.tile(np.array([[200.0, 0.0, 0.0, 5.0]], np.float32), (100_000, 1))
    near = np.array([[k / 10.0, 1.0, 0.0, 5.0] for k in range(MAX_RADAR_POINTS)], np.float32)
    flood = np.concatenate([far[:50_000], near, far[50_000:]])
    scan, dropped = clean_radar(RadarScan(flood))
    np.testing.assert_array_equal(scan.points_ego, near)
    assert dropped == 100_000
    full = RadarScan(near)
    kept, none = clean_radar(full)
    assert kept is full and none == 0


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
    cleaned = clean(dirty)
    assert cleaned.radar.points_ego.shape == (0, 4)
    assert cleaned.radar.points_ego.dtype == np.float32
    assert cleaned.dropped == as_dropped({Reading.RADAR_POINT: dropped})
    assert clean(cleaned) is cleaned


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
    cleaned = clean(sensed(ultrasonics=UltrasonicScan(values)))
    assert cleaned.ultrasonics.ranges_m.tolist() == expected_m
    assert cleaned.ultrasonics.ranges_m.dtype == np.float32
    assert cleaned.dropped == as_dropped({Reading.ULTRASONIC: dropped})
    assert clean(cleaned) is cleaned


def test_own_motion_that_makes_no_sense_is_held_from_the_last_frame_set() -> None:
    pose = Pose(x_m=math.nan, y_m=3.0)
    dirty = sensed(ego=EgoState(stamp_ns=9, world_from_ego=pose, speed_mps=math.inf))
    ego = clean(dirty, sensed()).ego
    assert (ego.stamp_ns, ego.speed_mps) == (9, 8.0)
    assert (ego.world_from_ego.x_m, ego.world_from_ego.y_m) == (7.0, 3.0)
    assert clean(dirty).ego.speed_mps == 0.0, "nothing to hold it from"
    assert clean(dirty, sensed()).dropped == ((Reading.EGO, 2),)


def test_route_loses_the_points_that_make_no_sense() -> None:
    points = ((0.0, 0.0), (math.nan, 0.0), (4.0, 1e9), (6.0, 0.0))
    cleaned = clean(sensed(route=Route(points_ego=points)))
    assert cleaned.route.points_ego == (points[0], points[3])
    assert cleaned.dropped == ((Reading.ROUTE, 2),)


@pytest.mark.parametrize(
    ("stop_m", "expected_m"), [(math.nan, 20.0), (-1.0, 20.0), (math.inf, None), (1e6, None)]
)
def test_red_light_that_cannot_be_read_stays_where_it_was_and_one_at_infinity_is_none(
    stop_m: float, expected_m: float | None
) -> None:
    dirty = sensed(route=Route(stop_distance_m=stop_m, speed_limit_mps=math.nan))
    route = clean(dirty, sensed(route=Route(stop_distance_m=20.0, speed_limit_mps=7.0))).route
    assert (route.stop_distance_m, route.speed_limit_mps) == (expected_m, 7.0)


def test_what_was_dropped_before_stays_counted() -> None:
    once = clean(sensed(radar=RadarScan(np.full((2, 4), np.nan, np.float32))))
    silent = UltrasonicScan().ranges_m[1:]
    again = clean(replace(once, ultrasonics=UltrasonicScan(np.append(silent, np.float32(-1.0)))))
    assert again.dropped == ((Reading.RADAR_POINT, 2), (Reading.ULTRASONIC, 1))
    assert total_dropped(again.dropped, once.dropped) == as_dropped(
        {Reading.ULTRASONIC: 1, Reading.RADAR_POINT: 4, Reading.EGO: 0}
    )


def test_pose_that_rounding_left_a_little_too_long_can_be_read_back() -> None:
    pose = Pose(qw=1.0000001)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(pose), type=Pose) == pose
