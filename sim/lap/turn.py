"""Carry out the orders of one lap: a method per stage, each a call of the function behind a single command.

Which order is given is decided in ``orders.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.cli.console import StageProgress
from fleet.bundle.bundle import Bundle
from fleet.catalog import ClipRow, among
from fleet.dataset.frozen import Dataset, DatasetManifest
from fleet.dataset.order import freeze_samples
from fleet.dataset.shelf import files_of
from fleet.depot import Depot
from fleet.evaluate import Contender, Decision, Verdict
from fleet.evaluate.order import (
    CANDIDATE,
    contend,
    drive_episodes,
    tuned,
    with_anchor,
    write_verdict,
)
from fleet.label.job import Labelled
from fleet.label.order import label
from fleet.model import Model, find_model
from fleet.service import ServiceCard
from fleet.train.order import Trained, train
from fleet.work.workspace import Workspace
from sim.episodes import ChildEpisodes, load_episodes
from sim.lap import judging, orders
from sim.lap.drives import FinishedDrive, anchors_of, run_drives, ticks_of, training_places
from sim.lap.folders import LapFolders
from sim.lap.judging import AnswerOrder
from sim.lap.orders import BundledModel, Clips, DrivePhase
from sim.lap.record import WaveRecord
from sim.lap.rollout import roll_out
from sim.lap.settings import LapSettings
from sim.lap.timing import StageTimer, part_lines
from sim.sense.annotator import write_settings
from sim.vehicle import DriveOrder


@dataclass(frozen=True)
class Turn:
    """The means of one lap, and a method per stage in the order of the loop."""

    settings: LapSettings
    folders: LapFolders
    timer: StageTimer
    workspace: Workspace
    depot: Depot
    card: ServiceCard
    sets: Mapping[str, DatasetManifest]
    """Rendered sets by role."""
    incumbent: BundledModel
    earlier: Sequence[DatasetManifest]
    """Labelled sets of the candidates of earlier laps."""
    vehicles: Sequence[str]

    def drive(self) -> list[FinishedDrive]:
        """Run the drives of all vehicles, which record and upload."""
        phase = orders.first_phase(self.settings)
        drives = self._drive_orders(phase)
        with self.timer.stage("drive", ticks_of(drives)) as stage:
            finished = self._run(drives, phase, stage)
            stage.note(f"{sum(drive.outcome.ticks for drive in finished)} ticks")
        return finished

    def clips(self, drives: Sequence[FinishedDrive]) -> dict[str, list[ClipRow]]:
        """Deal the admitted clips of these drives out to the two arms."""
        ids = {drive.order.drive_id for drive in drives}
        rows = self.workspace.catalog.all(ClipRow, among("drive_id", ids))
        return orders.clips_by_arm(rows, ids)

    def label(self, clips: Clips) -> dict[str, Labelled]:
        """Label the clips of both arms."""
        truth = self.folders.truth(orders.first_phase(self.settings).name)
        write_settings(truth, self.settings.world.annotator)
        order = orders.label_orders(self.settings, self.incumbent, clips, truth)
        with self.timer.stage("label", len(order)) as stage:
            labelled = label(self.workspace, order, on_steps=stage.advance)
            run = labelled[CANDIDATE].run
            stage.note(f"{run.auto} boxes by hindsight, {run.asked} tracks reviewed")
            if skipped := sum(len(rows.run.skipped) for rows in labelled.values()):
                stage.note(f"{skipped} clips skipped, lap.json says why")
        return labelled

    def freeze(self, labelled: Mapping[str, Labelled]) -> dict[str, DatasetManifest]:
        """Freeze what was labelled, one dataset per arm."""
        with self.timer.stage("freeze") as stage:
            fresh = {
                arm: freeze_samples(
                    self.workspace, rows.samples, rows.rigs, name=arm, purpose="edge cases"
                )
                for arm, rows in labelled.items()
            }
            stage.note(", ".join(f"{arm} {m.dataset_id}" for arm, m in fresh.items()))
        return fresh

    def train(self, fresh: Mapping[str, DatasetManifest]) -> dict[str, Model]:
        """Fine-tune the incumbent once per arm, side by side."""
        order = orders.train_orders(self.settings, self.incumbent, fresh, self.sets, self.earlier)
        with self.timer.stage("train", self.settings.fit.steps * len(order)) as stage:
            runs = train(
                self.workspace, order, on_steps=stage.advance, on_progress=part_lines(stage)
            )
            stage.note(", ".join(f"{arm} {_loss_of(run)}" for arm, run in runs.items()))
        return {arm: find_model(self.workspace, run.run_id) for arm, run in runs.items()}

    def answer_order(self, trained: Mapping[str, Model]) -> AnswerOrder:
        """Name the models of the gate and the sets that they answer.

        The anchor, if it is not the incumbent, is the shipped baseline in every lap of every run.
        """
        anchor = find_model(self.workspace, self.settings.model)
        models = with_anchor(judging.contestants(trained, self.incumbent), anchor)
        return judging.answer_order(models, self.sets)

    def evaluate(self, order: AnswerOrder) -> dict[str, Contender]:
        """Run the models on the sets."""
        files = files_of(order.sets, self.workspace.store, self.workspace.cache)
        with self.timer.stage("evaluate", order.answers) as stage:
            stage.note(f"{len(order.models)} models answered {len(order.sets)} sets")
            return contend(
                self.workspace,
                order.models,
                files,
                size=self.settings.model,
                on_steps=stage.advance,
                on_progress=part_lines(stage),
            )

    def bundle(self, models: Mapping[str, Model], contenders: Mapping[str, Contender]) -> Bundle:
        """Build the candidate's bundle with the thresholds that it is judged at."""
        order = judging.bundle_order(self.settings, models, contenders, self.incumbent)
        bundle = self.depot.build(
            order.model,
            tuned(order.tune, order.claimed, self.settings.gate),
            self.open_set("tune"),
            profile=order.profile,
            parent_bundle_id=order.parent_bundle_id,
        )
        self.depot.keep(bundle)
        return bundle

    def gate(
        self, answered: AnswerOrder, contenders: Mapping[str, Contender], bundle: Bundle
    ) -> Verdict:
        """Judge detection on places never trained on, with closed-loop episodes as a veto."""
        episodes = load_episodes(self.settings.claim.episodes)
        veto = judging.veto_order(bundle, self.incumbent, episodes)
        with self.timer.stage("gate", veto.drives) as stage:
            runner = ChildEpisodes(
                self.folders.logs,
                self.settings.profile,
                on_result=lambda result: stage.advance(),
                world=self.settings.world,
                vehicle=self.settings.vehicle,
            )
            verdict = write_verdict(
                self.workspace,
                contenders,
                [self.settings.claim.slice],
                drive_episodes(runner, veto.episodes, veto.bundles, self.folders.here),
                self.settings.gate,
                judged=answered.run_ids,
                sets=answered.dataset_ids,
            )
            stage.note(str(verdict.decision))
        (self.folders.here / "verdict.json").write_bytes(verdict.to_json())
        return verdict

    def roll_out(
        self, verdict: Verdict, bundle: Bundle
    ) -> tuple[tuple[WaveRecord, ...], list[FinishedDrive]]:
        """Roll out a candidate that passed; every vehicle drives again on its bundle of then."""
        phase = orders.last_phase(self.settings)
        drives = self._drive_orders(phase)
        with self.timer.stage("rollout", ticks_of(drives)) as stage:
            if verdict.decision is not Decision.PASS:
                return (), self._run(drives, phase, stage)
            order = judging.rollout_order(
                self.settings, self.folders.lap, bundle, self.incumbent, drives
            )
            waves, finished = roll_out(
                self.depot, order, lambda wave: self._run(wave, phase, stage)
            )
            stage.note("; ".join(f"{', '.join(w.vehicles)}: {w.state}" for w in waves))
        return waves, finished

    def open_set(self, role: str) -> Dataset:
        """Open one of the rendered sets."""
        files = files_of({role: self.sets[role]}, self.workspace.store, self.workspace.cache)
        return Dataset(Path(files[role].path))

    def _drive_orders(self, phase: DrivePhase) -> tuple[DriveOrder, ...]:
        places = training_places({scene.road_map for scene in self.settings.claim.scenes})
        return orders.drive_orders(self.settings, self.folders.lap, phase, self.vehicles, places)

    def _run(
        self, drives: Sequence[DriveOrder], phase: DrivePhase, stage: StageProgress
    ) -> list[FinishedDrive]:
        return run_drives(
            self.folders,
            self.card,
            anchors_of(self.depot.image, self.depot.director),
            self.settings.profile,
            drives,
            truth=self.folders.truth(phase.name),
            on_steps=stage.advance,
            on_progress=part_lines(stage),
        )


def _loss_of(run: Trained) -> str:
    """Format the loss that a run ended with: the sum of its parts, as training minimises it."""
    return f"loss {sum(run.facts.final_losses.values()):.3f} after {run.facts.steps} steps"
