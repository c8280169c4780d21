"""Decide a lap's orders: each vehicle's drive, and each arm's clips, questions and training data.

Every function is pure: it takes settings, rows and models and returns typed orders. It starts no process,
writes no file and reads no clock. ``turn.py`` carries the orders out. The arms of the experiment are the
candidate, which learns from the clips of triggers, and the control, which learns from random clips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.contracts.clip import TriggerRule
from fleet.bundle.bundle import Bundle
from fleet.catalog import ClipRow
from fleet.dataset.frozen import DatasetManifest
from fleet.evaluate import Slice
from fleet.evaluate.order import CANDIDATE, CONTROL
from fleet.label.form import Form
from fleet.label.job import LabelJob, ReviewChoice
from fleet.label.order import LabelOrder
from fleet.model import Model
from fleet.train.order import TrainOrder, starting_from, with_classes
from sim.lap.claim import Claim
from sim.lap.settings import LapSettings
from sim.vehicle import DriveOrder

LABELER = "sim.sense.annotator:over"

Clips = Mapping[str, Sequence[ClipRow]]
"""Admitted clips by arm."""


@dataclass(frozen=True)
class BundledModel:
    """A trained network, and the bundle that vehicles run it from."""

    bundle: Bundle
    model: Model
    taught: tuple[str, ...] = ()
    """Claimed slices that it was fine-tuned for."""


@dataclass(frozen=True)
class DrivePhase:
    """A round in which every vehicle drives once."""

    name: str
    seconds: float
    """Length of each drive."""


def vehicle_ids(settings: LapSettings) -> tuple[str, ...]:
    """Name the vehicles of a lap."""
    return tuple(f"v-{number + 1:02d}" for number in range(settings.vehicles))


def first_phase(settings: LapSettings) -> DrivePhase:
    """Return the phase before the gate, whose clips the lap learns from."""
    return DrivePhase("drive", settings.drive_s)


def last_phase(settings: LapSettings) -> DrivePhase:
    """Return the phase after the gate has decided."""
    return DrivePhase("redrive", settings.redrive_s)


def drive_orders(
    settings: LapSettings,
    lap: int,
    phase: DrivePhase,
    vehicles: Sequence[str],
    places: Mapping[str, Sequence[str]],
) -> tuple[DriveOrder, ...]:
    """Order one drive per vehicle; start and seed differ by vehicle, lap and phase.

    Args:
        settings: The lap's.
        lap: Number of the lap within its run, from 1.
        phase: Which round of drives.
        vehicles: Vehicle ids; scenes are dealt to them in turn.
        places: Ids of the places that vehicles may start from, by road map.
    """
    orders, scenes = [], settings.claim.scenes
    for number, vehicle in enumerate(vehicles):
        scene = scenes[number % len(scenes)]
        starts = places[scene.road_map]
        rng = np.random.default_rng([settings.seed, lap, sum(phase.name.encode()), number])
        orders.append(
            DriveOrder(
                vehicle_id=vehicle,
                drive_id=f"lap{lap}-{phase.name}-{vehicle}",
                road_map=scene.road_map,
                place_id=starts[int(rng.integers(len(starts)))],
                scenario=scene.scenario,
                seconds=phase.seconds,
                seed=int(rng.integers(2**31)),
                is_night=scene.is_night,
                vehicles_per_km=scene.vehicles_per_km,
                world=settings.world,
                vehicle=settings.vehicle,
            )
        )
    return tuple(orders)


def clips_by_arm(rows: Iterable[ClipRow], drive_ids: Collection[str]) -> dict[str, list[ClipRow]]:
    """Deal out the clips of a lap's drives: triggers' to the candidate, random ones to the control.

    Args:
        rows: Admitted clips, in id order.
        drive_ids: The lap's first drives; a clip of any other drive is left out.
    """
    arms: dict[str, list[ClipRow]] = {CANDIDATE: [], CONTROL: []}
    for row in rows:
        if row.drive_id in drive_ids:
            arms[CONTROL if str(TriggerRule.RANDOM) in row.rules else CANDIDATE].append(row)
    return arms


def label_orders(
    settings: LapSettings, incumbent: BundledModel, clips: Clips, truth: Path
) -> dict[str, LabelOrder]:
    """Order labels with equal budgets: most valuable questions for the candidate, blind for the control.

    Args:
        settings: The lap's.
        incumbent: Its model is the teacher.
        clips: By arm.
        truth: Folder of the truth logs, for the annotator alone.
    """
    choices = {CANDIDATE: ReviewChoice.VALUE, CONTROL: ReviewChoice.BLIND}
    return {
        arm: LabelOrder(
            clips=tuple(rows),
            model=incumbent.model.files.int8,
            job=LabelJob(
                size=settings.model,
                known=incumbent.model.known,
                categories=incumbent.model.categories,
                labeler=LABELER,
                labeler_folder=str(truth),
                budget_tracks=settings.budget_tracks,
                choice=choices[arm],
                seed=settings.seed,
                unseen=unseen_forms(settings.claim, incumbent),
                settings=settings.label,
            ),
        )
        for arm, rows in clips.items()
    }


def unseen_forms(claim: Claim, teacher: BundledModel) -> tuple[Form, ...]:
    """Name the forms of the claimed class that a teacher has not seen, though it may know the class.

    A claim to a whole class has none: a teacher knows the class, or it does not.
    """
    part = claim.part
    is_whole = part == Slice(part.name, part.categories)
    if is_whole or part.name in teacher.taught:
        return ()
    return (Form(category=claim.category, attribute=part.attribute),)


def train_orders(
    settings: LapSettings,
    incumbent: BundledModel,
    fresh: Mapping[str, DatasetManifest],
    sets: Mapping[str, DatasetManifest],
    earlier: Sequence[DatasetManifest],
) -> dict[str, TrainOrder]:
    """Order the same fine-tune of the incumbent for each arm, on the arm's own labels.

    An arm without labels is trained on replay alone. Both arms also replay what earlier laps learnt from,
    or this lap would unlearn it.

    Args:
        settings: The lap's.
        incumbent: Its model is the parent.
        fresh: Labelled sets by arm.
        sets: Rendered sets by role.
        earlier: Labelled sets of the candidates of earlier laps.
    """
    parent = incumbent.model
    return {
        arm: TrainOrder(
            size=settings.model,
            fresh=(manifest if manifest.samples else sets["replay"],),
            replay=(sets["replay"], *(m for m in earlier if m.samples)),
            parent=parent.weights,
            graph=parent.files.fp32,
            calibration=sets["tune"],
            fit=starting_from(settings.claim_fit, parent.known),
            categories=with_classes(parent.categories, settings.claim.classes),
            known=tuple(dict.fromkeys((*parent.known, *settings.claim.classes))),
        )
        for arm, manifest in fresh.items()
    }
