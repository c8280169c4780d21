"""Run a stage as a child process that leaves nothing behind, however the parent ends.

A child is the leader of its own process group and holds the reading end of a pipe whose writing end
only the parent has. When the parent is gone, killed or not, the pipe closes and the child ends its
whole group; no list of process ids, no signal handler and no ``finally`` has to survive for that.
"""

from __future__ import annotations

import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge.cli.log import log_events, print_traceback
from edge.contracts.errors import RingroadError
from edge.contracts.progress import Progress, read_progress, write_progress
from edge.contracts.text import printable

__all__ = [
    "Child",
    "JobError",
    "Progress",
    "Work",
    "read_progress",
    "run_all",
    "start_child",
    "write_progress",
]

_TAIL_BYTES = 2_000
_POLL_S = 0.2


class JobError(RingroadError):
    """A child process failed; the message holds the last line it wrote, and names its log."""

    def __init__(self, what: str, log_path: Path) -> None:
        """State what went wrong; ``what`` is kept for callers whose log does not outlive the failure."""
        super().__init__(f"{what} (log: {log_path})")
        self.what = what


@dataclass
class Child:
    """A stage that runs in a process of its own; leaving the ``with`` block ends it."""

    module: str
    log_path: Path
    process: subprocess.Popen[bytes]
    grace_s: float = 5.0
    """How long it may take to end by itself when asked."""
    is_cleared: bool = False
    """Whether nothing of it is left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self.process.poll()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until it has done its work.

        Raises:
            JobError: It failed, or took too long; it is ended then.
        """
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self.stop()
            what = f"{self.module} took longer than {timeout_s} s and was ended"
            raise JobError(what, self.log_path) from error
        self._clear_away()
        if status != 0:
            how = f"failed with status {status}" if status > 0 else f"was ended by signal {-status}"
            last = self.tail().rpartition("\n")[2] or "it said nothing"
            raise JobError(f"{self.module} {how}: {last}", self.log_path)

    def stop(self) -> None:
        """End it and everything it started: first by request, then by force."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self.grace_s)
        self._clear_away()

    def tail(self) -> str:
        """Return the end of its output."""
        with self.log_path.open("rb") as file:
            file.seek(max(0, self.log_path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _clear_away(self) -> None:
        """End what is left of the group; only once, because a process id can be reused."""
        if self.is_cleared:
            return
        self.is_cleared = True
        self._signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def start_child(module: str, arguments: Sequence[str], log_path: Path) -> Child:
    """Start ``python -m module arguments`` as a child.

    Args:
        module: What to run as ``__main__``.
        arguments: Its command line.
        log_path: Where its output goes, after what is there.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet.work.process", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(module, log_path, process)


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
    at_once: int = 2,
    on_start: Callable[[str], None] = lambda name: None,
    on_done: Callable[[str], None] = lambda name: None,
    on_poll: Callable[[], None] = lambda: None,
) -> None:
    """Run child processes, a few at a time, until all are done; the first failure ends the others.

    Args:
        work: What to run; started in this order.
        logs: Folder of their output.
        at_once: How many run side by side; each takes one core.
        on_start: Called with the name of each that is started.
        on_done: Called with the name of each that is done.
        on_poll: Called several times a second, and once more at the end.

    Raises:
        JobError: One failed.
    """
    waiting = list(work)
    with ExitStack() as stack:
        running: dict[str, Child] = {}
        while waiting or running:
            while waiting and len(running) < at_once:
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


def _end_with_parent(pipe: int) -> None:
    """Wait for the parent's end of the pipe to close, then end this process group."""
    while os.read(pipe, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Be the child: watch the parent, then become the module."""
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    log_events(logging.WARNING)
    module, sys.argv = sys.argv[1], sys.argv[1:]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except RingroadError as error:
        print_traceback()
        sys.exit(printable(" ".join(str(error).split())))  # the last line: the parent passes it on
    except Exception:  # noqa: BLE001 - this is the main
        print_traceback()
        sys.exit(1)


if __name__ == "__main__":
    main()
