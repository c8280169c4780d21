"""Carry tasks out: the interface between the orders of a stage and the machines that do the work.

The process executor lays inputs out as files, runs one child process per task, and leaves its results in a
folder of this machine. Results that must last are put into the store by the order.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from edge.contracts.errors import HashMismatchError, OperatorError
from fleet.disk import sha256_of, write_whole
from fleet.store import BlobStore
from fleet.work.process import Work, run_all
from fleet.work.task import Task, names_of, write_local_task

_log = logging.getLogger(__name__)


class Executor(Protocol):
    """Carries tasks out."""

    def run(
        self,
        tasks: Sequence[Task],
        *,
        on_start: Callable[[str], None] = lambda name: None,
        on_done: Callable[[str], None] = lambda name: None,
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Carry tasks out, several at a time, until all are done; the first failure ends the others.

        Args:
            tasks: Started in this order.
            on_start: Called with the name of each that is started.
            on_done: Called with the name of each that is done.
            on_poll: Called several times a second.

        Raises:
            JobError: One failed.
            StoreUnavailableError: The store fails.
        """

    def results(self, name: str) -> Path:
        """Return the folder of what a task has written so far; it is empty when the task begins."""


@dataclass(frozen=True)
class ProcessExecutor:
    """Runs every task as a child process of this machine."""

    store: BlobStore
    folder: Path
    """Assignments, logs and results."""
    cache: Path
    """What can be made again (``JobInputs.cache``); an input that lies in it already is read from there."""

    def run(
        self,
        tasks: Sequence[Task],
        *,
        on_start: Callable[[str], None] = lambda name: None,
        on_done: Callable[[str], None] = lambda name: None,
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """See ``Executor``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in names_of(tasks):
            shutil.rmtree(self.results(name), ignore_errors=True)
            self.results(name).mkdir(parents=True)
        with TemporaryDirectory(prefix="inputs-", dir=self.folder) as own:
            work = [self._assigned(task, Path(own)) for task in tasks]
            logs = self.folder / "logs"
            run_all(work, logs, on_start=on_start, on_done=on_done, on_poll=on_poll)

    def results(self, name: str) -> Path:
        """See ``Executor``."""
        return self.folder / "results" / name

    def _assigned(self, task: Task, own: Path) -> Work:
        """Lay the inputs of a task out and write its assignment; what cannot be read is named there.

        Args:
            task: What is to be done.
            own: Folder of inputs that are not in the cache; another run cannot take them away.
        """
        paths: dict[str, Path] = {}
        lacking: dict[str, str] = {}
        for name, blob_id in task.inputs.items():
            try:
                is_cached = (blob_folder(self.cache) / blob_id).exists()
                folder = blob_folder(self.cache) if is_cached else own
                paths[name] = lay_out(self.store, blob_id, folder)
            except (HashMismatchError, OperatorError) as error:  # other bytes, or none
                lacking[name] = " ".join(str(error).split())
                _log.warning("input_lacking", extra={"task": task.name, "input": name})
        job = self.folder / "jobs" / f"{task.name}.json"
        job.parent.mkdir(parents=True, exist_ok=True)
        write_local_task(job, task.parameters, paths, self.cache, lacking)
        return Work(task.name, task.module, (str(job), str(self.results(task.name))))


def blob_folder(cache: Path) -> Path:
    """Name the folder of blobs that are laid out as files."""
    return cache / "blobs"


def lay_out(store: BlobStore, blob_id: str, folder: Path) -> Path:
    """Lay a blob out as a file of its id's name; one that is there and damaged is written anew.

    Raises:
        OperatorError: The store has no such blob.
        HashMismatchError: The stored bytes are no longer those of ``blob_id``.
    """
    path = folder / blob_id
    if not path.exists() or sha256_of(path) != blob_id:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, store.get(blob_id))
    return path
