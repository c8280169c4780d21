"""Decide which models a lap compares on which sets and episodes, and which one drives afterwards.

Pure, as ``orders.py``: the candidate, the control and the incumbent answer the same sets; the candidate's
own bundle and the incumbent's drive the same episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edge.board.rig import load_rig
from edge.contracts.classes import Category
from fleet.bundle.bundle import Bundle
from fleet.dataset.frozen import DatasetManifest
from fleet.evaluate import Contender, EpisodeSpec, Matches
from fleet.evaluate.order import CANDIDATE, CONTROL, INCUMBENT
from fleet.model import Model
from fleet.rollout import CanaryRule
from sim.lap.orders import BundledModel
from sim.lap.record import WaveRecord
from sim.lap.settings import LapSettings
from sim.vehicle import DriveOrder

JUDGING_SETS = ("tune", "gate", "rare")
"""Roles of the sets that models answer: ``tune`` fixes thresholds, the others decide."""


@dataclass(frozen=True)
class AnswerOrder:
    """Which models answer which sets."""

    models: Mapping[str, Model]
    sets: Mapping[str, DatasetManifest]

    @property
    def answers(self) -> int:
        """Number of answers: each model answers each set once."""
        return len(self.models) * len(self.sets)

    @property
    def run_ids(self) -> dict[str, str]:
        """Training runs of the models by name, for the catalog's entry of the verdict."""
        return {name: model.run_id for name, model in self.models.items()}

    @property
    def dataset_ids(self) -> dict[str, str]:
        """Ids of the sets by role, for the catalog's entry of the verdict."""
        return {role: manifest.dataset_id for role, manifest in self.sets.items()}


@dataclass(frozen=True, eq=False)
class BundleOrder:
    """Parts of the candidate's bundle."""

    model: Model
    tune: Matches
    """Answers of that model to the tune set; they fix the thresholds that ship."""
    claimed: tuple[Category, ...]
    """Classes whose threshold is fixed by their false alarms."""
    profile: str
    parent_bundle_id: str


@dataclass(frozen=True)
class VetoOrder:
    """Bundles that are driven through closed-loop episodes and compared."""

    bundles: Mapping[str, Bundle]
    episodes: tuple[EpisodeSpec, ...]

    @property
    def drives(self) -> int:
        """Number of episodes that are driven, over both bundles."""
        return len(self.bundles) * len(self.episodes)


@dataclass(frozen=True)
class RolloutOrder:
    """Which bundle is rolled out to which vehicles, and which one they go back to."""

    rollout_id: str
    candidate: Bundle
    incumbent: Bundle
    rule: CanaryRule
    drives: tuple[DriveOrder, ...]
    """One drive per vehicle, after its wave was opened."""


def contestants(trained: Mapping[str, Model], incumbent: BundledModel) -> dict[str, Model]:
    """Name the models that are compared: both arms, and the incumbent."""
    return {
        CANDIDATE: trained[CANDIDATE],
        CONTROL: trained[CONTROL],
        INCUMBENT: incumbent.model,
    }


def answer_order(models: Mapping[str, Model], sets: Mapping[str, DatasetManifest]) -> AnswerOrder:
    """Order that every model answers every judging set, and no other set."""
    return AnswerOrder(models, {role: sets[role] for role in JUDGING_SETS})


def bundle_order(
    settings: LapSettings,
    models: Mapping[str, Model],
    contenders: Mapping[str, Contender],
    incumbent: BundledModel,
) -> BundleOrder:
    """Order the candidate's bundle: its own network, with thresholds from its own answers."""
    return BundleOrder(
        model=models[CANDIDATE],
        tune=contenders[CANDIDATE].tune,
        claimed=settings.claim.part.categories,
        profile=settings.profile,
        parent_bundle_id=incumbent.bundle.manifest.bundle_id,
    )


def veto_order(
    candidate: Bundle, incumbent: BundledModel, episodes: Sequence[EpisodeSpec]
) -> VetoOrder:
    """Order that the candidate's bundle and the incumbent's drive the same episodes."""
    return VetoOrder({CANDIDATE: candidate, INCUMBENT: incumbent.bundle}, tuple(episodes))


def rollout_order(
    settings: LapSettings,
    lap: int,
    candidate: Bundle,
    incumbent: BundledModel,
    drives: Sequence[DriveOrder],
) -> RolloutOrder:
    """Order the rollout of a candidate that passed; half of a drive is enough to prove a canary."""
    rate_hz = load_rig(settings.vehicle.rig).rate_hz
    ticks = min(settings.rollout.ticks, round(settings.redrive_s * rate_hz * 0.5))
    return RolloutOrder(
        rollout_id=f"lap{lap}",
        candidate=candidate,
        incumbent=incumbent.bundle,
        rule=msgspec.structs.replace(settings.rollout, ticks=ticks),
        drives=tuple(drives),
    )


def bundled_models(incumbent: BundledModel, candidate: BundledModel) -> dict[str, BundledModel]:
    """Name the models that have a bundle; the control has none, for it is never shipped."""
    return {INCUMBENT: incumbent, CANDIDATE: candidate}


def candidate_model(
    settings: LapSettings, incumbent: BundledModel, bundle: Bundle, models: Mapping[str, Model]
) -> BundledModel:
    """Join the candidate's network and bundle; it was taught the claim, and what its parent was taught."""
    taught = dict.fromkeys((*incumbent.taught, settings.claim.slice))
    return BundledModel(bundle, models[CANDIDATE], tuple(taught))


def successor(
    incumbent: BundledModel, candidate: BundledModel, waves: Sequence[WaveRecord]
) -> BundledModel:
    """Choose the next lap's incumbent: the candidate if every wave of its rollout passed."""
    is_promoted = bool(waves) and all(wave.state == "passed" for wave in waves)
    return candidate if is_promoted else incumbent
