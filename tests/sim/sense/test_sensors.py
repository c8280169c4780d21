import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

import conf
from edge.contracts.classes import ANIMAL, CAR, TRAFFIC_CONE, Category, row_of
from edge.contracts.rig import RadarMount, Rig
from edge.contracts.sensors import RADAR_FIELDS, ULTRASONIC_MAX_RANGE_M
from sim.place.scenery import Scenery
from sim.sense.rig import default_rig
from sim.sense.sensors import RadarSettings, UltrasonicSettings, radar_scan, ultrasonic_scan
from sim.sense.sight import Surroundings, survey
from sim.simulation.settings import WorldSettings
from sim.world.encounters import Scenario
from sim.world.snapshot import Entity, Snapshot

EntityMaker = Callable[..., Entity]
SnapshotMaker = Callable[..., Snapshot]

RIG = default_rig()
(MOUNT,) = RIG.radars
QUIET = RadarSettings(
    ghosts_per_scan=0.0, range_sigma_m=0.0, azimuth_sigma_rad=0.0, speed_sigma_mps=0.0
)


def scans(around: Surroundings, settings: RadarSettings, count: int = 400) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [radar_scan(around, RIG, settings, rng).points_ego for _ in range(count)]


@pytest.mark.parametrize(
    ("mesh", "category"),
    [("car", CAR), ("animal", ANIMAL), ("traffic_cone", TRAFFIC_CONE)],
)
def test_echo_rate_is_the_configured_one(
    mesh: str, category: Category, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    around = survey(snapshot_of(entity_at(mesh, 15.0)))
    rate = np.mean([len(points) > 0 for points in scans(around, QUIET, 1000)])
    assert rate == pytest.approx(row_of(category).radar_return_ratio, abs=0.045)


def test_points_lie_on_the_faces_turned_to_the_sensor(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    around = survey(snapshot_of(entity_at("car", 20.0)))  # 4.5 x 1.8 m, straight ahead
    points = np.concatenate(scans(around, QUIET))
    assert {len(p) for p in scans(around, QUIET)} == {0, 1, 2, 3}
    np.testing.assert_allclose(points[:, 0], 20.0 - 2.25, atol=1e-4)
    assert np.abs(points[:, 1]).max() <= 0.9
    assert points[:, 1].min() < -0.7 and points[:, 1].max() > 0.7


def test_radial_speed_is_over_the_ground_and_positive_going_away(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    # The ego of these snapshots drives at 8 m/s; a parked car must read 0, not -8.
    for turn_rad, speed_mps, expected in ((0.0, 5.0, 5.0), (math.pi, 5.0, -5.0), (0.0, 0.0, 0.0)):
        car = entity_at("car", 30.0, turn_rad=turn_rad, speed_mps=speed_mps)
        points = np.concatenate(scans(survey(snapshot_of(car)), QUIET, 50))
        assert points[:, RADAR_FIELDS.index("radial_speed_mps")] == pytest.approx(
            expected, abs=0.02
        )
    crossing = entity_at("car", 30.0, turn_rad=math.pi / 2, speed_mps=10.0)
    points = np.concatenate(scans(survey(snapshot_of(crossing)), QUIET, 50))
    assert np.abs(points[:, 2]).max() < 1.0, "what crosses has hardly any radial speed"


def test_hidden_road_users_return_less_often(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    bus = entity_at("bus", 12.0, turn_rad=math.pi / 2, entity_id=1)
    behind = entity_at("pedestrian", 25.0, entity_id=2)
    around = survey(snapshot_of(bus, behind))
    assert around.hidden_ratio.tolist() == [0.0, 1.0]
    rate = np.mean([(points[:, 0] > 20.0).any() for points in scans(around, QUIET, 2000)])
    assert rate == pytest.approx(0.55 * 0.35, abs=0.04)


def test_noise_has_the_configured_size(entity_at: EntityMaker, snapshot_of: SnapshotMaker) -> None:
    settings = RadarSettings(ghosts_per_scan=0.0)
    around = survey(snapshot_of(entity_at("pedestrian", 40.0 + MOUNT.x_m)))
    points = np.concatenate(scans(around, settings, 3000)).astype(float)
    ranges = np.hypot(points[:, 0] - MOUNT.x_m, points[:, 1])
    azimuths = np.arctan2(points[:, 1], points[:, 0] - MOUNT.x_m)
    assert ranges.std() == pytest.approx(0.15, rel=0.1)
    assert azimuths.std() == pytest.approx(math.radians(0.86), rel=0.15)
    assert points[:, 2].std() == pytest.approx(0.15, rel=0.1)
    assert points[:, 3].mean() == pytest.approx(-5.0, abs=0.3)


def test_ghosts_come_from_nowhere_at_the_configured_rate(snapshot_of: SnapshotMaker) -> None:
    points = scans(survey(snapshot_of()), RadarSettings())
    assert np.mean([len(p) for p in points]) == pytest.approx(8.0, rel=0.07)
    assert np.hypot(*np.concatenate(points)[:, :2].T).max() < 60.0 + 2.0


def test_what_lines_the_road_returns_standing_echoes(
    snapshot_of: SnapshotMaker, scenery: Scenery
) -> None:
    around = survey(snapshot_of(), scenery)
    points = np.concatenate(scans(around, QUIET, 50))
    assert 3 < len(points) / 50 < 40
    assert np.abs(points[:, 2]).max() == 0.0
    silent = dataclasses.replace(QUIET, clutter_probability={})
    assert sum(map(len, scans(around, silent, 50))) == 0


def test_points_come_in_order_of_azimuth_so_that_order_tells_nothing(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker, scenery: Scenery
) -> None:
    crowd = [entity_at("car", 8.0 * i - 30.0, 5.0, entity_id=i + 1) for i in range(8)]
    around = survey(snapshot_of(*crowd), scenery)
    points = radar_scan(around, RIG, RadarSettings(), np.random.default_rng(0)).points_ego
    azimuths = np.arctan2(points[:, 1], points[:, 0] - MOUNT.x_m)
    assert points.dtype == np.float32 and points.shape[1] == len(RADAR_FIELDS)
    assert (np.diff(azimuths) >= -1e-5).all() and len(points) > 8


def test_scan_depends_on_its_generator_alone(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    around = survey(snapshot_of(entity_at("truck", 15.0)))
    first, again, other = (
        radar_scan(around, RIG, RadarSettings(), np.random.default_rng(seed)).points_ego
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_no_scenario_can_touch_the_sensors() -> None:
    sensor_words = {"radar", "ultrasonic", "ultrasonics", "camera", "return_probability"}
    names = {f.name for f in dataclasses.fields(Scenario)}
    assert not names & sensor_words
    for path in (Path(conf.__file__).parent / "sim" / "scenario").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())) <= names, path.name
    assert WorldSettings().radar == RadarSettings()


def corner(name: str, y_m: float, yaw_deg: float) -> RadarMount:
    return RadarMount(
        name=name, x_m=3.4, y_m=y_m, yaw_rad=math.radians(yaw_deg),
        field_of_view_rad=math.radians(120.0),
    )  # fmt: skip


def test_two_corner_radars_measure_from_their_own_mounts_and_no_further_than_they_see(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    rig = msgspec.structs.replace(RIG, radars=(corner("l", 0.8, 45.0), corner("r", -0.8, -45.0)))
    around = survey(snapshot_of(entity_at("truck", 2.0, 12.0, speed_mps=8.0)))
    rng = np.random.default_rng(3)
    sweeps = [radar_scan(around, rig, QUIET, rng) for _ in range(50)]
    points = np.concatenate([scan.points_ego for scan in sweeps])
    assert len(points) > 50
    assert {int(k) for scan in sweeps for k in scan.sensor} == {0}, "the right one looks away"
    ray = points[:, :2] - (3.4, 0.8)
    along = 8.0 * ray[:, 0] / np.hypot(ray[:, 0], ray[:, 1])
    np.testing.assert_allclose(points[:, 2], along, atol=1e-3)


def test_a_rig_without_radar_hears_nothing(snapshot_of: SnapshotMaker) -> None:
    rig = msgspec.structs.replace(RIG, radars=())
    scan = radar_scan(survey(snapshot_of()), rig, RadarSettings(), np.random.default_rng(0))
    assert scan.points_ego.shape == (0, 4)


def clear(settings: UltrasonicSettings | None = None) -> UltrasonicSettings:
    return dataclasses.replace(settings or UltrasonicSettings(), sigma_m=0.0, dropout_ratio=0.0)


def test_ultrasonics_measure_the_gap_ahead(
    rig: Rig, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    # The near face of a barrier 0.5 m thick is 2.0 m from the middle of the bumper.
    wall = entity_at("barrier", RIG.body.front_m + 2.25, width_m=12.0, length_m=0.5)
    scan = ultrasonic_scan(survey(snapshot_of(wall)), rig, clear(), np.random.default_rng(0))
    assert scan.ranges_m.shape == (12,) and scan.ranges_m.dtype == np.float32
    assert scan.ranges_m[2:4] == pytest.approx(2.0, abs=0.01)
    assert (scan.ranges_m[6:] == ULTRASONIC_MAX_RANGE_M).all(), "nothing behind"


def test_ultrasonics_look_no_further_than_their_cone(
    rig: Rig, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    beside = entity_at("traffic_cone", RIG.body.centre_m, 3.0)
    scan = ultrasonic_scan(survey(snapshot_of(beside)), rig, clear(), np.random.default_rng(0))
    assert (scan.ranges_m == ULTRASONIC_MAX_RANGE_M).all()
    far = entity_at("car", RIG.body.front_m + 5.2 + 2.25)
    scan = ultrasonic_scan(survey(snapshot_of(far)), rig, clear(), np.random.default_rng(0))
    assert (scan.ranges_m == ULTRASONIC_MAX_RANGE_M).all()


def test_ultrasonics_jitter_and_drop_out(
    rig: Rig, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    around = survey(snapshot_of(entity_at("barrier", RIG.body.front_m + 2.25, width_m=12.0)))
    rng = np.random.default_rng(0)
    readings = np.array(
        [ultrasonic_scan(around, rig, UltrasonicSettings(), rng).ranges_m[2] for _ in range(2000)]
    )
    lost = readings == ULTRASONIC_MAX_RANGE_M
    assert lost.mean() == pytest.approx(0.02, abs=0.01)
    assert readings[~lost].std() == pytest.approx(0.02, rel=0.1)
