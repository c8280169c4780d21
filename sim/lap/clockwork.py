"""Time the stages of a lap, wall clock and CPU of the whole process tree, and show whoever watches."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edge.console import Stage as Shown
from edge.console import Stages
from fleet.stages.workshop import Heard
from sim.lap.record import Stage


@dataclass
class Clockwork:
    """The stages of one lap so far."""

    watch: Stages
    """A bar on a terminal, a line per stage elsewhere."""
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Shown]:
        """Time one stage; what is noted becomes its note in the record.

        Args:
            name: One word.
            total: Steps that it will ``advance``; None when that is not known.
        """
        began_s, cpu_began_s = time.monotonic(), _cpu_s()
        with self.watch.stage(name, total) as shown:
            yield shown
            stage = Stage(
                name=name,
                seconds=round(time.monotonic() - began_s, 1),
                cpu_seconds=round(_cpu_s() - cpu_began_s, 1),
                note=", ".join(shown.notes),
            )
            shown.notes.insert(0, f"{stage.cpu_seconds:.1f} s CPU")
        self.stages.append(stage)


def lines_of(shown: Shown) -> Heard:
    """Give each vehicle, run or set of a stage a line of its own."""
    return lambda name, said: shown.part(name, said.done, said.total, said.note)


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
