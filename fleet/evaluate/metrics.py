"""Turn match tables into numbers: AP, true-positive errors, NDS, operating points, false alarms, heading.

Formulas are those of nuScenes (Caesar et al., *nuScenes: A multimodal dataset for autonomous driving*,
CVPR 2020, section 3.1, and the published evaluation code), so that figures can be compared:
101 recall points, recall and precision below 0.1 clipped away, errors of true positives at 2 m.
The choice to question: mean values run over the classes with at least ``min_instances`` counted truths,
because AP of a class with five instances is noise; the result lists which classes those were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.contracts.classes import (
    Category,
    HeadingPeriod,
    row_of,
)
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Attribute
from fleet.evaluate.matching import (
    MATCH_DISTANCES_M,
    Bools,
    BoxTable,
    Floats,
    Ints,
    Matches,
    attribute_index,
    distance_column,
)
from fleet.evaluate.slices import HeadingBand, is_heading

RECALL_POINTS = np.linspace(0.0, 1.0, 101)
FIRST_RECALL_POINT = 11
"""The first point above the minimum recall of 0.1."""
MIN_PRECISION = 0.1
ERROR_DISTANCE_M = 2.0
AP_WEIGHT = 5.0
"""NDS = (5 mAP + sum over five errors of max(1 - error, 0)) / 10."""

ERRORS = ("ate_m", "ase", "aoe_rad", "ave_mps", "aae")
_PERIOD_RAD = {HeadingPeriod.FULL: 2.0 * np.pi, HeadingPeriod.HALF: np.pi}


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class. An error is None where nuScenes defines none for the class."""

    category: Category
    instances: int
    ap: float
    """Mean over the four distances."""
    ap_at: tuple[float, ...]
    """AP at 0.5, 1, 2 and 4 m."""
    errors: tuple[float | None, ...]
    """In the order of ``ERRORS``."""


@dataclass(frozen=True)
class DetectionScores:
    """Scores of a set. ``classes`` are those that count, ``too_few`` lists the others' instances."""

    mean_ap: float
    nds: float
    mean_errors: tuple[float | None, ...]
    classes: tuple[ClassScores, ...]
    too_few: tuple[tuple[Category, int], ...]


@dataclass(frozen=True)
class OperatingPoint:
    """Counts at one threshold; recall and precision are None where the divisor is zero."""

    threshold: float
    distance_m: float
    truths: int
    hits: int
    false_alarms: int

    @property
    def recall(self) -> float | None:
        """Share of the counted truths that were found."""
        return self.hits / self.truths if self.truths else None

    @property
    def precision(self) -> float | None:
        """Share of the counted boxes that found a truth."""
        boxes = self.hits + self.false_alarms
        return self.hits / boxes if boxes else None


@dataclass(frozen=True)
class CleanFrameAlarms:
    """False alarms of a class in frames that hold none of it."""

    false_alarms: int
    clean_frames: int

    @property
    def per_frame(self) -> float | None:
        """Mean count per clean frame; None without clean frames."""
        return self.false_alarms / self.clean_frames if self.clean_frames else None


@dataclass(frozen=True)
class HeadingError:
    """Heading error of found road users in one heading band; None where nothing was found."""

    band: HeadingBand
    found: int
    median_rad: float | None
    p90_rad: float | None
    flipped_ratio: float | None
    """Share of errors above 90 degrees: front taken for back."""


def average_precision(is_hit: Bools, truths: int) -> float:
    """Compute AP as nuScenes does from outcomes that stand best score first.

    Args:
        is_hit: (n,) True for a hit, False for a false alarm.
        truths: Number of counted truths, at least one.
    """
    if not is_hit.any():
        return 0.0
    hits, recall = _hits_and_recall(is_hit, truths)
    precision = hits / np.arange(1, len(is_hit) + 1)
    if recall[0] != 0.0:
        recall, precision = np.append(0.0, recall), np.append(precision[0], precision)
    curve = np.interp(RECALL_POINTS[FIRST_RECALL_POINT:], recall, precision, right=0.0)
    return float(mean_clipped(curve))


