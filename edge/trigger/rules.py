"""The rules besides camera against radar, and the table of all of them.

Each takes recent moments, oldest first, and returns what it found in the newest: nothing, or a value in the
rule's own unit with a worth in [0, 1] that compares findings across rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.contracts.clip import TriggerRule
from edge.contracts.rows import complete
from edge.contracts.scene import TTC_FREE_S, Agent, PlanSource
from edge.contracts.time import NS_PER_S
from edge.trigger.health import (
    clock_step,
    deadline_miss,
    image_health,
    network_fault,
    radar_silent,
    rung_change,
)
from edge.trigger.moment import (
    Finding,
    Moment,
    TriggerSettings,
    nearness,
    period_s,
    seconds_between,
)
from edge.trigger.radar import radar_without_box


@dataclass(frozen=True)
class Rule:
    """A row of the table of rules."""

    find: Callable[[Sequence[Moment], TriggerSettings], tuple[Finding, ...]]
    version: int
    unit: str
    """What the finding's value and a campaign's threshold measure."""
    usual_threshold: float
    is_below: bool = False
    """Whether the value fires at or below its threshold instead of at or above."""

    def crosses(self, value: float, threshold: float) -> bool:
        """Compare in the rule's direction."""
        return value <= threshold if self.is_below else value >= threshold


