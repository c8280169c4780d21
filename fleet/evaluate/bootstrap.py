"""Intervals by paired bootstrap: encounters and places are drawn again, never frames.

Ten frames of one animal are one piece of evidence, not ten: frames of an encounter succeed and fail
together, and an interval over frames would be far too narrow. *Paired* means that both models meet the
same drawn clusters, so that what is hard for both cancels.

mAP over thousands of resamples is cheap because nothing is matched or sorted again: each prediction keeps
its place in the score order and is counted as often as its place was drawn. What lies at or above a hit is
then boxes per place times drawn counts, and read only where a curve needs it; nothing is rounded.
Intervals are percentile intervals, two-sided: the lower bound of a 95 % interval is the 2.5 % quantile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import Category
from edge.contracts.errors import OperatorError
from edge.contracts.fields import Count
from fleet.evaluate.matching import (
    MATCH_DISTANCES_M,
    Bools,
    Floats,
    Ints,
    Matches,
    distance_column,
)
from fleet.evaluate.metrics import FIRST_RECALL_POINT, RECALL_POINTS, mean_clipped

Weights = NDArray[np.int32]
_POINTS = RECALL_POINTS[FIRST_RECALL_POINT:]
_CELLS_AT_ONCE = 1_000_000
"""Size of the tables of a block of resamples; bounds memory, changes no result."""


@dataclass
class BootstrapSettings:
    """Number of draws, and confidence of the intervals."""

    resamples: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2000
    """Number of samples that are drawn."""
    confidence_ratio: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.95
    """Probability that an interval holds the true value."""
    seed: Count = 0
    """What the draws derive from."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, its percentile interval and the number of clusters behind it."""

    estimate: float
    lower: float
    upper: float
    clusters: int


@dataclass(frozen=True)
class ApIntervals:
    """AP of one model, by class and on average, all from the same drawn places."""

    mean: Interval
    """mAP; in each resample over the classes that it drew a truth of."""
    classes: Mapping[Category, Interval]
    """AP; over the resamples that drew a truth of the class."""


@dataclass(frozen=True)
class ApDifference:
    """AP of one class: of two models, and how sure it is that the first is worse."""

    first: float
    second: float
    difference: Interval
    """First minus second, paired by place; over the resamples that drew a truth of the class."""
    p_value: float
    """One-sided: the share of resamples in which the first is not worse, counted with one more that is not.
    An interval's upper bound is below zero where this is below half of what its confidence leaves open."""


@dataclass(frozen=True)
class ApDifferences:
    """Two models compared by class and on average, all from the same drawn places."""

    first_mean: float
    second_mean: float
    mean: Interval
    """mAP, first minus second; in each resample over the classes that it drew a truth of."""
    classes: Mapping[Category, ApDifference]


@dataclass(frozen=True, eq=False)
class ClusterRecall:
    """Hits and truths of a class per cluster, at one threshold."""

    clusters: tuple[str, ...]
    """Sorted; an encounter each, but truths without an encounter id fall under their place."""
    encounters: int
    """How many of the clusters are encounters."""
    hits: Ints  # (C,)
    truths: Ints  # (C,)


def cluster_recall(
    matches: Matches, category: Category, threshold: float, distance_m: float = 2.0
) -> ClusterRecall:
    """Count hits and truths of a class per encounter, at one threshold and distance."""
    rows = matches.truth_rows(category)
    names = [_cluster_of(matches, int(row)) for row in rows]
    clusters, index = np.unique(np.array(names, dtype=str), return_inverse=True)
    is_found = matches.found_score[rows, distance_column(distance_m)] >= threshold
    return ClusterRecall(
        clusters=tuple(str(c) for c in clusters),
        encounters=len({matches.encounter_ids[row] for row in rows} - {None}),
        hits=np.bincount(index[is_found], minlength=len(clusters)),
        truths=np.bincount(index, minlength=len(clusters)),
    )


def recall_interval(recall: ClusterRecall, settings: BootstrapSettings) -> Interval:
    """Bound the recall of one model, its encounters drawn again.

    Raises:
        OperatorError: There is no truth to find.
    """
    weights = _draws(len(recall.clusters), settings)
    truths = weights @ recall.truths
    estimate = float(recall.hits.sum() / recall.truths.sum())
    return _interval(estimate, weights @ recall.hits / truths, len(recall.clusters), settings)


