"""The stretch of frames that trigger events ask for; stretches that overlap become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.clip import TriggerEvent


@dataclass(frozen=True)
class Window:
    """A stretch of frames to be sealed, by frame index, both ends included, and why."""

    first: int
    last: int
    events: tuple[TriggerEvent, ...]
    is_control: bool


def join_window(windows: Sequence[Window], new: Window, longest: int) -> tuple[Window, ...]:
    """Join a new window with those of its stream that it overlaps, while the union stays short enough.

    Args:
        windows: Not yet sealed.
        new: To be added.
        longest: Largest ``last - first`` of a union; a window alone may be longer.
    """
    apart: list[Window] = []
    for window in reversed(windows):
        first, last = min(window.first, new.first), max(window.last, new.last)
        is_overlapping = window.first <= new.last and new.first <= window.last
        if window.is_control is new.is_control and is_overlapping and last - first <= longest:
            events = sorted((*window.events, *new.events), key=lambda event: event.stamp_ns)
            new = Window(first, last, tuple(events), new.is_control)
        else:
            apart.append(window)
    return (*reversed(apart), new)
