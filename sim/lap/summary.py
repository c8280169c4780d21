"""Make the record of a lap from the facts of its stages; no decision is taken here."""

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
class LapFacts:
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


def summarise(facts: LapFacts) -> LapRecord:
    """Write the record of a lap, but for its stages: the last of them is not over yet."""
    rare = Category(facts.settings.rare)
    gate, ahead = facts.contenders["candidate"].gate, facts.contenders["candidate"].open_loop
    bounds = facts.settings.gate.bootstrap
    return LapRecord(
        seed=facts.settings.seed,
        lap=facts.lap,
        is_quick=facts.settings.is_quick,
        stages=(),
        ticks=sum(o.ticks for o in (*facts.drives, *facts.redrives)),
        drives=tuple(
            _drive(o, facts.settings, is_redrive=o in facts.redrives)
            for o in (*facts.drives, *facts.redrives)
        ),
        deadline=_deadline((*facts.drives, *facts.redrives)),
        clips=_clips(facts, rare),
        labels=_labels(facts.labelled),
        skipped=skipped_clips(
            (*facts.edge, *facts.chance), (facts.labelled, facts.chance_labelled)
        ),
        dataset_id=facts.dataset_id,
        rare_category=str(rare),
        incumbent=_contestant(facts, "incumbent"),
        candidate=_contestant(facts, "candidate"),
        control=_contestant(facts, "control"),
        straight_l2_m=_mean([(o.place_id, o.straight_l2_m) for o in ahead], bounds),
        gate=GateCounts(
            frames=int(gate.is_frame_counted.sum()),
            places=len(gate.frames.places),
            encounters=_encounters(gate, rare),
            futures=len(ahead),
        ),
        verdict=VerdictRecord(
            decision=str(facts.verdict.decision),
            reasons=tuple(facts.verdict.lines),
            rules=tuple(facts.verdict.reasons),
            classes=_classes(facts.verdict),
        ),
        rollout=facts.waves,
        vehicles=tuple(
            VehicleEnd(vehicle_id=o.vehicle_id, bundle_id=o.bundle_id, phase=o.phase)
            for o in sorted(facts.redrives, key=lambda o: o.vehicle_id)
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


def _clips(facts: LapFacts, rare: Category) -> ClipCounts:
    vehicles = {row.vehicle_id for row in (*facts.edge, *facts.chance)}
    truth = {vehicle: read_truth(truth_path(facts.truth, vehicle), vehicle) for vehicle in vehicles}
    return ClipCounts(
        captured=sum(o.captured for o in facts.drives),
        evicted=sum(o.evicted for o in facts.drives),
        uploaded=sum(o.uploaded for o in facts.drives),
        admitted=len(facts.edge) + len(facts.chance),
        quarantined=facts.quarantined,
        bytes_uploaded=sum(o.bytes_sent for o in facts.drives),
        with_rare_triggered=sum(_holds(row, rare, truth[row.vehicle_id]) for row in facts.edge),
        triggered=len(facts.edge),
        with_rare_random=sum(_holds(row, rare, truth[row.vehicle_id]) for row in facts.chance),
        random=len(facts.chance),
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


def _contestant(facts: LapFacts, name: str) -> Contestant:
    """Score one model: recall of the rare slices at its own threshold, AP per class, mAP."""
    settings = facts.settings.gate
    contender, rare = facts.contenders[name], Category(facts.settings.rare)
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
        bundle_id=facts.bundle_ids.get(name),
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
