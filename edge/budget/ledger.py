"""The time of each tick, stage by stage: charged, and beside it measured."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.budget.deadline import SENSOR_TO_PLAN, Budget, sum_ms
from edge.contracts.scene import Rung, StageTime


class Clock(Protocol):
    """The clock that a process measures its stages by."""

    def now_ns(self) -> int:
        """Read the clock."""
        ...


class MonotonicClock:
    """The machine's steady clock."""

    def now_ns(self) -> int:
        """Read the clock."""
        return time.monotonic_ns()


@dataclass
class VirtualClock:
    """A clock that moves only when its time is set."""

    stamp_ns: int = 0

    def now_ns(self) -> int:
        """Read the clock."""
        return self.stamp_ns


@dataclass(frozen=True)
class TickLedger:
    """The charged time of one tick, stage by stage; decisions go by it."""

    index: int
    stamp_ns: int
    rung: Rung
    reason: str
    """Why not a richer rung."""
    stages: tuple[StageTime, ...]
    deadline_ms: float

    @property
    def total_ms(self) -> float:
        """All stages."""
        return sum_ms(self.stages)

    @property
    def sensor_to_plan_ms(self) -> float:
        """What the deadline is about."""
        return sum_ms([s for s in self.stages if s.stage in SENSOR_TO_PLAN])

    @property
    def is_missed(self) -> bool:
        """Whether the plan came after the deadline."""
        return self.sensor_to_plan_ms > self.deadline_ms


@dataclass(frozen=True)
class DeadlineSummary:
    """A drive's sensor-to-plan latency."""

    ticks: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    missed: int


class Ledger:
    """Keeps what the ticks of a drive charged, and beside it what the process really took."""

    def __init__(self, kept_ticks: int = 200_000) -> None:
        self.rungs: Counter[Rung] = Counter()
        self.missed = 0
        self.measured: dict[str, deque[float]] = {}
        """Wall milliseconds per stage: a side log; only a ``MeasuredCharge`` makes decisions of them."""
        self._sensor_to_plan_ms: deque[float] = deque(maxlen=kept_ticks)
        self._kept_ticks = kept_ticks

    def add(self, tick: TickLedger) -> None:
        """Enter a finished tick."""
        self.rungs[tick.rung] += 1
        self.missed += tick.is_missed
        self._sensor_to_plan_ms.append(tick.sensor_to_plan_ms)

    def add_measured(self, stage: str, ms: float) -> None:
        """Enter what a stage really took."""
        self.measured.setdefault(stage, deque(maxlen=self._kept_ticks)).append(ms)

    def summary(self) -> DeadlineSummary:
        """Sum up the charged latency; zeros before the first tick."""
        values = np.array(self._sensor_to_plan_ms or [0.0])
        p50, p99 = np.quantile(values, [0.5, 0.99], method="higher")
        return DeadlineSummary(
            ticks=sum(self.rungs.values()),
            p50_ms=float(p50),
            p99_ms=float(p99),
            max_ms=float(values.max()),
            missed=self.missed,
        )


class TickAccount:
    """Accounts for one tick while it runs: ``with account.stage("plan"): …``."""

    def __init__(
        self, budget: Budget, price: Callable[[str, float], float], ledger: Ledger, clock: Clock
    ) -> None:
        """Open the account.

        Args:
            budget: What was spent before the first stage.
            price: Charge in ms of a stage by its name and its measured time in ms; see ``Charge``.
            ledger: Where measured times are noted.
            clock: What stages are measured by.
        """
        self.budget = budget
        self._price = price
        self._ledger = ledger
        self._clock = clock

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage, charge it its price, and note what it really took."""
        before_ns = self._clock.now_ns()
        try:
            yield
        finally:
            measured_ms = (self._clock.now_ns() - before_ns) / 1e6
            self.budget = self.budget.spend(name, self._price(name, measured_ms))
            self._ledger.add_measured(name, measured_ms)
