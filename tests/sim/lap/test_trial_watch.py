"""What a simulated vehicle tells its update agent about a tick."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.budget import TickLedger
from edge.contracts.scene import Perception, Plan, PlanSource, Rung
from edge.contracts.sensors import Drop, Dropped, Reading
from edge.runtime import TickResult
from sim.lap.vehicle import report_to


@dataclass
class Agent:
    """Remembers what it was told."""

    told: list[tuple[int, int]] = field(default_factory=list)

    def on_ticks(self, ticks: int, faults: int, now_ns: int) -> None:
        self.told.append((ticks, faults))


def result(has_fault: bool, dropped: Dropped) -> TickResult:
    perception = Perception(stamp_ns=0, rung=Rung.FULL, bundle_id="b-1", has_fault=has_fault)
    plan = Plan(
        stamp_ns=0, source=PlanSource.ROUTE, points=(), step_s=0.25, acceleration_mps2=0.0,
        steering_rad=0.0, min_ttc_s=60.0,
    )  # fmt: skip
    ledger = TickLedger(0, 0, Rung.FULL, "", (), 100.0)
    return TickResult(perception, plan, (), ledger, dropped)


@pytest.mark.parametrize(
    ("has_fault", "dropped", "told"),
    [
        (False, (), [(1, 0)]),
        (True, (), [(1, 1)]),
        (False, (Drop(Reading.RADAR_POINT, 1),), [(1, 0)]),
        (True, (Drop(Reading.RADAR_POINT, 1),), []),
    ],
    ids=["good", "faulty", "good on cleaned readings", "faulty on cleaned readings"],
)
def test_a_bundle_on_trial_is_not_charged_for_a_fault_on_cleaned_readings(
    has_fault: bool, dropped: Dropped, told: list[tuple[int, int]]
) -> None:
    agent = Agent()
    progress = SimpleNamespace(say=lambda tick, words: None, kept=lambda: 0, path=Path())
    report_to(agent, progress)(0, result(has_fault, dropped))
    assert agent.told == told
