"""Everything that was detected in a clip, one box after the other, and how boxes become tracks.

Boxes must be in a frame that does not move with the vehicle, or every parked car accelerates with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.contracts.classes import Category
from edge.contracts.errors import OperatorError
from edge.contracts.time import NS_PER_S
from fleet.label.smooth import Floats, Ints, SmoothSettings, States, smooth


@dataclass
class HindsightSettings:
    """Thresholds and noise of tracking a whole clip."""

    birth_score: float = 0.2
    """Score that a box needs to begin a track; weaker ones may only join."""
    gate: float = 13.8
    """Largest squared Mahalanobis distance plus price: chi-square, 2 degrees of freedom, 99.9 %."""
    gap_gate: float = 18.5
    """Largest such distance of two pieces of a track, place and velocity: chi-square, 4 degrees, 99.9 %."""
    other_class_price: float = 1.0
    """Added to the squared distance where box and track differ in class but not in kind."""
    other_kind_price: float = 6.0
    """Added where box and track differ in kind (vehicle, two-wheeler, pedestrian, animal, thing)."""
    max_coast_s: float = 0.8
    """A track without a box for longer ends; joining gaps may continue it."""
    max_gap_s: float = 2.5
    """Longest gap between two pieces of a track that are joined."""
    min_hits: int = 3
    """Fewest boxes of a track."""
    min_length_s: float = 0.3
    """From first to last box; shorter tracks are dropped."""
    min_speed_mps: float = 1.0
    """Speed from which a road user's heading is its direction of motion."""
    doubtful_hits: float = 2.0
    """Number of hits at which length alone halves the confidence."""
    doubtful_sigma_m: float = 1.0
    """Standard deviation of the position at which it alone halves the confidence."""
    following: SmoothSettings = field(
        default_factory=lambda: SmoothSettings(acceleration_density_m2ps3=10.0)
    )
    """Motion while boxes are given to tracks; with less noise a hard brake loses the track."""
    motion: SmoothSettings = field(default_factory=SmoothSettings)
    """Motion of the finished track."""


@dataclass(frozen=True, eq=False)
class Detections:
    """All boxes of one instant, in a frame that stands still."""

    stamp_ns: int
    categories: tuple[Category, ...]  # (n,)
    score: Floats  # (n,)
    xy_world: Floats  # (n, 2)
    z_m: Floats  # (n,) box centre above ground
    size_m: Floats  # (n, 3) length, width, height
    yaw_world_rad: Floats  # (n,)
    covariance: Floats  # (n, 2, 2) of xy_world, square metres


@dataclass(frozen=True, eq=False)
class ClipBoxes:
    """The boxes of the whole clip, one after the other."""

    times_s: Floats  # (T,) of the instants
    frame: Ints  # (n,)
    categories: tuple[Category, ...]
    score: Floats
    xy_world: Floats
    z_m: Floats
    size_m: Floats
    yaw_rad: Floats
    covariance: Floats


def measured_covariance(
    xy_world: Floats,
    sensor_xy_world: Floats,
    *,
    along_m: float = 0.3,
    along_ratio: float = 0.04,
    across_m: float = 0.2,
    across_ratio: float = 0.01,
) -> Floats:
    """Model the error of a camera box: larger along the ray than across it, and growing with distance.

    Args:
        xy_world: (n, 2) boxes.
        sensor_xy_world: (2,) the vehicle.
        along_m: Standard deviation along the ray at no distance, and its growth per metre; likewise across.

    Returns:
        (n, 2, 2), square metres.
    """
    ray = xy_world - sensor_xy_world
    range_m = np.hypot(ray[:, 0], ray[:, 1])
    along = ray / np.maximum(range_m, 1e-6)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    along_var = (along_m + along_ratio * range_m) ** 2
    across_var = (across_m + across_ratio * range_m) ** 2
    covariance = along_var[:, None, None] * along[:, :, None] * along[:, None, :]
    covariance += across_var[:, None, None] * across[:, :, None] * across[:, None, :]
    is_here = range_m < 1e-6
    covariance[is_here] = np.eye(2) * along_m**2
    return covariance


def gather_boxes(clip: Sequence[Detections]) -> ClipBoxes:
    """Line up the boxes of all instants.

    Raises:
        OperatorError: Stamps that do not increase.
    """
    stamps_ns = np.array([d.stamp_ns for d in clip], np.int64)
    if (np.diff(stamps_ns) <= 0).any():
        raise OperatorError("a clip cannot be tracked: expected stamps that increase, got others")
    counts = [len(d.score) for d in clip]
    return ClipBoxes(
        times_s=(stamps_ns - stamps_ns[:1]) / NS_PER_S,
        frame=np.repeat(np.arange(len(clip)), counts),
        categories=tuple(c for d in clip for c in d.categories),
        score=np.concatenate([np.zeros(0), *(d.score for d in clip)]),
        xy_world=np.concatenate([np.zeros((0, 2)), *(d.xy_world for d in clip)]),
        z_m=np.concatenate([np.zeros(0), *(d.z_m for d in clip)]),
        size_m=np.concatenate([np.zeros((0, 3)), *(d.size_m for d in clip)]),
        yaw_rad=np.concatenate([np.zeros(0), *(d.yaw_world_rad for d in clip)]),
        covariance=np.concatenate([np.zeros((0, 2, 2)), *(d.covariance for d in clip)]),
    )


def smoothed(
    tracks: Sequence[Sequence[int]], boxes: ClipBoxes, settings: HindsightSettings
) -> States:
    """Smooth tracks, each given as rows of boxes, over the instants of the clip."""
    shape = (len(tracks), len(boxes.times_s))
    position, is_measured = np.zeros((*shape, 2)), np.zeros(shape, np.bool_)
    covariance = np.zeros((*shape, 2, 2))
    for k, track in enumerate(tracks):
        rows = np.array(track)
        position[k, boxes.frame[rows]] = boxes.xy_world[rows]
        covariance[k, boxes.frame[rows]] = boxes.covariance[rows]
        is_measured[k, boxes.frame[rows]] = True
    return smooth(boxes.times_s, position, covariance, is_measured, settings.motion)
