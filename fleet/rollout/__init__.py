"""Bring a bundle to the fleet in waves: the plan, the evidence, and what to do next."""

from fleet.rollout.decide import Decision, Stage, decide, publish_decision, replay
from fleet.rollout.evidence import verified_report
from fleet.rollout.plan import (
    CanaryRule,
    Halted,
    Passed,
    Reported,
    RolloutEvent,
    RolloutPlan,
    Started,
    WaveOpened,
    decode_event,
    event_from,
    facts_of,
    plan_waves,
)

__all__ = [
    "CanaryRule",
    "Decision",
    "Halted",
    "Passed",
    "Reported",
    "RolloutEvent",
    "RolloutPlan",
    "Stage",
    "Started",
    "WaveOpened",
    "decide",
    "decode_event",
    "event_from",
    "facts_of",
    "plan_waves",
    "publish_decision",
    "replay",
    "verified_report",
]
