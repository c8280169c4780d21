"""Carry a rollout out: read reports from the catalog, record the decision's events, assign releases.

The thin shell around ``decide_rollout``. Every event is in the rollout's stream before it is acted upon,
so a process that ends at any point continues where it stopped, and a repeated step assigns nothing new.
"""

from __future__ import annotations

import msgspec

from edge.contracts.errors import OperatorError, SchemaError
from fleet.catalog import (
    Catalog,
    Event,
    KeyPurpose,
    KeyRow,
    ReportRow,
    RolloutRow,
    StreamKind,
    TrustState,
    among,
    since,
)
from fleet.catalog.chain import stream_name
from fleet.rollout.decide import Director, RolloutDecision, decide_rollout, publish_decision
from fleet.rollout.plan import (
    Halted,
    Reported,
    RolloutEvent,
    RolloutPlan,
    Started,
    decode_event,
    event_facts,
    event_from,
)

_STEP = "rollout_step.2"
_HEX_STEP = "rollout_step.1"
"""The step of the first lap: one fact, the hex of the event's msgpack."""


def report_keys(catalog: Catalog, vehicles: tuple[str, ...]) -> dict[str, bytes]:
    """Look up whose signature counts for each vehicle's reports.

    Raises:
        OperatorError: A vehicle has no active report key.
    """
    rows = catalog.all(
        KeyRow,
        among("vehicle_id", vehicles),
        purpose=KeyPurpose.REPORT,
        state=TrustState.ACTIVE,
    )
    keys = {row.vehicle_id: bytes.fromhex(row.key) for row in rows}
    lacking = sorted(set(vehicles) - set(keys))
    if lacking:
        raise OperatorError(f"no report key of {', '.join(lacking)}; enrol them before a rollout")
    return {vehicle: keys[vehicle] for vehicle in vehicles}


def start_rollout(catalog: Catalog, plan: RolloutPlan, *, actor: str, at_ns: int) -> None:
    """Record a plan and let its first wave go; ``advance_rollout`` does the rest.

    Raises:
        OperatorError: A rollout of that id exists with another plan.
    """
    row = RolloutRow(
        rollout_id=plan.rollout_id,
        bundle_id=plan.candidate.bundle_id,
        state="planned",
        plan=msgspec.to_builtins(plan),
        at_ns=at_ns,
    )
    with catalog.write(at_ns=at_ns, actor=actor) as tx:
        if tx.add(row):
            event = Started(at_ns=at_ns, actor=actor)
            tx.append(
                StreamKind.ROLLOUT, plan.rollout_id, _STEP, cause="start", **event_facts(event)
            )
            return
    if plan_of(catalog, plan.rollout_id) != plan:
        raise OperatorError(f"rollout {plan.rollout_id} exists with another plan; give it a new id")


def halt_rollout(catalog: Catalog, rollout_id: str, reason: str, *, actor: str, at_ns: int) -> None:
    """Stop a rollout by hand; vehicles that switched go back with the next ``advance_rollout``."""
    event = Halted(at_ns=at_ns, reasons=(reason,))
    with catalog.write(at_ns=at_ns, actor=actor) as tx:
        tx.append(StreamKind.ROLLOUT, rollout_id, _STEP, cause="halt", **event_facts(event))


def advance_rollout(
    catalog: Catalog, director: Director, rollout_id: str, *, actor: str, at_ns: int
) -> RolloutDecision:
    """Take in new reports, decide, record, and publish assignments.

    Raises:
        OperatorError: There is no such rollout.
    """
    plan = plan_of(catalog, rollout_id)
    known = events_of(catalog, rollout_id)
    reported = _new_reports(catalog, plan, known)
    decision = decide_rollout(plan, (*known, *reported), at_ns)
    with catalog.write(at_ns=at_ns, actor=actor) as tx:
        for event in (*reported, *decision.events):
            tx.append(StreamKind.ROLLOUT, rollout_id, _STEP, cause="advance", **event_facts(event))
        tx.change(RolloutRow, rollout_id, state=str(decision.stage))
    publish_decision(decision, director, at_ns)
    return decision


def plan_of(catalog: Catalog, rollout_id: str) -> RolloutPlan:
    """Read the plan of a rollout.

    Raises:
        OperatorError: There is no such rollout.
        SchemaError: Its plan does not decode.
    """
    row = catalog.get(RolloutRow, rollout_id)
    if row is None:
        raise OperatorError(
            f"there is no rollout {rollout_id!r}; `ringroad rollout status` shows all"
        )
    try:
        return msgspec.convert(row.plan, RolloutPlan)
    except msgspec.ValidationError as error:
        raise SchemaError(f"the plan of rollout {rollout_id} does not decode: {error}") from error


def events_of(catalog: Catalog, rollout_id: str) -> tuple[RolloutEvent, ...]:
    """Read what happened to a rollout, oldest first."""
    events = catalog.events(stream_name(StreamKind.ROLLOUT, rollout_id))
    return tuple(_step(event) for event in events if event.schema in (_STEP, _HEX_STEP))


def _new_reports(
    catalog: Catalog, plan: RolloutPlan, known: tuple[RolloutEvent, ...]
) -> tuple[Reported, ...]:
    """Return the reports of the plan's vehicles that arrived since it began and were not taken in."""
    began_ns = min((event.at_ns for event in known), default=0)
    taken = {event.payload for event in known if isinstance(event, Reported)}
    vehicles = {vehicle for wave in plan.waves for vehicle in wave}
    arrived = catalog.all(ReportRow, since(began_ns), among("vehicle_id", vehicles))
    rows = [row for row in arrived if row.payload not in taken]
    return tuple(
        Reported(
            at_ns=row.at_ns,
            vehicle_id=row.vehicle_id,
            payload=row.payload,
            signature=row.signature,
        )
        for row in sorted(rows, key=lambda r: (r.at_ns, r.vehicle_id, r.sequence))
    )


def _step(event: Event) -> RolloutEvent:
    """Read one recorded event of a rollout.

    Raises:
        SchemaError: It does not decode.
    """
    if event.schema == _HEX_STEP:
        return decode_event(bytes.fromhex(str(event.facts["step"])))
    return event_from(event.facts)
