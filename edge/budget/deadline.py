"""The deadline as a value that travels with the tick, and the stages that it is spent on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.scene import StageTime

SENSOR_TO_PLAN = ("wait", "sense", "preprocess", "infer", "decode", "track", "radar", "plan")
"""Stages between the light on the sensor and the command, in order; the rest is after the fact."""

AFTER_PLAN = ("trigger", "record")


@dataclass
class BudgetSettings:
    """The deadline and how eagerly rungs change."""

    deadline_ms: float = 100.0
    """Sensor to plan, always."""
    target_ratio: float = 0.9
    """Share of the source's period that the way from sensor to plan takes, normally; the rest keeps a
    real-time task from starving others."""
    climb_s: float = 1.0
    """A richer rung must have fitted in every tick for so long before it is taken."""
    max_climb_s: float = 64.0
    """A rung that overran within ``climb_s`` of being taken must fit twice as long the next time; this is
    the longest wait."""
    pace_memory: float = 0.9
    """What is left of the excess of a slow tick after the next one. Of ticks and not of time by intent: each
    tick is one measurement of the board."""


@dataclass(frozen=True)
class Budget:
    """The time that one tick may take, and the time that it has taken so far."""

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
