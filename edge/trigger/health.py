"""The rules about the vehicle itself: its cameras, its radar, its network, its time.

These moments show what a fleet's hardware does on the road. They are rare, so their worth is high; campaigns
bound their number.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.contracts.scene import Rung
from edge.trigger.moment import Finding, Moment, TriggerSettings, period_s

_ORDER = {rung: k for k, rung in enumerate(Rung)}


def image_health(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report cameras that show nothing that can be trusted. Value: their number."""
    count = moments[-1].faulty_cameras
    return (Finding(value=float(count), worth=count / (count + 1.0)),) if count else ()


def radar_silent(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report a radar that measures nothing any more. Value: for how long, s."""
    silent_s = moments[-1].radar_silent_s
    return (Finding(value=silent_s, worth=0.9),) if silent_s > 0.0 else ()


def deadline_miss(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report a plan that came after its deadline. Value: by how much, ms."""
    late_ms = moments[-1].late_ms
    return (Finding(value=late_ms, worth=late_ms / (late_ms + 50.0)),) if late_ms > 0.0 else ()


def rung_change(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report that the tick ran on a poorer rung than the one before. Value: by how many rungs."""
    if len(moments) < 2:
        return ()
    before, now = moments[-2].perception.rung, moments[-1].perception.rung
    fallen = _ORDER[now] - _ORDER[before]
    return (Finding(value=float(fallen), worth=fallen / len(_ORDER)),) if fallen > 0 else ()


def network_fault(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report a network that failed, hung or answered nonsense. Value: for how long in a row, s."""
    count = 0
    for moment in reversed(moments):
        if not moment.perception.has_fault:
            break
        count += 1
    return (Finding(value=count * period_s(moments), worth=0.9),) if count else ()


def clock_step(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report that the clock stepped just before this tick. Value: 1."""
    return (Finding(value=1.0, worth=0.5),) if moments[-1].has_stepped else ()
