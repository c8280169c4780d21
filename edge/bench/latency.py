"""Sum up a series of latencies, and leave out the quantiles that it is too short for.

A tail needs many ticks: with one tick over the bound, MLPerf's early-stopping rule requires 662 ticks for a
p99 and 6,636 for a p99.9, at 99 % confidence. With fewer the quantile is not reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

P99_TICKS, P999_TICKS = 662, 6_636


@dataclass(frozen=True)
class Latency:
    """Quantiles of a series, in milliseconds; a tail that the series is too short for is None."""

    count: int
    p50_ms: float
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float


def latency(values_ms: Sequence[float]) -> Latency:
    """Sum up a series; a quantile is always a value that occurred, and the higher of two.

    Args:
        values_ms: At least one.
    """
    count = len(values_ms)
    p50, p99, p999 = np.quantile(values_ms, [0.5, 0.99, 0.999], method="higher").tolist()
    return Latency(
        count=count,
        p50_ms=p50,
        p99_ms=p99 if count >= P99_TICKS else None,
        p999_ms=p999 if count >= P999_TICKS else None,
        max_ms=float(np.max(values_ms)),
    )
