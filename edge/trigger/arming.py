"""Run the rules that campaigns armed: thresholds, N of M ticks, rising edges, intervals, chance.

An edge belongs to a *subject* (a track, or the tick itself for rules without one) and not to the rule: where
one thing fires the rule all the time, another one must still be able to fire it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import TriggerEvent, TriggerRule
from edge.contracts.time import NS_PER_S
from edge.trigger.moment import Finding, Moment, TriggerSettings
from edge.trigger.rules import RULES, Rule

RANDOM_VERSION = 1


@dataclass(frozen=True)
class ControlStream:
    """The random control stream of one drive: what recall and label efficiency are estimated from.

    Whether tick i starts a clip depends on these fields and i, and on nothing that was seen; so
    every tick has the same stated probability, and a re-run draws the same.
    """

    seed: int
    vehicle_id: str
    drive_id: str

    def draw(self, tick_index: int) -> float:
        """Return tick i's number, uniform in [0, 1)."""
        text = f"{self.seed}/{self.vehicle_id}/{self.drive_id}/{tick_index}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / 2**53


@dataclass(frozen=True)
class Subject:
    """Memory of one armed rule about one subject."""

    crossings: int = 0
    """The last M ticks as bits, newest lowest: whether the value crossed."""
    crossed_ns: int = 0
    fired_worth: float | None = None
    """Worth at its last firing; None while it has not fired since it rose."""


@dataclass(frozen=True)
class Armed:
    """Memory of one armed rule."""

    fired_ns: int | None = None
    subjects: Mapping[int | None, Subject] = field(default_factory=dict)


@dataclass(frozen=True)
class TriggerState:
    """Memory of every armed rule, by campaign and position in it."""

    armed: Mapping[tuple[str, int], Armed] = field(default_factory=dict)
    ignored_rules: int = 0
    """Rules now asked for that this vehicle does not know, or knows in another version."""


def evaluate(
    moments: Sequence[Moment],
    campaigns: Sequence[Campaign],
    state: TriggerState,
    *,
    control: ControlStream,
    tick_index: int,
    settings: TriggerSettings,
    rate_hz: float,
) -> tuple[tuple[TriggerEvent, ...], TriggerState]:
    """Run every armed rule on the newest moment.

    Args:
        moments: Oldest first, about three seconds, at least one.
        campaigns: What is armed; one whose time is over is skipped.
        state: What the last call gave, ``TriggerState()`` at first.
        control: The drive's random stream.
        tick_index: ``FrameSet.index`` of the newest moment.
        settings: Numbers of the rules.
        rate_hz: Ticks per second of the source.

    Returns:
        The events of this tick in the order of the campaigns, and the new state.
    """
    now = moments[-1]
    found: dict[TriggerRule, tuple[Finding, ...]] = {}
    events: list[TriggerEvent] = []
    memory: dict[tuple[str, int], Armed] = {}
    ignored = 0
    for campaign in campaigns:
        if campaign.until_ns < now.stamp_ns:
            continue
        for position, armed_rule in enumerate(campaign.rules):
            if armed_rule.rule is TriggerRule.RANDOM and armed_rule.version == RANDOM_VERSION:
                chance = armed_rule.chance_at(rate_hz)
                if control.draw(tick_index) < chance:
                    events.append(_random_event(armed_rule, chance, campaign, now))
                continue
            rule = RULES.get(armed_rule.rule)
            if rule is None or rule.version != armed_rule.version:
                ignored += 1
                continue
            if armed_rule.rule not in found:
                found[armed_rule.rule] = rule.find(moments, settings)
            key = (campaign.campaign_id, position)
            fired, memory[key] = step(
                state.armed.get(key, Armed()),
                found[armed_rule.rule],
                armed_rule,
                rule,
                now_ns=now.stamp_ns,
                escalation_worth=settings.escalation_worth,
                rate_hz=rate_hz,
            )
            if fired is not None:
                events.append(_event(fired, armed_rule, campaign, now))
    return tuple(events), TriggerState(armed=memory, ignored_rules=ignored)


def step(
    armed: Armed,
    findings: Sequence[Finding],
    armed_rule: ArmedRule,
    rule: Rule,
    *,
    now_ns: int,
    escalation_worth: float,
    rate_hz: float,
) -> tuple[Finding | None, Armed]:
    """Advance one armed rule by a tick; return the finding that fires, if one does.

    Of several that may fire the one of most worth does; the others may fire after the minimum interval.
    """
    crossing = {f.track_id: f for f in findings if rule.crosses(f.value, armed_rule.threshold)}
    interval_ns = round(armed_rule.min_interval_s * NS_PER_S)
    needed, window = armed_rule.ticks_at(rate_hz)
    subjects = _advance(armed.subjects, crossing, window, now_ns, interval_ns)
    if armed.fired_ns is not None and now_ns - armed.fired_ns < interval_ns:
        return None, Armed(fired_ns=armed.fired_ns, subjects=subjects)
    ready = [
        finding
        for finding in crossing.values()
        if subjects[finding.track_id].crossings.bit_count() >= needed
        and _is_news(subjects[finding.track_id], finding, escalation_worth)
    ]
    if not ready:
        return None, Armed(fired_ns=armed.fired_ns, subjects=subjects)
    best = max(ready, key=lambda f: (f.worth, -(f.track_id or 0)))
    subject = subjects[best.track_id]
    subjects[best.track_id] = Subject(subject.crossings, subject.crossed_ns, best.worth)
    return best, Armed(fired_ns=now_ns, subjects=subjects)


def _advance(
    subjects: Mapping[int | None, Subject],
    crossing: Mapping[int | None, Finding],
    window: int,
    now_ns: int,
    interval_ns: int,
) -> dict[int | None, Subject]:
    """Shift this tick into every subject's history; a subject long without a crossing is re-armed."""
    mask = (1 << window) - 1
    advanced = {}
    for track_id in dict.fromkeys([*subjects, *crossing]):
        old = subjects.get(track_id, Subject())
        has_crossed = track_id in crossing
        crossings = (old.crossings << 1 | has_crossed) & mask
        crossed_ns = now_ns if has_crossed else old.crossed_ns
        if crossings or now_ns - crossed_ns <= interval_ns:
            advanced[track_id] = Subject(crossings, crossed_ns, old.fired_worth)
    return advanced


def _is_news(subject: Subject, finding: Finding, escalation_worth: float) -> bool:
    """Tell a rising edge, or clear growth since the last firing, from a finding that merely goes on."""
    return subject.fired_worth is None or finding.worth >= subject.fired_worth + escalation_worth


def _event(
    finding: Finding, armed_rule: ArmedRule, campaign: Campaign, now: Moment
) -> TriggerEvent:
    return TriggerEvent(
        rule=armed_rule.rule,
        rule_version=armed_rule.version,
        campaign_id=campaign.campaign_id,
        stamp_ns=now.stamp_ns,
        value=finding.value,
        threshold=armed_rule.threshold,
        worth=finding.worth * armed_rule.weight,
        track_id=finding.track_id,
        x_m=finding.x_m,
        y_m=finding.y_m,
    )


def _random_event(
    armed_rule: ArmedRule, chance: float, campaign: Campaign, now: Moment
) -> TriggerEvent:
    """Record the probability of this tick as the value; the worth says nothing about what was in view."""
    return TriggerEvent(
        rule=TriggerRule.RANDOM,
        rule_version=RANDOM_VERSION,
        campaign_id=campaign.campaign_id,
        stamp_ns=now.stamp_ns,
        value=chance,
        threshold=armed_rule.threshold,
        worth=armed_rule.weight,
    )
