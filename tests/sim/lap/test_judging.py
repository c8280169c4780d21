"""Whom a lap compares with whom, what it ships, and who drives afterwards."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge.contracts.classes import ANIMAL, SHIPPED_CLASSES, TRUCK
from edge.vehicle import VehicleSettings
from fleet.dataset.frozen import DatasetManifest
from fleet.evaluate import Contender, EpisodeSpec, EvalFrame, match
from fleet.model import Model
from fleet.rollout import CanaryRule
from sim.lap.judging import (
    answer_order,
    bundle_order,
    bundled_models,
    candidate_model,
    contestants,
    rollout_order,
    successor,
    veto_order,
)
from sim.lap.orders import BundledModel
from sim.lap.record import WaveRecord
from sim.lap.settings import LapSettings, lap_settings
from sim.vehicle import DriveOrder

SETTINGS = lap_settings([])
ARMS = ("candidate", "control")

Bundled = Callable[..., BundledModel]
MakeDataset = Callable[..., DatasetManifest]
Sets = dict[str, DatasetManifest]


@pytest.fixture
def sets(dataset: MakeDataset) -> dict[str, DatasetManifest]:
    return {role: dataset(role) for role in ("replay", "tune", "gate", "rare")}


def models(bundled: Bundled) -> dict[str, Model]:
    return {name: bundled(name).model for name in (*ARMS, "incumbent")}


def drive(vehicle_id: str) -> DriveOrder:
    return DriveOrder(vehicle_id=vehicle_id, drive_id="d", road_map="m", place_id="p", seconds=30.0)


def test_candidate_control_and_incumbent_answer_tune_gate_and_rare_and_no_other_set(
    bundled: Bundled, sets: Sets
) -> None:
    trained = {arm: bundled(arm).model for arm in ARMS}
    order = answer_order(contestants(trained, bundled("incumbent")), sets)
    assert {name: model.name for name, model in order.models.items()} == {
        name: name for name in (*ARMS, "incumbent")
    }
    assert order.sets == {role: sets[role] for role in ("tune", "gate", "rare")}
    assert order.answers == 9
    assert order.run_ids == {name: f"t-{name}" for name in (*ARMS, "incumbent")}
    assert order.dataset_ids == {role: f"d-{role}" for role in ("tune", "gate", "rare")}


def test_the_candidates_bundle_holds_its_own_network_at_thresholds_of_its_own_answers(
    bundled: Bundled,
) -> None:
    empty = EvalFrame(frame_id="f", place_id="p", truths=(), predictions=())
    answers = {
        name: Contender(tune=match([empty]), gate=match([empty]), known=SHIPPED_CLASSES[:10])
        for name in (*ARMS, "incumbent")
    }
    order = bundle_order(SETTINGS, models(bundled), answers, bundled("incumbent"))
    assert order.model.name == "candidate"
    assert order.tune is answers["candidate"].tune
    assert order.claimed == (ANIMAL,)
    assert order.parent_bundle_id == "b-incumbent"


def test_a_claimed_form_of_a_class_fixes_the_threshold_of_that_class(bundled: Bundled) -> None:
    empty = EvalFrame(frame_id="f", place_id="p", truths=(), predictions=())
    answers = {
        "candidate": Contender(tune=match([empty]), gate=match([empty]), known=SHIPPED_CLASSES[:10])
    }
    trucks = lap_settings(["claim=overturned_truck"])
    order = bundle_order(trucks, models(bundled), answers, bundled("incumbent"))
    assert order.claimed == (TRUCK,)


def test_a_candidate_was_taught_its_claim_and_what_its_parent_was_taught(
    bundled: Bundled,
) -> None:
    parent = replace(bundled("incumbent"), taught=("overturned_truck",))
    candidate = candidate_model(SETTINGS, parent, bundled("candidate").bundle, models(bundled))
    assert (candidate.model.name, candidate.bundle.manifest.bundle_id) == (
        "candidate",
        "b-candidate",
    )
    assert candidate.taught == ("overturned_truck", "animal")


def test_the_veto_compares_the_candidates_bundle_with_the_incumbents_on_the_same_episodes(
    bundled: Bundled,
) -> None:
    episode = EpisodeSpec(
        episode_id="e", scenario="none", map_name="m", place_id="p", seed=1, duration_s=4.0
    )
    veto = veto_order(bundled("candidate").bundle, bundled("incumbent"), [episode])
    assert {name: bundle.manifest.bundle_id for name, bundle in veto.bundles.items()} == {
        "candidate": "b-candidate",
        "incumbent": "b-incumbent",
    }
    assert (veto.episodes, veto.drives) == ((episode,), 2)


def test_a_report_shows_each_model_with_the_bundle_of_its_own(bundled: Bundled) -> None:
    named = bundled_models(bundled("incumbent"), bundled("candidate"))
    assert {name: model.model.name for name, model in named.items()} == {
        "incumbent": "incumbent",
        "candidate": "candidate",
    }


# Rollout


def test_the_candidate_is_rolled_out_with_the_incumbent_as_the_way_back(
    bundled: Bundled,
) -> None:
    candidate, incumbent = bundled("candidate"), bundled("incumbent")
    order = rollout_order(SETTINGS, 2, candidate.bundle, incumbent, [drive("v-01"), drive("v-02")])
    assert order.rollout_id == "lap2"
    assert (order.candidate, order.incumbent) == (candidate.bundle, incumbent.bundle)
    assert [drive.vehicle_id for drive in order.drives] == ["v-01", "v-02"]


@pytest.mark.parametrize(
    ("redrive_s", "rig", "ticks"),
    [
        (4.0, "sim_eight", 72),
        (20.0, "sim_eight", 360),
        (30.0, "sim_eight", 360),
        (4.0, "nuscenes_six", 24),
    ],
)
def test_a_canary_proves_itself_in_half_a_drive_and_in_360_ticks_at_most(
    redrive_s: float, rig: str, ticks: int, bundled: Bundled
) -> None:
    settings = LapSettings(
        redrive_s=redrive_s,
        rollout=CanaryRule(max_faults=2),
        vehicle=VehicleSettings(rig=rig),
    )
    order = rollout_order(settings, 1, bundled("c").bundle, bundled("i"), [])
    assert (order.rule.ticks, order.rule.max_faults) == (ticks, 2)


def test_a_canary_proves_itself_in_fewer_ticks_where_the_lap_says_so(bundled: Bundled) -> None:
    settings = LapSettings(rollout=CanaryRule(ticks=100))
    assert rollout_order(settings, 1, bundled("c").bundle, bundled("i"), []).rule.ticks == 100


@pytest.mark.parametrize(
    ("states", "next_name"),
    [
        (("passed", "passed"), "candidate"),
        (("passed", "halted"), "incumbent"),
        (("halted", "held"), "incumbent"),
        ((), "incumbent"),
    ],
)
def test_the_next_lap_begins_on_the_candidate_only_if_every_wave_passed(
    states: tuple[str, ...], next_name: str, bundled: Bundled
) -> None:
    waves = [WaveRecord(vehicles=("v-01",), state=state) for state in states]
    chosen = successor(bundled("incumbent"), bundled("candidate"), waves)
    assert chosen.model.name == next_name
