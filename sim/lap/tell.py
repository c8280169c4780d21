"""Turn what a lap did into its record. Nothing is decided here, and nothing left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.contracts.scene import CATEGORIES, Category
from fleet.catalog import ClipRow
from fleet.evaluate import (
    SLICES,
    ApChange,
    BootstrapSettings,
    Contender,
    Matches,
    Slice,
    Verdict,
    ap_intervals,
    class_outcome,
    cluster_recall,
    mean_interval,
    recall_interval,
    threshold_for,
    within,
)
from fleet.evaluate import Interval as EvidenceInterval
from fleet.evaluate.evidence import ORDINARY
from fleet.label.job import Labelled
from sim.annotator import truth_path
from sim.lap.record import (
    ClassScore,
    ClipCounts,
    Contestant,
    Deadline,
    DriveRecord,
    GateCounts,
    Interval,
    LabelCounts,
    LapRecord,
    SliceScore,
    VehicleEnd,
    VerdictRecord,
    WaveRecord,
)
from sim.lap.settings import LapSettings
from sim.lap.vehicle import VehicleOutcome
from sim.sense.truth import TruthFrame, read_truth

_DEADLINE_MS = 100.0
SEEN_PX = 12
SEEN_RANGE_M = 30.0
"""What shows fewer pixels, or stands farther off, counts for nobody: the gate's own limits."""


@dataclass(frozen=True, eq=False)
class Told:
    """Everything that a lap's record is made from."""

    settings: LapSettings
    lap: int
    drives: Sequence[VehicleOutcome]
    redrives: Sequence[VehicleOutcome]
    edge: Sequence[ClipRow]
    """Admitted clips of the triggers."""
    chance: Sequence[ClipRow]
    """Admitted clips of the random stream."""
    quarantined: int
    labelled: Labelled
    chance_labelled: Labelled
    dataset_id: str
    contenders: Mapping[str, Contender]
    bundle_ids: Mapping[str, str]
    verdict: Verdict
    waves: tuple[WaveRecord, ...]
    truth: Path


def tell(told: Told) -> LapRecord:
    """Write the record of a lap, but for its stages: the last of them is not over yet."""
    rare = Category(told.settings.rare)
    gate, ahead = told.contenders["candidate"].gate, told.contenders["candidate"].open_loop
    bounds = told.settings.gate.bootstrap
    return LapRecord(
        seed=told.settings.seed,
        lap=told.lap,
        is_quick=told.settings.is_quick,
        stages=(),
        ticks=sum(o.ticks for o in (*told.drives, *told.redrives)),
        drives=tuple(
            _drive(o, told.settings, is_redrive=o in told.redrives)
            for o in (*told.drives, *told.redrives)
        ),
        deadline=_deadline((*told.drives, *told.redrives)),
        clips=_clips(told, rare),
        labels=_labels(told.labelled),
        skipped=skipped_clips((*told.edge, *told.chance), (told.labelled, told.chance_labelled)),
        dataset_id=told.dataset_id,
        rare_category=str(rare),
        incumbent=_contestant(told, "incumbent"),
        candidate=_contestant(told, "candidate"),
        control=_contestant(told, "control"),
        straight_l2_m=_mean([(o.place_id, o.straight_l2_m) for o in ahead], bounds),
        gate=GateCounts(
            frames=int(gate.is_frame_counted.sum()),
            places=len(gate.frames.places),
            encounters=_encounters(gate, rare),
            futures=len(ahead),
        ),
        verdict=VerdictRecord(
            decision=str(told.verdict.decision),
            reasons=tuple(told.verdict.lines),
            rules=tuple(told.verdict.reasons),
            classes=_classes(told.verdict),
        ),
        rollout=told.waves,
        vehicles=tuple(
            VehicleEnd(vehicle_id=o.vehicle_id, bundle_id=o.bundle_id, phase=o.phase)
            for o in sorted(told.redrives, key=lambda o: o.vehicle_id)
        ),
    )


def _drive(outcome: VehicleOutcome, settings: LapSettings, *, is_redrive: bool) -> DriveRecord:
    number = int(outcome.vehicle_id.rsplit("-", 1)[1]) - 1
    return DriveRecord(
        vehicle_id=outcome.vehicle_id,
        drive_id=outcome.drive_id,
        bundle_id=outcome.bundle_id,
        scenario=settings.scenes[number % len(settings.scenes)].scenario,
        ticks=outcome.ticks,
        faults=outcome.faults,
        collisions=outcome.collisions,
        progress_m=round(outcome.progress_m, 1),
        rungs=outcome.rungs,
        is_redrive=is_redrive,
    )


def _deadline(outcomes: Sequence[VehicleOutcome]) -> Deadline:
    measured = np.array([ms for outcome in outcomes for ms in outcome.measured_ms] or [0.0])
    return Deadline(
        p50_ms=float(np.percentile(measured, 50)),
        p99_ms=float(np.percentile(measured, 99)),
        max_ms=float(measured.max()),
        missed=int((measured > _DEADLINE_MS).sum()),
        modelled_p99_ms=max(outcome.modelled_p99_ms for outcome in outcomes),
    )


