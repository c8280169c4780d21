"""The deadline as a value that travels with the tick, the choice of rung, and the ledger of both.

In lockstep no decision may read the wall clock, or the same seed would not give the same bytes: time is
charged from the device profile (``ModelledLatency``), and what the process really took goes to a side
log that nothing decides by. In real time the same ladder is fed with measured times instead. The board's
*pace* (charged over modelled, a leaky maximum) is what the ladder has learned about it: one slow
tick is believed at once, recovery only slowly.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from edge.contracts.bundle import DeviceProfile
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Rung, StageTime
from edge.contracts.time import FRAME_RATE_HZ

PERIOD_MS = 1000.0 / FRAME_RATE_HZ

SENSOR_TO_PLAN = ("wait", "sense", "preprocess", "infer", "decode", "track", "radar", "plan")
"""Stages between the light on the sensor and the command, in order; the rest is after the fact."""

AFTER_PLAN = ("trigger", "record")

_NETWORK = ("preprocess", "infer", "decode")
_STAGES: dict[Rung, tuple[str, ...]] = {
    Rung.FULL: ("sense", *_NETWORK, "track", "radar", "plan", *AFTER_PLAN),
    Rung.SMALL: ("sense", *_NETWORK, "track", "radar", "plan", *AFTER_PLAN),
    Rung.CAMERAS_SUBSET: ("sense", *_NETWORK, "track", "radar", "plan", *AFTER_PLAN),
    Rung.RADAR_ONLY: ("sense", "track", "radar", "plan", *AFTER_PLAN),
    Rung.MINIMUM_RISK: ("sense", "track", "radar", "plan", *AFTER_PLAN),
}


class Clock(Protocol):
    """Where a process reads the time that it measures itself by."""

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
    """A clock that moves when it is told to."""

    stamp_ns: int = 0

    def now_ns(self) -> int:
        """Read the clock."""
        return self.stamp_ns


@dataclass
class BudgetSettings:
    """The deadline and how eagerly rungs change."""

    deadline_ms: float = 100.0
    """Sensor to plan, always."""
    target_ms: float = 0.9 * PERIOD_MS
    """Sensor to plan, normally; the rest of the period keeps a real-time task from starving others."""
    climb_ticks: int = 36
    """A richer rung must have fitted this many ticks in a row before it is taken."""
    pace_memory: float = 0.9
    """What is left of the excess of a slow tick after the next one."""


@dataclass(frozen=True)
class Budget:
    """What one tick may take and what it has taken so far."""

    deadline_ms: float
    spent: tuple[StageTime, ...] = ()

    def spend(self, stage: str, ms: float) -> Budget:
        """Charge a stage."""
        return Budget(self.deadline_ms, (*self.spent, StageTime(stage=stage, ms=ms)))

    @property
    def spent_ms(self) -> float:
        """Sum of all stages so far."""
        return sum_ms(self.spent)

    @property
    def remaining_ms(self) -> float:
        """What is left until the deadline; negative when it was missed."""
        return self.deadline_ms - self.spent_ms


def sum_ms(stages: Sequence[StageTime]) -> float:
    """Add stage times."""
    return math.fsum(stage.ms for stage in stages)


# --- what a tick costs --------------------------------------------------------------------------


@dataclass(frozen=True)
class Slowdown:
    """A stretch of time in which a board is slower than its profile: heat, or a hungry neighbour."""

    start_ns: int
    end_ns: int
    factor: float


@dataclass(frozen=True)
class ModelledLatency:
    """What each stage costs in virtual time, per rung, on one board with one model.

    ``costs_ms``: rung → stage → milliseconds, for the rungs that this vehicle can run.
    """

    costs_ms: Mapping[Rung, Mapping[str, float]]
    slowdowns: tuple[Slowdown, ...] = ()

    def factor(self, stamp_ns: int) -> float:
        """Say how much slower than its profile the board is at a time."""
        return math.prod(s.factor for s in self.slowdowns if s.start_ns <= stamp_ns < s.end_ns)

    def sensor_to_plan_ms(self, rung: Rung) -> float:
        """Add what a rung costs until the plan stands, at the profile's pace."""
        return math.fsum(ms for stage, ms in self.costs_ms[rung].items() if stage in SENSOR_TO_PLAN)


def modelled_latency(
    profile: DeviceProfile,
    model: str,
    rungs: Sequence[Rung],
    slowdowns: tuple[Slowdown, ...] = (),
) -> ModelledLatency:
    """Read a device profile's costs for one model.

    The keys of ``DeviceProfile.modelled_ms`` are stages; ``preprocess`` comes also as
    ``preprocess_subset``, and ``infer`` as ``infer_<model>`` and, for a bundle that ships a small graph,
    ``infer_<model>_small``.

    Args:
        profile: The board.
        model: ``BundleManifest.model``.
        rungs: The rungs that the vehicle can run with its bundle.
        slowdowns: When the board is slower than that.

    Raises:
        OperatorError: The profile lacks a cost that one of the rungs needs.
    """
    costs: dict[Rung, dict[str, float]] = {}
    for rung in rungs:
        keys = {stage: _cost_key(stage, rung, model, rungs) for stage in _STAGES[rung]}
        lacking = sorted({key for key in keys.values() if key not in profile.modelled_ms})
        if lacking:
            raise OperatorError(
                f"device profile {profile.name} has no modelled_ms for {', '.join(lacking)}, "
                f"which rung {rung} of model {model} needs"
            )
        costs[rung] = {stage: profile.modelled_ms[key] for stage, key in keys.items()}
    return ModelledLatency(costs, slowdowns)


