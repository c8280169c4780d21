"""Roll a candidate out wave by wave; after each wave its vehicles drive again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet.depot import Depot
from fleet.rollout import RolloutDecision, RolloutStage
from fleet.rollout.conduct import advance_rollout, start_rollout
from sim.lap.drives import FinishedDrive
from sim.lap.judging import RolloutOrder
from sim.lap.record import WaveRecord
from sim.lap.setup import ACTOR
from sim.vehicle import DriveOrder

RunDrives = Callable[[Sequence[DriveOrder]], list[FinishedDrive]]


def roll_out(
    depot: Depot, order: RolloutOrder, run: RunDrives
) -> tuple[tuple[WaveRecord, ...], list[FinishedDrive]]:
    """Release a candidate, and the incumbent above it for the way back; open wave after wave.

    Args:
        depot: The fleet's.
        order: Bundles, vehicles and the canary rule.
        run: Runs the drives of a wave.
    """
    released = depot.release(order.candidate)
    heal = depot.release(depot.rerelease(order.incumbent))
    vehicles = [drive.vehicle_id for drive in order.drives]
    plan = depot.plan(order.rollout_id, released, heal, vehicles, order.rule)
    start_rollout(depot.workspace.catalog, plan, actor=ACTOR, at_ns=depot.workspace.now_ns())
    waves: list[WaveRecord] = []
    finished: list[FinishedDrive] = []
    for number, wave in enumerate(plan.waves):
        before = _advance(depot, order.rollout_id)
        finished.extend(run([drive for drive in order.drives if drive.vehicle_id in wave]))
        after = _advance(depot, order.rollout_id)
        waves.append(_wave(number, wave, before, after))
    return tuple(waves), finished


def _advance(depot: Depot, rollout_id: str) -> RolloutDecision:
    workspace = depot.workspace
    return advance_rollout(
        workspace.catalog, depot.director, rollout_id, actor=ACTOR, at_ns=workspace.now_ns()
    )


def _wave(
    number: int, wave: tuple[str, ...], before: RolloutDecision, after: RolloutDecision
) -> WaveRecord:
    if before.wave < number:
        return WaveRecord(vehicles=wave, state="held", reason="; ".join(before.reasons))
    is_good = after.wave > number or after.stage is RolloutStage.PASSED
    state = str(RolloutStage.PASSED if is_good else after.stage)
    return WaveRecord(vehicles=wave, state=state, reason="; ".join(after.reasons))
