"""Coverage of the window that was asked for, camera by camera."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from edge.clip_file import Instant, is_usable
from edge.contracts.clip import Coverage, Span
from edge.contracts.rig import Rig
from edge.contracts.sensors import FrameStatus
from edge.contracts.time import NS_PER_S


def coverage(instants: Sequence[Instant], rig: Rig, asked: Span) -> tuple[Coverage, ...]:
    """Compute what each camera has of a window.

    Args:
        instants: Recorded, oldest first.
        rig: Whose cameras.
        asked: The window.
    """
    return tuple(
        _coverage(camera.name, number, instants, asked) for number, camera in enumerate(rig.cameras)
    )


def missing(
    instants: Sequence[Instant], rig: Rig, asked: Span, recorded_hz: float
) -> tuple[tuple[str, int], ...]:
    """Count the usable images that a window should have and has not, per camera that lacks any.

    Args:
        instants: Recorded, oldest first.
        rig: Whose cameras.
        asked: The window.
        recorded_hz: How many instants a second there should be.
    """
    lacking = _lost_instants([i.stamp_ns for i in instants], asked, NS_PER_S / recorded_hz)
    counts = (
        (camera.name, lacking + sum(not _is_usable(i, number) for i in instants))
        for number, camera in enumerate(rig.cameras)
    )
    return tuple((name, count) for name, count in counts if count)


def _lost_instants(stamps_ns: Sequence[int], asked: Span, period_ns: float) -> int:
    """Count the periods without an instant between two of them, and towards both ends of the window."""
    between = sum(max(0, round((b - a) / period_ns) - 1) for a, b in itertools.pairwise(stamps_ns))
    # What lies a whole period or more inside the window is lacking; rounding of stamps is not.
    tolerance_ns = 0.01 * period_ns
    before = int((stamps_ns[0] - asked.start_ns + tolerance_ns) // period_ns)
    after = int((asked.end_ns - stamps_ns[-1] + tolerance_ns) // period_ns)
    return between + max(0, before) + max(0, after)


def _coverage(name: str, number: int, instants: Sequence[Instant], asked: Span) -> Coverage:
    own = [i.frames[number] for i in instants]
    usable_ns = [i.frames[number].stamp_ns for i in instants if _is_usable(i, number)]
    span = Span(start_ns=min(usable_ns), end_ns=max(usable_ns)) if usable_ns else None
    inside = [s for s in usable_ns if asked.start_ns < s < asked.end_ns]
    marks = [asked.start_ns, *inside, asked.end_ns]
    gaps_ns = [later - earlier for earlier, later in itertools.pairwise(marks)]
    statuses: Counter[FrameStatus] = Counter(frame.status for frame in own)
    return Coverage(
        camera=name,
        images=sum(bool(frame.jpeg) for frame in own),
        span=span,
        longest_gap_s=max(0, *gaps_ns) / NS_PER_S,
        statuses=dict(sorted(statuses.items())),
    )


def _is_usable(instant: Instant, number: int) -> bool:
    return is_usable(instant.frames[number])
