"""Stamps: integer nanoseconds of a named clock.

A period of 36 Hz is not a whole number of nanoseconds, so frame k is computed from the epoch each time and
never accumulated: an hour of ticks drifts by nothing.
"""

import msgspec

from edge.contracts.fields import Name, OpenEnum

FRAME_RATE_HZ = 36
"""Of the simulated vehicles' cameras. Every other source states its own rate."""
NS_PER_S = 1_000_000_000

VIRTUAL_EPOCH_NS = 1_700_000_000 * NS_PER_S
"""Where every virtual clock starts: a constant, so that the same seed gives the same bytes."""

LONGEST_GAP_S = 1.0
"""A longer gap between two frame sets begins a new time base: tracks do not survive it."""


class ClockKind(OpenEnum):
    """Which clock a stamp was read from."""

    UTC = "utc"
    MONOTONIC = "monotonic"
    VIRTUAL = "virtual"
    UNKNOWN = "unknown"


class NamedClock(msgspec.Struct, frozen=True, kw_only=True):
    """A clock by name; a monotonic one only means something together with its boot."""

    kind: ClockKind
    boot_id: Name | None = None

    def __post_init__(self) -> None:
        if self.kind is ClockKind.MONOTONIC and self.boot_id is None:
            raise ValueError("a monotonic stamp needs the boot_id of the machine that read it")


def frame_stamp_ns(
    frame_index: int, epoch_ns: int = VIRTUAL_EPOCH_NS, rate_hz: float = FRAME_RATE_HZ
) -> int:
    """Return the stamp of camera frame ``frame_index`` after ``epoch_ns``, at a rate of a source."""
    if rate_hz == int(rate_hz):
        return epoch_ns + frame_index * NS_PER_S // int(rate_hz)
    return epoch_ns + int(frame_index * NS_PER_S / rate_hz)


def is_one_time_base(earlier_ns: int, later_ns: int) -> bool:
    """Return whether two successive stamps belong together, or the clock stepped between them.

    Clocks step back (NTP, GPS after a tunnel, a board without a battery) and ahead by as much. A stamp
    behind the last one, or more than ``LONGEST_GAP_S`` ahead of it, starts a new time base: what holds
    absolute stamps then starts anew, or it would wait until the old time is reached again.
    """
    return 0 <= later_ns - earlier_ns <= LONGEST_GAP_S * NS_PER_S
