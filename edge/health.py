"""Count how the driving bundle does: the content of a vehicle's health report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge.contracts.clean import by_reading
from edge.contracts.scene import Rung
from edge.contracts.sensors import FrameSet, Reading


@dataclass(frozen=True)
class BundleHealth:
    """Counts of the driving bundle since it was installed or swapped in."""

    bundle_id: str
    ticks: int
    faults: int
    """Ticks on clean readings whose network failed or whose output was unusable."""
    rungs: dict[Rung, int]
    excused_faults: int = 0
    """Ticks on poor inputs with such a fault: they say nothing about the bundle."""
    dropped: Mapping[Reading, int] = field(default_factory=dict)
    """Readings that made no sense, per kind."""
    clock_steps: int = 0
    """How often the stamps began a new time base."""
    sensor_faults: Mapping[str, int] = field(default_factory=dict)
    """In how many ticks each sensor could not be trusted, by sensor and fault."""
    unknown_boxes: int = 0
    """Boxes of a class that this software has no row for."""


@dataclass(eq=False)
class HealthCount:
    """Adds up the ticks of one bundle."""

    bundle_id: str
    _rungs: Counter[Rung] = field(default_factory=Counter)
    _dropped: Counter[Reading] = field(default_factory=Counter)
    _sensor_faults: Counter[str] = field(default_factory=Counter)
    _faults: int = 0
    _excused_faults: int = 0
    _clock_steps: int = 0
    _unknown_boxes: int = 0

    def add_inputs(
        self, frame_set: FrameSet, sensor_faults: Iterable[str], *, has_stepped: bool
    ) -> None:
        """Add the inputs of a tick: dropped readings, faulty sensors, a step of the clock."""
        self._dropped.update(by_reading(frame_set.dropped))
        self._sensor_faults.update(sensor_faults)
        self._clock_steps += has_stepped

    def add_tick(
        self, rung: Rung, unknown_boxes: int, *, has_fault: bool, is_excused: bool
    ) -> None:
        """Add how a tick went."""
        self._rungs[rung] += 1
        self._unknown_boxes += unknown_boxes
        self._faults += has_fault and not is_excused
        self._excused_faults += is_excused

    @property
    def health(self) -> BundleHealth:
        """The sum so far."""
        return BundleHealth(
            bundle_id=self.bundle_id,
            ticks=self._rungs.total(),
            faults=self._faults,
            rungs=dict(self._rungs),
            excused_faults=self._excused_faults,
            dropped=dict(self._dropped),
            clock_steps=self._clock_steps,
            sensor_faults=dict(self._sensor_faults),
            unknown_boxes=self._unknown_boxes,
        )
