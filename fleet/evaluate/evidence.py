"""Make the gate's numbers from match tables: thresholds on the tune split, everything else on the gate split.

Each model is judged at the threshold it would ship with: the lowest one that keeps its false alarms of the
rare class on the *tune* split within the allowance. Nothing about the gate split chooses anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.errors import OperatorError
from edge.contracts.scene import CATEGORIES, Category
from fleet.evaluate.bootstrap import (
    ClusterRecall,
    Interval,
    cluster_recall,
    map_difference,
    recall_difference,
    recall_interval,
)
from fleet.evaluate.episodes import EpisodeComparison
from fleet.evaluate.gate import Claim, Evidence, GateSettings, Guard, RareRecall
from fleet.evaluate.matching import Matches
from fleet.evaluate.metrics import (
    detection_scores,
    false_alarms_in_clean_frames,
    operating_point,
    threshold_for,
)
from fleet.evaluate.open_loop import OpenLoop
from fleet.evaluate.slices import Slice, within

ORDINARY = tuple(c for c in CATEGORIES if c not in (Category.ANIMAL, Category.DEBRIS))
"""The ten classes of nuScenes: what the guard protects."""


@dataclass(frozen=True, eq=False)
class Contender:
    """One model's answers on the two splits, each matched once."""

    tune: Matches
    gate: Matches
    open_loop: tuple[OpenLoop, ...] = ()
    """Of the gate's samples whose future is known."""


@dataclass(frozen=True, eq=False)
class _OnSlice:
    """One contender on one claimed slice: what is reported, and what is paired."""

    report: RareRecall
    recall: ClusterRecall


def gather(
    candidate: Contender,
    incumbent: Contender,
    control: Contender | None,
    claims: Sequence[Slice],
    episodes: EpisodeComparison | None,
    settings: GateSettings,
) -> Evidence:
    """Measure every number that ``judge`` needs.

    Args:
        control: Fine-tuned with the same label budget from the random stream; None when there is none.
        claims: The rare slices on which the candidate is said to be better, one class each.

    Raises:
        OperatorError: A claim without exactly one class or without clean tune frames; contenders that
            were not evaluated on the same frames.
    """
    return Evidence(
        claims=tuple(_claim(candidate, incumbent, control, c, settings) for c in claims),
        guard=_guard(candidate.gate, incumbent.gate, settings),
        episodes=episodes,
    )


def _claim(
    candidate: Contender,
    incumbent: Contender,
    control: Contender | None,
    claim: Slice,
    settings: GateSettings,
) -> Claim:
    after = _on_slice(candidate, claim, settings)
    before = _on_slice(incumbent, claim, settings)
    beside = _on_slice(control, claim, settings) if control else None
    return Claim(
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
        precision=operating_point(part, category, threshold, settings.distance_m).precision,
        recall=recall_interval(recall, settings.bootstrap) if recall.clusters else None,
    )
    return _OnSlice(report=report, recall=recall)


def _guard(candidate: Matches, incumbent: Matches, settings: GateSettings) -> Guard | None:
    """Compare ordinary mAP over the classes with enough truths; None when no class has enough."""
    ordinary = [c for c in ORDINARY if len(incumbent.truth_rows(c)) >= settings.min_instances]
    if not ordinary:
        return None
    maps = [
        detection_scores(m, ordinary, min_instances=settings.min_instances).mean_ap
        for m in (candidate, incumbent)
    ]
    return Guard(
        frames=int(incumbent.is_frame_counted.sum()),
        places=len(incumbent.frames.places),
        categories=tuple(str(c) for c in ordinary),
        candidate_map=maps[0],
        incumbent_map=maps[1],
        difference=map_difference(candidate, incumbent, ordinary, settings.bootstrap),
    )


def _category_of(claim: Slice) -> Category:
    if len(claim.categories) != 1:
        raise OperatorError(
            f"claim {claim.name} needs exactly one class, got {[str(c) for c in claim.categories]}"
        )
    return claim.categories[0]
