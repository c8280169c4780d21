"""Roll a candidate out wave by wave; after each wave its vehicles drive again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.contracts.time import FRAME_RATE_HZ
from fleet.bundle.bundle import Bundle
from fleet.depot import Depot
from fleet.rollout import CanaryRule, Decision, Stage
from fleet.rollout.conduct import advance, start
from sim.lap.record import WaveRecord
from sim.lap.settings import LapSettings
from sim.lap.setup import ACTOR
from sim.lap.vehicle import VehicleOutcome
from sim.vehicle import DriveOrder

_MOST_TICKS = 360
"""What a canary has to drive, or half of a shorter drive."""

RunDrives = Callable[[Sequence[DriveOrder]], list[VehicleOutcome]]


def roll_out(
    settings: LapSettings,
    rollout_id: str,
    depot: Depot,
    candidate: Bundle,
    incumbent: Bundle,
    orders: Sequence[DriveOrder],
    run: RunDrives,
) -> tuple[tuple[WaveRecord, ...], list[VehicleOutcome]]:
    """Release a candidate, and the incumbent above it for the way back; open wave after wave.

    Args:
        settings: The lap's.
        rollout_id: Its name.
        depot: The fleet's.
        candidate: What passed the gate.
        incumbent: What vehicles go back to.
        orders: One drive per vehicle.
        run: Runs the drives of a wave.
    """
    ticks = min(_MOST_TICKS, round(settings.redrive_s * FRAME_RATE_HZ * 0.5))
    released = depot.release(candidate)
    heal = depot.release(depot.again(incumbent))
    vehicles = [order.vehicle_id for order in orders]
    plan = depot.plan(rollout_id, released, heal, vehicles, CanaryRule(ticks=ticks))
    start(depot.workshop.catalog, plan, actor=ACTOR, at_ns=depot.workshop.now_ns())
    waves: list[WaveRecord] = []
    outcomes: list[VehicleOutcome] = []
    for number, wave in enumerate(plan.waves):
        before = _advance(depot, rollout_id)
        outcomes.extend(run([order for order in orders if order.vehicle_id in wave]))
        after = _advance(depot, rollout_id)
        waves.append(_wave(number, wave, before, after))
    return tuple(waves), outcomes


def _advance(depot: Depot, rollout_id: str) -> Decision:
    workshop = depot.workshop
    return advance(
        workshop.catalog, depot.director, rollout_id, actor=ACTOR, at_ns=workshop.now_ns()
    )


def _wave(number: int, wave: tuple[str, ...], before: Decision, after: Decision) -> WaveRecord:
    if before.wave < number:
        return WaveRecord(vehicles=wave, state="held", reason="; ".join(before.reasons))
    is_good = after.wave > number or after.stage is Stage.PASSED
    state = str(Stage.PASSED if is_good else after.stage)
    return WaveRecord(vehicles=wave, state=state, reason="; ".join(after.reasons))
