"""The time of a tick: what it may take, what it costs, which rung fits, and where it went."""

from edge.budget.charge import Charge, MeasuredCharge, ModelledCharge, Slowdown
from edge.budget.cost import ModelledLatency, modelled_latency
from edge.budget.deadline import (
    AFTER_PLAN,
    SENSOR_TO_PLAN,
    Budget,
    BudgetSettings,
    sum_ms,
)
from edge.budget.ladder import Choice, Ladder
from edge.budget.ledger import (
    Clock,
    DeadlineSummary,
    Ledger,
    MonotonicClock,
    TickAccount,
    TickLedger,
    VirtualClock,
)

__all__ = [
    "AFTER_PLAN",
    "SENSOR_TO_PLAN",
    "Budget",
    "BudgetSettings",
    "Charge",
    "Choice",
    "Clock",
    "DeadlineSummary",
    "Ladder",
    "Ledger",
    "MeasuredCharge",
    "ModelledCharge",
    "ModelledLatency",
    "MonotonicClock",
    "Slowdown",
    "TickAccount",
    "TickLedger",
    "VirtualClock",
    "modelled_latency",
    "sum_ms",
]
