"""Measure the stages of a lap, wall clock and CPU seconds of the process tree, and display them."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge.cli.console import StageProgress, Stages
from fleet.work.workspace import OnProgress
from sim.lap.record import StageCost


@dataclass
class StageTimer:
    """Measures the stages of one lap."""

    display: Stages
    """A bar on a terminal, a line per stage elsewhere."""
    stages: list[StageCost] = field(default_factory=list)
    service: RunningProcess | None = None
    """The fleet service, which runs beside all stages; None before it starts."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[StageProgress]:
        """Time one stage; what is noted becomes its note in the record.

        Args:
            name: One word.
            total: Steps that it will ``advance``; None when that is not known.
        """
        began_s, cpu_began_s = time.monotonic(), self._cpu_s()
        with self.display.stage(name, total) as stage:
            yield stage
            cost = StageCost(
                name=name,
                seconds=round(time.monotonic() - began_s, 1),
                cpu_seconds=round(self._cpu_s() - cpu_began_s, 1),
                note=", ".join(stage.notes),
            )
            stage.notes.insert(0, f"{cost.cpu_seconds:.1f} s CPU")
        self.stages.append(cost)

    def _cpu_s(self) -> float:
        """CPU seconds of this process, of its children that have ended, and of the service."""
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        usages = [resource.getrusage(who) for who in whose]
        ended = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return ended + (self.service.cpu_s() if self.service else 0.0)


@dataclass
class RunningProcess:
    """The CPU seconds of a process that has not ended."""

    pid: int
    _last_s: float = 0.0

    def cpu_s(self) -> float:
        """Return the CPU seconds of it and of its ended children; after its end, the last known.

        Fields 14 to 17 of ``/proc/PID/stat``, see proc_pid_stat(5).
        """
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            self._last_s = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        return self._last_s


def part_lines(stage: StageProgress) -> OnProgress:
    """Show a line for each vehicle, run or set of a stage."""
    return lambda name, progress: stage.part(name, progress.done, progress.total, progress.note)