def mean_clipped(precision: Floats) -> Floats:
    """Average precision above the minimum over the recall points, scaled to [0, 1], (..., P) to (...)."""
    above = np.clip((precision - MIN_PRECISION) / (1.0 - MIN_PRECISION), 0.0, None)
    return np.asarray(above.mean(axis=-1), dtype=np.float64)


def detection_scores(
    matches: Matches, categories: Sequence[Category] = (), *, min_instances: int = 50
) -> DetectionScores:
    """Compute AP, errors and NDS over the classes that have enough counted truths.

    Without ``categories``, over all that were matched.
    A mean error over no class that defines it is None and adds nothing to NDS.

    Raises:
        OperatorError: No class has ``min_instances`` counted truths.
    """
    categories = categories or matches.categories
    instances = {c: len(matches.truth_rows(c)) for c in categories}
    classes = tuple(class_scores(matches, c) for c in categories if instances[c] >= min_instances)
    if not classes:
        most = max(instances.values(), default=0)
        raise OperatorError(
            f"no class can be scored: expected at least {min_instances} counted truths of one, "
            f"got at most {most}"
        )
    mean_ap = float(np.mean([c.ap for c in classes]))
    mean_errors = tuple(_mean_defined([c.errors[k] for c in classes]) for k in range(len(ERRORS)))
    return DetectionScores(
        mean_ap=mean_ap,
        nds=nuscenes_detection_score(mean_ap, mean_errors),
        mean_errors=mean_errors,
        classes=classes,
        too_few=tuple((c, n) for c, n in instances.items() if n < min_instances),
    )


def nuscenes_detection_score(mean_ap: float, mean_errors: Sequence[float | None]) -> float:
    """Combine mAP and the five mean errors into NDS (nuScenes, equation 3)."""
    scores = [0.0 if error is None else max(1.0 - error, 0.0) for error in mean_errors]
    return (AP_WEIGHT * mean_ap + sum(scores)) / (AP_WEIGHT + len(ERRORS))


def class_scores(matches: Matches, category: Category) -> ClassScores:
    """Compute AP and errors of one class that has at least one counted truth."""
    truths = len(matches.truth_rows(category))
    ap_at = tuple(
        average_precision(matches.outcomes(category, d)[1], truths) for d in MATCH_DISTANCES_M
    )
    return ClassScores(
        category=category,
        instances=truths,
        ap=float(np.mean(ap_at)),
        ap_at=ap_at,
        errors=_class_errors(matches, category, truths),
    )


def operating_point(
    matches: Matches, category: Category, threshold: float, distance_m: float = ERROR_DISTANCE_M
) -> OperatingPoint:
    """Count hits, misses and false alarms of the boxes that score at least ``threshold``."""
    rows, is_hit = matches.outcomes(category, distance_m)
    is_hit = is_hit[matches.predictions.score[rows] >= threshold]
    return OperatingPoint(
        threshold=threshold,
        distance_m=distance_m,
        truths=len(matches.truth_rows(category)),
        hits=int(is_hit.sum()),
        false_alarms=int((~is_hit).sum()),
    )


def false_alarms_in_clean_frames(
    matches: Matches, category: Category, threshold: float
) -> CleanFrameAlarms:
    """Count the boxes of a class at a threshold in frames without any truth of it, visible or not."""
    scores = _clean_scores(matches, category)
    return CleanFrameAlarms(
        false_alarms=int((scores >= threshold).sum()),
        clean_frames=int(matches.clean_frames(category).sum()),
    )


