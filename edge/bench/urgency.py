"""Ask the kernel to run this process as a vehicle's drive process runs, and report what it granted."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from edge.board.probe import Urgency

FIFO_PRIORITY = 20


@contextmanager
def urgent(*, is_wanted: bool) -> Iterator[str]:
    """Run a block pinned to one core and as urgent as the kernel allows; undo both afterwards.

    Yields:
        The scheduling class that the block runs in, in words.
    """
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    cores, niceness = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    if not is_wanted:
        yield f"{Urgency.NORMAL}, niceness {niceness}"
        return
    granted = _raise_urgency()
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield f"{granted}, pinned to core {max(cores)}"
    finally:
        os.sched_setaffinity(0, cores)
        os.sched_setscheduler(0, policy, param)
        if granted is Urgency.NICE:
            os.setpriority(os.PRIO_PROCESS, 0, niceness)


def _raise_urgency() -> Urgency:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except PermissionError:
        pass
    else:
        return Urgency.FIFO
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except PermissionError:
        return Urgency.NORMAL
    return Urgency.NICE


@contextmanager
def collected_by_hand() -> Iterator[None]:
    """Run the garbage collector only when it is called; objects that exist now are never examined."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
