"""Choose the richest rung that fits: down at once, up only after it has fitted for a while.

The board's *pace* (charged over modelled, a leaky maximum) is what the ladder has learned about it: one slow
tick is believed at once, recovery only slowly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.budget.cost import ModelledLatency
from edge.budget.deadline import BudgetSettings, sum_ms
from edge.contracts.scene import Rung, StageTime


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