def track_flicker(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Find confirmed agents that were seen, lost and seen again. Value: the longest gap, s.

    Only while the network's boxes could be used throughout: without them, every agent is lost.
    """
    if not all(moment.can_see for moment in moments):
        return ()
    found = []
    for agent in moments[-1].perception.agents:
        range_m = math.hypot(agent.box.x_m, agent.box.y_m)
        if not agent.is_confirmed or range_m > settings.flicker_range_m:
            continue
        if _gap_bound_s(agent, moments) < settings.flicker_gap_s:
            continue
        gap_s = _longest_gap_s(agent.track_id, moments)
        if gap_s >= settings.flicker_gap_s:
            worth = gap_s / (gap_s + 0.5) * nearness(range_m, settings.flicker_range_m)
            found.append(_about(agent, gap_s, worth))
    return tuple(found)


def late_birth(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Find agents first seen close by though their place was in view. Value: range at birth, m."""
    lookback_ns = round(settings.birth_lookback_s * NS_PER_S)
    since_ns = moments[0].stamp_ns + lookback_ns
    found = []
    for agent in moments[-1].perception.agents:
        if not agent.is_confirmed or agent.first_seen_ns < since_ns:
            continue
        birth = next(m for m in moments if agent.track_id in m.agents)
        newborn = birth.agents[agent.track_id]
        before = [m for m in moments if 0 < birth.stamp_ns - m.stamp_ns <= lookback_ns]
        if before and _was_in_view(newborn, birth, before, settings):
            range_m = math.hypot(newborn.box.x_m, newborn.box.y_m)
            found.append(_about(agent, range_m, nearness(range_m, settings.birth_view_range_m)))
    return tuple(found)


def low_ttc(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report the chosen plan's smallest time to collision. Value: seconds."""
    ttc_s = moments[-1].plan.min_ttc_s
    return () if ttc_s >= TTC_FREE_S else (Finding(value=ttc_s, worth=1.0 / (1.0 + ttc_s)),)


def hard_brake(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report the loss of speed over the last half second. Value: mean deceleration, m/s2.

    Two speeds a window apart, as Apollo's hard-brake trigger does, and not the noisy acceleration
    of one tick.
    """
    now = moments[-1]
    window_s = settings.brake_window_s
    start = next((m for m in reversed(moments) if seconds_between(m, now) >= window_s), None)
    if start is None:
        return ()
    deceleration_mps2 = (start.ego.speed_mps - now.ego.speed_mps) / seconds_between(start, now)
    if deceleration_mps2 <= 0.0:
        return ()
    return (Finding(value=deceleration_mps2, worth=deceleration_mps2 / (deceleration_mps2 + 5.0)),)


def minimum_risk(moments: Sequence[Moment], settings: TriggerSettings) -> tuple[Finding, ...]:
    """Report that the plan is the minimum-risk manoeuvre. Value: for how many seconds already."""
    count = 0
    for moment in reversed(moments):
        if moment.plan.source is not PlanSource.MINIMUM_RISK:
            break
        count += 1
    return (Finding(value=count * period_s(moments), worth=1.0),) if count else ()


_ROWS: dict[TriggerRule, Rule] = {
    TriggerRule.RADAR_WITHOUT_BOX: Rule(radar_without_box, 1, "s, weighted (see the rule)", 0.4),
    TriggerRule.TRACK_FLICKER: Rule(track_flicker, 1, "s", 0.5),
    TriggerRule.LATE_BIRTH: Rule(late_birth, 1, "m", 10.0, is_below=True),
    TriggerRule.LOW_TTC: Rule(low_ttc, 1, "s", 1.5, is_below=True),
    TriggerRule.HARD_BRAKE: Rule(hard_brake, 1, "m/s2", 4.0),
    TriggerRule.MINIMUM_RISK: Rule(minimum_risk, 1, "s", 0.0),
    TriggerRule.IMAGE_HEALTH: Rule(image_health, 1, "cameras", 1.0),
    TriggerRule.RADAR_SILENT: Rule(radar_silent, 1, "s", 1.0),
    TriggerRule.DEADLINE_MISS: Rule(deadline_miss, 1, "ms", 0.0),
    TriggerRule.RUNG_CHANGE: Rule(rung_change, 1, "rungs", 1.0),
    TriggerRule.NETWORK_FAULT: Rule(network_fault, 1, "s", 0.0),
    TriggerRule.CLOCK_STEP: Rule(clock_step, 1, "steps", 1.0),
}

RULES: dict[TriggerRule, Rule] = complete(
    _ROWS, set(TriggerRule) - {TriggerRule.RANDOM, TriggerRule.UNKNOWN}, "edge/trigger/rules.py"
)
"""Every rule but ``RANDOM``, which reads no moment: see ``ControlStream``."""


def _about(agent: Agent, value: float, worth: float) -> Finding:
    return Finding(
        value=value, worth=worth, track_id=agent.track_id, x_m=agent.box.x_m, y_m=agent.box.y_m
    )


def _gap_bound_s(agent: Agent, moments: Sequence[Moment]) -> float:
    """Bound an agent's longest gap from above, cheaply: known time less one period per other hit."""
    oldest = moments[0].agents.get(agent.track_id)
    known_ns = moments[-1].stamp_ns - max(agent.first_seen_ns, moments[0].stamp_ns)
    gaps = agent.hits - (oldest.hits if oldest else 1)
    return known_ns / NS_PER_S - (gaps - 1) * period_s(moments)


def _longest_gap_s(track_id: int, moments: Sequence[Moment]) -> float:
    """Return the longest time between two detections (growths of ``hits``) of a confirmed agent."""
    longest_s, hits, last = 0.0, 0, None
    for moment in moments:
        agent = moment.agents.get(track_id)
        if agent is None or agent.hits <= hits:
            continue
        if last is not None and last.agents[track_id].is_confirmed:
            longest_s = max(longest_s, seconds_between(last, moment))
        hits, last = agent.hits, moment
    return longest_s


def _was_in_view(
    newborn: Agent, birth: Moment, before: Sequence[Moment], settings: TriggerSettings
) -> bool:
    """Return whether a newborn's place was seen throughout ``before`` and nothing known there."""
    if not all(m.can_see for m in before):
        return False
    earliest, last = before[0], before[-1]
    box, elapsed_s = newborn.box, seconds_between(earliest, birth)
    then_m = (box.x_m - box.vx_mps * elapsed_s, box.y_m - box.vy_mps * elapsed_s)
    then_range_m = math.hypot(*earliest.from_world(*birth.to_world(*then_m)))
    if then_range_m > settings.birth_view_range_m:
        return False
    here = last.from_world(*birth.to_world(box.x_m, box.y_m))
    known = [*last.perception.boxes, *(agent.box for agent in last.perception.agents)]
    return all(math.dist(here, (b.x_m, b.y_m)) > settings.birth_same_m for b in known)
