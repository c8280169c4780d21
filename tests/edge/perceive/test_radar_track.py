"""Radar tracker: bodies become tracks, ghosts do not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.contracts.geometry import Pose
from edge.contracts.rig import RADARS, RadarMount
from edge.contracts.scene import RadarTrack
from edge.contracts.sensors import EgoState, RadarScan
from edge.contracts.time import frame_stamp_ns
from edge.perceive.radar_track import RadarTracker

TICK_S = 1.0 / 36.0
MOUNT_X_M = RADARS[0].x_m


@dataclass
class Body:
    """Something that reflects, at a place and with a velocity in the world."""

    x_m: float
    y_m: float
    vx_mps: float = 0.0
    vy_mps: float = 0.0
    length_m: float = 4.0
    width_m: float = 1.8
    probability: float = 0.92
    echoes: int = 2


def ghosts(rng: np.random.Generator, count: int = 8) -> np.ndarray:
    """Echoes from nowhere: uniform in range and bearing, any speed."""
    reach, bearing = rng.uniform(1, 60, count), rng.uniform(-math.pi, math.pi, count)
    columns = [reach * np.cos(bearing), reach * np.sin(bearing)]
    return np.stack([*columns, rng.normal(0, 4, count), rng.normal(0, 8, count)], axis=1)


def echoes(rng: np.random.Generator, bodies: Sequence[Body], t_s: float, pose: Pose) -> np.ndarray:
    points = [np.zeros((0, 4))]
    for b in bodies:
        for _ in range(b.echoes):
            if rng.random() > b.probability:
                continue
            x = b.x_m + b.vx_mps * t_s + rng.uniform(-0.5, 0.5) * b.length_m
            y = b.y_m + b.vy_mps * t_s + rng.uniform(-0.5, 0.5) * b.width_m
            x, y, _ = pose.inverse() @ np.array([x, y, 0.0]) - (MOUNT_X_M, 0.0, 0.0)
            reach = math.hypot(x, y) + rng.normal(0, 0.15)
            bearing = math.atan2(y, x) + rng.normal(0, 0.015)
            sight = math.cos(bearing + pose.yaw_rad), math.sin(bearing + pose.yaw_rad)
            radial = sight[0] * b.vx_mps + sight[1] * b.vy_mps + rng.normal(0, 0.15)
            row = [MOUNT_X_M + reach * math.cos(bearing), reach * math.sin(bearing), radial, 10.0]
            points.append(np.array([row]))
    return np.concatenate(points)


def scan(tracker: RadarTracker, k: int, points: np.ndarray, pose: Pose) -> tuple[RadarTrack, ...]:
    ego = EgoState(stamp_ns=frame_stamp_ns(k), world_from_ego=pose)
    return tracker.update(RadarScan(points.astype(np.float32)), ego, frame_stamp_ns(k))


def drive(
    bodies: Sequence[Body], ticks: int, seed: int = 0, ego_mps: float = 0.0
) -> tuple[tuple[RadarTrack, ...], Pose]:
    rng, tracker = np.random.default_rng(seed), RadarTracker()
    for k in range(ticks):
        pose = Pose.from_xy_yaw(ego_mps * k * TICK_S, 0.0, 0.0)
        points = np.concatenate([echoes(rng, bodies, k * TICK_S, pose), ghosts(rng)])
        tracks = scan(tracker, k, points, pose)
    return tracks, pose


@pytest.mark.parametrize("seed", range(3))
def test_ten_seconds_of_ghosts_confirm_at_most_two_tracks(seed: int) -> None:
    rng, tracker = np.random.default_rng(seed), RadarTracker()
    born = {track.track_id for k in range(360) for track in scan(tracker, k, ghosts(rng), Pose())}
    assert len(born) <= 2


def test_a_parked_van_is_a_track_that_stands_still_while_we_drive_past() -> None:
    tracks, pose = drive([Body(30, 3, length_m=2.0)], 72, ego_mps=8.0)
    (van,) = tracks
    assert math.hypot(van.x_m + pose.x_m - 30, van.y_m - 3) < 1.0
    assert math.hypot(van.vx_mps, van.vy_mps) < 1.0
    assert van.hits > 60


def test_a_car_ahead_is_followed_with_its_speed() -> None:
    tracks, _ = drive([Body(20, 0, vx_mps=12.0, echoes=1)], 72, ego_mps=10.0)
    (car,) = tracks
    assert car.x_m == pytest.approx(20 + 2 * 71 * TICK_S, abs=1.5)
    assert car.vx_mps == pytest.approx(12.0, abs=0.5)


def test_a_crossing_animal_is_confirmed_within_a_second_with_its_sideways_motion() -> None:
    animal = Body(25, -4, vy_mps=2.0, length_m=0.5, width_m=1.0, probability=0.55, echoes=1)
    tracks, _ = drive([animal], 36)
    (near,) = [t for t in tracks if math.hypot(t.x_m - 25, t.y_m + 2) < 2]
    assert near.vy_mps == pytest.approx(2.0, abs=1.2)
    assert 7 <= near.hits <= 36


def test_a_body_with_many_echoes_is_not_many_tracks() -> None:
    tracks, _ = drive([Body(20, 0, echoes=5, length_m=4.5)], 72)
    assert 1 <= len(tracks) <= 2


def test_a_body_that_leaves_takes_its_track_along() -> None:
    rng, tracker = np.random.default_rng(0), RadarTracker()
    for k in range(36):
        tracks = scan(tracker, k, echoes(rng, [Body(20, 0)], 0.0, Pose()), Pose())
    assert len(tracks) == 1
    gone = [len(scan(tracker, k, ghosts(rng), Pose())) for k in range(36, 72)]
    assert gone[-1] == 0


def test_a_stamp_that_repeats_keeps_the_tracks_and_one_that_steps_back_forgets_them() -> None:
    rng, tracker = np.random.default_rng(0), RadarTracker()
    for k in range(36):
        tracks = scan(tracker, k, echoes(rng, [Body(20, 0)], 0.0, Pose()), Pose())
    again = scan(tracker, 35, echoes(rng, [Body(20, 0)], 0.0, Pose()), Pose())
    assert [t.track_id for t in again] == [t.track_id for t in tracks] and len(again) == 1
    assert scan(tracker, 34, echoes(rng, [Body(20, 0)], 0.0, Pose()), Pose()) == ()


CORNERS = (RadarMount(name="left", x_m=3.4, y_m=0.8), RadarMount(name="right", x_m=3.4, y_m=-0.8))


def measured(mount: RadarMount, x_m: float, y_m: float, vy_mps: float) -> list[float]:
    """What a radar without noise says about a point that moves along y."""
    sight_y = (y_m - mount.y_m) / math.hypot(x_m - mount.x_m, y_m - mount.y_m)
    return [x_m, y_m, sight_y * vy_mps, 10.0]


def corner_tracks(radars: Sequence[RadarMount], seen_by: Sequence[int]) -> tuple[RadarTrack, ...]:
    """Follow a walker who crosses 4 m ahead of the corners for 2 s, by the radars in turn."""
    tracker = RadarTracker(radars=radars)
    for k in range(72):
        number = seen_by[k % len(seen_by)]
        y_m = -2.0 + 2.0 * k * TICK_S
        points = np.array([measured(CORNERS[number], 7.4, y_m, 2.0)], np.float32)
        ego = EgoState(stamp_ns=frame_stamp_ns(k), world_from_ego=Pose())
        heard = RadarScan(points, np.array([number], np.uint8))
        tracks = tracker.update(heard, ego, frame_stamp_ns(k))
    return tracks


def test_two_corner_radars_follow_one_walker_each_along_its_own_line_of_sight() -> None:
    (walker,) = corner_tracks(CORNERS, (0, 1))
    assert (walker.vx_mps, walker.vy_mps) == pytest.approx((0.0, 2.0), abs=0.1)
    assert walker.hits == 72


def test_a_speed_along_the_line_of_sight_of_another_radar_is_a_wrong_speed() -> None:
    """The right radar's points, taken for those of one mount 0.8 m to the left of the vehicle."""
    right = corner_tracks(CORNERS, (1,))
    wrong = corner_tracks((CORNERS[0],), (1,))
    errors = [[math.hypot(t.vx_mps, t.vy_mps - 2.0) for t in found] for found in (right, wrong)]
    assert max(errors[0]) < 0.1 < min(errors[1], default=1.0)


