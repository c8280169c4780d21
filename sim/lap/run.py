"""The lap, stage by stage: read ``run_lap`` first, then ``orders`` and ``turn``.

This is the composition root: the only place that joins the world, the vehicles and the fleet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.budget import BudgetSettings
from edge.cli.console import Stages
from fleet.dataset.frozen import Dataset, DatasetManifest
from fleet.dataset.shelf import files_of
from fleet.depot import Depot
from fleet.evaluate.order import CANDIDATE, refuse_other_rigs
from fleet.fleet import open_fleet
from fleet.work.workspace import Workspace
from sim.lap.folders import LapFolders
from sim.lap.gallery import Gallery
from sim.lap.judging import bundled_models, candidate_model, successor
from sim.lap.orders import BundledModel, first_phase, vehicle_ids
from sim.lap.record import LapRecord
from sim.lap.report import Picture
from sim.lap.settings import LapSettings
from sim.lap.setup import (
    ACTOR,
    lap_sets,
    make_fleet,
    release_baseline,
    running_service,
    set_up_fleet,
)
from sim.lap.summary import LapFacts, read_truths, summarise
from sim.lap.timing import RunningProcess, StageTimer, part_lines
from sim.lap.turn import Turn


@dataclass(frozen=True)
class Legacy:
    """Results of a lap that the next one starts from."""

    incumbent: BundledModel
    earlier: tuple[DatasetManifest, ...]
    """Labelled sets of the candidates of all laps so far; replayed from then on."""


@dataclass(frozen=True)
class LapResult:
    """A finished lap: its record, and what the next one starts from."""

    record: LapRecord
    pictures: tuple[Picture, ...]
    legacy: Legacy


def run_lap(
    settings: LapSettings, folders: LapFolders, legacy: Legacy | None, display: Stages
) -> LapResult:
    """Go once round the loop.

    Args:
        settings: What to do.
        folders: Where; laps of one run share fleet and vehicles.
        legacy: What the last lap left; None starts from the zoo.
        display: Shows the stages.

    Raises:
        RingroadError: A stage failed; the message says which thing and what follows.
    """
    with open_turn(settings, folders, legacy, display) as turn:
        drives = turn.drive()
        clips = turn.clips(drives)
        labelled = turn.label(clips)
        fresh = turn.freeze(labelled)
        answered = turn.answer_order(turn.train(fresh))
        contenders = turn.evaluate(answered)
        bundle = turn.bundle(answered.models, contenders)
        verdict = turn.gate(answered, contenders, bundle)
        waves, redrives = turn.roll_out(verdict, bundle)
        candidate = candidate_model(settings, turn.incumbent, bundle, answered.models)
        with turn.timer.stage("summary") as stage:
            facts = LapFacts(
                settings=settings,
                lap=folders.lap,
                deadline_ms=BudgetSettings().deadline_ms,
                drives=drives,
                redrives=redrives,
                clips=clips,
                truth=read_truths(folders.truth(first_phase(settings).name), turn.vehicles),
                labelled=labelled,
                datasets=fresh,
                contenders=contenders,
                bundled=bundled_models(turn.incumbent, candidate),
                verdict=verdict,
                waves=waves,
            )
            record = summarise(facts)
            pictures = _pictures(turn, facts)
            stage.note(f"{len(pictures)} pictures")
        record = msgspec.structs.replace(record, stages=tuple(turn.timer.stages))
        legacy = Legacy(
            successor(turn.incumbent, candidate, waves), (*turn.earlier, fresh[CANDIDATE])
        )
        return LapResult(record, pictures, legacy)


def _pictures(turn: Turn, facts: LapFacts) -> tuple[Picture, ...]:
    gallery = Gallery(facts.settings.claim.part, facts.bundled, facts.settings.gate.match)
    drives = {drive.order.drive_id: drive.order for drive in facts.drives}
    return (
        *gallery.caught(facts.labelled[CANDIDATE], facts.clips[CANDIDATE], drives),
        *gallery.judged(turn.open_set("rare")),
    )


@contextmanager
def open_turn(
    settings: LapSettings, folders: LapFolders, legacy: Legacy | None, display: Stages
) -> Iterator[Turn]:
    """Render the sets, start the fleet, enrol the vehicles; the service ends with the block."""
    timer = StageTimer(display)
    if legacy is None:
        make_fleet(settings, folders.fleet)
    vehicles = vehicle_ids(settings)
    homes = {vehicle: folders.vehicle(vehicle) for vehicle in vehicles}
    with open_fleet(folders.fleet, actor=ACTOR) as fleet:
        store = fleet.store
        with timer.stage("sets") as stage:
            sets = lap_sets(settings, folders, store, part_lines(stage))
            files = files_of(sets, store, folders.cache)
            stage.note(", ".join(f"{m.name} {m.samples}" for m in sets.values()))
        with running_service(folders.fleet, folders.logs / "service.log") as card:
            timer.service = RunningProcess(card.pid)
            with timer.stage("fleet") as stage:
                workspace = Workspace(fleet.catalog, store, folders.here, folders.cache, ACTOR)
                depot = Depot(fleet, workspace)
                set_up_fleet(settings, workspace, depot, sets, homes)
                refuse_other_rigs(workspace, {k: f for k, f in files.items() if k != "replay"})
                if legacy is None:
                    questions = Dataset(Path(files["tune"].path))
                    baseline = release_baseline(settings, workspace, depot, questions, homes)
                    legacy = Legacy(baseline, ())
                on = legacy.incumbent.bundle.manifest.bundle_id
                stage.note(f"{len(vehicles)} vehicles on {on}")
            yield Turn(
                settings=settings,
                folders=folders,
                timer=timer,
                workspace=workspace,
                depot=depot,
                card=card,
                sets=sets,
                incumbent=legacy.incumbent,
                earlier=legacy.earlier,
                vehicles=vehicles,
            )