def recall_difference(
    first: ClusterRecall, second: ClusterRecall, settings: BootstrapSettings
) -> Interval:
    """Bound recall of ``first`` minus recall of ``second``, paired by encounter.

    Raises:
        OperatorError: They did not face the same truths, or there is none.
    """
    if first.clusters != second.clusters or not np.array_equal(first.truths, second.truths):
        raise OperatorError(
            f"recalls cannot be paired: expected the same truths in the same encounters, got "
            f"{int(first.truths.sum())} in {len(first.clusters)} against "
            f"{int(second.truths.sum())} in {len(second.clusters)}"
        )
    weights = _draws(len(first.clusters), settings)
    gained = first.hits - second.hits
    estimate = float(gained.sum() / first.truths.sum())
    return _interval(
        estimate, weights @ gained / (weights @ first.truths), len(first.clusters), settings
    )


def mean_interval(
    values: Sequence[float] | Floats, clusters: Sequence[str] | Ints, settings: BootstrapSettings
) -> Interval:
    """Bound the mean of values, the clusters that they come from drawn again.

    With one cluster nothing varies and the interval has no width: look at ``clusters``.

    Args:
        values: (N,) measured, each counting once.
        clusters: (N,) the cluster of each value, for instance its place.
        settings: How often to draw.

    Raises:
        OperatorError: There is no value.
    """
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    weights = _draws(len(names), settings)
    sums = np.bincount(index, weights=values, minlength=len(names))
    counts = np.bincount(index, minlength=len(names))
    drawn = weights @ sums / (weights @ counts)
    return _interval(float(np.mean(values)), drawn, len(names), settings)


def ap_differences(
    first: Matches,
    second: Matches,
    categories: Sequence[Category],
    settings: BootstrapSettings,
    *,
    averaged: Sequence[Category] | None = None,
) -> ApDifferences:
    """Bound AP of ``first`` minus AP of ``second`` for each class, and their mAP, paired by place.

    Args:
        first: Match table of one model.
        second: Match table of another, of the same frames.
        categories: The classes to compare.
        settings: How often to draw.
        averaged: The classes of the mean, out of ``categories``; all of them if None.

    Raises:
        OperatorError: They were not evaluated on the same frames, or a class has no counted truth.
    """
    if first.frames.frame_ids != second.frames.frame_ids or not np.array_equal(
        first.is_truth_counted, second.is_truth_counted
    ):
        raise OperatorError(
            f"AP cannot be paired: expected the same frames and truths, got "
            f"{len(first.frames.frame_ids)} frames with {int(first.is_truth_counted.sum())} truths "
            f"against {len(second.frames.frame_ids)} with {int(second.is_truth_counted.sum())}"
        )
    places = first.frames.places
    weights = once_and_draws(len(places), settings)
    ap = _per_class_ap(first, categories, weights), _per_class_ap(second, categories, weights)
    is_averaged = np.array([averaged is None or c in averaged for c in categories])
    means = [_mean_ap(per_class[is_averaged]) for per_class in ap]
    difference = means[0] - means[1]
    return ApDifferences(
        first_mean=float(means[0][0]),
        second_mean=float(means[1][0]),
        mean=_interval(float(difference[0]), difference[1:], len(places), settings),
        classes={
            category: ap_difference(category, a, b, len(places), settings)
            for category, a, b in zip(categories, *ap, strict=True)
        },
    )


def ap_difference(
    category: Category, first: Floats, second: Floats, clusters: int, settings: BootstrapSettings
) -> ApDifference:
    """Compare two models on one class, from AP as measured and then per resample, (1 + R,) each.

    Raises:
        OperatorError: No resample drew a truth of the class.
    """
    drawn = _known(category, first[1:] - second[1:])
    return ApDifference(
        first=float(first[0]),
        second=float(second[0]),
        difference=_interval(float(first[0] - second[0]), drawn, clusters, settings),
        p_value=float((1 + (drawn >= 0.0).sum()) / (1 + len(drawn))),
    )


