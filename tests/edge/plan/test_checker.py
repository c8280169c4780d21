"""Checks: each refuses what it is for, and only that."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.board.rig import load_rig
from edge.contracts.scene import PlanSource
from edge.plan.checker import (
    CHECKS,
    CheckSettings,
    Situation,
    judge,
    time_to_collision_s,
)
from edge.plan.choose import PlanSettings, planned_body
from edge.plan.outlines import OutlineSettings, outlines
from edge.plan.path import Path, path_from_points
from edge.plan.predict import Hazards, PredictSettings, predict
from edge.plan.proposals import Proposals, RouteSettings, speed_ceiling

SHAPE = planned_body(load_rig("sim_eight").rig.body, PlanSettings())
SETTINGS = CheckSettings()
STEP_S, STEPS = 0.25, 16


def situation(path: Path, agents=(), speed_mps: float = 8.0, **changes) -> Situation:
    usual = Situation(
        speed_mps=speed_mps,
        path=path,
        ceiling=speed_ceiling(path, 10.0, math.inf, RouteSettings()),
        hazards=hazards_of(agents, path),
        stop_line_m=math.inf,
        free_ahead_m=math.inf,
        ttc_s=math.inf,
    )
    return replace(usual, **changes)


def hazards_of(agents, path: Path, steps: int = STEPS) -> Hazards:
    seen = outlines(agents, (), SHAPE, OutlineSettings())
    return predict(seen, agents, path, PredictSettings(step_s=STEP_S, steps=steps))


def along(speed_mps: float = 8.0, acceleration_mps2: float = 0.0, y_m: float = 0.0) -> Proposals:
    """One proposal straight along x with constant acceleration down to standstill."""
    time_s = STEP_S * np.arange(1, STEPS + 1)
    if acceleration_mps2 < 0.0:
        time_s = np.minimum(time_s, speed_mps / -acceleration_mps2)
    x = speed_mps * time_s + 0.5 * acceleration_mps2 * time_s**2
    return proposal(
        np.stack([x, np.full(STEPS, y_m)], axis=1), speed=speed_mps + acceleration_mps2 * time_s,
        acceleration_mps2=acceleration_mps2,
    )  # fmt: skip


def proposal(
    position: np.ndarray, speed: np.ndarray, yaw: np.ndarray | None = None, acceleration_mps2=0.0
) -> Proposals:
    return Proposals(
        source=PlanSource.NETWORK,
        position=position[None],
        yaw_rad=(np.zeros(len(position)) if yaw is None else yaw)[None],
        speed_mps=speed[None],
        station_m=position[None, :, 0],  # the path is the x axis
        offset_m=position[None, :, 1],
        acceleration_mps2=np.array([acceleration_mps2]),
        steering_rad=np.zeros(1),
        score=np.ones(1),
        step_s=STEP_S,
    )


def passes(name: str, proposals: Proposals, where: Situation) -> bool:
    return bool(CHECKS[name](proposals, where, SHAPE, SETTINGS)[0])


def test_driving_on_a_free_road_passes_every_check(straight_path) -> None:
    passed, refused = judge(along(), situation(straight_path), SHAPE, SETTINGS)
    assert (passed.tolist(), refused) == ([0], {})


@pytest.mark.parametrize(("acceleration_mps2", "is_good"), [(3.0, True), (4.0, False)])
def test_acceleration_is_limited(straight_path, acceleration_mps2: float, is_good: bool) -> None:
    assert passes("kinematics", along(8, acceleration_mps2), situation(straight_path)) is is_good


def test_braking_at_8_is_possible_and_at_10_is_not(straight_path) -> None:
    assert passes("kinematics", along(8.0, -8.0), situation(straight_path))
    assert not passes("kinematics", along(8.0, -10.0), situation(straight_path))


def circle(radius_m: float, speed_mps: float) -> Proposals:
    way = speed_mps * STEP_S * np.arange(1, STEPS + 1)
    turn = way / radius_m
    position = radius_m * np.stack([np.sin(turn), 1 - np.cos(turn)], axis=1)
    return proposal(position, np.full(STEPS, speed_mps), turn)


def test_a_circle_much_tighter_than_the_wheels_allow_is_refused(straight_path) -> None:
    tightest_m = SHAPE.wheelbase_m / math.tan(SHAPE.max_steering_rad)  # 4.1 m
    slow = situation(straight_path, speed_mps=2.0)
    assert passes("kinematics", circle(tightest_m, 2.0), slow)
    assert passes("kinematics", circle(0.6 * tightest_m, 2.0), slow)
    assert not passes("kinematics", circle(0.5 * tightest_m, 2.0), slow)


def test_a_bend_is_limited_by_grip(straight_path) -> None:
    """8 m/s on 20 m is 3.2 m/s2 sideways, on 12 m it is 5.3."""
    assert passes("kinematics", circle(20.0, 8.0), situation(straight_path))
    assert not passes("kinematics", circle(12.0, 8.0), situation(straight_path))


def test_sliding_sideways_and_reversing_are_impossible(straight_path) -> None:
    way = 2.0 * np.arange(1, STEPS + 1)
    sideways = proposal(np.stack([way, way], axis=1), np.full(STEPS, 8.0))
    backwards = proposal(np.stack([-way, 0 * way], axis=1), np.full(STEPS, -8.0))
    assert not passes("kinematics", sideways, situation(straight_path))
    assert not passes("kinematics", backwards, situation(straight_path, speed_mps=0.0))


@pytest.mark.parametrize(("y_m", "is_good"), [(0.9, True), (1.1, False)])
def test_the_corridor_is_a_metre_wide_to_either_side(straight_path, y_m, is_good) -> None:
    assert passes("corridor", along(y_m=y_m), situation(straight_path)) is is_good


def test_speeding_is_refused_unless_one_is_slowing_down(straight_path) -> None:
    fast = situation(straight_path, speed_mps=13.0)
    assert not passes("speed", along(13.0), fast)
    assert passes("speed", along(13.0, -1.0), fast)


def test_a_red_light_is_not_crossed_nor_approached_too_fast_to_stop(straight_path) -> None:
    """Stopping from 8 m/s at 2 m/s2 takes 16 m; the bumper goes ahead of the rear axle."""
    reached_m = SHAPE.front_m + 16.0
    assert passes("stop_line", along(8, -2), situation(straight_path, stop_line_m=reached_m + 0.4))
    assert not passes(
        "stop_line", along(8, -2), situation(straight_path, stop_line_m=reached_m - 0.6)
    )
    assert not passes("stop_line", along(8), situation(straight_path, stop_line_m=reached_m + 16.4))


def test_who_stands_with_the_bumper_over_the_line_may_stay(straight_path) -> None:
    where = situation(straight_path, speed_mps=0.0, stop_line_m=SHAPE.front_m - 0.6)
    assert passes("stop_line", along(0.0), where)
    assert not passes("stop_line", along(0.0, 1.0), where)


def test_an_echo_is_not_driven_into(straight_path) -> None:
    """1 m/s at 5 m/s2 stops within 0.1 m, at 1 m/s2 within 0.5 m; 0.2 m are kept free."""
    near = situation(straight_path, speed_mps=1.0, free_ahead_m=0.35)
    assert passes("contact", along(1.0, -5.0), near)
    assert not passes("contact", along(1.0, -1.0), near)


def test_a_standing_car_ahead_is_not_hit(straight_path, agent) -> None:
    """Its rear is at 28 m; 4 s at 8 m/s bring our bumper to 35.6 m, braking at 2 m/s2 to 19.6 m."""
    where = situation(straight_path, [agent(30, 0)])
    assert not passes("collision", along(8.0), where)
    assert passes("collision", along(8.0, -2.0), where)


def test_a_pedestrian_is_hit_only_when_both_are_there_at_once(straight_path, agent) -> None:
    walker = {"length_m": 0.6, "width_m": 0.6}
    meets = agent(
        20, -3.0, 0.0, 1.5, **walker
    )  # in our lane from 1.2 s to 3 s; we pass 20 m at 2.0 s
    has_passed = agent(20, 1.5, 0.0, 1.5, **walker)
    assert not passes("collision", along(8.0), situation(straight_path, [meets]))
    assert passes("collision", along(8.0), situation(straight_path, [has_passed]))


def test_a_parked_car_half_a_metre_beside_our_way_is_passed(straight_path, agent) -> None:
    beside = agent(20, 0.9 + 0.5 + 1.0)  # half our width, the gap, half its width
    grazing = agent(20, 0.9 + 0.1 + 1.0)
    assert passes("collision", along(8.0), situation(straight_path, [beside]))
    assert not passes("collision", along(8.0), situation(straight_path, [grazing]))


def test_who_is_closer_than_the_margin_already_must_only_not_be_touched(
    straight_path, agent
) -> None:
    alongside = agent(1.3, 0.9 + 0.1 + 1.0)
    assert passes("collision", along(8.0), situation(straight_path, [alongside]))


def test_standing_still_hits_nobody(straight_path, agent) -> None:
    where = situation(straight_path, [agent(20, 0, -10.0)], speed_mps=0.0, ttc_s=0.5)
    assert judge(along(0.0), where, SHAPE, SETTINGS)[0].tolist() == [0]


def test_who_has_stopped_is_not_to_blame_for_who_drives_into_him(straight_path, agent) -> None:
    """We stop within 1 s at 8 m/s2; the oncoming car needs more than 2 s to reach us."""
    where = situation(straight_path, [agent(45, 0, -12.0)])
    assert passes("collision", along(8.0, -8.0), where)
    assert not passes("collision", along(8.0, -2.0), where)


def test_a_collision_a_second_away_asks_for_the_brake(straight_path) -> None:
    soon = situation(straight_path, ttc_s=1.0)
    assert not passes("time_to_collision", along(8.0), soon)
    assert not passes("time_to_collision", along(8.0, -1.0), soon)
    assert passes("time_to_collision", along(8.0, -3.0), soon)
    assert passes("time_to_collision", along(8.0), situation(straight_path, ttc_s=2.0))


def test_a_plan_that_ends_too_fast_to_stop_is_refused_though_it_hits_nothing(
    straight_path, agent
) -> None:
    """After 4 s our bumper is at 35.6 m with 8 m/s: stopping at 6 m/s2 takes another 5.3 m."""
    near, far = agent(39 + 2, 0), agent(42 + 2, 0)
    assert passes("collision", along(8.0), situation(straight_path, [near]))
    assert not passes("stopping", along(8.0), situation(straight_path, [near]))
    assert passes("stopping", along(8.0), situation(straight_path, [far]))


def test_following_as_fast_as_the_one_ahead_can_always_stop(straight_path, agent) -> None:
    assert passes("stopping", along(8.0), situation(straight_path, [agent(8, 0, 8.0)]))


def test_the_first_failed_check_is_charged(straight_path, agent) -> None:
    where = situation(straight_path, [agent(20, 0)])
    _, refused = judge(along(8.0, 4.0, y_m=5.0), where, SHAPE, SETTINGS)
    assert refused == {"kinematics": 1}


@pytest.mark.parametrize(
    ("speed_mps", "lead_mps", "expected_s"), [(8.0, 0.0, 3.05), (8.0, 4.0, 6.1), (0.0, 0.0, None)]
)
def test_time_to_collision_is_gap_over_closing_speed(
    straight_path, agent, speed_mps: float, lead_mps: float, expected_s: float | None
) -> None:
    """From our bumper to its rear, 2 m behind its middle, are 24.4 m."""
    hazards = hazards_of([agent(SHAPE.front_m + 24.4 + 2.0, 0, lead_mps)], straight_path, steps=32)
    found = time_to_collision_s(straight_path, speed_mps, hazards, SHAPE, step_s=STEP_S)
    # The gap of a step before contact may be that of the boxes' circles, up to 0.4 m less.
    assert found == (pytest.approx(expected_s, rel=0.02) if expected_s else math.inf)


any_plans = st.lists(
    st.tuples(*[st.floats(-1e3, 1e3)] * 3), min_size=STEPS, max_size=STEPS
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(any_plans)
def test_every_refusal_is_counted_once_whatever_is_proposed(points) -> None:
    path = path_from_points(np.array([[0.0, 0.0], [100.0, 0.0]]))
    values = np.array(points)
    speed = np.hypot(*np.diff(values[:, :2], axis=0, prepend=0.0).T) / STEP_S
    wild = proposal(values[:, :2], speed, values[:, 2])
    passed, refused = judge(wild, situation(path), SHAPE, SETTINGS)
    assert len(passed) + sum(refused.values()) == 1
