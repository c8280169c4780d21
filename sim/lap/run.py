"""The lap, stage by stage: read ``run_lap`` first, then ``turn``. The order is the loop.

This is the composition root: the only place that knows the world, the vehicles and the fleet at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.cli.console import Stages
from edge.contracts.scene import Category
from fleet.dataset.frozen import Dataset, DatasetManifest
from fleet.dataset.order import files_of
from fleet.depot import open_depot
from fleet.evaluate.order import CANDIDATE, CONTROL, INCUMBENT, refuse_other_rigs
from fleet.service import open_served
from fleet.store import open_store
from fleet.work.workspace import Workshop
from sim.lap.folders import LapFolders
from sim.lap.gallery import Gallery
from sim.lap.record import LapRecord
from sim.lap.report import Picture
from sim.lap.settings import LapSettings
from sim.lap.setup import (
    ACTOR,
    Incumbent,
    build_sets,
    release_baseline,
    running_service,
    service_overrides,
    set_up_fleet,
)
from sim.lap.summary import LapFacts, summarise
from sim.lap.timing import RunningProcess, StageTimer, part_lines
from sim.lap.turn import Turn


@dataclass(frozen=True)
class Legacy:
    """What a lap leaves to the next one."""

    incumbent: Incumbent
    caught: tuple[DatasetManifest, ...]
    """The edge cases of all laps so far, one dataset each; replayed from then on."""


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
        clips = turn.admitted()
        labelled = turn.label(clips)
        fresh = turn.freeze(labelled)
        models = turn.judged(turn.train(fresh))
        contenders = turn.evaluate(models)
        bundle = turn.bundle(models[CANDIDATE], contenders[CANDIDATE])
        verdict = turn.gate(models, contenders, bundle)
        waves, redrives = turn.roll_out(verdict, bundle)
        with turn.timer.stage("summary") as stage:
            record = summarise(
                LapFacts(
                    settings=settings,
                    lap=folders.lap,
                    drives=drives,
                    redrives=redrives,
                    edge=clips[CANDIDATE],
                    chance=clips[CONTROL],
                    quarantined=sum(drive.quarantined for drive in drives),
                    labelled=labelled[CANDIDATE],
                    chance_labelled=labelled[CONTROL],
                    dataset_id=fresh[CANDIDATE].dataset_id,
                    contenders=contenders,
                    bundle_ids={
                        INCUMBENT: turn.incumbent.bundle.manifest.bundle_id,
                        CANDIDATE: bundle.manifest.bundle_id,
                    },
                    verdict=verdict,
                    waves=waves,
                    truth=folders.truth("drive"),
                )
            )
            shown = {
                INCUMBENT: (turn.incumbent.model.files.int8, turn.incumbent.bundle.manifest),
                CANDIDATE: (models[CANDIDATE].files.int8, bundle.manifest),
            }
            gallery = Gallery(Category(settings.rare), shown)
            pictures = [
                *gallery.caught(labelled[CANDIDATE], clips[CANDIDATE], turn.map_of_drives()),
                *gallery.judged(turn.open_set("rare")),
            ]
            stage.note(f"{len(pictures)} pictures")
        record = msgspec.structs.replace(record, stages=tuple(turn.timer.stages))
        is_promoted = bool(waves) and all(wave.state == "passed" for wave in waves)
        successor = Incumbent(bundle, models[CANDIDATE]) if is_promoted else turn.incumbent
        caught = (*turn.caught, fresh[CANDIDATE])
        return LapResult(record, tuple(pictures), Legacy(successor, caught))


@contextmanager
def open_turn(
    settings: LapSettings, folders: LapFolders, legacy: Legacy | None, display: Stages
) -> Iterator[Turn]:
    """Render the sets, start the fleet, enrol the vehicles; the service ends with the block."""
    timer = StageTimer(display)
    store = open_store(settings.store, folders.fleet.store)
    log, words = folders.logs / "service.log", service_overrides(settings.store)
    vehicles = [f"v-{k + 1:02d}" for k in range(settings.vehicles)]
    homes = {vehicle: folders.vehicle(vehicle) for vehicle in vehicles}
    with timer.stage("sets") as stage:
        sets = build_sets(settings, folders, store, part_lines(stage))
        files = files_of(sets, store, folders.cache)
        stage.note(", ".join(f"{m.name} {m.samples}" for m in sets.values()))
    with running_service(folders.fleet, log, words) as card:
        timer.service = RunningProcess(card.pid)
        with open_served(folders.fleet) as served:
            with timer.stage("fleet") as stage:
                workshop = Workshop(served.catalog, store, folders.here, folders.cache, ACTOR)
                depot = open_depot(folders.fleet, workshop)
                set_up_fleet(settings, workshop, depot, sets, homes)
                refuse_other_rigs(workshop, {k: f for k, f in files.items() if k != "replay"})
                if legacy is None:
                    questions = Dataset(Path(files["tune"].path))
                    baseline = release_baseline(settings, workshop, depot, questions, homes)
                    legacy = Legacy(baseline, ())
                on = legacy.incumbent.bundle.manifest.bundle_id
                stage.note(f"{len(vehicles)} vehicles on {on}")
            yield Turn(
                settings=settings,
                folders=folders,
                timer=timer,
                workshop=workshop,
                depot=depot,
                card=card,
                sets=sets,
                incumbent=legacy.incumbent,
                caught=legacy.caught,
                vehicles=vehicles,
            )
