"""Predictions: who keeps to the lane, who crosses, whose future is believed."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from edge.board.rig import load_rig
from edge.contracts.scene import Agent, RadarTrack, Trajectory
from edge.plan.choose import PlanSettings, planned_body
from edge.plan.outlines import OutlineSettings, outlines
from edge.plan.path import Path, path_from_points
from edge.plan.predict import Hazards, PredictSettings
from edge.plan.predict import predict as predict_seen

SHAPE = planned_body(load_rig("sim_eight").rig.body, PlanSettings())
SETTINGS = PredictSettings(step_s=0.5, steps=4)


def predict(
    agents: Sequence[Agent],
    radar_tracks: Sequence[RadarTrack],
    path: Path,
    outline: OutlineSettings | None = None,
) -> Hazards:
    """See and predict."""
    seen = outlines(agents, radar_tracks, SHAPE, outline or OutlineSettings())
    return predict_seen(seen, agents, path, SETTINGS)


def bend():
    """A quarter circle to the left of 30 m radius."""
    turn = np.linspace(0.0, math.pi / 2, 60)
    return path_from_points(30.0 * np.stack([np.sin(turn), 1.0 - np.cos(turn)], axis=1))


def radar_track(x_m: float, y_m: float, vx_mps=0.0, vy_mps=0.0, age_s=2.0) -> RadarTrack:
    return RadarTrack(
        track_id=1, x_m=x_m, y_m=y_m, vx_mps=vx_mps, vy_mps=vy_mps, hits=9, age_s=age_s
    )


def test_a_car_at_10_mps_is_20_m_further_after_2_s(agent, straight_path) -> None:
    hazards = predict([agent(20, 0, 10.0)], (), straight_path)
    np.testing.assert_allclose(hazards.position[0, :, 0], [20, 25, 30, 35, 40])
    np.testing.assert_allclose(hazards.station_m[0], [20, 25, 30, 35, 40])


def test_a_car_in_a_bend_follows_the_bend(agent) -> None:
    path = bend()
    position, yaw = path.at(np.array(10.0))
    car = agent(*position, 8 * math.cos(yaw), 8 * math.sin(yaw), yaw_rad=float(yaw))
    hazards = predict([car], (), path)
    np.testing.assert_allclose(hazards.offset_m[0], 0.0, atol=0.05)
    np.testing.assert_allclose(hazards.station_m[0], [10, 14, 18, 22, 26], atol=0.05)


def test_an_oncoming_car_keeps_to_its_own_lane(agent) -> None:
    path = bend()
    position, yaw = path.beside(np.array(30.0), np.array(3.5))
    car = agent(*position, -8 * math.cos(yaw), -8 * math.sin(yaw), yaw_rad=float(yaw) + math.pi)
    hazards = predict([car], (), path)
    np.testing.assert_allclose(hazards.offset_m[0], 3.5, atol=0.1)
    assert hazards.station_m[0, -1] == pytest.approx(14.0, abs=1.5)


def test_sideways_drift_along_the_lane_dies_out_but_a_crossing_goes_on(
    agent, straight_path
) -> None:
    drifting = agent(20, 3.5, 10.0, -0.5)
    crossing = agent(40, -6, 0.0, 1.5)
    hazards = predict([drifting, crossing], (), straight_path)
    assert hazards.offset_m[0, -1] == pytest.approx(3.5 - 0.5 * (1 - math.exp(-2)))
    assert hazards.offset_m[1, -1] == pytest.approx(-3.0)


def test_a_young_agent_is_doubted_sideways_within_its_lane(agent, straight_path) -> None:
    young = msgspec.structs.replace(agent(20, 3.5, 10.0, -0.5), hits=9)
    drift = predict([young], (), straight_path).offset_m[0, -1] - 3.5
    assert drift == pytest.approx(-0.25 * (1 - math.exp(-2)))


def test_slow_noise_is_standing_still(agent, straight_path) -> None:
    """Half a metre per second for a person, twice that for a car."""
    walker = agent(20, 3, 0.3, -0.3, length_m=0.6, width_m=0.6)
    creeping = agent(30, 3, 0.6, -0.6)
    hazards = predict([walker, creeping], (), straight_path)
    np.testing.assert_allclose(hazards.position[:, -1], [[20, 3], [30, 3]])
    assert hazards.is_standing.tolist() == [True, True]


@pytest.mark.parametrize("x_m", [-5.0, -1.5, 1.0, 90.0])
def test_what_is_behind_inside_or_far_away_is_no_hazard(agent, straight_path, x_m: float) -> None:
    assert len(predict([agent(x_m, 0)], (), straight_path)) == 0


def test_tentative_agents_do_not_brake_us(agent, straight_path) -> None:
    assert len(predict([agent(20, 0, is_confirmed=False)], (), straight_path)) == 0


def test_a_radar_track_counts_unless_a_box_explains_it(agent, straight_path) -> None:
    beside, alone = radar_track(21.0, 1.5), radar_track(30.0, 0.0)
    hazards = predict([agent(20, 0)], [beside, alone], straight_path)
    assert hazards.is_radar.tolist() == [False, True]
    np.testing.assert_allclose(hazards.position[1, 0], [30, 0])


def test_a_young_radar_track_is_doubted_sideways_and_believed_along_the_sight(
    straight_path,
) -> None:
    young = radar_track(30.0, 0.0, vx_mps=-3.0, vy_mps=4.0, age_s=1.0)
    hazards = predict((), [young], straight_path)
    moved = hazards.position[0, 1] - hazards.position[0, 0]
    np.testing.assert_allclose(moved, [-1.5, 1.0])  # half of 4 m/s for half a second


def test_the_motion_of_what_only_the_radar_sees_is_believed_for_two_seconds(straight_path) -> None:
    longer = PredictSettings(step_s=0.5, steps=6)
    tracks = (radar_track(60.0, 3.0, vx_mps=-10.0), radar_track(20.0, 1.0))
    seen = outlines((), tracks, SHAPE, OutlineSettings())
    oncoming, standing = predict_seen(seen, (), straight_path, longer).position
    np.testing.assert_allclose(oncoming[4, 0], 40.0)
    assert (oncoming[5:] > 1e4).all()
    np.testing.assert_allclose(standing[:, 0], 20.0)


def future(*points: tuple[float, float], probability: float = 0.5) -> Trajectory:
    return Trajectory(points_ego=points, step_s=0.5, probability=probability)


def test_a_future_that_continues_the_motion_is_a_hazard_of_its_own(agent, straight_path) -> None:
    turning = future((25, 0.2), (29.8, 1.0), (34, 3.0), (38, 6.0))
    hazards = predict([agent(20, 0, 10.0, futures=[turning])], (), straight_path)
    assert len(hazards) == 2
    np.testing.assert_allclose(hazards.position[1, -1], [38, 6])


def test_a_short_future_goes_straight_on(agent, straight_path) -> None:
    short = future((25, 0), (30, 0.5))
    hazards = predict([agent(20, 0, 10.0, futures=[short])], (), straight_path)
    np.testing.assert_allclose(hazards.position[1, -1], [40, 1.5])


@pytest.mark.parametrize(
    "unlikely",
    [
        future((25, 0), (30, 0), (35, 0), (40, 0), probability=0.1),
        future((20, 5), (20, 10), (20, 15), (20, 20)),
    ],
    ids=["improbable", "contradicts the motion"],
)
def test_a_future_that_is_not_believed_is_dropped(agent, straight_path, unlikely) -> None:
    car = agent(20, 0, 10.0, futures=[unlikely])
    assert len(predict([car], (), straight_path)) == 1


def test_the_nearest_are_kept_when_there_are_too_many(agent, straight_path) -> None:
    crowd = [agent(10 + k, 5) for k in range(60)]
    hazards = predict(crowd, (), straight_path, OutlineSettings(max_count=5))
    assert len(hazards) == 5
    assert hazards.position[:, 0, 0].max() == 14.0
