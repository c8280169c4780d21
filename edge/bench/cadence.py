"""Start ticks at the cameras' rate: never faster, and never in a burst to catch up.

Frame k is due ``k`` periods after the first, however long earlier ticks took. While a tick is at work a newer
frame replaces the waiting one, as in a camera's one-frame mailbox: a late tick shows as waiting time, and a
replaced frame as dropped. A loop that waits for the last answer before it takes the next frame would hide
both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge.contracts.time import NS_PER_S, frame_stamp_ns


class Timer(Protocol):
    """A clock that one can wait on."""

    def now_ns(self) -> int:
        """Read the clock."""
        ...

    def sleep_until(self, at_ns: int) -> None:
        """Return when the clock shows ``at_ns`` or later."""
        ...


class MonotonicTimer:
    """The machine's steady clock."""

    def now_ns(self) -> int:
        """Read the clock."""
        return time.monotonic_ns()

    def sleep_until(self, at_ns: int) -> None:
        """Sleep; a late wake-up counts as the tick's waiting."""
        while (left_ns := at_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / NS_PER_S)


@dataclass(frozen=True)
class Beat:
    """One frame that was worked on."""

    frame: int
    due_ns: int
    began_ns: int
    ended_ns: int

    @property
    def waited_ms(self) -> float:
        """From the frame's stamp to the beginning of its work."""
        return (self.began_ns - self.due_ns) / 1e6

    @property
    def total_ms(self) -> float:
        """From the frame's stamp to the end of its work."""
        return (self.ended_ns - self.due_ns) / 1e6


def paced(
    work: Callable[[], None], beats: int, timer: Timer, rate_hz: float
) -> tuple[list[Beat], int]:
    """Work on ``beats`` frames as they come, always the newest.

    Args:
        work: One tick.
        beats: How many ticks; frames that are dropped come on top.
        timer: The clock; the first frame is due now.
        rate_hz: Frames per second.

    Returns:
        What was worked on, and how many frames were dropped.
    """
    done: list[Beat] = []
    start_ns = timer.now_ns()
    frame = dropped = 0
    while len(done) < beats:
        due_ns = frame_stamp_ns(frame, start_ns, rate_hz)
        timer.sleep_until(due_ns)
        began_ns = timer.now_ns()
        work()
        ended_ns = timer.now_ns()
        done.append(Beat(frame, due_ns, began_ns, ended_ns))
        newest = newest_frame(ended_ns - start_ns, rate_hz)
        if len(done) < beats:
            dropped += max(newest - frame - 1, 0)
        frame = max(newest, frame + 1)
    return done, dropped


def newest_frame(elapsed_ns: int, rate_hz: float) -> int:
    """Return the number of the last frame that was due ``elapsed_ns`` after the first one."""
    frame = int(elapsed_ns * rate_hz / NS_PER_S)
    frame -= frame_stamp_ns(frame, 0, rate_hz) > elapsed_ns
    # Births are rounded down to whole nanoseconds, so the next one may lie on this very one.
    return frame + (frame_stamp_ns(frame + 1, 0, rate_hz) <= elapsed_ns)
