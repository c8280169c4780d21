"""The stages of one turn of the loop, each a call of the function that the single command calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.cli.console import Stage
from edge.contracts.clip import TriggerRule
from edge.contracts.scene import Category
from fleet.bundle.bundle import Bundle
from fleet.catalog import ClipRow
from fleet.dataset.frozen import Dataset, DatasetManifest
from fleet.dataset.order import files_of, freeze_samples
from fleet.depot import Depot
from fleet.evaluate import Contender, Decision, Verdict
from fleet.evaluate.order import (
    CANDIDATE,
    CONTROL,
    INCUMBENT,
    contend,
    decide,
    drive_episodes,
    tuned,
    with_anchor,
)
from fleet.label.job import Choice, Labelled
from fleet.label.order import LabelOrder, label
from fleet.model import Model, find_model
from fleet.service import ServiceCard
from fleet.train.order import Trained, TrainOrder, starting_from, train
from fleet.work.workspace import Workshop
from sim.episodes import ChildEpisodes, load_episodes
from sim.lap.drives import anchors_of, drive_orders, run_drives, ticks_of
from sim.lap.folders import LapFolders
from sim.lap.record import WaveRecord
from sim.lap.rollout import roll_out
from sim.lap.settings import LapSettings
from sim.lap.setup import Incumbent
from sim.lap.timing import StageTimer, part_lines
from sim.lap.vehicle import VehicleOutcome
from sim.vehicle import DriveOrder

_JUDGED = ("tune", "gate", "rare")
_LABELER = "sim.annotator:over"

Clips = Mapping[str, Sequence[ClipRow]]


@dataclass(frozen=True)
class Turn:
    """One turn: what it works with, and a method per stage, in the order of the loop."""

    settings: LapSettings
    folders: LapFolders
    timer: StageTimer
    workshop: Workshop
    depot: Depot
    card: ServiceCard
    sets: Mapping[str, DatasetManifest]
    incumbent: Incumbent
    caught: Sequence[DatasetManifest]
    """The edge cases of earlier laps."""
    vehicles: Sequence[str]

    @property
    def rare(self) -> Category:
        """The class that the lap claims to learn."""
        return Category(self.settings.rare)

    def drive(self) -> list[VehicleOutcome]:
        """Drive, notice, record, send home."""
        orders = self._orders("drive", self.settings.drive_s)
        with self.timer.stage("drive", ticks_of(orders)) as stage:
            outcomes = self._drive(orders, "drive", stage)
            stage.note(f"{sum(outcome.ticks for outcome in outcomes)} ticks")
        return outcomes

    def admitted(self) -> Clips:
        """Give the clips of this lap's drives, in id order: of triggers, and of the random stream.

        A clip of an earlier lap is not mined again.
        """
        rows = self.workshop.catalog.all(ClipRow)
        mine = [row for row in rows if row.drive_id.startswith(f"lap{self.folders.lap}-drive-")]
        chance = [row for row in mine if str(TriggerRule.RANDOM) in row.rules]
        return {CANDIDATE: [row for row in mine if row not in chance], CONTROL: chance}

    def label(self, clips: Clips) -> dict[str, Labelled]:
        """Label the triggers' clips by the most valuable questions, the random ones by blind ones."""
        choices = {CANDIDATE: Choice.VALUE, CONTROL: Choice.BLIND}
        orders = {
            name: LabelOrder(
                clips=tuple(rows),
                model=self.incumbent.model.files.int8,
                size=self.settings.model,
                known=self.incumbent.model.known,
                labeler=_LABELER,
                labeler_folder=self.folders.truth("drive"),
                budget_tracks=self.settings.budget_tracks,
                choice=choices[name],
                seed=self.settings.seed,
            )
            for name, rows in clips.items()
        }
        with self.timer.stage("label", len(orders)) as stage:
            labelled = label(self.workshop, orders, advance=stage.advance)
            run = labelled[CANDIDATE].run
            stage.note(f"{run.auto} boxes by hindsight, {run.asked} tracks reviewed")
            if skipped := sum(len(rows.run.skipped) for rows in labelled.values()):
                stage.note(f"{skipped} clips skipped, lap.json says why")
        return labelled

    def freeze(self, labelled: Mapping[str, Labelled]) -> dict[str, DatasetManifest]:
        """Freeze what was labelled."""
        with self.timer.stage("freeze") as stage:
            fresh = {
                name: freeze_samples(
                    self.workshop, rows.samples, rows.rigs, name=name, purpose="edge cases"
                )
                for name, rows in labelled.items()
            }
            stage.note(", ".join(f"{name} {m.dataset_id}" for name, m in fresh.items()))
        return fresh

    def train(self, fresh: Mapping[str, DatasetManifest]) -> dict[str, Model]:
        """Fine-tune the incumbent once per dataset, side by side.

        A stream that caught nothing gets the same training on replay alone: it has nothing to teach.
        What earlier laps caught is replayed to both, or this lap would unlearn it.
        """
        parent = self.incumbent.model
        orders = {
            name: TrainOrder(
                size=self.settings.model,
                fresh=(manifest if manifest.samples else self.sets["replay"],),
                replay=(self.sets["replay"], *(m for m in self.caught if m.samples)),
                parent=parent.weights,
                graph=parent.files.fp32,
                calibration=self.sets["tune"],
                fit=starting_from(self.settings.fit, parent.known),
                known=tuple(dict.fromkeys((*parent.known, self.rare))),
            )
            for name, manifest in fresh.items()
        }
        with self.timer.stage("train", self.settings.fit.steps * len(orders)) as stage:
            runs = train(self.workshop, orders, advance=stage.advance, heard=part_lines(stage))
            stage.note(", ".join(f"{name} {_loss_of(run)}" for name, run in runs.items()))
        return {name: find_model(self.workshop, run.run_id) for name, run in runs.items()}

    def judged(self, trained: Mapping[str, Model]) -> dict[str, Model]:
        """Name the models that the gate looks at: what was trained, the incumbent, and the anchor.

        The anchor is the shipped baseline, in every lap of every run.
        """
        anchor = find_model(self.workshop, self.settings.model)
        return with_anchor({**trained, INCUMBENT: self.incumbent.model}, anchor)

    def evaluate(self, models: Mapping[str, Model]) -> dict[str, Contender]:
        """Let the models answer the sets."""
        files = files_of(self.sets, self.workshop.store, self.workshop.cache)
        with self.timer.stage("evaluate", len(models) * len(_JUDGED)) as stage:
            stage.note(f"{len(models)} models answered {len(_JUDGED)} sets")
            return contend(
                self.workshop,
                models,
                {name: files[name] for name in _JUDGED},
                size=self.settings.model,
                advance=stage.advance,
                heard=part_lines(stage),
            )

    def bundle(self, model: Model, contender: Contender) -> Bundle:
        """Build the candidate's bundle with the thresholds that it is judged at."""
        bundle = self.depot.build(
            model,
            tuned(contender.tune, [self.rare], self.settings.gate),
            self.open_set("tune"),
            profile=self.settings.profile,
            parent_bundle_id=self.incumbent.bundle.manifest.bundle_id,
        )
        self.depot.keep(bundle)
        return bundle

    def gate(
        self, models: Mapping[str, Model], contenders: Mapping[str, Contender], bundle: Bundle
    ) -> Verdict:
        """Judge: detection on places never trained on, and closed-loop episodes as a veto."""
        bundles = {CANDIDATE: bundle, INCUMBENT: self.incumbent.bundle}
        episodes = load_episodes(self.settings.episodes)
        with self.timer.stage("gate", len(bundles) * len(episodes)) as stage:
            runner = ChildEpisodes(
                self.folders.logs, self.settings.profile, heard=lambda result: stage.advance()
            )
            verdict = decide(
                self.workshop,
                contenders,
                [self.settings.rare],
                drive_episodes(runner, episodes, bundles, self.folders.here),
                self.settings.gate,
                facts={
                    "models": {name: model.run_id for name, model in models.items()},
                    "sets": {name: self.sets[name].dataset_id for name in _JUDGED},
                },
            )
            stage.note(str(verdict.decision))
        (self.folders.here / "verdict.json").write_bytes(verdict.to_json())
        return verdict

    def roll_out(
        self, verdict: Verdict, bundle: Bundle
    ) -> tuple[tuple[WaveRecord, ...], list[VehicleOutcome]]:
        """Send a passed candidate out wave by wave; every vehicle drives again, on what it then has."""
        orders = self._orders("redrive", self.settings.redrive_s)
        with self.timer.stage("rollout", ticks_of(orders)) as stage:
            if verdict.decision is not Decision.PASS:
                return (), self._drive(orders, "redrive", stage)
            waves, outcomes = roll_out(
                self.settings,
                f"lap{self.folders.lap}",
                self.depot,
                bundle,
                self.incumbent.bundle,
                orders,
                lambda wave: self._drive(wave, "redrive", stage),
            )
            stage.note("; ".join(f"{', '.join(w.vehicles)}: {w.state}" for w in waves))
        return waves, outcomes

    def open_set(self, role: str) -> Dataset:
        """Open one of the sets that judge."""
        files = files_of({role: self.sets[role]}, self.workshop.store, self.workshop.cache)
        return Dataset(Path(files[role].path))

    def map_of_drives(self) -> dict[str, str]:
        """Tell on which map each of the lap's first drives was."""
        orders = self._orders("drive", self.settings.drive_s)
        return {order.drive_id: order.road_map for order in orders}

    def _orders(self, phase: str, seconds: float) -> list[DriveOrder]:
        return drive_orders(self.settings, self.folders.lap, self.vehicles, phase, seconds)

    def _drive(
        self, orders: Sequence[DriveOrder], phase: str, stage: Stage
    ) -> list[VehicleOutcome]:
        return run_drives(
            self.folders,
            self.card,
            anchors_of(self.depot.image, self.depot.director),
            self.settings.profile,
            orders,
            truth=self.folders.truth(phase),
            advance=stage.advance,
            heard=part_lines(stage),
        )


def _loss_of(run: Trained) -> str:
    """Say with what loss a run ended: the sum of its parts, as training minimises it."""
    return f"loss {sum(run.facts['final_losses'].values()):.3f} after {run.facts['steps']} steps"
