"""Lay results out as tables of plain values, once, for terminal, Markdown, JSON and report alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.contracts.classes import Category
from fleet.evaluate.bootstrap import BootstrapSettings, Interval, cluster_recall, recall_interval
from fleet.evaluate.gate import ClaimEvidence, Evidence, RareRecall, Verdict, class_outcome
from fleet.evaluate.guard import ApChange
from fleet.evaluate.matching import MATCH_DISTANCES_M, Matches
from fleet.evaluate.metrics import (
    ERRORS,
    DetectionScores,
    HeadingError,
    class_scores,
    detection_scores,
    operating_point,
)
from fleet.evaluate.slices import Slice, by_range, within

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A titled table; every row has one value per column, None where there is nothing to say."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_records(self) -> list[dict[str, Cell]]:
        """Give one dictionary per row, ready for JSON."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def score_table(scores: DetectionScores, title: str = "Detection scores") -> Table:
    """Lay out AP and errors per class, the mean last."""
    ap_columns = tuple(f"ap_{d:g}m" for d in MATCH_DISTANCES_M)
    rows: list[tuple[Cell, ...]] = [
        (str(c.category), c.instances, c.ap, *c.ap_at, *c.errors, None) for c in scores.classes
    ]
    rows += [
        (str(category), n, *(None,) * (len(ap_columns) + len(ERRORS) + 2))
        for category, n in scores.too_few
    ]
    instances = sum(c.instances for c in scores.classes)
    ap_means = (float(np.mean(ap)) for ap in zip(*(c.ap_at for c in scores.classes), strict=True))
    rows.append(("mean", instances, scores.mean_ap, *ap_means, *scores.mean_errors, scores.nds))
    return Table(title, ("category", "truths", "ap", *ap_columns, *ERRORS, "nds"), tuple(rows))


def range_table(
    matches: Matches,
    thresholds: Mapping[Category, float],
    parts: Sequence[Slice] | None = None,
    title: str = "By range",
) -> Table:
    """Lay out AP, recall and precision per class and slice; by default everything and its range bands.

    Args:
        thresholds: Score from which a box counts, per class; the table lists these classes.
    """
    parts = parts or (Slice("all"), *by_range(Slice("all")))
    rows: list[tuple[Cell, ...]] = []
    for part in parts:
        inside = within(matches, part)
        for category in (c for c in matches.categories if c in thresholds):
            rows.append((part.name, *_class_row(inside, category, thresholds[category])))
    columns = ("slice", "category", "truths", "ap", "threshold", "recall", "precision")
    return Table(title, columns, tuple(rows))


def heading_table(errors: Iterable[HeadingError], title: str = "Heading error") -> Table:
    """Lay out heading errors per heading band; degrees, because it is for reading."""
    rows = tuple(
        (str(e.band), e.found, _degrees(e.median_rad), _degrees(e.p90_rad), e.flipped_ratio)
        for e in errors
    )
    return Table(title, ("heading", "found", "median_deg", "p90_deg", "flipped_ratio"), rows)


def slice_table(
    models: Mapping[str, Matches],
    thresholds: Mapping[str, Mapping[Category, float]],
    parts: Sequence[Slice],
    settings: BootstrapSettings,
    title: str = "Recall by slice",
) -> Table:
    """Lay out recall with its interval for several models side by side, one row per slice and class.

    A slice that holds no counted truth of a class has no row for it.

    Args:
        models: Match tables by name (incumbent, candidate, control), all of the same frames.
        thresholds: Per model and class; a slice without classes is shown for the classes listed here.
    """
    if not models:
        return Table(title, ("slice", "category", "clusters", "truths"), ())
    first = next(iter(models))
    rows: list[tuple[Cell, ...]] = []
    for part in parts:
        inside = {name: within(matches, part) for name, matches in models.items()}
        wanted = part.categories or thresholds[first]
        for category in (c for c in models[first].categories if c in wanted):
            truths = len(inside[first].truth_rows(category))
            if truths == 0:
                continue
            intervals = [
                recall_interval(
                    cluster_recall(inside[name], category, thresholds[name][category]), settings
                )
                for name in models
            ]
            bounds = [v for i in intervals for v in (i.estimate, i.lower, i.upper)]
            rows.append((part.name, str(category), intervals[0].clusters, truths, *bounds))
    per_model = tuple(f"{name}{end}" for name in models for end in ("", "_lower", "_upper"))
    return Table(title, ("slice", "category", "clusters", "truths", *per_model), tuple(rows))


