"""The single commands of the loop, on a small fleet: what they do stands in the catalog, once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.cli.root import main
from edge.clip_file import (
    ClipFrame,
    EncodedFrame,
    Instant,
    encode_clip,
    encode_clip_manifest,
    encode_instant,
)
from edge.contracts.classes import CAR
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.release import Assignment
from edge.contracts.scene import Box3D, Rung
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import ClockKind, NamedClock, frame_stamp_ns
from edge.contracts.wire import HealthReport, InstallPhase
from edge.upload import load_or_make_keys
from fleet.catalog import Catalog, ClipRow, LabelRow, ReportRow, RunRow
from fleet.dataset.order import freeze_samples
from fleet.dataset.shelf import files_of, find_dataset
from fleet.init import create_fleet
from fleet.keys import Enrolment, enrol
from fleet.rollout.conduct import plan_of
from fleet.sample.row import LabelSource, Sample, SampleBox, SampleLabels
from fleet.settings import ServiceSettings
from fleet.state import StateFolder
from fleet.store import FolderStore, blob_key
from fleet.work.workspace import Workspace
from fleet.zoo import read_card, zoo_folder
from sim.sense.rig import default_rig

NOW_NS = 1_800_000_000 * 10**9
RIG = default_rig()
VEHICLES = ("v-01", "v-02")

NOBODY = '''
from fleet.labeler import LabelCost, ReviewAnswer

class Nobody:
    """A reviewer to whom everything is nothing."""
    def __init__(self, folder):
        self.cost = LabelCost()
    def review(self, question, stamps_ns):
        self.cost.tracks += 1
        return ReviewAnswer(track=question.track, boxes={}, is_nothing=True)
'''


class Shell:
    """Runs `ringroad …` on one state folder."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        self.state = StateFolder(root / "state")

    def __call__(self, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--state", str(self.state.root)])
        said = self._capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    def json(self, *words: str) -> Any:
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    @property
    def cache(self) -> tuple[str, str]:
        return ("--cache", str(self.root / "cache"))


def new_workspace(root: Path) -> Workspace:
    state = create_fleet(ServiceSettings(state=str(root / "state")), now_ns=NOW_NS)
    catalog, store = Catalog(state.catalog), FolderStore(state.store)
    return Workspace(catalog, store, root / "work", root / "cache", "test", lambda: NOW_NS)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return new_workspace(tmp_path)


@pytest.fixture
def shell(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    for vehicle in VEHICLES:
        keys = load_or_make_keys(tmp_path / vehicle)
        who = Enrolment(vehicle, keys.curve_key, keys.report_key, "laptop", RIG.rig_id)
        enrol(workspace.catalog, who, at_ns=NOW_NS)
    return Shell(tmp_path, capsys)


def picture(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (8, 128, 256, 3), dtype=np.uint8)


def standing(instant: Instant, index: int) -> Instant:
    """The same instant as another frame of its drive."""
    stamp_ns = frame_stamp_ns(index)
    frames = tuple(EncodedFrame(frame.jpeg, stamp_ns) for frame in instant.frames)
    ego = EgoState(stamp_ns=stamp_ns, world_from_ego=Pose())
    return msgspec.structs.replace(
        instant, index=index, stamp_ns=stamp_ns, frames=frames, ego=ego, route=Route()
    )


def admit_clip(workspace: Workspace, drive_id: str, frames: int = 20, at_ns: int = NOW_NS) -> str:
    """Put a clip of a standing vehicle into store and catalog."""
    still = encode_instant(frame_set(0))
    recorded = [ClipFrame(standing(still, k)) for k in range(frames)]
    event = TriggerEvent(
        rule=TriggerRule.LOW_TTC,
        rule_version=1,
        campaign_id="edge_cases",
        stamp_ns=frame_stamp_ns(1),
        value=1.0,
        threshold=1.5,
        worth=0.25,
    )
    manifest = ClipManifest(
        clip_id=ClipManifest.make_id("v-01", drive_id, event),
        vehicle_id="v-01",
        drive_id=drive_id,
        clock=NamedClock(kind=ClockKind.VIRTUAL),
        rig=RIG,
        rig_id=RIG.rig_id,
        bundle_id="b-0",
        events=(event,),
        start_ns=frame_stamp_ns(0),
        end_ns=frame_stamp_ns(frames),
        frame_count=frames,
        privacy=Privacy.SYNTHETIC,
    )
    content = encode_clip(manifest, recorded)
    blob_id = workspace.store.put(content)
    row = ClipRow(
        clip_id=manifest.clip_id,
        blob_id=blob_id,
        blob_bytes=len(content),
        vehicle_id="v-01",
        drive_id=drive_id,
        bundle_id="b-0",
        campaign_ids=("edge_cases",),
        rules=("low_ttc",),
        worth=0.25,
        start_ns=manifest.start_ns,
        end_ns=manifest.end_ns,
        frame_count=frames,
        manifest=encode_clip_manifest(manifest),
        at_ns=at_ns,
    )
    with workspace.catalog.write(at_ns=NOW_NS, actor="test") as tx:
        tx.add(row)
    return manifest.clip_id


def shelve_set(workspace: Workspace, name: str, split: str, seed: int) -> str:
    """Freeze two rows, one car in each."""
    car = Box3D(category=CAR, x_m=10.0, y_m=0.0, z_m=0.8, length_m=4.5, width_m=1.8,
                height_m=1.5, yaw_rad=0.0)  # fmt: skip
    box = SampleBox(box=car, track="t1", source=LabelSource.ANNOTATED)
    samples = [
        Sample(
            sample_id=f"{name}-{k}",
            clip_id=f"scene-{k}",
            place_id=f"place-{k}",
            rig_id=RIG.rig_id,
            now=encode_instant(frame_set(seed + k)),
            earlier=None,
            labels=SampleLabels(boxes=(box,)),
        )
        for k in range(2)
    ]
    return freeze_samples(workspace, samples, [RIG], name=name, split=split).dataset_id


def frame_set(seed: int) -> FrameSet:
    return FrameSet(
        index=0,
        stamp_ns=frame_stamp_ns(0),
        frames=frames_of(picture(seed), 0),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=frame_stamp_ns(0), world_from_ego=Pose(), speed_mps=5.0),
        route=Route(points_ego=((0.0, 0.0), (30.0, 0.0))),
    )


@pytest.fixture
def reviewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    (tmp_path / "nobody.py").write_text(NOBODY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return ("--labeler", "nobody:Nobody", "--labeler-folder", str(tmp_path))


def test_labels_stand_in_the_catalog_once_and_freeze_into_one_dataset(
    workspace: Workspace, shell: Shell, reviewer: tuple[str, ...]
) -> None:
    clip_id = admit_clip(workspace, "lap1-drive-v-01")
    admit_clip(workspace, "lap1-redrive-v-01")
    words = ("label", "run", "--drive-prefix", "lap1-drive-", *reviewer, *shell.cache)
    run_id = shell.json(*words)["run_id"]
    assert shell.json(*words)["run_id"] == run_id
    (label,) = workspace.catalog.all(LabelRow)
    assert (label.clip_id, label.source, label.facts.instants) == (clip_id, run_id, 3)
    events = workspace.catalog.events("vehicle/v-01")
    assert [event.schema for event in events].count("clip_labelled.1") == 1
    assert [run["run_id"] for run in shell.json("label", "list")] == [run_id]

    first = shell.json("dataset", "freeze", "mine", "--run", run_id)
    again = shell.json("dataset", "freeze", "yours", "--run", run_id)
    assert (first["clips"], first["samples"]) == ([clip_id], 3)
    assert again["dataset_id"] == first["dataset_id"]
    (row,) = shell.json("dataset", "list")
    assert (row["names"], row["samples"]) == (["mine", "yours"], 3)
    assert shell.json("dataset", "show", "yours")["dataset_id"] == first["dataset_id"]


def test_the_newest_clips_are_listed_alone_and_first(workspace: Workspace, shell: Shell) -> None:
    for age, drive in enumerate(("d-2", "d-1", "d-0")):
        admit_clip(workspace, drive, frames=2, at_ns=NOW_NS - age)
    listed = shell.json("clips", "list", "--limit", "2")
    assert [row["drive_id"] for row in listed] == ["d-2", "d-1"]


def test_clip_is_labelled_by_the_settings_that_were_given(
    workspace: Workspace, shell: Shell, reviewer: tuple[str, ...]
) -> None:
    admit_clip(workspace, "lap1-drive-v-01")
    words = ("label", "run", "--all", *reviewer, *shell.cache)
    plain = shell.json(*words)
    same, sparse = (shell.json(*words, f"interval_s={gap_s}") for gap_s in (0.25, 60.0))
    assert same["run_id"] == plain["run_id"] != sparse["run_id"]
    instants = {row.source: row.facts.instants for row in workspace.catalog.all(LabelRow)}
    assert instants == {plain["run_id"]: 3, sparse["run_id"]: 1}


def spoil(workspace: Workspace, clip_id: str) -> None:
    """Leave the beginning of a clip's blob, as an interrupted copy of the store does."""
    row = workspace.catalog.get(ClipRow, clip_id)
    assert row is not None and isinstance(workspace.store, FolderStore)
    path = workspace.store.root / blob_key(row.blob_id)
    path.write_bytes(path.read_bytes()[:1000])


def test_a_clip_whose_blob_is_damaged_is_skipped_and_the_others_are_labelled(
    workspace: Workspace, shell: Shell, reviewer: tuple[str, ...]
) -> None:
    good, poor = (admit_clip(workspace, f"lap1-drive-v-0{k}") for k in (1, 2))
    spoil(workspace, poor)
    code, out, err = shell("label", "run", "--all", *reviewer, *shell.cache)
    assert code == 0, err
    assert "1 clips, 1 skipped" in out
    assert f"{poor[:12]}: blob " in out
    (row,) = workspace.catalog.all(RunRow, stage="label")
    assert row.facts.clips == 1
    assert list(row.facts.skipped) == [poor]
    assert "its bytes hash to" in row.facts.skipped[poor]
    assert [label.clip_id for label in workspace.catalog.all(LabelRow)] == [good]


def test_when_no_clip_can_be_read_labelling_says_so_and_why(
    workspace: Workspace, shell: Shell, reviewer: tuple[str, ...]
) -> None:
    spoil(workspace, admit_clip(workspace, "lap1-drive-v-01"))
    code, _, err = shell("label", "run", "--all", *reviewer, *shell.cache)
    assert code == 1
    assert "none of 1 clips can be read, so nothing is labelled" in err
    assert "its bytes hash to" in err
    assert workspace.catalog.all(RunRow) == [] and workspace.catalog.all(LabelRow) == []


def test_a_labelled_clip_that_is_damaged_since_is_left_out_of_a_dataset(
    workspace: Workspace, shell: Shell, reviewer: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    good, poor = (admit_clip(workspace, f"lap1-drive-v-0{k}") for k in (1, 2))
    run_id = shell.json("label", "run", "--all", *reviewer, *shell.cache)["run_id"]
    spoil(workspace, poor)
    frozen = shell.json("dataset", "freeze", "mine", "--run", run_id)
    assert frozen["clips"] == [good]
    (record,) = [r for r in caplog.records if r.message == "clip_skipped"]
    assert record.__dict__["clip_id"] == poor

    spoil(workspace, good)
    code, _, err = shell("dataset", "freeze", "yours", "--run", run_id)
    assert code == 1
    assert "none of 2 clips can be read, so nothing is frozen" in err


def test_a_damaged_answer_in_the_cache_is_asked_for_again(
    workspace: Workspace, shell: Shell
) -> None:
    shelve_set(workspace, "tune", "tune", 10)
    shelve_set(workspace, "gate", "gate", 20)
    words = ("evaluate", "--candidate", "pico", "--gate", "gate", *shell.cache)
    first = shell.json(*words)
    answers = sorted((shell.root / "cache" / "answers").iterdir())
    whole = [path.read_bytes() for path in answers]
    for path in answers:
        path.write_bytes(path.read_bytes()[:-5])
    again = shell.json(*words)
    assert again["reasons"] == first["reasons"]
    assert [path.read_bytes() for path in answers] == whole


def test_a_damaged_dataset_in_the_cache_is_laid_out_anew(
    workspace: Workspace, shell: Shell
) -> None:
    shelve_set(workspace, "mine", "tune", 10)
    manifest = find_dataset(workspace, "mine")
    for _ in range(2):
        (file,) = files_of({"mine": manifest}, workspace.store, workspace.cache).values()
        assert Path(file.path).read_bytes() == workspace.store.get(manifest.blob_id)
        Path(file.path).write_bytes(b"PAR1 but not really")


def test_which_clips_has_to_be_said(shell: Shell, reviewer: tuple[str, ...]) -> None:
    code, _, err = shell("label", "run", *reviewer)
    assert code == 1
    assert "--drive-prefix" in err


OWN_RECIPE = "one step (50%).yaml"


@pytest.fixture(scope="module")
def trained_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A fleet with a set of each kind, for all tests that need a trained model."""
    root = tmp_path_factory.mktemp("trained")
    workspace = new_workspace(root)
    for seed, (name, split) in enumerate((("edge", "train"), ("tune", "tune"), ("gate", "gate"))):
        shelve_set(workspace, name, split, 10 * seed)
    (root / OWN_RECIPE).write_text("steps: 1\nlearning_rate: 8e-4\n")
    return workspace


@pytest.fixture
def trainer(trained_workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(trained_workspace.cache.parent, capsys)


def train(shell: Shell, *words: str) -> Any:
    """Train by words, or give the model that the same words trained before."""
    return shell.json("train", "--fresh", "edge", "--new-class", "animal", *shell.cache, *words)


@pytest.fixture
def trained(trainer: Shell) -> Any:
    """A model that one step of a recipe of one's own trained."""
    return train(trainer, "--recipe", str(trainer.root / OWN_RECIPE))


def test_the_same_training_is_one_run_and_trained_once(
    trained_workspace: Workspace, trainer: Shell, trained: Any
) -> None:
    fresh = find_dataset(trained_workspace, "edge").dataset_id
    assert trained["fresh"] == [fresh]
    assert "animal" in trained["known"]
    made = {path: path.stat().st_mtime_ns for path in trainer.root.rglob("progress.jsonl")}
    assert train(trainer, "--recipe", str(trainer.root / OWN_RECIPE)) == trained
    assert made and all(path.stat().st_mtime_ns == at_ns for path, at_ns in made.items())
    (row,) = trained_workspace.catalog.all(RunRow, stage="train")
    assert (row.run_id, row.dataset_id, row.state) == (trained["run_id"], fresh, "done")
    for blob_id in trained["blobs"].values():
        assert trained_workspace.store.head(blob_id)


def test_recipe_of_ones_own_trains_as_its_words_do(trainer: Shell, trained: Any) -> None:
    words = ("--recipe", "baseline", "steps=1", "learning_rate=8e-4")
    assert train(trainer, *words) == trained
    assert trained["steps"] == 1


def test_a_verdict_that_refuses_is_an_answer(workspace: Workspace, shell: Shell) -> None:
    shelve_set(workspace, "tune", "tune", 10)
    shelve_set(workspace, "gate", "gate", 20)
    words = ("evaluate", "--candidate", "pico", "--gate", "gate", *shell.cache)
    verdict = shell.json(*words, "min_encounters=7")
    assert verdict["decision"] == "not_enough_evidence"
    assert verdict["settings"]["min_encounters"] == 7
    (row,) = workspace.catalog.all(RunRow, stage="evaluate")
    assert row.facts.decision == "not_enough_evidence"
    assert workspace.store.get(row.facts.verdict_blob_id)


def test_the_shipped_model_as_its_own_incumbent_is_compared_once(
    workspace: Workspace, shell: Shell
) -> None:
    shelve_set(workspace, "tune", "tune", 10)
    shelve_set(workspace, "gate", "gate", 20)
    words = ("evaluate", "--candidate", "pico", "--gate", "gate", *shell.cache)
    verdict = shell.json(*words, "min_instances=1")
    assert not any("anchor" in reason["rule"] for reason in verdict["reasons"])
    (row,) = workspace.catalog.all(RunRow, stage="evaluate")
    assert set(row.facts.models) == {"candidate", "incumbent"}


def test_an_incumbent_that_is_not_the_shipped_model_is_judged_beside_it(
    trained_workspace: Workspace, trainer: Shell, trained: Any
) -> None:
    run_id = trained["run_id"]
    words = ("evaluate", "--candidate", run_id, "--gate", "gate", *trainer.cache)
    trainer.json(*words, "--incumbent", run_id)
    (row,) = trained_workspace.catalog.all(RunRow, stage="evaluate")
    assert set(row.facts.models) == {"candidate", "incumbent", "anchor"}
    shipped = row.facts.models["anchor"]
    assert shipped == read_card(zoo_folder("pico")).run_id
    named = trainer.json(*words, "--incumbent", run_id, "--anchor", run_id)
    assert not any("anchor" in reason["rule"] for reason in named["reasons"])


def test_a_misspelt_setting_is_refused(shell: Shell) -> None:
    code, _, err = shell("evaluate", "--candidate", "pico", "min_encouters=7", *shell.cache)
    assert code == 1
    assert "min_encounters" in err


def sign_and_publish(shell: Shell) -> list[dict[str, Any]]:
    for key in ("release-a", "release-b"):
        shell.json("bundle", "sign", key)
    published: list[dict[str, Any]] = shell.json("bundle", "publish", "--yes")
    return published


def test_a_bundle_needs_two_people_before_it_is_published(
    workspace: Workspace, shell: Shell
) -> None:
    shelve_set(workspace, "tune", "tune", 10)
    built = shell.json("bundle", "build", "--model", "pico", *shell.cache)
    assert shell.json("bundle", "sign", "release-a")["signatures"] == 1
    code, _, err = shell("bundle", "publish", "--yes")
    assert (code, "1 of 2 signatures" in err) == (1, True)
    assert shell.json("bundle", "sign", "release-b")["signatures"] == 2
    code, _, _ = shell("bundle", "publish")
    assert code == 1  # nobody answered the question
    (row,) = shell.json("bundle", "list")
    assert (row["bundle_id"], row["is_published"]) == (built["bundle_id"], False)
    shell.json("bundle", "publish", "--yes")
    assert shell.json("bundle", "list")[0]["is_published"]


@pytest.fixture
def rollout(workspace: Workspace, shell: Shell) -> tuple[str, ...]:
    """The words that start a rollout of one published bundle over another."""
    shelve_set(workspace, "tune", "tune", 10)
    build = ("bundle", "build", "--model", "pico", *shell.cache)
    incumbent, candidate = (
        shell.json(*build, *more)["bundle_id"] for more in ((), ("--rare", "animal"))
    )
    assert incumbent != candidate
    sign_and_publish(shell)
    return ("rollout", "start", "r-1", "--bundle", candidate, "--incumbent", incumbent)


def report(workspace: Workspace, home: Path, vehicle_id: str, candidate: str, counter: int) -> None:
    """Say, as a vehicle, that the candidate did it good."""
    health = HealthReport(
        vehicle_id=vehicle_id,
        boot_id="boot-1",
        sequence=1,
        bundle_id=candidate,
        release_counter=counter,
        phase=InstallPhase.COMMITTED,
        ticks=360,
        faults=0,
        is_golden_passed=True,
        rungs={Rung.FULL: 360},
        stamp_ns=0,
    )
    payload = msgspec.msgpack.encode(health)
    row = ReportRow(
        vehicle_id=vehicle_id,
        boot_id=health.boot_id,
        sequence=health.sequence,
        bundle_id=candidate,
        release_counter=counter,
        phase=health.phase,
        payload=payload,
        signature=load_or_make_keys(home).report_secret.sign(payload),
        at_ns=time.time_ns(),
    )
    with workspace.catalog.write(at_ns=row.at_ns, actor="test") as tx:
        tx.add(row)


def test_a_rollout_needs_a_published_way_back(shell: Shell, rollout: tuple[str, ...]) -> None:
    code, _, err = shell(*rollout, "--yes")
    assert (code, "--again" in err) == (1, True)
    assert shell.json("rollout", "status") == []


def test_a_rollout_goes_wave_by_wave_and_halts_on_request(
    workspace: Workspace,
    shell: Shell,
    rollout: tuple[str, ...],
    assigned: Callable[[Path, str], Assignment | None],
) -> None:
    candidate, incumbent = rollout[4], rollout[6]
    shell.json("bundle", "build", "--again", incumbent)
    (again,) = sign_and_publish(shell)
    assert (again["bundle_id"], again["release_counter"]) == (incumbent, 3)
    code, out, _ = shell(*rollout)  # nobody answered the question
    assert code == 1
    assert "v-01" in out
    assert shell.json("rollout", "status") == []
    begun = shell.json(*rollout, "max_faults=2", "--report-s", "70", "--yes")
    rule = plan_of(workspace.catalog, "r-1").rule
    assert (rule.max_faults, rule.report_s, rule.ticks) == (2, 70.0, 360)
    assert (begun["state"], begun["wave"]) == ("running", 0)
    assert [v["is_assigned"] for v in begun["vehicles"]] == [True, False]
    assert shell.json("rollout", "advance", "r-1", "--yes")["wave"] == 0
    report(workspace, shell.root / "v-01", "v-01", candidate, 2)
    assert shell.json("rollout", "advance", "r-1", "--yes")["wave"] == 1
    halted = shell.json("rollout", "halt", "r-1", "--reason", "a smell of burning", "--yes")
    assert (halted["state"], halted["reasons"]) == ("halted", ["a smell of burning"])
    told = [assigned(shell.state.updates, vehicle) for vehicle in VEHICLES]
    assert [t and t.release.release_counter for t in told] == [3, 3]
    assert shell.json("rollout", "status")[0]["state"] == "halted"