def _clips(told: Told, rare: Category) -> ClipCounts:
    vehicles = {row.vehicle_id for row in (*told.edge, *told.chance)}
    truth = {vehicle: read_truth(truth_path(told.truth, vehicle), vehicle) for vehicle in vehicles}
    return ClipCounts(
        captured=sum(o.captured for o in told.drives),
        evicted=sum(o.evicted for o in told.drives),
        uploaded=sum(o.uploaded for o in told.drives),
        admitted=len(told.edge) + len(told.chance),
        quarantined=told.quarantined,
        bytes_uploaded=sum(o.bytes_sent for o in told.drives),
        with_rare_triggered=sum(_holds(row, rare, truth[row.vehicle_id]) for row in told.edge),
        triggered=len(told.edge),
        with_rare_random=sum(_holds(row, rare, truth[row.vehicle_id]) for row in told.chance),
        random=len(told.chance),
    )


def _holds(row: ClipRow, rare: Category, frames: Mapping[int, TruthFrame]) -> bool:
    """Say whether a clip really shows the rare class: for the report alone, the loop never asks."""
    return any(
        seen.box.category is rare
        and seen.visible_px >= SEEN_PX
        and np.hypot(seen.box.x_m, seen.box.y_m) < SEEN_RANGE_M
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


def skipped_clips(clips: Sequence[ClipRow], labelled: Sequence[Labelled]) -> tuple[str, ...]:
    """Say which clips labelling could not read, and why."""
    reasons = {clip_id: why for one in labelled for clip_id, why in one.run.skipped.items()}
    return tuple(
        f"clip {row.clip_id[:12]} of {row.vehicle_id}: {reasons[row.clip_id]}"
        for row in clips
        if row.clip_id in reasons
    )


def _classes(verdict: Verdict) -> tuple[ClassScore, ...]:
    guard = verdict.numbers.guard
    if guard is None:
        return ()
    return tuple(
        ClassScore(
            category=row.category,
            truths=row.truths,
            candidate=row.candidate_ap,
            incumbent=row.incumbent.ap if row.incumbent else None,
            anchor=row.anchor.ap if row.anchor else None,
            over_incumbent=_difference(row.incumbent),
            over_anchor=_difference(row.anchor),
            outcome=str(class_outcome(row, guard, verdict.settings)),
        )
        for row in guard.classes
    )


def _difference(change: ApChange | None) -> Interval | None:
    return _interval(change.difference) if change else None


def _contestant(told: Told, name: str) -> Contestant:
    """Score one model: recall of the rare slices at its own threshold, AP per class, mAP."""
    settings = told.settings.gate
    contender, rare = told.contenders[name], Category(told.settings.rare)
    threshold = threshold_for(contender.tune, rare, settings.max_false_alarms_per_clean_frame)
    scores = [
        _recall(contender.gate, SLICES[part], rare, threshold, settings.bootstrap)
        for part in SLICES
        if SLICES[part].categories == (rare,)
    ]
    counted = [c for c in ORDINARY if len(contender.gate.truth_rows(c)) >= settings.min_instances]
    if counted:
        intervals = ap_intervals(contender.gate, counted, settings.bootstrap)
        scores.extend(_ap(contender.gate, c, found) for c, found in intervals.classes.items())
        truths = sum(len(contender.gate.truth_rows(c)) for c in counted)
        scores.append(
            SliceScore(
                slice="ordinary", metric="map", score=_interval(intervals.mean), truths=truths
            )
        )
    ahead = contender.open_loop
    forecasts = [(o.place_id, ade_m) for o in ahead for ade_m in o.forecast_ade_m]
    return Contestant(
        bundle_id=told.bundle_ids.get(name),
        slices=tuple(scores),
        plan_l2_m=_mean([(o.place_id, o.plan_l2_m) for o in ahead], settings.bootstrap),
        forecast_ade_m=_mean(forecasts, settings.bootstrap),
    )


def _mean(errors_m: Sequence[tuple[str, float]], settings: BootstrapSettings) -> Interval | None:
    """Average errors, each with its place; None without any."""
    if not errors_m:
        return None
    places, values = zip(*errors_m, strict=True)
    return _interval(mean_interval(values, places, settings))


def _recall(
    gate: Matches, part: Slice, rare: Category, threshold: float, settings: BootstrapSettings
) -> SliceScore:
    recall = cluster_recall(within(gate, part), rare, threshold)
    score = _interval(recall_interval(recall, settings)) if recall.clusters else None
    return SliceScore(
        slice=part.name, metric="recall", score=score, truths=int(recall.truths.sum())
    )


def _ap(gate: Matches, category: Category, interval: EvidenceInterval) -> SliceScore:
    truths = len(gate.truth_rows(category))
    return SliceScore(slice=str(category), metric="ap", score=_interval(interval), truths=truths)


def _interval(interval: EvidenceInterval) -> Interval:
    return Interval(value=interval.estimate, low=interval.lower, high=interval.upper)


def _encounters(gate: Matches, rare: Category) -> int:
    index = CATEGORIES.index(rare)
    is_rare = (gate.truths.category == index) & gate.is_truth_counted
    names = {gate.encounter_ids[k] for k in np.flatnonzero(is_rare)}
    return len(names - {None})
