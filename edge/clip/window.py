"""The stretch of time that trigger events ask for; stretches that overlap become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.clip import TriggerEvent


@dataclass(frozen=True)
class Window:
    """A stretch of time to be sealed, both ends included, and why."""

    start_ns: int
    end_ns: int
    events: tuple[TriggerEvent, ...]
    is_control: bool


def join_window(windows: Sequence[Window], new: Window, longest_ns: int) -> tuple[Window, ...]:
    """Join a new window with those of its stream that it overlaps, while the union stays short enough.

    Args:
        windows: Not yet sealed.
        new: To be added.
        longest_ns: Largest length of a union; a window alone may be longer.
    """
    apart: list[Window] = []
    for window in reversed(windows):
        start_ns = min(window.start_ns, new.start_ns)
        end_ns = max(window.end_ns, new.end_ns)
        is_overlapping = window.start_ns <= new.end_ns and new.start_ns <= window.end_ns
        is_short = end_ns - start_ns <= longest_ns
        if window.is_control is new.is_control and is_overlapping and is_short:
            events = sorted((*window.events, *new.events), key=lambda event: event.stamp_ns)
            new = Window(start_ns, end_ns, tuple(events), new.is_control)
        else:
            apart.append(window)
    return (*reversed(apart), new)