def threshold_for(
    matches: Matches,
    category: Category,
    max_false_alarms_per_clean_frame: float,
    *,
    lowest: float = 0.05,
) -> float:
    """Find the lowest threshold that keeps the false alarms of a class within their allowance.

    Meant for the tune split; what it costs on another split is measured there. When even the top score
    raises too many, the answer is 1 and the count at it stays above the allowance.

    Args:
        lowest: Never go below this score, however silent the clean frames are.

    Raises:
        OperatorError: The split has no clean frame, so that nothing limits the threshold.
    """
    clean_frames = int(matches.clean_frames(category).sum())
    if clean_frames == 0:
        raise OperatorError(
            f"no threshold for {category}: expected frames without any {category} in the tune "
            f"split, got none of {int(matches.is_frame_counted.sum())}"
        )
    allowed = int(np.floor(max_false_alarms_per_clean_frame * clean_frames + 1e-9))
    scores = _clean_scores(matches, category)
    if len(scores) <= allowed:
        return lowest
    return min(1.0, max(lowest, float(np.nextafter(scores[allowed], 2.0))))


def best_f1_threshold(
    matches: Matches,
    category: Category,
    distance_m: float = ERROR_DISTANCE_M,
    *,
    fallback: float = 0.5,
) -> float:
    """Find the threshold with the best F1 of a class; ``fallback`` where nothing was found."""
    rows, is_hit = matches.outcomes(category, distance_m)
    if not is_hit.any():
        return fallback
    truths = len(matches.truth_rows(category))
    f1 = 2.0 * np.cumsum(is_hit) / (np.arange(1, len(is_hit) + 1) + truths)
    scores = matches.predictions.score[rows]
    is_last_of_tie = np.append(scores[1:] != scores[:-1], True)
    return float(scores[np.argmax(np.where(is_last_of_tie, f1, -1.0))])


def heading_errors(
    matches: Matches,
    categories: Sequence[Category],
    thresholds: Mapping[Category, float],
    *,
    max_range_m: float = 20.0,
    distance_m: float = ERROR_DISTANCE_M,
) -> tuple[HeadingError, ...]:
    """Compute the full-circle heading error of found truths per heading band of the truth.

    Args:
        thresholds: Score from which a box counts, per class; a class that is not named counts from 0.
    """
    rows = np.concatenate(
        [_hits_above(matches, c, thresholds.get(c, 0.0), distance_m) for c in categories]
        or [np.zeros(0, np.int64)]
    )
    truth = matches.truth_of[rows, distance_column(distance_m)]
    is_near = matches.truths.range_m[truth] < max_range_m
    rows, truth = rows[is_near], truth[is_near]
    yaw_rad = matches.truths.yaw_rad[truth]
    error_rad = yaw_error_rad(matches.predictions.yaw_rad[rows], yaw_rad)
    return tuple(_heading_error(b, error_rad[is_heading(yaw_rad, b)]) for b in HeadingBand)


def yaw_error_rad(first_rad: Floats, second_rad: Floats, period_rad: float = 2.0 * np.pi) -> Floats:
    """Compute the smallest angle between two headings that repeat every ``period_rad``, (n,)."""
    half = 0.5 * period_rad
    return np.asarray(np.abs((first_rad - second_rad + half) % period_rad - half), dtype=np.float64)


def _heading_error(band: HeadingBand, error_rad: Floats) -> HeadingError:
    if len(error_rad) == 0:
        return HeadingError(band, 0, None, None, None)
    return HeadingError(
        band=band,
        found=len(error_rad),
        median_rad=float(np.median(error_rad)),
        p90_rad=float(np.percentile(error_rad, 90)),
        flipped_ratio=float(np.mean(error_rad > 0.5 * np.pi)),
    )


def _hits_above(matches: Matches, category: Category, threshold: float, distance_m: float) -> Ints:
    rows, is_hit = matches.outcomes(category, distance_m)
    return rows[is_hit & (matches.predictions.score[rows] >= threshold)]


def _clean_scores(matches: Matches, category: Category) -> Floats:
    """Return the scores of counted boxes of a class in its clean frames, best first."""
    rows = matches.prediction_rows(category)
    rows = rows[matches.is_prediction_counted[rows]]
    is_clean = matches.clean_frames(category)[matches.predictions.frame[rows]]
    return matches.predictions.score[rows[is_clean]]


