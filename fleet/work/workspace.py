"""What every stage works with: catalog and store, folders for child processes, a clock and a name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.catalog import Catalog, RunRow, StreamKind
from fleet.store import BlobStore
from fleet.work.process import Progress, read_progress

Advance = Callable[[int], None]
"""Hears how many more steps of a stage are done."""

Heard = Callable[[str, Progress], None]
"""Hears what one child process of a stage says of itself: its name, and how far it is."""

DONE = "done"


def unheard(count: int) -> None:
    """Be an ``Advance`` that nobody listens to."""


def unheard_of(name: str, progress: Progress) -> None:
    """Be a ``Heard`` that nobody listens to."""


@dataclass(frozen=True)
class Workshop:
    """Where a stage works, and in whose name."""

    catalog: Catalog
    store: BlobStore
    folder: Path
    """Jobs, logs and results of child processes."""
    cache: Path
    """What can be made again: decoded images, answers, datasets laid out as files."""
    actor: str
    """Who does it, for the audit log."""
    now_ns: Callable[[], int] = time.time_ns

    @property
    def logs(self) -> Path:
        """What child processes said."""
        return self.folder / "logs"

    def job(self, name: str) -> Path:
        """Name a file that tells a child process what to do, its folder made."""
        folder = self.folder / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def finish_run(
        self, run_id: str, stage: str, *, dataset_id: str | None = None, facts: dict[str, Any]
    ) -> None:
        """Write down that a run of a stage is done; the same run is written down once."""
        at_ns = self.now_ns()
        row = RunRow(
            run_id=run_id,
            stage=stage,
            state=DONE,
            dataset_id=dataset_id,
            facts=facts,
            at_ns=at_ns,
        )
        with self.catalog.write(at_ns=at_ns, actor=self.actor) as tx:
            if tx.add(row):
                tx.append(StreamKind.RUN, run_id, "run_finished.1", cause=stage, stage=stage)


class ProgressFeed:
    """Passes on how far children are, from what each has written down of itself, whenever it is called."""

    def __init__(
        self,
        logs: Mapping[str, Path],
        advance: Advance,
        heard: Heard,
        read: Callable[[Path], Progress | None] = read_progress,
    ) -> None:
        """Begin with nothing told.

        Args:
            logs: What each child writes, by the child's name.
            advance: Hears how many more steps all of them have done.
            heard: Hears each child.
            read: How to read what a child writes; None before its first word.
        """
        self._logs, self._advance, self._heard, self._read = logs, advance, heard, read
        self._told = 0

    def __call__(self) -> None:
        """Read and pass on."""
        said = {name: self._read(log) for name, log in self._logs.items()}
        for name, progress in said.items():
            if progress is not None:
                self._heard(name, progress)
        done = sum(progress.done for progress in said.values() if progress is not None)
        self._advance(done - self._told)
        self._told = done
