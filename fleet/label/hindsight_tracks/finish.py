"""Sum up a finished track: one class, one size, a heading, and a confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.contracts.classes import Category
from fleet.label.hindsight_tracks.boxes import ClipBoxes, HindsightSettings
from fleet.label.smooth import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class HindsightTrack:
    """One road user over a stretch of the clip, from its first to its last box, gaps filled."""

    track_id: int
    category: Category
    class_share: float
    """Share of the summed scores that voted for the category."""
    hits: int
    size_m: Floats  # (3,)
    z_m: float
    frame: Ints  # (t,) index into the clip, without holes
    xy_world: Floats  # (t, 2)
    velocity_world: Floats  # (t, 2)
    covariance: Floats  # (t, 2, 2) of xy_world
    yaw_world_rad: Floats  # (t,)
    is_measured: Bools  # (t,)
    score: Floats  # (t,) of the box, 0 where there was none
    confidence: Floats  # (t,) in [0, 1]; a rank, not a calibrated probability


def finished(
    track_id: int,
    rows: Ints,
    mean: Floats,
    spread: Floats,
    boxes: ClipBoxes,
    settings: HindsightSettings,
) -> HindsightTrack:
    """Sum up a track.

    Args:
        rows: (h,) its boxes, in time.
        mean: (T, 4) smoothed states over the whole clip; spread: (T, 4, 4) their covariance.
    """
    frame = np.arange(boxes.frame[rows[0]], boxes.frame[rows[-1]] + 1)
    at_box = boxes.frame[rows] - frame[0]
    score = np.zeros(len(frame))
    score[at_box] = boxes.score[rows]
    is_measured = np.zeros(len(frame), np.bool_)
    is_measured[at_box] = True
    category, share = _voted([boxes.categories[row] for row in rows], boxes.score[rows])
    velocity, covariance = mean[frame, 2:], spread[frame]
    return HindsightTrack(
        track_id=track_id,
        category=category,
        class_share=share,
        hits=len(rows),
        size_m=_weighted_median(boxes.size_m[rows], boxes.score[rows]),
        z_m=float(_weighted_median(boxes.z_m[rows, None], boxes.score[rows])[0]),
        frame=frame,
        xy_world=mean[frame, :2],
        velocity_world=velocity,
        covariance=covariance[:, :2, :2],
        yaw_world_rad=_headings(
            velocity, covariance, boxes.yaw_rad[rows], boxes.score[rows], settings
        ),
        is_measured=is_measured,
        score=score,
        confidence=_confidence(boxes.score[rows], share, covariance[:, :2, :2], settings),
    )


def _voted(categories: Sequence[Category], scores: Floats) -> tuple[Category, float]:
    """Elect the class with the largest summed score, ties by name, and its share of the sum."""
    votes: dict[Category, float] = {}
    for category, score in zip(categories, scores.tolist(), strict=True):
        votes[category] = votes.get(category, 0.0) + score
    winner = max(sorted(votes), key=lambda c: votes[c])
    return winner, votes[winner] / max(sum(votes.values()), 1e-12)


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """Take the median of each column, (n, k) to (k,): one bad box must not stretch a car."""
    order = np.argsort(values, axis=0, kind="stable")
    cumulative = np.cumsum(weights[order], axis=0)
    middle = (cumulative >= 0.5 * cumulative[-1]).argmax(axis=0)
    columns = np.arange(values.shape[1])
    return np.asarray(values[order[middle, columns], columns], dtype=np.float64)


def _headings(
    velocity: Floats,
    covariance: Floats,
    yaw_rad: Floats,
    score: Floats,
    settings: HindsightSettings,
) -> Floats:
    """Return headings, (t,): along the motion; at rest that of the nearest motion, else by vote."""
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    sigma = np.sqrt(0.5 * (covariance[:, 2, 2] + covariance[:, 3, 3]))
    moving = np.flatnonzero(speed > np.maximum(settings.min_speed_mps, 2.0 * sigma))
    if len(moving) == 0:
        return np.full(len(velocity), _voted_yaw(yaw_rad, score))
    nearest = np.abs(np.arange(len(velocity))[:, None] - moving).argmin(axis=1)
    course = np.arctan2(velocity[moving, 1], velocity[moving, 0])
    return np.asarray(course[nearest], dtype=np.float64)


def _voted_yaw(yaw_rad: Floats, score: Floats) -> float:
    """Average the axis first (doubled angles), then let the boxes vote which end is the front."""
    doubled = 2.0 * yaw_rad
    axis = 0.5 * np.arctan2((score * np.sin(doubled)).sum(), (score * np.cos(doubled)).sum())
    is_turned = (score * np.cos(yaw_rad - axis)).sum() < 0.0
    return float((axis + (2.0 if is_turned else 1.0) * np.pi) % (2.0 * np.pi) - np.pi)


def _confidence(
    score: Floats, share: float, covariance: Floats, settings: HindsightSettings
) -> Floats:
    """Combine scores, hits and share of the class with the error of the position, (t,)."""
    better_half = np.sort(score)[len(score) // 2 :].mean()
    by_length = len(score) / (len(score) + settings.doubtful_hits)
    variance = 0.5 * (covariance[:, 0, 0] + covariance[:, 1, 1])
    by_place = 1.0 / (1.0 + variance / settings.doubtful_sigma_m**2)
    return np.asarray(better_half * by_length * share * by_place, dtype=np.float64)
