"""Bring one bundle to the fleet in waves, and decide from what vehicles report whether to go on.

    planned ──► running(wave) ──► passed
        │            │ ▲──┘ next wave
        └────────────┴──────────► halted (and heals)

A rollout is its plan and the events that happened, nothing else: ``fold_events`` folds them
to a state, and ``decide_rollout`` is a pure function of that state and the time. Its answer names the
release that *every* vehicle concerned should be assigned now, so carrying it out twice equals once.
Reports count only when the vehicle's own key signed them and their sequence is new; silence halts.
After a halt, vehicles that may have switched are assigned the incumbent again, re-released under a
higher counter (both releases are signed before the rollout starts, so that healing waits for no signature).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from edge.contracts.release import Assignment
from edge.contracts.time import NS_PER_S
from fleet.rollout.evidence import VehicleEvidence, silence_of, with_report
from fleet.rollout.plan import (
    Halted,
    Passed,
    Reported,
    RolloutEvent,
    RolloutPlan,
    Started,
    WaveOpened,
)


class RolloutStage(StrEnum):
    """State of a rollout."""

    PLANNED = "planned"
    RUNNING = "running"
    PASSED = "passed"
    HALTED = "halted"


@dataclass(frozen=True)
class RolloutState:
    """The state that all events so far lead to."""

    plan: RolloutPlan
    stage: RolloutStage = RolloutStage.PLANNED
    wave: int = -1
    now_ns: int = 0
    """Time of the newest event; time never runs backwards here."""
    evidence: Mapping[str, VehicleEvidence] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class RolloutDecision:
    """The decision that follows from a state at a time."""

    stage: RolloutStage
    wave: int
    events: tuple[RolloutEvent, ...]
    """Events of the decision itself; to be recorded before it is carried out."""
    assignments: tuple[Assignment, ...]
    """New assignment of each vehicle concerned, by vehicle id; the others keep theirs."""
    reasons: tuple[str, ...] = ()
    unhealed: tuple[str, ...] = ()
    """After a halt, vehicles not yet known to be back on the incumbent."""


def decide_rollout(
    plan: RolloutPlan, events: Iterable[RolloutEvent], now_ns: int
) -> RolloutDecision:
    """Decide what follows from all events, at a UTC time of the fleet.

    Once ``events`` of the answer are recorded, deciding again at that time gives none and the same
    assignments.
    """
    state = fold_events(plan, events)
    follows: list[RolloutEvent] = []
    while (event := due_event(state, max(now_ns, state.now_ns))) is not None:
        follows.append(event)
        state = apply(state, event)
    return RolloutDecision(
        stage=state.stage,
        wave=state.wave,
        events=tuple(follows),
        assignments=assignments_of(state),
        reasons=state.reasons,
        unhealed=_unhealed(state),
    )


def fold_events(plan: RolloutPlan, events: Iterable[RolloutEvent]) -> RolloutState:
    """Fold events, oldest first, into a state."""
    vehicles = (vehicle for wave in plan.waves for vehicle in wave)
    state = RolloutState(plan, evidence={vehicle: VehicleEvidence() for vehicle in vehicles})
    for event in events:
        state = apply(state, event)
    return state


def due_event(state: RolloutState, now_ns: int) -> RolloutEvent | None:
    """Judge a running rollout; None while there is nothing to conclude."""
    if state.stage is not RolloutStage.RUNNING:
        return None
    complaints = _complaints(state, now_ns)
    if complaints:
        return Halted(at_ns=now_ns, reasons=complaints)
    if not all(state.evidence[v].has_passed for v in state.plan.waves[state.wave]):
        return None
    if state.wave + 1 < len(state.plan.waves):
        return WaveOpened(at_ns=now_ns, wave=state.wave + 1)
    return Passed(at_ns=now_ns)


def apply(state: RolloutState, event: RolloutEvent) -> RolloutState:
    """Take one event in; what cannot follow from the state is passed over."""
    now_ns = max(state.now_ns, event.at_ns)
    state = replace(state, now_ns=now_ns)
    match event, state.stage:
        case Started(), RolloutStage.PLANNED:
            return _open_wave(replace(state, stage=RolloutStage.RUNNING), 0)
        case WaveOpened(wave=wave), RolloutStage.RUNNING if wave == state.wave + 1:
            return _open_wave(state, wave)
        case Passed(), RolloutStage.RUNNING:
            return replace(state, stage=RolloutStage.PASSED)
        case Halted(reasons=reasons), RolloutStage.PLANNED | RolloutStage.RUNNING:
            return replace(state, stage=RolloutStage.HALTED, reasons=reasons)
        case Reported(), _:
            return _with_report(state, event)
    return state


def assignments_of(state: RolloutState) -> tuple[Assignment, ...]:
    """List the assignment of each vehicle of the opened waves, by vehicle id."""
    release = state.plan.heal if state.stage is RolloutStage.HALTED else state.plan.candidate
    opened = enumerate(state.plan.waves[: state.wave + 1])
    return tuple(
        sorted(
            (
                Assignment(
                    vehicle_id=vehicle_id,
                    release=release,
                    rollout_id=state.plan.rollout_id,
                    wave=wave,
                )
                for wave, vehicles in opened
                for vehicle_id in vehicles
            ),
            key=lambda assignment: assignment.vehicle_id,
        )
    )


class Director(Protocol):
    """Publishes assignments, see ``fleet.repository.DirectorRepository``."""

    def assign(self, assignment: Assignment, now_ns: int) -> bool:
        """Publish one assignment; False when it was published already."""
        ...


def publish_decision(decision: RolloutDecision, director: Director, now_ns: int) -> tuple[str, ...]:
    """Publish every assignment of a decision; safe to repeat, also after a process died half-way.

    Returns:
        The vehicles whose metadata changed.
    """
    return tuple(
        assignment.vehicle_id
        for assignment in decision.assignments
        if director.assign(assignment, now_ns)
    )


def _open_wave(state: RolloutState, wave: int) -> RolloutState:
    opened = {v: replace(state.evidence[v], opened_ns=state.now_ns) for v in state.plan.waves[wave]}
    return replace(state, wave=wave, evidence={**state.evidence, **opened})


def _with_report(state: RolloutState, event: Reported) -> RolloutState:
    before = state.evidence.get(event.vehicle_id)
    if before is None:
        return state
    after = with_report(before, event, event.vehicle_id, state.plan, state.now_ns)
    return replace(state, evidence={**state.evidence, event.vehicle_id: after})


def _complaints(state: RolloutState, now_ns: int) -> tuple[str, ...]:
    """List why a running rollout must halt: a fault of any vehicle, or the running wave's silence."""
    rule = state.plan.rule
    found = [f"{v} {fault}" for v, e in sorted(state.evidence.items()) for fault in e.faults[:1]]
    for vehicle_id in state.plan.waves[state.wave]:
        evidence = state.evidence[vehicle_id]
        found += [f"{vehicle_id} {silence}" for silence in silence_of(evidence, rule, now_ns)]
        age_ns = now_ns - (evidence.opened_ns or 0)
        if not evidence.has_passed and age_ns > rule.wave_s * NS_PER_S:
            found.append(f"{vehicle_id} did not pass within {rule.wave_s:.0f} s")
    return tuple(found)


def _unhealed(state: RolloutState) -> tuple[str, ...]:
    if state.stage is not RolloutStage.HALTED:
        return ()
    opened = ((v, e) for v, e in state.evidence.items() if e.opened_ns is not None)
    return tuple(sorted(v for v, e in opened if not e.is_healed))
