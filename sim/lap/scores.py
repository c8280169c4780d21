"""Turn the gate's measurements of each model into the scores of a lap's record, each with its 95 % bounds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from edge.contracts.classes import Category
from fleet.evaluate import (
    SLICES,
    ApChange,
    BootstrapSettings,
    Contender,
    GateSettings,
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
from sim.lap.record import (
    BoundedScore,
    ClassScore,
    Contestant,
    GateCounts,
    SliceScore,
    VerdictRecord,
)


def contestant(
    contender: Contender,
    bundle_id: str | None,
    rare: Category,
    ordinary: Sequence[Category],
    settings: GateSettings,
) -> Contestant:
    """Score one model: recall of the rare slices at its own threshold, AP per ordinary class, mAP.

    Args:
        contender: The model's answers.
        bundle_id: None for a model that is never shipped.
        rare: The claimed class.
        ordinary: The classes of mAP, the same ones for each model; see ``ordinary_classes``.
        settings: The gate's.
    """
    bounds, ahead = settings.bootstrap, contender.open_loop
    forecasts = [(o.place_id, ade_m) for o in ahead for ade_m in o.forecast_ade_m]
    return Contestant(
        bundle_id=bundle_id,
        slices=(
            *_recalls(contender, rare, settings),
            *_precisions(contender.gate, ordinary, settings),
        ),
        plan_l2_m=_mean([(o.place_id, o.plan_l2_m) for o in ahead], bounds),
        forecast_ade_m=_mean(forecasts, bounds),
    )


def ordinary_classes(incumbent: Contender, claimed: Collection[Category]) -> tuple[Category, ...]:
    """List what a candidate must not lose: what the incumbent knows, without what the lap claims."""
    return tuple(category for category in incumbent.known if category not in claimed)


def straight_l2_m(judged: Contender, settings: GateSettings) -> BoundedScore | None:
    """Average the error of driving straight on at constant speed, in metres; None without futures."""
    errors_m = [(o.place_id, o.straight_l2_m) for o in judged.open_loop]
    return _mean(errors_m, settings.bootstrap)


def gate_counts(judged: Contender, part: Slice) -> GateCounts:
    """Count how much evidence the gate had, encounters those of the claimed slice."""
    return GateCounts(
        frames=int(judged.gate.is_frame_counted.sum()),
        places=len(judged.gate.frames.places),
        encounters=_encounters(within(judged.gate, part)),
        futures=len(judged.open_loop),
    )


def verdict_record(verdict: Verdict) -> VerdictRecord:
    """Copy the gate's answer, with the classes it guards side by side."""
    return VerdictRecord(
        decision=str(verdict.decision),
        reasons=tuple(verdict.lines),
        rules=tuple(verdict.reasons),
        classes=_classes(verdict),
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


def _difference(change: ApChange | None) -> BoundedScore | None:
    return _interval(change.difference) if change else None


def _recalls(contender: Contender, rare: Category, settings: GateSettings) -> list[SliceScore]:
    allowed = settings.max_false_alarms_per_clean_frame
    threshold = threshold_for(contender.tune, rare, allowed)
    return [
        _recall(contender.gate, part, rare, threshold, settings.bootstrap)
        for part in SLICES.values()
        if part.categories == (rare,)
    ]


def _precisions(
    gate: Matches, ordinary: Sequence[Category], settings: GateSettings
) -> list[SliceScore]:
    """Score AP of every ordinary class with enough truths, and their mean."""
    counted = [c for c in ordinary if len(gate.truth_rows(c)) >= settings.min_instances]
    if not counted:
        return []
    intervals = ap_intervals(gate, counted, settings.bootstrap)
    scores = [_ap(gate, c, found) for c, found in intervals.classes.items()]
    truths = sum(len(gate.truth_rows(c)) for c in counted)
    mean = _interval(intervals.mean)
    return [*scores, SliceScore(slice="ordinary", metric="map", score=mean, truths=truths)]


def _mean(
    errors_m: Sequence[tuple[str, float]], settings: BootstrapSettings
) -> BoundedScore | None:
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


def _interval(interval: EvidenceInterval) -> BoundedScore:
    return BoundedScore(value=interval.estimate, low=interval.lower, high=interval.upper)


def _encounters(gate: Matches) -> int:
    names = {gate.encounter_ids[k] for k in np.flatnonzero(gate.is_truth_counted)}
    return len(names - {None})