def _hits_and_recall(is_hit: Bools, truths: int) -> tuple[Floats, Floats]:
    hits = np.cumsum(is_hit).astype(np.float64)
    return hits, hits / truths


def _class_errors(matches: Matches, category: Category, truths: int) -> tuple[float | None, ...]:
    """Average each error over the recall points that were reached, as nuScenes does.

    The running mean of the error over hits is read at the score that gives each recall point, from
    recall 0.11 to the highest recall reached; a class that never gets there has error 1.
    """
    rows, is_hit = matches.outcomes(category, ERROR_DISTANCE_M)
    hit_rows = rows[is_hit]
    columns = _hit_errors(matches, category, hit_rows)
    reached = _reached_scores(matches.predictions.score[rows], is_hit, truths)
    if len(reached) == 0:
        return tuple(None if values is None else 1.0 for values in columns)
    hit_scores = matches.predictions.score[hit_rows]
    return tuple(_mean_over_scores(values, hit_scores, reached) for values in columns)


def _reached_scores(scores: Floats, is_hit: Bools, truths: int) -> Floats:
    """Return the score at each recall point from 0.11 to the highest recall reached, (n,)."""
    if not is_hit.any():
        return np.zeros(0)
    _, recall = _hits_and_recall(is_hit, truths)
    if recall[0] != 0.0:
        recall, scores = np.append(0.0, recall), np.append(1.0, scores)
    at_point = np.interp(RECALL_POINTS, recall, scores, right=0.0)
    last = int(np.flatnonzero(at_point)[-1]) if at_point.any() else 0
    return np.asarray(at_point[FIRST_RECALL_POINT : last + 1], dtype=np.float64)


def _mean_over_scores(values: Floats | None, scores: Floats, reached: Floats) -> float | None:
    if values is None:
        return None
    is_known = ~np.isnan(values)
    if not is_known.any():
        return 1.0
    known = np.maximum(np.cumsum(is_known), 1)
    running_mean = np.nancumsum(values) / known
    return float(np.interp(reached, scores[::-1], running_mean[::-1]).mean())


def _hit_errors(matches: Matches, category: Category, rows: Ints) -> tuple[Floats | None, ...]:
    """Compute the five errors of each hit, (n,) each, NaN where the truth does not say."""
    found, truths = matches.predictions, matches.truths
    truth = matches.truth_of[rows, distance_column(ERROR_DISTANCE_M)]
    offset = found.xy_ego[rows] - truths.xy_ego[truth]
    velocity = found.velocity_mps[rows] - truths.velocity_mps[truth]
    row = row_of(category)
    period_rad = _PERIOD_RAD.get(row.heading)
    yaw = (found.yaw_rad[rows], truths.yaw_rad[truth])
    return (
        np.hypot(offset[:, 0], offset[:, 1]),
        _scale_error(found.size_m[rows], truths.size_m[truth]),
        None if period_rad is None else yaw_error_rad(*yaw, period_rad),
        np.hypot(velocity[:, 0], velocity[:, 1]) if row.moves else None,
        _attribute_error(found, rows, truths, truth) if row.moves else None,
    )


def _scale_error(first_m: Floats, second_m: Floats) -> Floats:
    """Compute 1 - IoU of boxes laid over each other, aligned in place and heading, (n,)."""
    shared = np.minimum(first_m, second_m).prod(axis=1)
    union = first_m.prod(axis=1) + second_m.prod(axis=1) - shared
    return np.asarray(1.0 - shared / union, dtype=np.float64)


def _attribute_error(found: BoxTable, rows: Ints, truths: BoxTable, truth: Ints) -> Floats:
    is_wrong = found.attribute[rows] != truths.attribute[truth]
    is_said = truths.attribute[truth] != attribute_index(Attribute.UNKNOWN)
    return np.where(is_said, is_wrong.astype(np.float64), np.nan)


def _mean_defined(values: Sequence[float | None]) -> float | None:
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None
