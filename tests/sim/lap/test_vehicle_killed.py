"""A vehicle killed in the middle of a drive: what it had sealed goes home with its next life, once."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edge.cli.console import stages
from edge.clip import CLIP_SUFFIX
from edge.clip_file import encode_instant, read_clip
from edge.contracts.clip import TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from fleet.campaign import CampaignSettings, RuleSettings
from fleet.catalog import ClipRow
from fleet.dataset.frozen import DatasetManifest, freeze
from fleet.sample.row import Sample, SampleLabels
from fleet.store import BlobStore
from fleet.work.process import JobError, Progress
from fleet.work.workspace import OnProgress, ignore_progress
from sim.lap import run
from sim.lap.claim import Claim, DriveScene
from sim.lap.drives import anchors_of, run_drives, training_places
from sim.lap.folders import LapFolders
from sim.lap.measures import MEASURES
from sim.lap.orders import DrivePhase, drive_orders
from sim.lap.settings import LapSettings
from sim.lap.turn import Turn
from sim.lap.vehicle import VehicleOutcome
from sim.sense.rig import default_rig

SETTINGS = LapSettings(
    vehicles=1,
    claim=Claim(scenes=[DriveScene("grid", "none")]),
    campaigns={
        "often": CampaignSettings(
            purpose="a clip every other second",
            rules={TriggerRule.RANDOM: RuleSettings(threshold=0.05, min_interval_s=1.0)},
            before_s=0.5,
            after_s=0.2,
        )
    },
)


def one_grey_frame(
    _: object, __: object, store: BlobStore, ___: object
) -> dict[str, DatasetManifest]:
    """Stand in for the rendered sets: a bundle needs one frame to ask golden questions with."""
    rig = default_rig()
    frame_set = FrameSet(
        index=0,
        stamp_ns=0,
        frames=frames_of(np.full((8, 128, 256, 3), 90, np.uint8), 0),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=0, world_from_ego=Pose()),
        route=Route(),
    )
    sample = Sample(
        sample_id="s",
        clip_id="c",
        place_id="p",
        rig_id=rig.rig_id,
        now=encode_instant(frame_set),
        earlier=None,
        labels=SampleLabels(),
    )
    return {"tune": freeze([sample], [rig], store, name="tune", split="tune")}


@pytest.fixture
def turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Turn]:
    """A fleet that is up, and a vehicle of its own that has not driven yet."""
    monkeypatch.setattr(run, "lap_sets", one_grey_frame)
    folders = LapFolders(tmp_path / "run", 1, tmp_path / "cache")
    with run.open_turn(SETTINGS, folders, None, stages()) as turn:
        yield turn


def live(
    turn: Turn, phase: str, seconds: float, on_progress: OnProgress = ignore_progress
) -> VehicleOutcome:
    """Let the vehicle live one life."""
    places = training_places(["grid"])
    (finished,) = run_drives(
        turn.folders,
        turn.card,
        anchors_of(turn.depot.image, turn.depot.director),
        SETTINGS.profile,
        drive_orders(SETTINGS, 1, DrivePhase(phase, seconds), turn.vehicles, places),
        truth=turn.folders.truth(phase),
        on_progress=on_progress,
    )
    return finished.outcome


def kill_vehicles_of(run_folder: Path) -> None:
    """Kill every vehicle process that works in a folder."""
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            line = (process / "cmdline").read_bytes().decode(errors="replace")
            if "sim.lap.vehicle" in line and str(run_folder) in line:
                os.kill(int(process.name), signal.SIGKILL)


def test_clips_that_a_killed_vehicle_had_sealed_go_home_once_with_its_next_life(turn: Turn) -> None:
    home = turn.folders.vehicle("v-01")

    def sealed() -> set[str]:
        return {path.stem for path in home.glob(f"clips/*/*{CLIP_SUFFIX}")}

    def kill_when_sealed(name: str, progress: Progress) -> None:
        if sealed():
            kill_vehicles_of(turn.folders.run)

    with pytest.raises(JobError, match="was ended by signal 9"):
        live(turn, "first", 600.0, kill_when_sealed)
    left = sealed()
    assert left
    assert not turn.workspace.catalog.all(ClipRow)

    outcome = live(turn, "second", 1.0)

    rows = turn.workspace.catalog.all(ClipRow)
    assert {row.clip_id for row in rows if row.drive_id.endswith("first-v-01")} == left
    assert len(rows) == len({row.clip_id for row in rows}) == outcome.uploaded
    for row in rows:
        assert read_clip(turn.workspace.store.get(row.blob_id)).manifest.clip_id == row.clip_id
    assert not sealed()


def test_a_drive_brings_home_every_measure(turn: Turn) -> None:
    outcome = live(turn, "first", 1.0)
    assert outcome.progress_m > 0.0 and set(outcome.measures) == set(MEASURES)
