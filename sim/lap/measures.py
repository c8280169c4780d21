"""Numbers of a drive that need the truth: one function and one row of ``MEASURES`` each.

A lap adds them up tick by tick, writes them into ``lap.json`` and shows them beside the drive on its page. No
decision depends on them; the gate's numbers are in ``fleet.evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from edge.contracts.rows import by_name
from edge.contracts.scene import Perception
from sim.sense.truth import TruthBox
from sim.world.props import STANDSTILL_MPS


@dataclass(frozen=True)
class SeenTick:
    """One tick of a simulated vehicle, and the truth at that time."""

    perception: Perception
    truths: tuple[TruthBox, ...]
    speed_mps: float
    """Speed of the vehicle itself."""


class Per(Enum):
    """Divisor of the sum over a drive."""

    TICK = auto()
    KM = auto()
    """A kilometre that the vehicle drove."""


@dataclass(frozen=True)
class Measure:
    """A row of the table of measures."""

    name: str
    of_tick: Callable[[SeenTick], float]
    per: Per


def is_standing(tick: SeenTick) -> float:
    """Return 1 for a tick at standstill, otherwise 0."""
    return float(tick.speed_mps < STANDSTILL_MPS)


MEASURES: dict[str, Measure] = by_name(
    (Measure("standing_ratio", is_standing, Per.TICK),), "sim/lap/measures.py"
)


@dataclass(eq=False)
class MeasureTally:
    """Adds up every measure over the ticks of a drive."""

    ticks: int = 0
    _sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MEASURES, 0.0))

    def add(self, tick: SeenTick) -> None:
        """Add one tick."""
        self.ticks += 1
        for name, measure in MEASURES.items():
            self._sums[name] += measure.of_tick(tick)

    def measured(self, progress_m: float) -> dict[str, float]:
        """Return each measure by name; one whose divisor is zero is left out."""
        amounts = {Per.TICK: float(self.ticks), Per.KM: progress_m / 1000.0}
        return {
            name: round(total / amounts[MEASURES[name].per], 3)
            for name, total in self._sums.items()
            if amounts[MEASURES[name].per] > 0.0
        }
