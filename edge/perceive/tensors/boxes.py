"""Read boxes off the heat map: local maxima, one box for one thing, a heading with its front end."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import (
    Category,
    ClassRow,
    Kind,
    row_of,
)
from edge.contracts.geometry import wrap_rad
from edge.contracts.scene import Box3D, BoxSource, attribute_at
from edge.perceive.tensors.spec import Floats, NetSpec


def decode_boxes(
    heatmap: Floats,
    regression: Floats,
    spec: NetSpec,
    *,
    categories: Sequence[Category],
    thresholds: Mapping[Category, float],
) -> tuple[list[int], tuple[Box3D, ...]]:
    """Read boxes off the heat map's local maxima, best first, with per-class circle suppression.

    Args:
        heatmap: Scores (C, n, n) in [0, 1].
        regression: (BOX_CHANNELS, n, n).
        spec: The network's sizes.
        categories: The class of each channel, (C,). A box of a class without a row is called ``unknown``.
        thresholds: Lowest score that counts, per class; a class left out is not reported.

    Returns:
        The flat BEV cell of each box, and the boxes.
    """
    rows = tuple(map(row_of, categories))
    lowest = np.array([thresholds.get(c, 2.0) for c in categories], np.float32)
    scores = np.ascontiguousarray(heatmap.transpose(1, 2, 0))  # (n, n, C)
    neighbourhood = cv2.dilate(scores, np.ones((3, 3), np.uint8)).reshape(scores.shape)
    row, column, channel = np.nonzero((scores == neighbourhood) & (scores >= lowest))
    score = scores[row, column, channel]
    order = np.argsort(-score, kind="stable")[:200]
    row, column, channel, score = row[order], column[order], channel[order], score[order]
    values = regression[:, row, column].astype(np.float64)  # (12, P)
    x = (row + 0.5 + values[0]) * spec.cell_m - spec.bev_range_m
    y = (column + 0.5 + values[1]) * spec.cell_m - spec.bev_range_m
    kept = _unrivalled(channel, x, y, _suppression(rows))
    cells = [int(row[k] * spec.bev_cells + column[k]) for k in kept]
    boxes = tuple(_box(rows[channel[k]].name, x[k], y[k], values[2:, k], score[k]) for k in kept)
    return cells, boxes


@functools.lru_cache(maxsize=8)
def _suppression(rows: tuple[ClassRow, ...]) -> NDArray[np.float64]:
    """Return the radius within which a box of one class suppresses a box of another, metres, (C, C)."""
    return np.array([[a.suppression_m if _is_one(a, b) else 0.0 for b in rows] for a in rows])


def _is_one(a: ClassRow, b: ClassRow) -> bool:
    """Return whether boxes of two classes in one place are one road user."""
    is_thing = Kind.THING in (a.kind, b.kind)
    return a.name == b.name or (a.family == b.family and not is_thing)


def _unrivalled(
    channel: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    suppression_m: NDArray[np.float64],
) -> list[int]:
    """List the boxes, best first, that no stronger kept box suppresses."""
    distance_m = np.hypot(x[:, None] - x, y[:, None] - y)
    is_rival = distance_m < suppression_m[channel[:, None], channel]
    is_open = np.ones(len(channel), np.bool_)
    kept: list[int] = []
    for k in range(len(channel)):
        if is_open[k]:
            kept.append(k)
            is_open &= ~is_rival[k]
    return kept


def _box(
    category: Category, x: float, y: float, values: NDArray[np.float64], score: float
) -> Box3D:
    """Build a box from the tail of its regression (``BOX_CHANNELS`` from z on)."""
    z, log_l, log_w, log_h, sin2, cos2, front_x, front_y, vx, vy = (float(v) for v in values)
    length, width, height = (math.exp(min(max(v, -2.5), 3.2)) for v in (log_l, log_w, log_h))
    vx, vy = (min(max(v, -60.0), 60.0) for v in (vx, vy))
    speed = math.hypot(vx, vy)
    return Box3D(
        category=category,
        x_m=float(x),
        y_m=float(y),
        z_m=min(max(z, -5.0), 10.0),
        length_m=length,
        width_m=width,
        height_m=height,
        yaw_rad=yaw_from_double(sin2, cos2, front_x, front_y),
        vx_mps=vx,
        vy_mps=vy,
        score=float(min(max(score, 0.0), 1.0)),
        attribute=attribute_at(speed),
        source=BoxSource.NETWORK,
    )


def yaw_from_double(sin2: float, cos2: float, front_x: float, front_y: float) -> float:
    """Recover a heading from its double angle and a vote for the front.

    Seen from the side a vehicle is nearly symmetric, and the (sin, cos) of its two possible headings
    cancel to nothing. The double angle has one answer for both; which end is the front is then the
    side of the axis that the front vector points to. Unlike a single bit, that vote has no heading at
    which it jumps.
    """
    axis = 0.5 * math.atan2(sin2, cos2)
    is_forward = math.cos(axis) * front_x + math.sin(axis) * front_y >= 0.0
    return wrap_rad(axis if is_forward else axis + math.pi)
