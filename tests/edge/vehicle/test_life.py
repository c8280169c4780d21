"""One life: in what order a vehicle sends, records and takes clips in, and which bundle drives."""

import math

import numpy as np
import pytest

from edge.clip import CLIP_SUFFIX, RecorderSettings
from edge.clip_file import read_clip
from edge.contracts.errors import LinkDownError
from edge.contracts.scene import Rung
from edge.contracts.sensors import RadarScan
from edge.vehicle import DriveIdentity, Life, VehicleSettings

NONSENSE = RadarScan(np.full((1, 4), math.nan, np.float32))


@pytest.fixture
def life(home) -> Life:
    settings = VehicleSettings(recorder=RecorderSettings(privacy="synthetic"))
    identity = DriveIdentity(vehicle_id="v-01", drive_id="new", rate_hz=36.0, software="paper")
    home.notes = []
    return Life(
        home,
        settings,
        identity,
        utc_ns=lambda: 0,
        report=lambda ticks, note: home.notes.append((ticks, note)),
        clock=home.clock,
    )


def live(life: Life, source):
    life.prepare()
    life.drive(source)
    return life.finish()


def test_each_tick_of_a_drive_is_handed_on_as_it_ends(life, road) -> None:
    ticks = []
    life.prepare()
    life.drive(road(3), on_tick=ticks.append)
    assert len({result.perception.stamp_ns for result in ticks}) == life.finish().ticks == 3


def test_what_waits_is_sent_before_more_is_taken_in_and_all_goes_home_in_one_life(
    life, home, road
) -> None:
    life.prepare()
    assert home.happened == ["sent", "taken"]
    life.drive(road(2))
    outcome = life.finish()
    assert home.left() == 0
    assert outcome.counts.clips_admitted == 3
    assert outcome.bytes_sent == sum(len(home.clip(k).content) for k in range(3))


def test_a_fleet_that_takes_nothing_does_not_keep_a_vehicle_from_driving(life, home, road) -> None:
    home.uplink.is_willing = False
    with pytest.raises(LinkDownError, match="not acknowledged everything for 30 s"):
        live(life, road(4))
    assert len(home.agent.heard) == 4, "it drove"
    assert home.left() == 3


def test_a_fleet_that_says_nothing_ends_the_life_before_the_drive(life, home, road) -> None:
    home.uplink.campaigns = None
    with pytest.raises(LinkDownError, match="not said Welcome for 30 s"):
        live(life, road(4))
    assert home.clock.stamp_ns == pytest.approx(30e9, rel=0.01)
    assert home.agent.heard == []


def test_clips_of_the_drive_go_home_and_say_what_recorded_them(life, home, road, often) -> None:
    home.uplink.campaigns = (often,)
    life.prepare()
    life.drive(road(60))
    sealed = sorted(home.clips_folder("new").glob("*" + CLIP_SUFFIX))
    ours = [read_clip(path).manifest for path in sealed]
    outcome = life.finish()
    assert home.left() == 0
    assert len(ours) == len(outcome.clips.kept) > 0
    assert {(m.vehicle_id, m.bundle_id, m.software) for m in ours} == {("v-01", "b-1", "paper")}


def test_a_bundle_that_fails_on_the_road_is_left_at_once(
    life, home, road, bundle, other_bundle
) -> None:
    home.agent.installed = other_bundle("b-2", math.nan)
    home.agent.fallback = bundle
    outcome = live(life, road(10))
    assert home.agent.heard == [(1, 1)] + [(1, 0)] * 9
    assert (outcome.health.bundle_id, outcome.health.ticks, outcome.health.faults) == ("b-1", 9, 0)
    assert (outcome.ticks, outcome.faults, outcome.rungs) == (10, 1, {Rung.FULL: 10})
    (report,) = home.uplink.reports
    assert report.rungs == {Rung.FULL: 9}, "since the bundle that drives now became active"
    assert home.agent.acknowledged == [7]


def test_a_clip_names_the_bundle_that_drove_at_its_first_event(
    life, home, road, bundle, other_bundle, often
) -> None:
    home.uplink.campaigns = (often,)
    home.agent.installed = other_bundle("b-2", math.nan)
    home.agent.fallback = bundle
    life.prepare()
    life.drive(road(80))
    sealed = home.clips_folder("new").glob("*" + CLIP_SUFFIX)
    assert {read_clip(path).manifest.bundle_id for path in sealed} == {"b-1"}, (
        "b-2 failed in tick 0"
    )


@pytest.mark.parametrize(
    ("value", "radar", "heard"),
    [
        (0.0, RadarScan(), [(1, 0)]),
        (math.nan, RadarScan(), [(1, 1)]),
        (0.0, NONSENSE, [(1, 0)]),
        (math.nan, NONSENSE, []),
    ],
    ids=["good", "faulty", "good on cleaned readings", "faulty on cleaned readings"],
)
def test_a_bundle_on_trial_is_not_charged_for_a_fault_on_cleaned_readings(
    life, home, road, other_bundle, value, radar, heard
) -> None:
    home.agent.installed = other_bundle("b-2", value)
    live(life, road(1, radar=radar))
    assert home.agent.heard == heard


def test_a_bundle_that_does_not_load_leaves_the_last_one_driving(
    life, home, road, other_bundle, caplog
) -> None:
    home.agent.installed = other_bundle("b-2", math.nan)
    home.agent.fallback = manifest, folder = other_bundle("b-3")
    (folder / manifest.engines[0].sha256).unlink()
    outcome = live(life, road(10))
    assert (outcome.health.bundle_id, outcome.ticks) == ("b-2", 10)
    assert [entry.message for entry in caplog.records].count("bundle_not_loaded") == 1


def test_progress_is_noted_once_a_second_of_the_drive(life, home, road) -> None:
    live(life, road(80))
    driven = [ticks for ticks, note in home.notes if note.startswith("drives, clips kept: ")]
    assert driven == [37, 73]
    assert home.notes[0] == (0, "asks its fleet") and home.notes[-1][1].startswith("home")
