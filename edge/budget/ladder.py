"""Choose the richest rung that fits: down at once, up only after it has fitted for a while.

The *pace* of a stage (charged over modelled milliseconds, a leaky maximum) is the ladder's estimate of the
board: a slow tick raises it at once, recovery lowers it slowly. Paces are learned per stage, because a
network that is too slow for the board says nothing about the rungs without one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.budget.cost import ModelledLatency
from edge.budget.deadline import SENSOR_TO_PLAN, Budget, BudgetSettings
from edge.contracts.scene import Rung, StageTime

_LEAST_MS = 0.01
"""A stage that the profile calls free is taken to cost this much, so that it can have a pace."""


@dataclass(frozen=True)
class Choice:
    """A rung and why not a richer one; ``reason`` is empty on the richest."""

    rung: Rung
    reason: str = ""


@dataclass
class Ladder:
    """Picks the richest rung that fits: down at once, up only after it has fitted for a while.

    Two things can keep a rung from fitting. A board that has become slow is remembered (the paces) and
    lowers the rung until it has recovered; frames that lay waiting concern one tick only.
    """

    latency: ModelledLatency
    settings: BudgetSettings = field(default_factory=BudgetSettings)
    rate_hz: float = field(kw_only=True)
    """Ticks per second."""

    def __post_init__(self) -> None:
        self.target_ms = self.settings.target_ratio * (1000.0 / self.rate_hz)
        self._climb_ticks = max(1, round(self.settings.climb_s * self.rate_hz))
        self._max_climb_ticks = max(1, round(self.settings.max_climb_s * self.rate_hz))
        self._rungs = [rung for rung in Rung if rung in self.latency.costs_ms]
        self._paces = {stage: 1.0 for costs in self.latency.costs_ms.values() for stage in costs}
        self._settled = 0
        self._fitted_ticks = 0
        self._needed_ticks = self._ticks_since_climb = self._climb_ticks

    def choose(self, budget: Budget) -> Choice:
        """Choose for a tick of whose budget the wait for the last tick is already spent."""
        self._settle(self._richest(0, Budget(self.settings.deadline_ms)))
        now = self._richest(self._settled, budget)
        if now == 0:
            return Choice(self._rungs[0])
        richer = self._rungs[now - 1]
        needed_ms, room_ms = self.predicted_ms(richer), self._room_ms(richer, budget)
        if budget.spent_ms > 0.0 and now > self._settled:
            return Choice(
                self._rungs[now], f"{richer} no longer fits after {budget.spent_ms:.1f} ms"
            )
        if needed_ms > room_ms:
            return Choice(
                self._rungs[now], f"{richer} would need {needed_ms:.1f} ms of {room_ms:.1f}"
            )
        return Choice(self._rungs[now], f"{richer} has fitted for {self._fitted_ticks} ticks only")

    def observe(self, rung: Rung, stages: Sequence[StageTime]) -> None:
        """Learn the paces from a tick's charges and the profile's costs.

        A stage that did not run takes the pace of those that did: it recovers with the board.
        """
        taken_ms = {s.stage: s.ms for s in stages if s.stage in self._paces}
        costs_ms = {s: max(ms, _LEAST_MS) for s, ms in self.latency.costs_ms[rung].items()}
        ran_ms = math.fsum(costs_ms.get(stage, 0.0) for stage in taken_ms)
        overall = math.fsum(taken_ms.values()) / max(ran_ms, _LEAST_MS)
        kept = self.settings.pace_memory
        for stage, pace in self._paces.items():
            has_run = stage in taken_ms and stage in costs_ms
            seen = taken_ms[stage] / costs_ms[stage] if has_run else overall
            self._paces[stage] = max(seen, kept * pace + (1.0 - kept) * seen)

    def predicted_ms(self, rung: Rung) -> float:
        """Return what a rung would take from the sensors to the plan, at the paces learned so far."""
        costs_ms = self.latency.costs_ms[rung]
        return math.fsum(
            self._paces[stage] * max(ms, _LEAST_MS)
            for stage, ms in costs_ms.items()
            if stage in SENSOR_TO_PLAN
        )

    def _settle(self, fitting: int) -> None:
        """Move to the rung that the paces allow: down at once, up after ``climb_s`` or longer."""
        self._ticks_since_climb += 1
        self._fitted_ticks = self._fitted_ticks + 1 if fitting < self._settled else 0
        if fitting > self._settled:
            self._fall(fitting)
        elif self._fitted_ticks >= self._needed_ticks:
            self._settled, self._fitted_ticks, self._ticks_since_climb = fitting, 0, 0

    def _fall(self, fitting: int) -> None:
        """Take a poorer rung; soon after a climb, the next climb must wait twice as long."""
        has_just_climbed = self._ticks_since_climb < self._climb_ticks
        doubled = min(2 * self._needed_ticks, self._max_climb_ticks)
        self._needed_ticks = doubled if has_just_climbed else self._climb_ticks
        self._settled, self._fitted_ticks = fitting, 0

    def _richest(self, from_: int, budget: Budget) -> int:
        """Find the first rung, from one on, that fits; the last always does."""
        for k, rung in enumerate(self._rungs[from_:-1], from_):
            if self.predicted_ms(rung) <= self._room_ms(rung, budget):
                return k
        return len(self._rungs) - 1

    def _room_ms(self, rung: Rung, budget: Budget) -> float:
        """Return what is left: with a network of the period's target, without one of the deadline."""
        if "infer" not in self.latency.costs_ms[rung]:
            return budget.remaining_ms
        return min(self.target_ms - budget.spent_ms, budget.remaining_ms)
