"""Box tracker: identities that survive gaps, turns and doubt."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts.classes import ANIMAL, CAR, PEDESTRIAN, TRUCK, Category
from edge.contracts.geometry import Pose
from edge.contracts.scene import Agent, Box3D, BoxSource, RadarTrack, Trajectory
from edge.contracts.sensors import EgoState
from edge.contracts.time import frame_stamp_ns
from edge.perceive.track import Tracker

TICK_S = 1.0 / 36.0


def car(x_m: float, y_m: float, vx_mps: float = 0.0, **changes) -> Box3D:
    fields = {
        "category": CAR,
        "x_m": x_m,
        "y_m": y_m,
        "z_m": 0.8,
        "length_m": 4.5,
        "width_m": 1.8,
        "height_m": 1.5,
        "yaw_rad": 0.0,
        "vx_mps": vx_mps,
    }
    return Box3D(**(fields | changes))


def ego_at(k: int, pose: Pose | None = None) -> EgoState:
    return EgoState(stamp_ns=frame_stamp_ns(k), world_from_ego=pose or Pose())


def feed(tracker: Tracker, k: int, *boxes: Box3D, pose: Pose | None = None) -> tuple[Agent, ...]:
    return tracker.update(boxes, (), ego_at(k, pose), frame_stamp_ns(k))


def test_three_hits_in_six_ticks_confirm() -> None:
    tracker = Tracker()
    seen = [feed(tracker, k, car(20, 0))[0].is_confirmed for k in range(3)]
    assert seen == [False, False, True]


def test_one_false_box_never_becomes_an_agent_that_counts() -> None:
    tracker = Tracker()
    feed(tracker, 0, car(20, 0))
    later = [agent for k in range(1, 10) for agent in feed(tracker, k)]
    assert not any(agent.is_confirmed for agent in later)
    assert feed(tracker, 10) == ()


def test_a_confirmed_agent_coasts_through_half_a_second_with_its_identity_and_motion() -> None:
    tracker = Tracker()
    for k in range(36):
        before = feed(tracker, k, car(20 + 10 * k * TICK_S, 0, 10.0))
    for k in range(36, 54):
        (coasting,) = feed(tracker, k)
        assert coasting.box.source is BoxSource.TRACKER
    (after,) = feed(tracker, 54, car(20 + 10 * 54 * TICK_S, 0, 10.0))
    assert coasting.box.x_m == pytest.approx(20 + 10 * 53 * TICK_S, abs=0.05)
    assert after.track_id == before[0].track_id
    assert after.box.source is BoxSource.NETWORK
    assert (after.hits, after.first_seen_ns) == (37, frame_stamp_ns(0))


def test_an_agent_that_is_gone_for_good_is_deleted() -> None:
    tracker = Tracker()
    for k in range(10):
        feed(tracker, k, car(20, 0))
    assert [len(feed(tracker, k)) for k in (30, 31)] == [1, 0]  # 22 ticks are 0.61 s


def test_velocity_is_learned_from_positions_when_the_network_gives_none() -> None:
    tracker = Tracker()
    for k in range(72):
        (agent,) = feed(tracker, k, car(30 - 5 * k * TICK_S, 2))
    assert agent.box.vx_mps == pytest.approx(-5.0, abs=0.3)
    assert agent.box.vy_mps == pytest.approx(0.0, abs=0.1)


def test_own_turning_moves_nobody() -> None:
    """A parked car seen from a vehicle that drives a circle stands still in the world."""
    tracker = Tracker()
    for k in range(72):
        yaw = 0.5 * k * TICK_S
        pose = Pose.from_xy_yaw(20 * math.sin(yaw), 20 * (1 - math.cos(yaw)), yaw)
        x, y, _ = pose.inverse() @ np.array([30.0, 10.0, 0.0])
        (agent,) = feed(tracker, k, car(float(x), float(y), yaw_rad=-yaw), pose=pose)
    assert (agent.box.x_m, agent.box.y_m) == (pytest.approx(x), pytest.approx(y))
    assert math.hypot(agent.box.vx_mps, agent.box.vy_mps) < 0.01
    assert agent.box.yaw_rad == pytest.approx(-yaw)


def test_two_cars_that_pass_close_keep_their_identities() -> None:
    tracker = Tracker()
    for k in range(72):
        t = k * TICK_S
        one, two = car(10 + 10 * t, 0, 10.0), car(30 - 10 * t, 3.2, -10.0, yaw_rad=math.pi)
        boxes = (one, two) if k % 2 else (two, one)
        agents = feed(tracker, k, *boxes)
    by_id = {agent.track_id: agent.box.vx_mps for agent in agents}
    assert {1: by_id[1] > 0, 2: by_id[2] > 0} in ({1: True, 2: False}, {1: False, 2: True})
    assert len(agents) == 2


def test_a_class_that_flips_once_is_outvoted() -> None:
    tracker = Tracker()
    for k in range(12):
        category = TRUCK if k == 11 else CAR
        (agent,) = feed(tracker, k, car(20, 0, category=category))
    assert agent.box.category == CAR


def test_a_pedestrian_beside_a_car_is_not_its_track() -> None:
    tracker = Tracker()
    feed(tracker, 0, car(20, 0))
    agents = feed(tracker, 1, car(20, 0.5, category=PEDESTRIAN))
    assert [a.box.category for a in agents] == [CAR, PEDESTRIAN]


def test_a_vehicle_that_moves_drives_forwards() -> None:
    """Front and rear look alike; a heading against the motion is turned round."""
    tracker = Tracker()
    for k in range(10):
        (agent,) = feed(tracker, k, car(20 + 8 * k * TICK_S, 0, 8.0, yaw_rad=-math.pi))
    assert math.cos(agent.box.yaw_rad) == pytest.approx(1.0)


def test_futures_stay_with_their_box() -> None:
    tracker = Tracker()
    future = Trajectory(points_ego=((1.0, 2.0),), step_s=0.25)
    for k in range(2):
        agents = tracker.update(
            (car(20, 0), car(40, 0)), ((), (future,)), ego_at(k), frame_stamp_ns(k)
        )
    assert [agent.futures for agent in agents] == [(), (future,)]


def test_a_tick_without_a_network_misses_nobody() -> None:
    """Radar-only ticks are no evidence of absence: N of M goes on where it stopped."""
    tracker = Tracker()
    for k in range(2):
        feed(tracker, k, car(20, 0))
    for k in (2, 3):
        tracker.coast(ego_at(k), frame_stamp_ns(k))
    assert feed(tracker, 4, car(20, 0))[0].is_confirmed


def test_a_stamp_that_steps_back_resets_but_ids_go_on() -> None:
    tracker = Tracker()
    feed(tracker, 5, car(20, 0))
    assert feed(tracker, 4, car(20, 0))[0].track_id == 2


@pytest.mark.parametrize("sigma_mps", [{}, {CAR: 0.5}], ids=["no velocity", "velocity believed"])
def test_a_stamp_that_repeats_is_the_same_instant_and_resets_nothing(sigma_mps) -> None:
    tracker = Tracker(velocity_sigma_mps=sigma_mps)
    for k in range(20):
        (before,) = feed(tracker, k, car(20 + 5 * k * TICK_S, 0, 5.0))
    with np.errstate(all="raise"):
        (again,) = feed(tracker, 19, car(20 + 5 * 19 * TICK_S, 0, 5.0))
    (coasting,) = tracker.coast(ego_at(19), frame_stamp_ns(19))
    for agent in (again, coasting):
        assert (agent.track_id, agent.is_confirmed) == (1, True)
        assert agent.box.x_m == pytest.approx(before.box.x_m, abs=0.05)
        assert agent.box.vx_mps == pytest.approx(before.box.vx_mps, abs=0.3)


coordinate = st.floats(-60, 60, allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(
            st.builds(
                car, coordinate, coordinate, st.floats(-20, 20), score=st.floats(0, 1)
            ),
            max_size=6,
        ),
        min_size=1,
        max_size=12,
    )
)  # fmt: skip
def test_any_boxes_give_finite_unique_repeatable_agents(ticks: list[list[Box3D]]) -> None:
    one, two = Tracker(), Tracker()
    for k, boxes in enumerate(ticks):
        agents = feed(one, k, *boxes)
        assert agents == feed(two, k, *boxes)
        ids = [agent.track_id for agent in agents]
        assert len(set(ids)) == len(ids) >= len(boxes)
        assert all(math.isfinite(a.box.x_m + a.box.vx_mps + a.box.yaw_rad) for a in agents)
        assert sum(a.box.source is BoxSource.NETWORK for a in agents) == len(boxes)


@pytest.mark.parametrize(("category", "expected_mps"), [(ANIMAL, -1.3), (CAR, 0.0)])
def test_the_radar_says_how_fast_the_vulnerable_move(
    category: Category, expected_mps: float
) -> None:
    """The network says that it stands; the radar track on it crosses at 1.3 m/s. Cars keep theirs."""
    tracker = Tracker()
    for k in range(18):
        y = 3.0 - 1.3 * k * TICK_S
        box = car(8.0, y if category == ANIMAL else 3.0, category=category)
        echo = RadarTrack(track_id=1, x_m=8.0, y_m=y, vx_mps=0.0, vy_mps=-1.3, hits=9, age_s=1.0)
        agents = tracker.update((box,), (), ego_at(k), frame_stamp_ns(k), (echo,))
    assert agents[0].box.vy_mps == pytest.approx(expected_mps, abs=0.4)


def test_a_coasting_pedestrian_goes_where_the_radar_goes() -> None:
    tracker = Tracker()
    for k in range(6):
        feed(tracker, k, car(8.0, 2.0, category=PEDESTRIAN))
    for k in range(6, 24):
        y = 2.0 - 1.5 * (k - 6) * TICK_S
        echo = RadarTrack(track_id=1, x_m=8.0, y_m=y, vx_mps=0.0, vy_mps=-1.5, hits=9, age_s=1.0)
        (agent,) = tracker.update((), (), ego_at(k), frame_stamp_ns(k), (echo,))
    assert agent.box.y_m == pytest.approx(y, abs=0.25)
    assert agent.box.source is BoxSource.TRACKER


def test_a_radar_track_out_of_reach_is_somebody_elses() -> None:
    tracker = Tracker()
    for k in range(18):
        echo = RadarTrack(track_id=1, x_m=8.0, y_m=4.0, vx_mps=0.0, vy_mps=-3.0, hits=9, age_s=1.0)
        box = car(8.0, 2.0, category=PEDESTRIAN)
        (agent,) = tracker.update((box,), (), ego_at(k), frame_stamp_ns(k), (echo,))
    assert agent.box.vy_mps == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("category", "is_turned"), [(CAR, True), (PEDESTRIAN, False)])
def test_a_vehicle_that_seems_to_drive_backwards_is_turned_round_and_somebody_on_foot_is_not(
    category: Category, is_turned: bool
) -> None:
    """Everybody moves at 3 m/s along x and is said to face the other way."""
    tracker = Tracker()
    for k in range(36):
        seen = car(20 + 3 * k * TICK_S, 0, 3.0, category=category, yaw_rad=math.pi)
        (agent,) = feed(tracker, k, seen)
    assert agent.box.vx_mps > 2.0
    assert (math.cos(agent.box.yaw_rad) > 0.0) is is_turned
