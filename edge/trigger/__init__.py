"""Decide, every tick, whether the last three seconds deserve a clip.

A rule is a pure function of recent moments: no clock, no disk, no network. It may be wrong often;
the campaign's quota, not the rule, protects the uplink. What a rule must get right is the *order*
of its findings, because a drive meets many more ordinary misses and radar ghosts than rare objects
and the quota keeps only the best: so every finding carries a worth, and a subject fires again when
its worth has grown clearly since it last fired.

Look here first: ``RULES`` in ``rules.py`` is the table of rules, ``evaluate`` in ``arming.py`` runs
them.
"""

from edge.trigger.arming import ControlStream, TriggerState, evaluate
from edge.trigger.moment import Finding, Moment, TriggerSettings
from edge.trigger.radar import radar_without_box
from edge.trigger.rules import (
    RULES,
    Rule,
    hard_brake,
    late_birth,
    low_ttc,
    minimum_risk,
    track_flicker,
)

__all__ = [
    "RULES",
    "ControlStream",
    "Finding",
    "Moment",
    "Rule",
    "TriggerSettings",
    "TriggerState",
    "evaluate",
    "hard_brake",
    "late_birth",
    "low_ttc",
    "minimum_risk",
    "radar_without_box",
    "track_flicker",
]
