"""The deadline as a value that travels with the tick, and the stages that it is spent on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.scene import StageTime
from edge.contracts.time import FRAME_RATE_HZ

PERIOD_MS = 1000.0 / FRAME_RATE_HZ

SENSOR_TO_PLAN = ("wait", "sense", "preprocess", "infer", "decode", "track", "radar", "plan")
"""Stages between the light on the sensor and the command, in order; the rest is after the fact."""

AFTER_PLAN = ("trigger", "record")


@dataclass
class BudgetSettings:
    """The deadline and how eagerly rungs change."""

    deadline_ms: float = 100.0
    """Sensor to plan, always."""
    target_ms: float = 0.9 * PERIOD_MS
    """Sensor to plan, normally; the rest of the period keeps a real-time task from starving others."""
    climb_ticks: int = 36
    """A richer rung must have fitted this many ticks in a row before it is taken."""
    max_climb_ticks: int = 2304
    """A rung that overran within ``climb_ticks`` of being taken must fit twice as long the next time; this
    many ticks (64 s at 36 Hz) are the longest wait."""
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
