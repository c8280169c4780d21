"""Make the record of a lap from the facts of its stages; no decision is taken here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fleet.catalog import ClipRow
from fleet.dataset.frozen import DatasetManifest
from fleet.evaluate import Contender, Verdict, holds
from fleet.evaluate.order import CANDIDATE, CONTROL, INCUMBENT
from fleet.label.job import Labelled
from sim.lap.drives import FinishedDrive
from sim.lap.orders import BundledModel, Clips
from sim.lap.record import (
    ClipCounts,
    Contestant,
    Deadline,
    DriveRecord,
    LapLabelCounts,
    LapRecord,
    VehicleEnd,
    WaveRecord,
)
from sim.lap.scores import contestant, gate_counts, ordinary_classes, straight_l2_m, verdict_record
from sim.lap.settings import LapSettings
from sim.lap.vehicle import VehicleOutcome
from sim.sense.annotator import truth_path
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
        clips=_clips(facts),
        labels=_labels(facts.labelled[CANDIDATE]),
        skipped=skipped_clips(facts.clips, facts.labelled),
        dataset_id=facts.datasets[CANDIDATE].dataset_id,
        claim=facts.settings.claim.name,
        claimed_slice=facts.settings.claim.slice,
        incumbent=_contestant(facts, INCUMBENT),
        candidate=_contestant(facts, CANDIDATE),
        control=_contestant(facts, CONTROL),
        straight_l2_m=straight_l2_m(judged, facts.settings.gate),
        gate=gate_counts(judged, facts.settings.claim.part),
        verdict=verdict_record(facts.verdict),
        rollout=facts.waves,
        vehicles=tuple(
            sorted((_vehicle_end(d.outcome) for d in facts.redrives), key=lambda v: v.vehicle_id)
        ),
    )


def _contestant(facts: LapFacts, name: str) -> Contestant:
    bundled = facts.bundled.get(name)
    bundle_id = bundled.bundle.manifest.bundle_id if bundled else None
    claim, settings = facts.settings.claim, facts.settings.gate
    ordinary = ordinary_classes(facts.contenders[INCUMBENT], (*claim.classes, claim.category))
    return contestant(facts.contenders[name], bundle_id, claim.category, ordinary, settings)


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
        seconds=round(outcome.ticks / drive.order.rate_hz, 3),
        faults=outcome.faults,
        collisions=outcome.collisions,
        progress_m=round(outcome.progress_m, 1),
        rungs=outcome.rungs,
        measures=outcome.measures,
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


def _clips(facts: LapFacts) -> ClipCounts:
    outcomes = [drive.outcome for drive in facts.drives]
    nights = {drive.order.drive_id: drive.order.is_night for drive in facts.drives}
    triggered, random = facts.clips[CANDIDATE], facts.clips[CONTROL]

    def holding(rows: Sequence[ClipRow]) -> int:
        return sum(_holds(facts, row, is_night=nights[row.drive_id]) for row in rows)

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


def _holds(facts: LapFacts, row: ClipRow, *, is_night: bool) -> bool:
    """Return whether a clip really shows the claimed slice within the gate's own limits."""
    part, limits = facts.settings.claim.part, facts.settings.gate.match
    return any(
        holds(part, seen.box, is_night=is_night)
        and seen.visible_px >= limits.min_visible_px
        and np.hypot(seen.box.x_m, seen.box.y_m) < limits.max_range_m
        for stamp, frame in facts.truth[row.vehicle_id].items()
        if row.start_ns <= stamp <= row.end_ns
        for seen in frame.boxes
    )


def _labels(labelled: Labelled) -> LapLabelCounts:
    run = labelled.run
    return LapLabelCounts(
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
