"""Numbers of a drive that need the truth."""

import pytest

from edge.contracts.scene import Perception, Rung
from sim.lap import measures
from sim.lap.measures import Measure, MeasureTally, Per, SeenTick


def tick(speed_mps: float = 5.0) -> SeenTick:
    perception = Perception(stamp_ns=0, rung=Rung.FULL, bundle_id="b-1")
    return SeenTick(perception, (), speed_mps)


def test_a_vehicle_that_stands_for_a_quarter_of_its_ticks_has_a_standing_ratio_of_a_quarter() -> (
    None
):
    tally = MeasureTally()
    for speed_mps in (0.0, 5.0, 5.0, 5.0):
        tally.add(tick(speed_mps))
    assert tally.measured(progress_m=100.0)["standing_ratio"] == 0.25


def test_a_measure_per_kilometre_is_divided_by_the_way_and_left_out_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = Measure("ticks_per_km", lambda tick: 1.0, Per.KM)
    monkeypatch.setattr(measures, "MEASURES", {row.name: row})
    tally = MeasureTally()
    for _ in range(6):
        tally.add(tick())
    assert tally.measured(progress_m=500.0) == {"ticks_per_km": 12.0}
    assert tally.measured(progress_m=0.0) == {}
