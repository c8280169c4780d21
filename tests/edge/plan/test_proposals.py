"""Proposals: speeds that meet what lies ahead, and plans read from a network."""

import math

import numpy as np
import pytest

from edge.board.rig import load_rig
from edge.contracts.geometry import Pose
from edge.contracts.sensors import EgoState
from edge.plan.choose import PlanSettings, planned_body
from edge.plan.outlines import OutlineSettings, outlines
from edge.plan.path import Path, path_from_points
from edge.plan.predict import PredictSettings, predict
from edge.plan.proposals import (
    Proposals,
    RouteSettings,
    network_proposals,
    no_faster_than_standstill,
    route_proposals,
    speed_ceiling,
)

SHAPE = planned_body(load_rig("sim_eight").rig.body, PlanSettings())
SETTINGS = RouteSettings()


def ego(speed_mps: float) -> EgoState:
    return EgoState(stamp_ns=0, world_from_ego=Pose(), speed_mps=speed_mps)


def propose(
    path: Path, speed_mps: float, agents=(), limit_mps: float = 10.0, stop_m: float = math.inf
) -> Proposals:
    return route_proposals(
        path,
        speed_ceiling(path, limit_mps, stop_m, SETTINGS),
        predict(outlines(agents, (), SHAPE, OutlineSettings()), agents, path, PredictSettings()),
        ego(speed_mps),
        vehicle=SHAPE,
        settings=SETTINGS,
        step_s=0.25,
        steps=16,
    )


def test_ceiling_before_a_stop_is_the_speed_that_braking_at_2_takes_there(straight_path) -> None:
    ceiling = speed_ceiling(straight_path, 13.0, 50.0, SETTINGS)
    expected = [13.0, math.sqrt(2 * 2.0 * 16.0), 2.0, 0.0, 0.0]
    np.testing.assert_allclose(ceiling.at(np.array([0, 34, 49, 50, 60.0])), expected, atol=1e-4)


def test_ceiling_falls_to_zero_where_the_route_is_no_longer_known(straight_path) -> None:
    ceiling = speed_ceiling(straight_path, 13.0, math.inf, SETTINGS)
    np.testing.assert_allclose(ceiling.at(np.array([99.0, 100.0])), [2.0, 0.0], atol=1e-3)


def test_a_bend_of_8_m_is_taken_at_4_mps() -> None:
    turn = np.linspace(0, math.pi / 2, 30)
    bend = 8.0 * np.stack([np.sin(turn), 1 - np.cos(turn)], axis=1)
    path = path_from_points(np.concatenate([np.array([[-40.0, 0.0]]), bend, [[8.0, 50.0]]]))
    slowest = speed_ceiling(path, 13.0, math.inf, SETTINGS).at(np.linspace(30, 60, 60)).min()
    assert slowest == pytest.approx(4.0, abs=0.3)


def test_on_a_free_road_the_first_proposal_speeds_up_to_the_limit(straight_path) -> None:
    proposals = propose(straight_path, 8.0)
    assert proposals.acceleration_mps2[0] == pytest.approx(SETTINGS.acceleration_mps2)
    assert proposals.speed_mps[0].max() == pytest.approx(10.0, abs=0.1)
    assert proposals.steering_rad[0] == pytest.approx(0.0)


def test_stopping_proposals_stop_where_v_squared_over_two_a_says(straight_path) -> None:
    proposals = propose(straight_path, 8.0)
    first_stop = len(SETTINGS.speed_factors)
    for k, brake in enumerate(SETTINGS.brakes_mps2[1:], start=first_stop + 1):
        assert proposals.position[k, -1, 0] == pytest.approx(64.0 / (2 * brake), abs=0.3)
        assert proposals.speed_mps[k, -1] == 0.0


def test_a_limit_that_begins_below_our_speed_is_met_comfortably(straight_path) -> None:
    proposals = propose(straight_path, 10.0, limit_mps=5.0)
    assert proposals.acceleration_mps2[0] == pytest.approx(-SETTINGS.comfortable_brake_mps2)