def nds_table(
    models: Mapping[str, Matches],
    parts: Sequence[Slice],
    *,
    min_instances: int = 50,
    title: str = "Scores by slice",
) -> Table:
    """Lay out mAP and NDS for several models side by side, over the same classes of each slice.

    A slice in which no class has ``min_instances`` counted truths has no row.
    """
    rows: list[tuple[Cell, ...]] = []
    for part in parts:
        inside = [within(matches, part) for matches in models.values()]
        classes = [
            c
            for c in (inside[0].categories if inside else ())
            if len(inside[0].truth_rows(c)) >= min_instances
        ]
        if classes:
            scores = [detection_scores(m, classes, min_instances=1) for m in inside]
            values = [v for s in scores for v in (s.mean_ap, s.nds)]
            rows.append((part.name, " ".join(map(str, classes)), *values))
    per_model = tuple(f"{name}_{value}" for name in models for value in ("map", "nds"))
    return Table(title, ("slice", "classes", *per_model), tuple(rows))


def verdict_table(verdict: Verdict) -> Table:
    """Lay out the gate's reasons, one row per rule."""
    rows = tuple((r.rule, r.expected, r.got, str(r.outcome)) for r in verdict.reasons)
    return Table(f"Gate: {verdict.decision}", ("rule", "expected", "got", "outcome"), rows)


def claim_table(evidence: Evidence, title: str = "Claimed slices") -> Table:
    """Lay out before, after and control of each claimed slice, at each model's own threshold."""
    columns = ("slice", "model", "threshold", "recall", "lower", "upper", "precision")
    rows = tuple(row for claim in evidence.claims for row in _claim_rows(claim))
    alarms = ("tune_false_alarms_per_clean_frame", "gate_false_alarms_per_clean_frame")
    per_frame = ("gate_false_alarms_per_frame", "alarms_lower", "alarms_upper")
    return Table(title, (*columns, *alarms, *per_frame), rows)


def class_table(verdict: Verdict, title: str = "Guarded classes") -> Table:
    """Lay out AP of each guarded class, and how it changed against incumbent and anchor."""
    columns = ("class", "truths", "incumbent", "anchor", "candidate")
    changes = tuple(
        f"{end}{to}" for to in ("incumbent", "anchor") for end in ("to_", "lower_", "upper_")
    )
    guard = verdict.numbers.guard
    rows = tuple(
        (
            row.category,
            row.truths,
            row.incumbent.ap if row.incumbent else None,
            row.anchor.ap if row.anchor else None,
            row.candidate_ap,
            *_change(row.incumbent),
            *_change(row.anchor),
            str(class_outcome(row, guard, verdict.settings)),
        )
        for row in (guard.classes if guard else ())
        if guard
    )
    return Table(title, (*columns, *changes, "outcome"), rows)


def _claim_rows(claim: ClaimEvidence) -> list[tuple[Cell, ...]]:
    models: list[tuple[str, RareRecall | None]] = [
        ("incumbent", claim.incumbent),
        ("candidate", claim.candidate),
        ("control", claim.control),
    ]
    return [
        (
            claim.slice,
            name,
            rare.threshold,
            *_bounds(rare.recall),
            rare.precision,
            rare.tune_false_alarms,
            rare.gate_false_alarms,
            *_bounds(rare.gate_alarm_rate),
        )
        for name, rare in models
        if rare is not None
    ]


def _class_row(matches: Matches, category: Category, threshold: float) -> tuple[Cell, ...]:
    point = operating_point(matches, category, threshold)
    ap = class_scores(matches, category).ap if point.truths else None
    return (str(category), point.truths, ap, threshold, point.recall, point.precision)


def _change(change: ApChange | None) -> tuple[Cell, Cell, Cell]:
    return _bounds(change.difference if change else None)


def _bounds(interval: Interval | None) -> tuple[Cell, Cell, Cell]:
    if interval is None:
        return (None, None, None)
    return (interval.estimate, interval.lower, interval.upper)


def _degrees(angle_rad: float | None) -> float | None:
    return None if angle_rad is None else float(np.degrees(angle_rad))
