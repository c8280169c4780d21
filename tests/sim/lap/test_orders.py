"""The orders of a lap: who is candidate, who is control, who starts where, who is compared with whom."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from msgspec import structs

from edge.contracts.classes import ANIMAL, SHIPPED_CLASSES, TRUCK
from edge.contracts.clip import TriggerRule
from edge.contracts.scene import Attribute
from edge.upload import SpoolSettings
from edge.vehicle.settings import VehicleSettings
from fleet.catalog import ClipRow
from fleet.dataset.frozen import DatasetManifest
from fleet.label.form import Form
from fleet.label.job import ReviewChoice
from fleet.label.settings import LabelSettings
from fleet.train.recipe import fine_tune
from sim.lap.claim import DriveScene
from sim.lap.drives import training_places
from sim.lap.orders import (
    BundledModel,
    DrivePhase,
    clips_by_arm,
    drive_orders,
    first_phase,
    label_orders,
    last_phase,
    train_orders,
    unseen_forms,
    vehicle_ids,
)
from sim.lap.settings import LapSettings, lap_settings
from sim.render.weather import NightSettings
from sim.simulation.settings import WorldSettings
from sim.vehicle import DriveOrder

SETTINGS = lap_settings([])
TRUCKS = lap_settings(["claim=overturned_truck"])
PLACES = {"suburb": tuple(f"suburb-{k:03d}" for k in range(1000)), "grid": ("grid-000",)}
ARMS = ("candidate", "control")

Row = Callable[..., ClipRow]
Bundled = Callable[..., BundledModel]
MakeDataset = Callable[..., DatasetManifest]
Sets = dict[str, DatasetManifest]


@pytest.fixture
def sets(dataset: MakeDataset) -> dict[str, DatasetManifest]:
    return {role: dataset(role) for role in ("replay", "tune", "gate", "rare")}


# Drives


def drives(**changes: object) -> tuple[DriveOrder, ...]:
    given: dict[str, object] = {"settings": SETTINGS, "lap": 1, "phase": DrivePhase("drive", 60.0)}
    return drive_orders(**(given | changes), vehicles=("v-01", "v-02", "v-03"), places=PLACES)  # type: ignore[arg-type]


def test_every_vehicle_starts_at_a_place_of_its_own_in_every_lap_and_phase() -> None:
    rounds = [
        drives(lap=lap, phase=phase(SETTINGS))
        for lap, phase in product((1, 2, 3), (first_phase, last_phase))
    ]
    starts = [(order.place_id, order.seed) for orders in rounds for order in orders]
    assert len({place for place, _ in starts}) == len({seed for _, seed in starts}) == 18
    assert len({order.drive_id for orders in rounds for order in orders}) == 18


def test_another_seed_starts_elsewhere_and_the_same_seed_at_the_same_place() -> None:
    other = drives(settings=replace(SETTINGS, seed=1))
    assert drives() == drives()
    assert not {o.place_id for o in drives()} & {o.place_id for o in other}


def test_the_default_lap_starts_where_it_always_did() -> None:
    phase, places = first_phase(SETTINGS), training_places(["suburb"])
    orders = drive_orders(SETTINGS, 1, phase, vehicle_ids(SETTINGS), places)
    assert [(order.drive_id, order.place_id, order.seed) for order in orders] == [
        ("lap1-drive-v-01", "suburb-025", 1375104748),
        ("lap1-drive-v-02", "suburb-167", 150702187),
        ("lap1-drive-v-03", "suburb-032", 1627516222),
    ]


def test_scenes_are_dealt_to_the_vehicles_in_turn() -> None:
    day, night = DriveScene("suburb", "jaywalker"), DriveScene("grid", "none", is_night=True)
    orders = drives(settings=replace(SETTINGS, claim=replace(SETTINGS.claim, scenes=[day, night])))
    assert [(o.road_map, o.scenario, o.is_night) for o in orders] == [
        ("suburb", "jaywalker", False),
        ("grid", "none", True),
        ("suburb", "jaywalker", False),
    ]


def test_the_two_phases_last_as_long_as_their_settings_say() -> None:
    settings = LapSettings(drive_s=60.0, redrive_s=30.0)
    assert first_phase(settings) == DrivePhase("drive", 60.0)
    assert last_phase(settings) == DrivePhase("redrive", 30.0)
    assert {order.seconds for order in drives(phase=last_phase(settings))} == {30.0}


def test_vehicles_are_counted_from_one() -> None:
    assert vehicle_ids(LapSettings(vehicles=2)) == ("v-01", "v-02")


# Clips and labels


def test_the_candidate_gets_the_clips_of_triggers_and_the_control_the_random_ones(
    row: Row,
) -> None:
    rows = [row(1, "low_ttc"), row(2, TriggerRule.RANDOM), row(3, "hard_brake", "low_ttc")]
    arms = clips_by_arm(rows, {"lap1-drive-v-01"})
    assert [clip.clip_id[-1] for clip in arms["candidate"]] == ["1", "3"]
    assert [clip.clip_id[-1] for clip in arms["control"]] == ["2"]


def test_a_clip_of_an_earlier_lap_or_of_the_second_phase_is_not_learnt_from_again(
    row: Row,
) -> None:
    rows = [row(k, "low_ttc", drive_id=f"lap{lap}-{phase}-v-01") for k, (lap, phase) in enumerate(
        product((1, 2, 22), ("drive", "redrive"))
    )]  # fmt: skip
    arms = clips_by_arm(rows, {"lap2-drive-v-01"})
    assert [clip.drive_id for clip in arms["candidate"]] == ["lap2-drive-v-01"]
    assert arms["control"] == []


def test_only_the_candidate_asks_the_most_valuable_questions(row: Row, bundled: Bundled) -> None:
    clips = {"candidate": [row(1)], "control": [row(2)]}
    orders = label_orders(SETTINGS, bundled("incumbent"), clips, Path("truth"))
    assert orders["candidate"].job.choice is ReviewChoice.VALUE
    assert orders["control"].job.choice is ReviewChoice.BLIND
    assert [orders[arm].clips for arm in ARMS] == [(row(1),), (row(2),)]


def test_drives_and_labels_have_the_settings_of_the_lap(row: Row, bundled: Bundled) -> None:
    settings = replace(
        SETTINGS,
        world=WorldSettings(night=NightSettings(lamp_ratio=0.5)),
        vehicle=VehicleSettings(spool=SpoolSettings(capacity_bytes=7)),
        label=LabelSettings(interval_s=0.5),
    )
    assert {order.vehicle.spool.capacity_bytes for order in drives(settings=settings)} == {7}
    assert {order.world.night.lamp_ratio for order in drives(settings=settings)} == {0.5}
    clips = {"candidate": [row(1)], "control": [row(2)]}
    orders = label_orders(settings, bundled("incumbent"), clips, Path("truth"))
    assert {order.job.settings.interval_s for order in orders.values()} == {0.5}


def test_apart_from_clips_and_choice_both_arms_are_labelled_alike(
    row: Row, bundled: Bundled
) -> None:
    settings = replace(SETTINGS, budget_tracks=17, seed=5)
    clips = {"candidate": [row(1)], "control": [row(2)]}
    orders = label_orders(settings, bundled("incumbent"), clips, Path("truth"))
    candidate, control = (orders[arm] for arm in ("candidate", "control"))
    alike = replace(candidate, clips=control.clips)
    assert replace(alike, job=structs.replace(alike.job, choice=control.job.choice)) == control
    assert (control.job.budget_tracks, control.job.seed) == (17, 5)
    assert control.model == Path("incumbent/int8.onnx")


# Training


def test_each_arm_trains_on_its_own_labels_and_on_nothing_of_the_other(
    bundled: Bundled, dataset: MakeDataset, sets: Sets
) -> None:
    fresh = {arm: dataset(arm) for arm in ARMS}
    orders = train_orders(SETTINGS, bundled("incumbent"), fresh, sets, [dataset("lap1")])
    for arm in ARMS:
        assert orders[arm].fresh == (fresh[arm],)
        assert orders[arm].replay == (sets["replay"], dataset("lap1"))
        assert orders[arm].calibration == sets["tune"]
        assert orders[arm].parent == Path("incumbent/weights.bin")
    assert orders["candidate"].fit == orders["control"].fit


def test_no_arm_ever_trains_on_a_set_that_judges(
    bundled: Bundled, dataset: MakeDataset, sets: Sets
) -> None:
    fresh = {"candidate": dataset("candidate"), "control": dataset("control", samples=0)}
    for order in train_orders(SETTINGS, bundled("incumbent"), fresh, sets, []).values():
        learnt = {m.dataset_id for m in (*order.fresh, *order.replay)}
        assert not learnt & {sets[role].dataset_id for role in ("tune", "gate", "rare")}


def test_an_arm_that_caught_nothing_trains_on_replay_alone(
    bundled: Bundled, dataset: MakeDataset, sets: Sets
) -> None:
    fresh = {"candidate": dataset("candidate"), "control": dataset("control", samples=0)}
    empty = dataset("lap1", samples=0)
    orders = train_orders(SETTINGS, bundled("incumbent"), fresh, sets, [empty])
    assert orders["control"].fresh == orders["control"].replay == (sets["replay"],)
    assert orders["candidate"].fresh == (fresh["candidate"],)


def test_the_claimed_class_starts_anew_only_under_a_parent_that_never_learnt_it(
    bundled: Bundled, dataset: MakeDataset, sets: Sets
) -> None:
    fresh = {arm: dataset(arm) for arm in ARMS}
    taught = (*SHIPPED_CLASSES[:10], ANIMAL)
    first = train_orders(SETTINGS, bundled("a"), fresh, sets, [])["candidate"]
    second = train_orders(SETTINGS, bundled("b", taught), fresh, sets, [])["candidate"]
    assert (first.fit.reset_classes, second.fit.reset_classes) == (["animal"], [])
    assert first.known == second.known == taught


# Claims


def test_the_claim_to_animals_trains_as_a_lap_always_did() -> None:
    assert SETTINGS.claim_fit == fine_tune(["animal"])


def test_under_the_claim_to_overturned_trucks_nothing_resets_weights_or_learns_animals(
    bundled: Bundled, dataset: MakeDataset, sets: Sets
) -> None:
    fresh = {arm: dataset(arm) for arm in ARMS}
    for order in train_orders(TRUCKS, bundled("incumbent"), fresh, sets, []).values():
        assert order.fit.reset_classes == []
        assert order.fit.positive_weights.keys() == {"truck"}
        assert order.known == SHIPPED_CLASSES[:10]
    scenarios = {order.scenario for order in drives(settings=TRUCKS)}
    assert scenarios == {"overturned_truck"}


def test_a_teacher_that_knows_trucks_has_not_seen_one_lying_down_until_it_is_taught(
    row: Row, bundled: Bundled
) -> None:
    def unseen(teacher: BundledModel) -> set[tuple[Form, ...]]:
        clips = {"candidate": [row(1)], "control": [row(2)]}
        orders = label_orders(TRUCKS, teacher, clips, Path("truth"))
        assert all(TRUCK in order.job.known for order in orders.values())
        return {order.job.unseen for order in orders.values()}

    fallen = Form(category=TRUCK, attribute=Attribute.FALLEN)
    assert unseen(bundled("incumbent")) == {(fallen,)}
    assert unseen(replace(bundled("incumbent"), taught=("overturned_truck",))) == {()}
    assert unseen(replace(bundled("incumbent"), taught=("animal",))) == {(fallen,)}


def test_a_claim_to_a_whole_class_leaves_no_form_of_it_unseen(bundled: Bundled) -> None:
    assert unseen_forms(SETTINGS.claim, bundled("incumbent")) == ()