def false_alarm_rate(
    matches: Matches,
    category: Category,
    threshold: float,
    distance_m: float,
    settings: BootstrapSettings,
) -> Interval:
    """Bound the false alarms of a class per frame, over all counted frames, its places drawn again.

    A false alarm is a counted box at or above the threshold that finds no truth, whether or not its frame
    holds one: a second box on the same animal is one. Encounters lie within places, so places are drawn.

    Raises:
        OperatorError: No frame counts.
    """
    rows, is_hit = matches.outcomes(category, distance_m)
    rows = rows[~is_hit & (matches.predictions.score[rows] >= threshold)]
    place, count = matches.frames.place, len(matches.frames.places)
    alarms_at = np.bincount(place[matches.predictions.frame[rows]], minlength=count)
    frames_at = np.bincount(place[matches.is_frame_counted], minlength=count)
    is_place = frames_at > 0  # a place without a counted frame could only dilute the draws
    places = [p for p, is_kept in zip(matches.frames.places, is_place, strict=True) if is_kept]
    weights = once_and_draws(len(places), settings)
    rate = (weights @ alarms_at[is_place]) / (weights @ frames_at[is_place])
    return _interval(float(rate[0]), rate[1:], len(places), settings)


def ap_intervals(
    matches: Matches, categories: Sequence[Category], settings: BootstrapSettings
) -> ApIntervals:
    """Bound AP of one model per class, and its mAP over these classes, its places drawn again.

    Raises:
        OperatorError: A class has no counted truth, or no resample drew one.
    """
    places = matches.frames.places
    per_class = _per_class_ap(matches, categories, once_and_draws(len(places), settings))
    mean = _mean_ap(per_class)
    return ApIntervals(
        mean=_interval(float(mean[0]), mean[1:], len(places), settings),
        classes={
            category: _interval(float(ap[0]), _known(category, ap[1:]), len(places), settings)
            for category, ap in zip(categories, per_class, strict=True)
        },
    )


