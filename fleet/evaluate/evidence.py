"""Make the gate's numbers from match tables: thresholds on the tune split, everything else on the gate split.

What is compared with what: the claimed class with incumbent and control, by recall; every class that the
incumbent has learnt with the incumbent, by AP; every class that the anchor has learnt with the anchor, by AP.
A class that an earlier lap taught is therefore guarded like the first ten from then on, in laps that claim
another class and in laps that claim it again. The anchor is the shipped baseline: it has not learnt what was
taught later, so such a class is compared with the incumbent alone.

Each model is judged at the threshold that it would ship with: the lowest one that keeps its false alarms of
the rare class on the *tune* split within the allowance. Nothing on the gate split chooses anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from edge.contracts.classes import Category
from edge.contracts.errors import OperatorError
from fleet.evaluate.bootstrap import (
    ApDifference,
    ApDifferences,
    ClusterRecall,
    Interval,
    ap_differences,
    cluster_recall,
    false_alarm_rate,
    recall_difference,
    recall_interval,
)
from fleet.evaluate.episodes import EpisodeComparison
from fleet.evaluate.gate import ClaimEvidence, Evidence, GateSettings, RareRecall
from fleet.evaluate.guard import ApChange, ClassGuard, Guard
from fleet.evaluate.matching import Matches
from fleet.evaluate.metrics import (
    false_alarms_in_clean_frames,
    operating_point,
    threshold_for,
)
from fleet.evaluate.open_loop import OpenLoop
from fleet.evaluate.slices import Slice, within


@dataclass(frozen=True, eq=False)
class Contender:
    """One model's answers on the two splits, each matched once."""

    tune: Matches
    gate: Matches
    known: tuple[Category, ...]
    """What the model has learnt to see."""
    open_loop: tuple[OpenLoop, ...] = ()
    """Of the gate's samples whose future is known."""


@dataclass(frozen=True, eq=False)
class _OnSlice:
    """One contender on one claimed slice: what is reported, and what is paired."""

    report: RareRecall
    recall: ClusterRecall


def gather_evidence(
    candidate: Contender,
    incumbent: Contender,
    control: Contender | None,
    claims: Sequence[Slice],
    episodes: EpisodeComparison | None,
    settings: GateSettings,
    *,
    anchor: Contender | None = None,
) -> Evidence:
    """Measure every number that ``judge`` needs.

    Args:
        control: Fine-tuned with the same label budget from the random stream; None when there is none.
        claims: The rare slices on which the candidate is said to be better, one class each.
        episodes: Driven in closed loop; None when none were.
        settings: What a candidate must show.
        anchor: The baseline that stays the same from lap to lap; None where the incumbent is that model.

    Raises:
        OperatorError: A claim without exactly one class or without clean tune frames; contenders that
            were not evaluated on the same frames.
    """
    return Evidence(
        claims=tuple(_claim(candidate, incumbent, control, c, settings) for c in claims),
        guard=_guard(candidate, incumbent, anchor, claims, settings),
        episodes=episodes,
    )


def _claim(
    candidate: Contender,
    incumbent: Contender,
    control: Contender | None,
    claim: Slice,
    settings: GateSettings,
) -> ClaimEvidence:
    after = _on_slice(candidate, claim, settings)
    before = _on_slice(incumbent, claim, settings)
    beside = _on_slice(control, claim, settings) if control else None
    return ClaimEvidence(
        slice=claim.name,
        category=str(_category_of(claim)),
        encounters=after.recall.encounters,
        truths=int(after.recall.truths.sum()),
        candidate=after.report,
        incumbent=before.report,
        control=beside.report if beside else None,
        over_incumbent=_difference(after, before, settings),
        over_control=_difference(after, beside, settings) if beside else None,
    )


def _difference(first: _OnSlice, second: _OnSlice, settings: GateSettings) -> Interval | None:
    if not first.recall.clusters and not second.recall.clusters:
        return None
    return recall_difference(first.recall, second.recall, settings.bootstrap)


def _on_slice(contender: Contender, claim: Slice, settings: GateSettings) -> _OnSlice:
    category, allowed = _category_of(claim), settings.max_false_alarms_per_clean_frame
    threshold = threshold_for(contender.tune, category, allowed)
    on_tune = false_alarms_in_clean_frames(contender.tune, category, threshold)
    on_gate = false_alarms_in_clean_frames(contender.gate, category, threshold)
    part = within(contender.gate, claim)
    recall = cluster_recall(part, category, threshold, settings.distance_m)
    report = RareRecall(
        threshold=threshold,
        tune_false_alarms=on_tune.false_alarms / on_tune.clean_frames,
        gate_false_alarms=on_gate.per_frame,
        gate_alarm_rate=false_alarm_rate(
            contender.gate, category, threshold, settings.distance_m, settings.bootstrap
        ),
        precision=operating_point(part, category, threshold, settings.distance_m).precision,
        recall=recall_interval(recall, settings.bootstrap) if recall.clusters else None,
    )
    return _OnSlice(report=report, recall=recall)


def _guard(
    candidate: Contender,
    incumbent: Contender,
    anchor: Contender | None,
    claims: Sequence[Slice],
    settings: GateSettings,
) -> Guard | None:
    """Compare what the others know, by class and on average; None when no class of the mean can be scored.

    A claimed class is left out of the mean, so that what it gains does not hide what another class loses.
    """
    claimed = {_category_of(claim) for claim in claims}
    before = _compare(candidate, incumbent, claimed, settings)
    fixed = _compare(candidate, anchor, claimed, settings) if anchor else None
    if before is None or (anchor and fixed is None):
        return None
    return Guard(
        frames=int(incumbent.gate.is_frame_counted.sum()),
        places=len(incumbent.gate.frames.places),
        categories=tuple(str(c) for c in before.classes if c not in claimed),
        candidate_map=before.first_mean,
        incumbent_map=before.second_mean,
        difference=before.mean,
        anchor_map=fixed.second_mean if fixed else None,
        over_anchor=fixed.mean if fixed else None,
        classes=tuple(
            _class_guard(category, candidate.gate, before, fixed)
            for category in incumbent.gate.categories
            if category in incumbent.known or (anchor and category in anchor.known)
        ),
    )


def _compare(
    candidate: Contender, other: Contender, claimed: AbstractSet[Category], settings: GateSettings
) -> ApDifferences | None:
    """Compare AP of the classes that the other knows and that have enough truths; None if all are claimed."""
    counted = [
        category
        for category in other.gate.categories
        if category in other.known
        and len(other.gate.truth_rows(category)) >= settings.min_instances
    ]
    ordinary = [category for category in counted if category not in claimed]
    if not ordinary:
        return None
    return ap_differences(
        candidate.gate, other.gate, counted, settings.bootstrap, averaged=ordinary
    )


def _class_guard(
    category: Category, gate: Matches, before: ApDifferences, fixed: ApDifferences | None
) -> ClassGuard:
    pair = [found.classes.get(category) if found else None for found in (before, fixed)]
    return ClassGuard(
        category=str(category),
        truths=len(gate.truth_rows(category)),
        candidate_ap=next((found.first for found in pair if found), None),
        incumbent=_ap_change(pair[0]),
        anchor=_ap_change(pair[1]),
    )


def _ap_change(found: ApDifference | None) -> ApChange | None:
    if found is None:
        return None
    return ApChange(ap=found.second, difference=found.difference, p_value=found.p_value)


def _category_of(claim: Slice) -> Category:
    if len(claim.categories) != 1:
        raise OperatorError(
            f"claim {claim.name} needs exactly one class, got {[str(c) for c in claim.categories]}"
        )
    return claim.categories[0]
