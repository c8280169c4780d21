"""The workspace of a stage: catalog and store, folders for child processes, a clock and a name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleet.catalog import Catalog, RunFacts, RunRow, StreamKind
from fleet.store import BlobStore
from fleet.work.executor import Executor, ProcessExecutor
from fleet.work.process import Progress, read_progress

OnSteps = Callable[[int], None]
"""Called with the number of steps that a stage has done since the last call."""

OnProgress = Callable[[str, Progress], None]
"""Called with the name of one child process of a stage and its progress."""

DONE = "done"


def ignore_steps(count: int) -> None:
    """Do nothing: the ``OnSteps`` of a caller that shows no progress."""


def ignore_progress(name: str, progress: Progress) -> None:
    """Do nothing: the ``OnProgress`` of a caller that shows no progress."""


class CatalogAndStore(Protocol):
    """Catalog and store together: a fleet that is opened to read has both, and so has a workspace."""

    @property
    def catalog(self) -> Catalog:
        """Rows."""

    @property
    def store(self) -> BlobStore:
        """Blobs."""


@dataclass(frozen=True)
class Workspace:
    """Catalog, store and folders of a stage, and the name that the audit log gets."""

    catalog: Catalog
    store: BlobStore
    folder: Path
    """Jobs, logs and results of child processes."""
    cache: Path
    """What can be made again: decoded images, answers, datasets laid out as files."""
    actor: str
    """Who works, for the audit log."""
    now_ns: Callable[[], int] = time.time_ns

    @property
    def executor(self) -> Executor:
        """The executor of tasks: child processes of this machine."""
        return ProcessExecutor(self.store, self.folder, self.cache)

    @property
    def logs(self) -> Path:
        """Logs of child processes."""
        return self.folder / "logs"

    def finish_run(self, run_id: str, facts: RunFacts, *, dataset_id: str | None = None) -> None:
        """Write down that a run of a stage is done; the same run is written down once."""
        at_ns, stage = self.now_ns(), str(facts.__struct_config__.tag)
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
    """Reports the progress of child processes, from the file that each one writes."""

    def __init__(
        self,
        logs: Mapping[str, Path],
        on_steps: OnSteps,
        on_progress: OnProgress,
        read: Callable[[Path], Progress | None] = read_progress,
    ) -> None:
        """Start with no step reported.

        Args:
            logs: What each child writes, by the child's name.
            on_steps: Called with the steps that all of them have done since the last call.
            on_progress: Called with the progress of each child.
            read: How to read what a child writes; None before its first word.
        """
        self._logs, self._on_steps, self._on_progress = logs, on_steps, on_progress
        self._read = read
        self._reported = 0

    def __call__(self) -> None:
        """Read every child's file and report what is new."""
        said = {name: self._read(log) for name, log in self._logs.items()}
        for name, progress in said.items():
            if progress is not None:
                self._on_progress(name, progress)
        done = sum(progress.done for progress in said.values() if progress is not None)
        self._on_steps(done - self._reported)
        self._reported = done