def _cost_key(stage: str, rung: Rung, model: str, rungs: Sequence[Rung]) -> str:
    is_small = rung is Rung.SMALL or (rung is Rung.CAMERAS_SUBSET and Rung.SMALL in rungs)
    if stage == "infer":
        return f"infer_{model}_small" if is_small else f"infer_{model}"
    if stage == "preprocess" and rung is Rung.CAMERAS_SUBSET:
        return "preprocess_subset"
    return stage


# --- which rung ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """A rung and why not a richer one; ``reason`` is empty on the richest."""

    rung: Rung
    reason: str = ""


@dataclass
class Ladder:
    """Picks the richest rung that fits: down at once, up only after it has fitted for a while.

    Two things can keep a rung from fitting. A board that has become slow is remembered (the *pace*) and
    lowers the rung until it has recovered; frames that lay waiting concern one tick only.
    """

    latency: ModelledLatency
    settings: BudgetSettings = field(default_factory=BudgetSettings)
    pace: float = 1.0
    """How much slower than its profile the board is believed to be."""

    def __post_init__(self) -> None:
        self._rungs = [rung for rung in Rung if rung in self.latency.costs_ms]
        self._settled = 0
        self._fitted_ticks = 0

    def choose(self, waited_ms: float) -> Choice:
        """Choose for a tick whose frames lay this long while the last one was still at work."""
        self._settle(self._richest(0, 0.0))
        now = self._richest(self._settled, waited_ms)
        if now == 0:
            return Choice(self._rungs[0])
        richer = self._rungs[now - 1]
        needed_ms = self._predicted_ms(richer)
        if waited_ms > 0.0 and now > self._settled:
            return Choice(self._rungs[now], f"{richer} no longer fits after {waited_ms:.1f} ms")
        if needed_ms > self._room_ms(richer):
            room = f"{self._room_ms(richer):.1f}"
            return Choice(self._rungs[now], f"{richer} would need {needed_ms:.1f} ms of {room}")
        return Choice(self._rungs[now], f"{richer} has fitted for {self._fitted_ticks} ticks only")

    def observe(self, rung: Rung, stages: Sequence[StageTime]) -> None:
        """Learn the board's pace from what a tick took and what the profile says it takes."""
        taken_ms = sum_ms([stage for stage in stages if stage.stage != "wait"])
        seen = taken_ms / max(math.fsum(self.latency.costs_ms[rung].values()), 1e-6)
        kept = self.settings.pace_memory
        self.pace = max(seen, kept * self.pace + (1.0 - kept) * seen)

    def _settle(self, fitting: int) -> None:
        """Move to the rung that the pace allows: down at once, up after ``climb_ticks``."""
        self._fitted_ticks = self._fitted_ticks + 1 if fitting < self._settled else 0
        if fitting > self._settled or self._fitted_ticks >= self.settings.climb_ticks:
            self._settled, self._fitted_ticks = fitting, 0

    def _richest(self, from_: int, waited_ms: float) -> int:
        """Find the first rung, from one on, that fits; the last always does."""
        for k, rung in enumerate(self._rungs[from_:-1], from_):
            if waited_ms + self._predicted_ms(rung) <= self._room_ms(rung):
                return k
        return len(self._rungs) - 1

    def _predicted_ms(self, rung: Rung) -> float:
        return self.pace * self.latency.sensor_to_plan_ms(rung)

    def _room_ms(self, rung: Rung) -> float:
        """Rungs with a network aim at the period; without one only the deadline counts."""
        has_network = "infer" in self.latency.costs_ms[rung]
        return self.settings.target_ms if has_network else self.settings.deadline_ms


# --- the ledger ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class TickLedger:
    """Where the time of one tick went, in the time that decisions are made by."""

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
        """Wall milliseconds per stage: a side log for people; no decision and no clip reads it."""
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
        self, budget: Budget, charges_ms: Mapping[str, float], ledger: Ledger, clock: Clock
    ) -> None:
        self.budget = budget
        self._charges_ms = charges_ms
        self._ledger = ledger
        self._clock = clock

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge a stage its modelled time, and note what it really took."""
        before_ns = self._clock.now_ns()
        try:
            yield
        finally:
            self.budget = self.budget.spend(name, self._charges_ms.get(name, 0.0))
            self._ledger.add_measured(name, (self._clock.now_ns() - before_ns) / 1e6)