def test_points_of_two_radars_are_not_one_cluster() -> None:
    """At one place, each with the radial speed that its own radar measures."""
    near = tuple(msgspec.structs.replace(mount, y_m=0.5 * mount.y_m) for mount in CORNERS)
    tracker = RadarTracker(radars=near)
    points = np.array([measured(mount, 7.4, 0.0, 0.0) for mount in near], np.float32)
    for k in range(20):
        ego = EgoState(stamp_ns=frame_stamp_ns(k), world_from_ego=Pose())
        heard = RadarScan(points, np.array([0, 1], np.uint8))
        (track,) = tracker.update(heard, ego, frame_stamp_ns(k)) or (None,)
    assert track is not None
    assert (track.x_m, track.y_m) == pytest.approx((7.4, 0.0), abs=0.01)


def both_measure(cars: Sequence[Sequence[float]], ticks: int) -> list[tuple[RadarTrack, ...]]:
    """Follow cars at (x, y, first tick) by both corners, each of which measures its own end of them."""
    tracker, found = RadarTracker(radars=CORNERS), []
    for k in range(ticks):
        here = [(x, y) for x, y, first in cars if k >= first]
        points = [
            measured(mount, x, y + 0.75 * mount.y_m, 0.0) for mount in CORNERS for x, y in here
        ]
        sensor = np.repeat(np.arange(2, dtype=np.uint8), len(here))
        ego = EgoState(stamp_ns=frame_stamp_ns(k), world_from_ego=Pose())
        scanned = RadarScan(np.array(points, np.float32).reshape(-1, 4), sensor)
        found.append(tracker.update(scanned, ego, frame_stamp_ns(k)))
    return found


