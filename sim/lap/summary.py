"""Make the record of a lap from the facts of its stages; no decision is taken here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.contracts.scene import Category
from fleet.catalog import ClipRow
from fleet.dataset.frozen import DatasetManifest
from fleet.evaluate import Contender, MatchSettings, Verdict
from fleet.evaluate.order import CANDIDATE, CONTROL, INCUMBENT
from fleet.label.job import Labelled
from sim.annotator import truth_path
from sim.lap.drives import FinishedDrive
from sim.lap.orders import BundledModel, Clips
from sim.lap.record import (
    ClipCounts,
    Contestant,
    Deadline,
    DriveRecord,
    LabelCounts,
    LapRecord,
    VehicleEnd,
    WaveRecord,
)
from sim.lap.scores import contestant, gate_counts, straight_l2_m, verdict_record
from sim.lap.settings import LapSettings
from sim.lap.vehicle import VehicleOutcome
from sim.sense.truth import TruthFrame, read_truth


@dataclass(frozen=True, eq=False)
class LapFacts:
    """Everything that a lap's record is made from."""

    settings: LapSettings
    lap: int
    deadline_ms: float
    """From the sensors to the plan; a slower tick is a missed one."""
    drives: Sequence[FinishedDrive]
    """Before the gate."""
    redrives: Sequence[FinishedDrive]
    """After the gate."""
    clips: Clips
    truth: Mapping[str, Mapping[int, TruthFrame]]
    """What was really there in ``drives``, by vehicle and stamp in ns; for the report alone."""
    labelled: Mapping[str, Labelled]
    """By arm."""
    datasets: Mapping[str, DatasetManifest]
    """What each arm learnt from."""
    contenders: Mapping[str, Contender]
    bundled: Mapping[str, BundledModel]
    """Incumbent and candidate; the control has no bundle, for it is never shipped."""
    verdict: Verdict
    waves: tuple[WaveRecord, ...]


def read_truths(folder: Path, vehicles: Iterable[str]) -> dict[str, Mapping[int, TruthFrame]]:
    """Read the truth logs of vehicles, by stamp in ns."""
    return {vehicle: read_truth(truth_path(folder, vehicle), vehicle) for vehicle in vehicles}


def summarise(facts: LapFacts) -> LapRecord:
    """Make the record of a lap, all but the costs of its stages: the last of them still runs."""
    rare = Category(facts.settings.rare)
    judged = facts.contenders[CANDIDATE]
    outcomes = [drive.outcome for drive in (*facts.drives, *facts.redrives)]
    return LapRecord(
        seed=facts.settings.seed,
        lap=facts.lap,
        is_quick=facts.settings.is_quick,
        stages=(),
        ticks=sum(outcome.ticks for outcome in outcomes),
        drives=(
            *(_drive(drive, is_redrive=False) for drive in facts.drives),
            *(_drive(drive, is_redrive=True) for drive in facts.redrives),
        ),
        deadline=_deadline(outcomes, facts.deadline_ms),
        clips=_clips(facts, rare),
        labels=_labels(facts.labelled[CANDIDATE]),
        skipped=skipped_clips(facts.clips, facts.labelled),
        dataset_id=facts.datasets[CANDIDATE].dataset_id,
        rare_category=str(rare),
        incumbent=_contestant(facts, INCUMBENT),
        candidate=_contestant(facts, CANDIDATE),
        control=_contestant(facts, CONTROL),
        straight_l2_m=straight_l2_m(judged, facts.settings.gate),
        gate=gate_counts(judged, rare),
        verdict=verdict_record(facts.verdict),
        rollout=facts.waves,
        vehicles=tuple(
            sorted((_vehicle_end(d.outcome) for d in facts.redrives), key=lambda v: v.vehicle_id)
        ),
    )


def _contestant(facts: LapFacts, name: str) -> Contestant:
    bundled = facts.bundled.get(name)
    bundle_id = bundled.bundle.manifest.bundle_id if bundled else None
    rare = Category(facts.settings.rare)
    return contestant(facts.contenders[name], bundle_id, rare, facts.settings.gate)


def _vehicle_end(outcome: VehicleOutcome) -> VehicleEnd:
    return VehicleEnd(
        vehicle_id=outcome.vehicle_id, bundle_id=outcome.bundle_id, phase=outcome.phase
    )


def _drive(drive: FinishedDrive, *, is_redrive: bool) -> DriveRecord:
    outcome = drive.outcome
    return DriveRecord(
        vehicle_id=outcome.vehicle_id,
        drive_id=outcome.drive_id,
        bundle_id=outcome.bundle_id,
        scenario=drive.order.scenario,
        ticks=outcome.ticks,
        faults=outcome.faults,
        collisions=outcome.collisions,
        progress_m=round(outcome.progress_m, 1),
        rungs=outcome.rungs,
        is_redrive=is_redrive,
    )


def _deadline(outcomes: Sequence[VehicleOutcome], deadline_ms: float) -> Deadline:
    measured = np.array([ms for outcome in outcomes for ms in outcome.measured_ms] or [0.0])
    return Deadline(
        p50_ms=float(np.percentile(measured, 50)),
        p99_ms=float(np.percentile(measured, 99)),
        max_ms=float(measured.max()),
        missed=int((measured > deadline_ms).sum()),
        modelled_p99_ms=max(outcome.modelled_p99_ms for outcome in outcomes),
    )


def _clips(facts: LapFacts, rare: Category) -> ClipCounts:
    outcomes = [drive.outcome for drive in facts.drives]
    triggered, random = facts.clips[CANDIDATE], facts.clips[CONTROL]

    def holding(rows: Sequence[ClipRow]) -> int:
        limits = facts.settings.gate.match
        return sum(_holds(row, rare, facts.truth[row.vehicle_id], limits) for row in rows)

    return ClipCounts(
        captured=sum(outcome.captured for outcome in outcomes),
        evicted=sum(outcome.evicted for outcome in outcomes),
        uploaded=sum(outcome.uploaded for outcome in outcomes),
        admitted=len(triggered) + len(random),
        quarantined=sum(outcome.quarantined for outcome in outcomes),
        bytes_uploaded=sum(outcome.bytes_sent for outcome in outcomes),
        with_rare_triggered=holding(triggered),
        triggered=len(triggered),
        with_rare_random=holding(random),
        random=len(random),
    )


def _holds(
    row: ClipRow, rare: Category, frames: Mapping[int, TruthFrame], limits: MatchSettings
) -> bool:
    """Tell whether a clip really shows the rare class within the gate's own limits."""
    return any(
        seen.box.category is rare
        and seen.visible_px >= limits.min_visible_px
        and np.hypot(seen.box.x_m, seen.box.y_m) < limits.max_range_m
        for stamp, frame in frames.items()
        if row.start_ns <= stamp <= row.end_ns
        for seen in frame.boxes
    )


def _labels(labelled: Labelled) -> LabelCounts:
    run = labelled.run
    return LabelCounts(
        auto=run.auto,
        reviewed=run.reviewed,
        masked=run.masked,
        questions=run.questions,
        asked=run.asked,
        reviewer_seconds=run.reviewer_seconds,
    )


def skipped_clips(clips: Clips, labelled: Mapping[str, Labelled]) -> tuple[str, ...]:
    """Name the clips of both arms that labelling could not read, and why."""
    return tuple(
        f"clip {row.clip_id[:12]} of {row.vehicle_id}: {labelled[arm].run.skipped[row.clip_id]}"
        for arm, rows in clips.items()
        for row in rows
        if row.clip_id in labelled[arm].run.skipped
    )