def weighted_average_precision(
    is_hit: Bools, place: Ints, weights: Weights, truths_at: Ints
) -> Floats:
    """Compute AP of one class at one distance for every resample.

    Only hits change recall, so the curve needs two points per hit: just before it, after the false
    alarms that lead up to it, and at it. Between them it is straight, as in nuScenes.

    Args:
        is_hit: (N,) outcomes, best score first.
        place: (N,) index of the place of each prediction.
        weights: (R, P) how often each resample drew each place.
        truths_at: (P,) counted truths of the class per place.

    Returns:
        (R,); NaN where a resample drew no truth of the class.
    """
    truths = weights @ truths_at
    ap = np.zeros(len(weights))
    if is_hit.any():
        hit_place = place[is_hit]
        boxes_at = _exact(_boxes_up_to_hits(is_hit, place, len(truths_at)), weights)
        block = max(1, _CELLS_AT_ONCE // max(len(hit_place), len(truths_at) * len(_POINTS)))
        for start in range(0, len(weights), block):
            part = slice(start, start + block)
            ap[part] = _block_average_precision(weights[part], hit_place, boxes_at, truths[part])
    return np.where(truths > 0, ap, np.nan)


def _boxes_up_to_hits(is_hit: Bools, place: Ints, places: int) -> Ints:
    """Count the boxes of each place up to each of H hits, and up to the end of the list, (H + 1, P)."""
    following: Ints = np.cumsum(is_hit) - is_hit  # (N,) the first hit at or below each box
    rows = int(is_hit.sum()) + 1
    counts = np.bincount(following * places + place, minlength=rows * places)
    return counts.reshape(rows, places).cumsum(axis=0)


def _block_average_precision(
    weights: Weights, hit_place: Ints, boxes_at: NDArray[np.floating], truths: Ints
) -> Floats:
    """Read the precision of a block of resamples at the recall points, (r,) AP.

    Args:
        weights: (r, P) how often each resample drew each place.
        hit_place: (H,) place of each hit, best score first.
        boxes_at: (H + 1, P) boxes of each place up to each hit; last, all of them.
        truths: (r,) drawn truths.
    """
    hit_weight = weights.take(hit_place, axis=1)  # (r, H)
    found = np.cumsum(hit_weight, axis=1, dtype=np.int32)
    truths = np.maximum(truths, 1)[:, None]
    hits_within = _hits_within(_POINTS, truths)
    following = np.stack(
        [np.searchsorted(f, n, side="right") for f, n in zip(found, hits_within, strict=True)]
    )  # (r, points) the first hit that takes recall beyond each point
    hit = np.minimum(following, len(hit_place) - 1)
    step = np.take_along_axis(hit_weight, hit, axis=1)
    hits_at = np.take_along_axis(found, hit, axis=1)
    drawn = weights.astype(boxes_at.dtype)
    seen = np.asarray(np.einsum("rkp,rp->rk", boxes_at[hit], drawn), np.int64)
    boxes = np.asarray(drawn @ boxes_at[-1], np.int64)[:, None]
    before = _ratio_or_one(hits_at - step, seen - step)
    share = (_POINTS - (hits_at - step) / truths) * truths / np.maximum(step, 1)
    curve = before + share * (_ratio_or_one(hits_at, seen) - before)
    is_end = found[:, -1:] / truths == _POINTS
    at_end = np.where(is_end, _ratio_or_one(found[:, -1:], boxes), 0.0)
    return mean_clipped(np.where(following < len(hit_place), curve, at_end))


def _exact(boxes_at: Ints, weights: Weights) -> NDArray[np.floating]:
    """Turn counts into floats, which multiply faster, wide enough for every weighted sum to be exact."""
    most = int(boxes_at[-1].sum()) * int(weights.max())
    return boxes_at.astype(np.float32 if most < 2**24 else np.float64)


def _hits_within(points: Floats, truths: Ints) -> Ints:
    """Return the most hits whose recall does not exceed each point, rounding as division does, (r, P)."""
    most = np.floor(points * truths).astype(np.int64)
    most += (most + 1) / truths <= points
    most -= most / truths > points
    return most


def _ratio_or_one(hits: Weights, boxes: Ints) -> Floats:
    return np.where(boxes > 0, hits / np.maximum(boxes, 1), 1.0)


def _mean_ap(per_class: Floats) -> Floats:
    """Average AP (K, R) over the classes that each resample drew a truth of, (R,)."""
    is_drawn = ~np.isnan(per_class)
    return np.asarray(np.nansum(per_class, axis=0) / np.maximum(is_drawn.sum(axis=0), 1))


def _per_class_ap(matches: Matches, categories: Sequence[Category], weights: Weights) -> Floats:
    """Compute AP per class and resample, (K, R); NaN where a resample drew no truth of the class."""
    if not categories:
        raise OperatorError("mAP needs at least one class, got none")
    return np.stack([_class_ap(matches, c, weights) for c in categories])


def _known(category: Category, drawn: Floats) -> Floats:
    """Leave out the resamples that drew no truth of the class."""
    known = drawn[~np.isnan(drawn)]
    if len(known) == 0:
        raise OperatorError(
            f"AP of {category} has no interval: none of {len(drawn)} resamples drew a place with "
            "counted truths; draw more often"
        )
    return known


def _class_ap(matches: Matches, category: Category, weights: Weights) -> Floats:
    place_of_frame = matches.frames.place
    truth_places = place_of_frame[matches.truths.frame[matches.truth_rows(category)]]
    if len(truth_places) == 0:
        raise OperatorError(f"mAP over {category} is undefined: expected counted truths, got none")
    truths_at = np.bincount(truth_places, minlength=len(matches.frames.places))
    total = np.zeros(len(weights))
    for distance_m in MATCH_DISTANCES_M:
        rows, is_hit = matches.outcomes(category, distance_m)
        place = place_of_frame[matches.predictions.frame[rows]]
        total += weighted_average_precision(is_hit, place, weights, truths_at)
    return total / len(MATCH_DISTANCES_M)


def _cluster_of(matches: Matches, truth_row: int) -> str:
    encounter_id = matches.encounter_ids[truth_row]
    if encounter_id is not None:
        return f"encounter {encounter_id}"
    return f"place {matches.frames.places[matches.frames.place[matches.truths.frame[truth_row]]]}"


def _draws(clusters: int, settings: BootstrapSettings) -> Weights:
    """Draw as many clusters as there are, with replacement, per resample: counts, (R, C)."""
    if clusters == 0:
        raise OperatorError(
            "nothing to resample: expected at least one encounter or place, got none"
        )
    rng = np.random.default_rng(settings.seed)
    chance = np.full(clusters, 1.0 / clusters)
    return rng.multinomial(clusters, chance, size=settings.resamples).astype(np.int32)


def once_and_draws(clusters: int, settings: BootstrapSettings) -> Weights:
    """Count every cluster once, which is what was measured, then draw: (1 + R, C)."""
    return np.vstack([np.ones((1, clusters), np.int32), _draws(clusters, settings)])


def _interval(
    estimate: float, drawn: Floats, clusters: int, settings: BootstrapSettings
) -> Interval:
    tail = 0.5 * (1.0 - settings.confidence_ratio)
    lower, upper = np.quantile(drawn, [tail, 1.0 - tail])
    return Interval(estimate=estimate, lower=float(lower), upper=float(upper), clusters=clusters)
