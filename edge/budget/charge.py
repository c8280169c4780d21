"""The charge of a stage of a tick: modelled milliseconds in lockstep, measured ones in real time.

The ladder decides by charges and by nothing else. In lockstep a decision must not read the wall clock, or the
same seed would not give the same bytes; in real time the model would hide a board that is too slow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Charge(Protocol):
    """The rule by which a tick's account charges its stages."""

    def stage_ms(self, modelled_ms: float, measured_ms: float, stamp_ns: int) -> float:
        """Return the charge of one stage in milliseconds.

        Args:
            modelled_ms: Cost of the stage on this rung by the board's profile; 0 where it lists none.
            measured_ms: Time that the process took, by its own clock.
            stamp_ns: Stamp of the tick's frame set.
        """
        ...


@dataclass(frozen=True)
class Slowdown:
    """A stretch of time in which a board is slower than its profile: heat, or a busy neighbour."""

    start_ns: int
    end_ns: int
    factor: float


@dataclass(frozen=True)
class ModelledCharge:
    """Charge the profile's cost, multiplied by the slowdowns that hold at the time."""

    slowdowns: tuple[Slowdown, ...] = ()

    def factor(self, stamp_ns: int) -> float:
        """Return how many times slower than its profile the board is at a time."""
        return math.prod(s.factor for s in self.slowdowns if s.start_ns <= stamp_ns < s.end_ns)

    def stage_ms(self, modelled_ms: float, measured_ms: float, stamp_ns: int) -> float:
        """Return the modelled cost; see ``Charge.stage_ms``."""
        return self.factor(stamp_ns) * modelled_ms


@dataclass(frozen=True)
class MeasuredCharge:
    """Charge the time that the process took.

    Sensing ends before the tick begins, so its time is part of the wait between stamp and tick.
    """

    def stage_ms(self, modelled_ms: float, measured_ms: float, stamp_ns: int) -> float:
        """Return the measured time; see ``Charge.stage_ms``."""
        return measured_ms