def test_a_car_that_two_radars_measure_at_once_is_one_track_with_one_hit_a_scan() -> None:
    found = both_measure([(15.0, 0.0, 0)], 36)
    assert {len(tracks) for tracks in found} == {0, 1}
    (car,) = found[-1]
    assert car.hits == 36
    assert next(k for k, tracks in enumerate(found) if tracks) == 6, "the seventh scan confirms it"
    assert (car.x_m, car.y_m) == pytest.approx((15.0, 0.0), abs=0.1), "between the two echoes"


def test_a_body_that_two_radars_measure_for_the_first_time_begins_one_track() -> None:
    (first, second) = both_measure([(15.0, 0.0, 0), (25.0, 8.0, 20)], 40)[-1]
    assert (first.track_id, second.track_id) == (1, 2)
    assert (first.hits, second.hits) == (40, 20)


def test_nothing_seen_is_no_track() -> None:
    tracker = RadarTracker()
    assert all(scan(tracker, k, np.zeros((0, 4)), Pose()) == () for k in range(5))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        hnp.arrays(
            np.float32,
            st.tuples(st.integers(0, 12), st.just(4)),
            elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
        ),
        max_size=10,
    )
)
def test_any_scan_gives_finite_repeatable_tracks(scans: list[np.ndarray]) -> None:
    one, two = RadarTracker(), RadarTracker()
    for k, points in enumerate(scans):
        tracks = scan(one, k, points, Pose())
        assert tracks == scan(two, k, points, Pose())
        assert all(math.isfinite(t.x_m + t.y_m + t.vx_mps + t.vy_mps) for t in tracks)
