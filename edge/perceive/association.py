"""Pair what was measured with what was expected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nearest_pairs(
    cost: NDArray[np.float64], gate: NDArray[np.float64] | float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with columns, the cheapest pair first, each row and column at most once.

    Greedy pairs are not always optimal. They are where things stand further apart than the error of their
    measurement, and the pair of one thing does not depend on another thing far away.

    Args:
        cost: (R, C).
        gate: Pairs that cost more are never made; broadcast against ``cost``.

    Returns:
        Rows and columns of the pairs, equally long.
    """
    row, column = np.nonzero(cost <= gate)
    order = np.argsort(cost[row, column], kind="stable")
    is_row_free, is_column_free = [True] * cost.shape[0], [True] * cost.shape[1]
    rows: list[int] = []
    columns: list[int] = []
    for r, c in zip(row[order].tolist(), column[order].tolist(), strict=True):
        if is_row_free[r] and is_column_free[c]:
            is_row_free[r] = is_column_free[c] = False
            rows.append(r)
            columns.append(c)
    return np.array(rows, np.int64), np.array(columns, np.int64)