def test_behind_a_slower_car_the_first_proposal_ends_at_its_speed(straight_path, agent) -> None:
    proposals = propose(straight_path, 8.0, [agent(20, 0, 6.0)])
    assert proposals.acceleration_mps2[0] < 0.0
    assert proposals.speed_mps[0, -1] == pytest.approx(6.0, abs=0.8)
    gaps = 20 - 2 + 6 * 0.25 * np.arange(1, 17) - (proposals.position[0, :, 0] + SHAPE.front_m)
    assert (gaps > SETTINGS.standstill_gap_m).all()


def test_a_car_in_the_next_lane_is_not_followed(straight_path, agent) -> None:
    beside = propose(straight_path, 8.0, [agent(15, 3.5, 6.0)])
    assert beside.acceleration_mps2[0] == pytest.approx(SETTINGS.acceleration_mps2)


def test_a_car_beyond_the_end_of_what_is_known_is_not_followed(agent) -> None:
    short = path_from_points(np.array([[0.0, 0.0], [60.0, 0.0]]))
    free, beyond = propose(short, 8.0), propose(short, 8.0, [agent(64, 0)])
    np.testing.assert_allclose(beyond.acceleration_mps2, free.acceleration_mps2)


def test_a_car_that_crosses_is_awaited_where_it_will_cross(straight_path, agent) -> None:
    """From 8 m aside at 4 m/s it comes onto our path, 1.1 m wide to a side, after 1.5 s."""
    crossing = agent(30, 8.0, 0.0, -4.0, yaw_rad=-math.pi / 2)
    assert propose(straight_path, 10.0, [crossing]).acceleration_mps2[0] < -1.0


def test_a_car_that_will_cross_beside_or_behind_us_is_not_followed(straight_path, agent) -> None:
    behind = agent(8, 10.0, -4.0, -4.0, yaw_rad=-2.4)
    free = propose(straight_path, 8.0)
    crossing = propose(straight_path, 8.0, [behind])
    np.testing.assert_allclose(crossing.acceleration_mps2, free.acceleration_mps2)


def test_who_comes_towards_us_is_stopped_for_like_something_that_stands(
    straight_path, agent
) -> None:
    towards = propose(straight_path, 8.0, [agent(50, 0, -6.0)])
    standing = propose(straight_path, 8.0, [agent(50, 0)])
    assert towards.acceleration_mps2[0] == pytest.approx(standing.acceleration_mps2[0], abs=0.01)


def test_no_command_asks_for_more_than_standstill(straight_path) -> None:
    proposals = propose(straight_path, 0.1)
    for rate_hz in (12.0, 36.0):
        capped = no_faster_than_standstill(proposals, 0.1, 1.0 / rate_hz)
        assert capped.acceleration_mps2.min() == pytest.approx(-0.1 * rate_hz)
    standing = no_faster_than_standstill(propose(straight_path, 0.0), 0.0, 1.0 / 36.0)
    assert standing.acceleration_mps2.min() == 0.0


def test_a_network_plan_is_read_with_its_speeds_and_its_first_second(straight_path) -> None:
    time_s = 0.25 * np.arange(1, 13)
    along = 6.0 * time_s + 0.5 * 1.0 * time_s**2
    plans = np.stack([along, np.zeros(12), np.zeros(12)], axis=-1)[None].astype(np.float32)
    read = network_proposals(
        plans,
        np.array([0.9], np.float32),
        straight_path,
        ego(6.0),
        vehicle=SHAPE,
        settings=SETTINGS,
        step_s=0.25,
    )
    np.testing.assert_allclose(read.speed_mps[0], 6.0 + time_s - 0.125, rtol=1e-5)
    assert read.acceleration_mps2[0] == pytest.approx(1.0, rel=1e-4)
    assert read.progress_m[0] == pytest.approx(along[-1], rel=1e-5)


def test_a_network_plan_along_an_arc_steers_the_arc(straight_path) -> None:
    way = 5.0 * 0.25 * np.arange(1, 13)
    plan = np.stack([20 * np.sin(way / 20), 20 * (1 - np.cos(way / 20)), way / 20], axis=-1)
    read = network_proposals(
        plan[None].astype(np.float32), np.ones(1, np.float32), straight_path, ego(5.0),
        vehicle=SHAPE, settings=SETTINGS, step_s=0.25,
    )  # fmt: skip
    assert read.steering_rad[0] == pytest.approx(math.atan(SHAPE.wheelbase_m / 20.0), rel=1e-4)
