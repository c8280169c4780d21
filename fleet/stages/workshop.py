"""What every stage works with: catalog and store, folders for child processes, a clock and a name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.catalog import Catalog, RunRow, StreamKind
from fleet.jobs import Child, Progress, start_child
from fleet.store import BlobStore

Advance = Callable[[int], None]
"""Hears how many more steps of a stage are done."""

Heard = Callable[[str, Progress], None]
"""Hears what one child process of a stage says of itself: its name, and how far it is."""

DONE = "done"

_POLL_S = 0.2
_AT_ONCE = 2
"""Child processes that work side by side; each takes one core."""


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


@dataclass(frozen=True)
class Work:
    """One child process: what to run, and its command line."""

    name: str
    module: str
    arguments: tuple[str, ...]


def run_all(
    work: Sequence[Work],
    logs: Path,
    *,
    on_start: Callable[[str], None] = lambda name: None,
    on_done: Callable[[str], None] = lambda name: None,
    on_poll: Callable[[], None] = lambda: None,
) -> None:
    """Run child processes, a few at a time, until all are done; the first failure ends the others.

    Args:
        work: What to run; started in this order.
        logs: Folder of what they say.
        on_start: Hears the name of each that is started.
        on_done: Hears the name of each that is done.
        on_poll: Called several times a second, and once more at the end.

    Raises:
        JobError: One failed.
    """
    waiting = list(work)
    with ExitStack() as stack:
        running: dict[str, Child] = {}
        while waiting or running:
            while waiting and len(running) < _AT_ONCE:
                item = waiting.pop(0)
                child = start_child(item.module, item.arguments, logs / f"{item.name}.log")
                running[item.name] = stack.enter_context(child)
                on_start(item.name)
            for name in [n for n, child in running.items() if child.poll() is not None]:
                running.pop(name).wait()
                on_done(name)
            on_poll()
            if running:
                time.sleep(_POLL_S)
