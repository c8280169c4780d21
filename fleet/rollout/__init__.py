"""Bring a bundle to the fleet in waves: the plan, the evidence, and what to do next."""

from fleet.rollout.decide import (
    RolloutDecision,
    RolloutStage,
    decide_rollout,
    fold_events,
    publish_decision,
)
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
    event_facts,
    event_from,
    plan_waves,
)

__all__ = [
    "CanaryRule",
    "Halted",
    "Passed",
    "Reported",
    "RolloutDecision",
    "RolloutEvent",
    "RolloutPlan",
    "RolloutStage",
    "Started",
    "WaveOpened",
    "decide_rollout",
    "decode_event",
    "event_facts",
    "event_from",
    "fold_events",
    "plan_waves",
    "publish_decision",
    "verified_report",
]
