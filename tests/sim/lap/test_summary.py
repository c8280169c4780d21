"""The record of a lap: which model's figures stand in which field, and what is counted."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from edge.contracts.classes import ANIMAL, DEBRIS, PEDESTRIAN, SHIPPED_CLASSES, TRUCK, Category
from edge.contracts.geometry import Pose
from edge.contracts.scene import Attribute, Box3D
from edge.vehicle import VehicleSettings
from fleet.catalog import ClipRow
from fleet.dataset.frozen import DatasetManifest
from fleet.evaluate import (
    Contender,
    Decision,
    EvalFrame,
    Evidence,
    GateSettings,
    TruthLabel,
    Verdict,
    match,
)
from fleet.evaluate.open_loop import OpenLoop
from fleet.label.job import Labelled, LabelRun
from sim.lap.drives import FinishedDrive
from sim.lap.judging import bundled_models
from sim.lap.orders import BundledModel
from sim.lap.record import Contestant, LapRecord
from sim.lap.settings import LapSettings, lap_settings
from sim.lap.summary import LapFacts, summarise
from sim.lap.vehicle import VehicleOutcome
from sim.sense.truth import TruthBox, TruthFrame
from sim.vehicle import DriveOrder

SETTINGS = lap_settings([])
TRUCKS = lap_settings(["claim=overturned_truck"])
VEHICLES = ("v-01", "v-02")

Row = Callable[..., ClipRow]
Bundled = Callable[..., BundledModel]
MakeDataset = Callable[..., DatasetManifest]
Summarise = Callable[..., LapRecord]


def box(
    x_m: float,
    category: Category = ANIMAL,
    score: float = 1.0,
    attribute: Attribute = Attribute.UNKNOWN,
) -> Box3D:
    return Box3D(
        category=category,
        attribute=attribute,
        x_m=x_m,
        y_m=0.0,
        z_m=0.5,
        length_m=1.0,
        width_m=1.0,
        height_m=1.0,
        yaw_rad=0.0,
        score=score,
    )


def contender(found: int, plan_l2_m: float) -> Contender:
    """A model that finds so many of four animals, each an encounter 10 m ahead."""
    frames = [
        EvalFrame(
            frame_id=f"f{k}",
            place_id=f"p{k}",
            truths=(TruthLabel(box(10.0), 100, f"e{k}"),),
            predictions=(box(10.0, score=0.8),) if k < found else (),
        )
        for k in range(4)
    ]
    clean = EvalFrame(frame_id="clean", place_id="p9", truths=(), predictions=())
    error = OpenLoop(
        place_id="p0", plan_l2_m=plan_l2_m, straight_l2_m=3.0, forecast_ade_m=(plan_l2_m / 2,)
    )
    return Contender(
        tune=match([*frames, clean]),
        gate=match([*frames, clean]),
        known=SHIPPED_CLASSES[:10],
        open_loop=(error,),
    )


def labelled(auto: int, skipped: dict[str, str]) -> Labelled:
    run = LabelRun(
        clips=1,
        auto=auto,
        reviewed=auto + 1,
        masked=auto + 2,
        questions=auto + 3,
        asked=auto + 4,
        asked_by_reason={},
        answered_by_category={},
        reviewer_tracks=0,
        reviewer_seconds=auto + 5.0,
        skipped=skipped,
    )
    return Labelled((), (), run)


def finished(
    vehicle: str, phase: str, measured_ms: tuple[float, ...] = (20.0,), scenario: str = "none"
) -> FinishedDrive:
    drive_id = f"lap1-{phase}-{vehicle}"
    order = DriveOrder(
        vehicle_id=vehicle,
        drive_id=drive_id,
        road_map="grid",
        place_id="p",
        scenario=scenario,
        seconds=1.0,
    )
    outcome = VehicleOutcome(
        vehicle_id=vehicle,
        drive_id=drive_id,
        bundle_id="b-incumbent",
        phase="idle",
        ticks=36,
        faults=0,
        rungs={},
        collisions=0,
        progress_m=5.0,
        placed={},
        captured=4,
        evicted=1,
        kept=3,
        uploaded=3,
        quarantined=1,
        bytes_sent=100,
        modelled_p99_ms=25.0,
        measured_ms=measured_ms,
    )
    return FinishedDrive(order, outcome)


def seen(
    stamp_ns: int,
    x_m: float,
    visible_px: int,
    category: Category = ANIMAL,
    attribute: Attribute = Attribute.UNKNOWN,
) -> tuple[int, TruthFrame]:
    there = box(x_m, category, attribute=attribute)
    truth = TruthBox(box=there, entity_id=1, visible_px=visible_px, hidden_ratio=0.0)
    return stamp_ns, TruthFrame(stamp_ns=stamp_ns, world_from_ego=Pose(), boxes=(truth,))


@pytest.fixture
def summary(row: Row, bundled: Bundled, dataset: MakeDataset) -> Summarise:
    """The record of a lap on paper; what a test names replaces its fact."""

    def make(**changes: object) -> LapRecord:
        facts: dict[str, object] = {
            "settings": SETTINGS,
            "lap": 1,
            "deadline_ms": 100.0,
            "drives": [finished(v, "drive") for v in VEHICLES],
            "redrives": [finished(v, "redrive") for v in VEHICLES],
            "clips": {"candidate": [row(1)], "control": [row(2)]},
            "truth": {v: {} for v in VEHICLES},
            "labelled": {"candidate": labelled(10, {}), "control": labelled(20, {})},
            "datasets": {name: dataset(name) for name in ("candidate", "control")},
            "contenders": {
                "incumbent": contender(0, 4.0),
                "candidate": contender(3, 2.0),
                "control": contender(1, 1.0),
            },
            "bundled": bundled_models(bundled("incumbent"), bundled("candidate")),
            "verdict": Verdict(
                decision=Decision.PASS,
                reasons=(),
                numbers=Evidence(claims=(), guard=None, episodes=None),
                settings=GateSettings(),
            ),
            "waves": (),
        }
        return summarise(LapFacts(**(facts | changes)))  # type: ignore[arg-type]

    return make


def recall(model: Contestant, name: str = "animal") -> float | None:
    (score,) = [s for s in model.slices if (s.slice, s.metric) == (name, "recall")]
    return score.score.value if score.score else None


def test_each_model_stands_with_its_own_recall_plan_forecast_and_bundle(
    summary: Summarise,
) -> None:
    record = summary()
    models = (record.incumbent, record.candidate, record.control)
    assert [recall(model) for model in models] == [0.0, 0.75, 0.25]
    assert [m.plan_l2_m.value for m in models if m.plan_l2_m] == [4.0, 2.0, 1.0]
    assert [m.forecast_ade_m.value for m in models if m.forecast_ade_m] == [2.0, 1.0, 0.5]
    assert [model.bundle_id for model in models] == ["b-incumbent", "b-candidate", None]


@pytest.mark.parametrize(
    ("settings", "scored"),
    [(SETTINGS, ("truck", "debris")), (TRUCKS, ("animal", "debris"))],
    ids=["animal is claimed", "truck is claimed"],
)
def test_map_is_over_the_classes_that_the_incumbent_knows_and_that_are_not_claimed(
    summary: Summarise, settings: LapSettings, scored: tuple[str, ...]
) -> None:
    listed = (TRUCK, ANIMAL, DEBRIS)
    frames = [
        EvalFrame(
            frame_id=f"f-{name}",
            place_id="p0",
            truths=(TruthLabel(box(10.0, name), 100, f"e-{name}"),),
            predictions=(box(10.0, name, score=0.8),),
        )
        for name in (*listed, PEDESTRIAN)
    ]
    seen_by = replace(contender(0, 1.0), gate=match(frames), known=listed)
    contenders = {
        "incumbent": seen_by,
        "candidate": replace(seen_by, known=(*listed, PEDESTRIAN)),
        "control": seen_by,
    }
    gate = replace(settings.gate, min_instances=1)
    record = summary(settings=replace(settings, gate=gate), contenders=contenders)
    for model in (record.incumbent, record.candidate, record.control):
        found = {s.metric: s for s in model.slices if s.slice == "ordinary"}
        assert {s.slice for s in model.slices if s.metric == "ap"} == set(scored)
        assert found["map"].truths == len(scored)


def test_labels_and_dataset_of_the_record_are_the_candidates(summary: Summarise) -> None:
    record = summary()
    assert (record.labels.auto, record.labels.asked) == (10, 14)
    assert record.dataset_id == "d-candidate"


def test_ticks_slower_than_the_deadline_are_missed_whatever_the_deadline_is(
    summary: Summarise,
) -> None:
    slow = [finished("v-01", "drive", (99.0, 100.0, 100.1, 140.0)), finished("v-02", "drive")]
    assert summary(drives=slow).deadline.missed == 2
    assert summary(drives=slow, deadline_ms=120.0).deadline.missed == 1
    assert summary(drives=slow, redrives=slow).deadline.missed == 4


def test_a_drive_stands_with_the_scenario_that_was_ordered_for_it(summary: Summarise) -> None:
    first = [finished("truck-left", "drive", scenario="jaywalker"), finished("7", "drive")]
    drives = summary(drives=first, clips={"candidate": [], "control": []}).drives
    assert [(d.vehicle_id, d.scenario, d.is_redrive) for d in drives] == [
        ("truck-left", "jaywalker", False),
        ("7", "none", False),
        ("v-01", "none", True),
        ("v-02", "none", True),
    ]


@pytest.mark.parametrize(("rig", "ticks"), [("sim_eight", 36), ("nuscenes_six", 12)])
def test_a_drive_lasts_as_long_as_was_ordered_at_the_rate_of_its_rig(
    summary: Summarise, rig: str, ticks: int
) -> None:
    one = finished("v-01", "drive")
    order = msgspec.structs.replace(one.order, vehicle=VehicleSettings(rig=rig))
    assert order.ticks == ticks
    outcome = msgspec.structs.replace(one.outcome, ticks=ticks)
    drives = summary(drives=[FinishedDrive(order, outcome)]).drives
    assert (drives[0].ticks, drives[0].seconds) == (ticks, 1.0)


def test_clips_are_counted_by_arm_and_those_that_show_the_claim_beside_them(
    summary: Summarise, row: Row
) -> None:
    # Clip k lasts from stamp 1000 k to 1000 k + 999.
    clips = {"candidate": [row(1), row(2), row(3)], "control": [row(4), row(5)]}
    truth = dict(
        [
            seen(1_500, 29.0, 12),
            seen(2_500, 10.0, 11),  # too small
            seen(3_500, 31.0, 500),  # too far
            seen(4_500, 10.0, 100, PEDESTRIAN),
            seen(5_999, 10.0, 100),
            seen(6_000, 10.0, 100),  # after every clip
        ]
    )
    counts = summary(clips=clips, truth={"v-01": truth}).clips
    assert (counts.with_rare_triggered, counts.triggered) == (1, 3)
    assert (counts.with_rare_random, counts.random) == (1, 2)
    assert counts.admitted == 5


def test_a_clip_of_an_upright_truck_does_not_show_the_claim_to_overturned_ones(
    summary: Summarise, row: Row
) -> None:
    clips = {"candidate": [row(1), row(2)], "control": [row(3)]}
    truth = dict(
        [
            seen(1_500, 10.0, 100, TRUCK, Attribute.PARKED),
            seen(2_500, 10.0, 100, TRUCK, Attribute.FALLEN),
            seen(3_500, 10.0, 100),  # an animal
        ]
    )
    record = summary(settings=TRUCKS, clips=clips, truth={"v-01": truth})
    assert (record.clips.with_rare_triggered, record.clips.with_rare_random) == (1, 0)
    assert (record.claim, record.claimed_slice) == ("overturned_truck", "overturned_truck")


def test_recall_and_encounters_are_those_of_the_claimed_slice(summary: Summarise) -> None:
    trucks = summary(settings=TRUCKS)  # the gate of these models holds animals alone
    assert trucks.gate.encounters == 0
    assert recall(trucks.candidate, "overturned_truck") is None
    assert {s.slice for s in trucks.candidate.slices if s.metric == "recall"} == {
        "overturned_truck"
    }


def test_only_the_first_drives_are_counted_as_clips(summary: Summarise) -> None:
    counts = summary().clips
    assert (counts.captured, counts.evicted, counts.uploaded) == (8, 2, 6)
    assert (counts.quarantined, counts.bytes_uploaded) == (2, 200)


def test_skipped_clips_of_both_arms_are_named_with_their_reasons(
    summary: Summarise, row: Row
) -> None:
    runs = {
        "candidate": labelled(1, {row(1).clip_id: "it is cut"}),
        "control": labelled(1, {row(2).clip_id: "its bytes hash to x"}),
    }
    assert summary(labelled=runs).skipped == (
        "clip 000000000000 of v-01: it is cut",
        "clip 000000000000 of v-01: its bytes hash to x",
    )


def test_encounters_are_those_of_the_claim(summary: Summarise) -> None:
    assert summary().gate.encounters == 4


def test_vehicles_end_on_what_they_ran_after_the_gate(summary: Summarise) -> None:
    ends = summary(redrives=[finished(v, "redrive") for v in reversed(VEHICLES)]).vehicles
    assert [end.vehicle_id for end in ends] == ["v-01", "v-02"]
    assert {end.bundle_id for end in ends} == {"b-incumbent"}
