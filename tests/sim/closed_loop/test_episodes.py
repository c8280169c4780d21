import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge.board.rig import load_rig
from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose
from edge.contracts.rig import Rig
from edge.contracts.scene import TTC_FREE_S
from edge.vehicle import DriveIdentity, Vehicle, VehicleSettings, start_vehicle
from fleet.evaluate.episodes import EpisodeResult, EpisodeSpec
from sim.episodes import (
    ChildEpisodes,
    EpisodeOrder,
    Tally,
    default_episodes,
    drive_episode,
    is_off_road,
    load_episodes,
    true_time_to_collision_s,
)
from sim.place.ground import Ground
from sim.place.maps import RoadMap, Split, load_map
from sim.simulation.simulation import Simulation, simulate
from sim.world.encounters import load_scenario
from sim.world.snapshot import Snapshot

SHORT = EpisodeSpec(
    episode_id="short",
    scenario="animal_crossing",
    map_name="suburb_gate",
    place_id="suburb_gate-010",
    seed=3,
    duration_s=1.0,
)


def moving(snapshot: Snapshot, **changes: object) -> Snapshot:
    return replace(snapshot, ego=msgspec.structs.replace(snapshot.ego, **changes))


def test_standing_car_20_m_before_the_bumper_is_2_s_away_at_10_mps(snapshot_of, entity_at) -> None:
    """Bumper at 3.6 m, its rear at 26 - 2.25 = 23.75 m: 20.15 m are 2.015 s."""
    at_10 = moving(snapshot_of(entity_at("car", 26.0)), speed_mps=10.0)
    assert true_time_to_collision_s(at_10) == 2.1
    assert true_time_to_collision_s(moving(at_10, speed_mps=4.0)) == TTC_FREE_S
    assert true_time_to_collision_s(moving(at_10, speed_mps=0.0)) == TTC_FREE_S


def test_car_that_drives_ahead_as_fast_is_never_met(snapshot_of, entity_at) -> None:
    same = snapshot_of(entity_at("car", 12.0, speed_mps=10.0))
    assert true_time_to_collision_s(moving(same, speed_mps=10.0)) == TTC_FREE_S


def test_car_beside_the_bend_that_we_steer_is_passed(snapshot_of, entity_at) -> None:
    """0.5 rad/s at 10 m/s is a circle of 20 m: after 1.5 s we head 43 degrees to the left."""
    straight = moving(snapshot_of(entity_at("car", 24.0)), speed_mps=10.0)
    assert true_time_to_collision_s(straight) < 2.5
    assert true_time_to_collision_s(moving(straight, yaw_rate_radps=0.5)) == TTC_FREE_S


def test_whoever_is_touched_twice_counts_twice_and_who_is_pushed_counts_once(
    snapshot_of, ground: Ground
) -> None:
    tally = Tally(rate_hz=36.0)
    for touched in ((), (7,), (7,), (), (7, 8), (8,)):
        tally.add(replace(snapshot_of(), touched_ids=touched), ground)
    assert tally.collisions == 3


def test_each_hard_brake_counts_once(snapshot_of, ground: Ground) -> None:
    tally = Tally(rate_hz=36.0)
    for acceleration in (0.0, -5.0, -7.0, -3.0, -4.5, -1.0):
        tally.add(moving(snapshot_of(), acceleration_mps2=acceleration, speed_mps=9.0), ground)
    assert tally.hard_brakes == 2
    assert tally.max_deceleration_mps2 == 7.0
    assert tally.progress_m == pytest.approx(6 * 9.0 / 36.0)


def test_a_wheel_on_the_pavement_is_off_the_road(
    snapshot_of, ground: Ground, ego_pose: Pose
) -> None:
    on_road = snapshot_of()
    assert not is_off_road(on_road, ground)
    yaw = ego_pose.yaw_rad
    aside = Pose.from_xy_yaw(
        ego_pose.x_m + 8.0 * math.sin(yaw), ego_pose.y_m - 8.0 * math.cos(yaw), yaw
    )
    assert is_off_road(moving(on_road, world_from_ego=aside), ground)


@pytest.mark.parametrize("rate_hz", [12.0, 36.0])
def test_time_beside_the_road_and_at_minimum_risk_is_the_same_at_every_rate(
    snapshot_of, ground: Ground, ego_pose: Pose, rate_hz: float
) -> None:
    tally, yaw = Tally(rate_hz=rate_hz), ego_pose.yaw_rad
    aside = Pose.from_xy_yaw(
        ego_pose.x_m + 8.0 * math.sin(yaw), ego_pose.y_m - 8.0 * math.cos(yaw), yaw
    )
    for _ in range(round(0.5 * rate_hz)):
        tally.add(moving(snapshot_of(), world_from_ego=aside, speed_mps=2.0), ground)
    result = tally.result("e", round(0.25 * rate_hz))
    assert (result.off_road_s, result.minimum_risk_s) == (0.5, 0.25)
    assert result.progress_m == pytest.approx(1.0)


@pytest.fixture(scope="module")
def gate_map() -> RoadMap:
    return load_map("suburb_gate")


def test_default_episodes_drive_where_nobody_is_trained(gate_map: RoadMap) -> None:
    episodes = default_episodes()
    assert len({e.episode_id for e in episodes}) == len(episodes) >= 6
    for episode in episodes:
        assert episode.map_name == "suburb_gate"
        assert gate_map.place(episode.place_id).split is Split.GATE
        load_scenario(episode.scenario)


def test_unknown_list_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OperatorError, match=r"'nightly'; there are default"):
        load_episodes("nightly")


def test_episode_drives_with_the_rig_and_the_rate_of_the_vehicle(
    blind_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Simulation] = []
    started: list[tuple[Rig, float]] = []

    def simulated(*told: object, **more: object) -> Simulation:
        opened.append(simulate(*told, **more))
        return opened[-1]

    def start(settings: VehicleSettings, identity: DriveIdentity, **more: object) -> Vehicle:
        started.append((more["rig"], identity.rate_hz))
        return start_vehicle(settings, identity, **more)

    monkeypatch.setattr("sim.episodes.simulate", simulated)
    monkeypatch.setattr("sim.episodes.start_vehicle", start)
    order = EpisodeOrder(
        spec=SHORT,
        bundle=str(blind_bundle),
        profile="laptop",
        vehicle=VehicleSettings(rig="nuscenes_six"),
    )
    result = drive_episode(order)
    mounted = load_rig("nuscenes_six")
    assert started == [(mounted.rig, 12.0)]
    (world,) = opened
    assert world.rig == mounted.rig and world.rate_hz == 12.0
    assert 3.0 < result.progress_m < 9.0, "a second's way, counted at 12 Hz"


def test_episode_in_a_child_ends_as_in_this_process(blind_bundle: Path, tmp_path: Path) -> None:
    heard: list[EpisodeResult] = []
    runner = ChildEpisodes(tmp_path, on_result=heard.append)
    (result,) = runner.run([SHORT], blind_bundle)
    assert result.episode_id == "short"
    assert 3.0 < result.progress_m < 9.0
    assert heard == [result]
    here = drive_episode(EpisodeOrder(spec=SHORT, bundle=str(blind_bundle), profile="laptop"))
    assert here == result
