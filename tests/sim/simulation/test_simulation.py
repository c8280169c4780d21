import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.contracts.errors import OperatorError
from edge.contracts.rig import BODY
from edge.contracts.sensors import FrameSet
from edge.contracts.time import frame_stamp_ns
from sim.place.description import NETS
from sim.render.settings import RenderSettings
from sim.sense.rig import default_rig
from sim.sense.truth import TruthBox, read_truth
from sim.show.aim import advance_to_encounter
from sim.show.commands import app
from sim.simulation.settings import WorldSettings
from sim.simulation.simulation import Simulation, simulate, stream
from sim.world.encounters import load_scenario
from sim.world.path import TimedPath
from sim.world.props import nominal_look
from sim.world.scripted import Script, Scripted, ScriptedWorld
from sim.world.sumo.world import SumoWorld
from sim.world.trip import Trip

ANIMALS = Trip(seed=4, scenario=load_scenario("animal_crossing"))
Driven = list[tuple[FrameSet, tuple[TruthBox, ...]]]


def driven(trip: Trip, frames: int = 3, width_px: int = 64) -> Driven:
    with simulate(trip, rig=default_rig(width_px, width_px // 2), rate_hz=36.0) as drive:
        drive.skip(20)
        return [drive.step() for _ in range(frames)]


@pytest.fixture(scope="module")
def day() -> Driven:
    return driven(ANIMALS)


def brightness(frame_set: FrameSet) -> float:
    return float(np.mean([frame.image.mean() for frame in frame_set.frames]))


def test_frame_set_is_of_one_instant(day: Driven) -> None:
    indices = [frame_set.index for frame_set, _ in day]
    assert indices == list(range(indices[0], indices[0] + 3))
    for frame_set, _ in day:
        assert frame_set.stamp_ns == frame_set.ego.stamp_ns == frame_stamp_ns(frame_set.index)
        assert {f.image.shape for f in frame_set.frames} == {(32, 64, 3)}
        assert {f.stamp_ns for f in frame_set.frames} == {frame_set.stamp_ns}
        assert frame_set.ultrasonics.ranges_m.shape == (12,)
        assert len(frame_set.radar.points_ego) > 5
        assert frame_set.usable == (True,) * 8
    assert day[-1][0].ego.world_from_ego != day[0][0].ego.world_from_ego


def test_truth_names_the_encounter_of_what_a_scenario_placed(day: Driven) -> None:
    animals = [t for _, boxes in day for t in boxes if t.box.category == "animal"]
    assert animals and all(t.encounter_id for t in animals)
    assert any(t.visible_px > 0 for t in animals)
    others = [t for _, boxes in day for t in boxes if t.box.category == "car"]
    assert others and all(t.encounter_id is None for t in others)


def test_same_seed_drives_the_same_bytes(day: Driven) -> None:
    for (frame_set, boxes), (again, boxes_again) in zip(day, driven(ANIMALS), strict=True):
        for frame, other in zip(frame_set.frames, again.frames, strict=True):
            np.testing.assert_array_equal(frame.image, other.image)
        np.testing.assert_array_equal(frame_set.radar.points_ego, again.radar.points_ego)
        np.testing.assert_array_equal(frame_set.ultrasonics.ranges_m, again.ultrasonics.ranges_m)
        assert frame_set.ego == again.ego and frame_set.route == again.route
        assert boxes == boxes_again


def test_radar_does_not_change_when_cameras_or_light_do(day: Driven) -> None:
    night = driven(replace(ANIMALS, is_night=True), width_px=32)
    for (frame_set, _), (dark, _) in zip(day, night, strict=True):
        assert dark.frames[0].image.shape[1] == 32
        assert brightness(dark) < 0.5 * brightness(frame_set)
        np.testing.assert_array_equal(frame_set.radar.points_ego, dark.radar.points_ego)
        np.testing.assert_array_equal(frame_set.ultrasonics.ranges_m, dark.ultrasonics.ranges_m)


def test_streams_differ_by_name_seed_and_frame() -> None:
    draws = {
        float(stream(*key).random())
        for key in ((0, "radar", 0), (1, "radar", 0), (0, "night", 0), (0, "radar", 1))
    }
    assert len(draws) == 4
    assert stream(0, "radar", 1).random() == stream(0, "radar", 1).random()


def test_a_drive_that_cannot_begin_leaves_nothing_open() -> None:
    with pytest.raises(OperatorError, match="no place 'nowhere'"):
        simulate(replace(ANIMALS, place_id="nowhere"), rate_hz=36.0)
    blind = WorldSettings(render=RenderSettings(pipe="p3nothing"))
    with pytest.raises(OperatorError, match="p3nothing"):
        simulate(ANIMALS, blind, rate_hz=36.0)
    assert driven(ANIMALS, frames=1)


def test_what_a_script_puts_20_m_ahead_is_seen_there_by_truth_radar_and_the_front_camera() -> None:
    """Side by side: a bus 20 m ahead, 4 m to the left, and the ego standing on a place of the map."""
    bus = Scripted(nominal_look("bus"), TimedPath.standing(20.0, 4.0))
    still = TimedPath.standing(0.0, 0.0)
    rig = default_rig(64, 32)
    shown = []
    for things in ((bus,), ()):
        world = ScriptedWorld(Trip(place_id="suburb-020"), Script(things, still))
        with Simulation(world, rig=rig) as drive:
            shown.append(drive.step())
    (with_bus, (truth,)), (without, nothing) = shown
    assert not nothing
    assert (truth.box.x_m, truth.box.y_m, truth.box.yaw_rad) == pytest.approx((20.0, 4.0, 0.0))
    assert truth.visible_px > 20
    echoes = with_bus.radar.points_ego[:, :2] - (20.0, 4.0)
    assert (np.abs(echoes) < (6.5, 2.5)).all(axis=1).any()
    pairs = zip(with_bus.frames, without.frames, strict=True)
    assert 0 < sum(bool((a.image != b.image).any()) for a, b in pairs) < len(rig.cameras)


def test_a_rig_whose_body_is_not_the_one_that_the_world_moves_is_refused() -> None:
    longer = msgspec.structs.replace(BODY, length_m=BODY.length_m + 0.6)
    world = ScriptedWorld(Trip(place_id="suburb-020"), Script())
    with pytest.raises(OperatorError, match="its body is"):
        Simulation(world, rig=msgspec.structs.replace(default_rig(64, 32), body=longer))


def test_a_vehicle_is_simulated_with_the_body_of_its_rig() -> None:
    longer = msgspec.structs.replace(BODY, length_m=BODY.length_m + 0.6)
    rig = msgspec.structs.replace(default_rig(64, 32), body=longer)
    with simulate(ANIMALS, rig=rig, rate_hz=36.0) as drive:
        assert drive.world.now().body == longer


def test_command_line_drives_and_writes_truth_and_pictures(tmp_path: Path) -> None:
    truth, pictures = tmp_path / "sim.sense.truth", tmp_path / "pictures"
    words = ["drive", "--scenario", "animal_crossing", "--seconds", "0.2", "--json"]
    said = CliRunner().invoke(app, [*words, "--truth", str(truth), "--pictures", str(pictures)])
    assert said.exit_code == 0, said.output
    rows = {row["category"]: row for row in json.loads(said.stdout)}
    assert rows["animal"]["met"] >= 1 and rows["animal"]["encounters"] >= 1
    assert rows["car"]["encounters"] == 0
    assert len(read_truth(truth, "sim")) == 7
    assert [path.read_bytes()[1:4] for path in pictures.iterdir()] == [b"PNG"]


def test_command_line_shows_an_instant(tmp_path: Path) -> None:
    words = ["show", "--map", "grid", "--at-s", "0.1", "--night", "--out", str(tmp_path), "--json"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    paths = json.loads(said.stdout)
    assert {Path(p).read_bytes()[1:4] for p in paths.values()} == {b"PNG"}
    assert set(paths) == {"mosaic", "birds_eye"}


def test_command_line_drives_on_a_map_of_ones_own_and_keeps_its_pictures_in_their_folder(
    tmp_path: Path,
) -> None:
    shutil.copy(NETS / "grid.net.xml.gz", tmp_path / "town.net.xml.gz")
    (tmp_path / "town.yaml").write_text("split: [{use: train}]")
    words = ["show", "--map", str(tmp_path / "town.yaml"), "--at-s", "0"]
    said = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])
    assert said.exit_code == 0, said.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.split("-f")[0] for name in names] == ["town-none-s0"] * 2


def test_command_line_shows_the_encounter_that_it_is_asked_for(tmp_path: Path) -> None:
    words = ["show", "--scenario", "ball_and_child", "--encounter", "1", "--near-m", "25"]
    said = CliRunner().invoke(app, [*words, "--out", str(tmp_path), "--json"])
    assert said.exit_code == 0, said.output
    frame = int(Path(json.loads(said.stdout)["mosaic"]).name.split("-f")[1].split("-")[0])
    trip = Trip(scenario=load_scenario("ball_and_child"))
    with SumoWorld(trip) as world:
        near = advance_to_encounter(world, 1, near_m=25.0)
    assert frame == near.frame_index + 1


def test_command_line_refuses_a_scenario_that_does_not_exist() -> None:
    said = CliRunner().invoke(app, ["drive", "--scenario", "unicorns"])
    assert isinstance(said.exception, OperatorError)
    assert "unicorns" in str(said.exception)
