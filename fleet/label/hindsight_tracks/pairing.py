"""Decide which things are one: likelihood of their distance, price of their classes, best pairs overall."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from edge.contracts.classes import (
    Category,
    row_of,
)
from fleet.label.hindsight_tracks.boxes import HindsightSettings
from fleet.label.smooth import Floats

NEVER = 1e9
"""Cost of a pair that must not be."""


def gated_cost(offset: Floats, spread: Floats, price: Floats, gate: float) -> Floats:
    """Compute the cost of pairs: price - 2 log likelihood of their offset, but for a constant.

    Without the determinant a track of which little is known would be near to everything.

    Args:
        offset: (..., k); spread: (..., k, k) its covariance; price: (...) added for other reasons.
        gate: Pairs whose squared distance and price come to more cost NEVER.

    Returns:
        (...).
    """
    solved = np.linalg.solve(spread, offset[..., None])[..., 0]
    far = (offset * solved).sum(axis=-1) + price
    cost = far + np.linalg.slogdet(spread)[1]
    return np.asarray(np.where(far <= gate, cost, NEVER), dtype=np.float64)


def class_price(first: Category, second: Category, settings: HindsightSettings) -> float:
    """Return what it costs to take one class for the other."""
    if first == second:
        return 0.0
    if row_of(first).family == row_of(second).family:
        return settings.other_class_price
    return settings.other_kind_price


def best_pairs(cost: Floats) -> list[tuple[int, int]]:
    """Assign rows to columns at the least total cost; pairs beyond a gate are left out."""
    rows, columns = linear_sum_assignment(cost)
    return [
        (int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] < NEVER / 2.0
    ]
