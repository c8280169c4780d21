"""Several laps side by side: transfer and forgetting."""

from collections.abc import Callable

import pytest

from fleet.evaluate import Decision
from sim.lap.record import (
    BoundedScore,
    Contestant,
    LapRecord,
    SliceScore,
)
from sim.lap.report.history import lap_matrix
from sim.lap.report.page import render

MakeRecord = Callable[..., LapRecord]
MakeInterval = Callable[..., BoundedScore]


def test_three_laps_show_what_was_kept(lap_record: MakeRecord) -> None:
    laps = [lap_record(lap=k) for k in (1, 2, 3)]
    rows = {row.slice: row for row in lap_matrix(laps)}
    assert rows["animal"].scores == pytest.approx((0.0, 0.41, 0.46, 0.51))
    assert rows["animal"].claimed_in == 1 and rows["animal"].forward is None
    assert rows["animal"].backward == pytest.approx(0.10)
    assert rows["animal"].forgetting == pytest.approx(-0.05)
    assert rows["ordinary"].backward is None
    assert rows["ordinary"].forgetting == pytest.approx(0.612 - 0.608)
    assert rows["animal_night"].forgetting is None


def test_slice_claimed_later_has_forward_transfer(
    lap_record: MakeRecord, span: MakeInterval
) -> None:
    second = lap_record(lap=2, claimed_slice="pedestrian_night")
    scores = tuple(
        SliceScore(slice="pedestrian_night", metric="recall", score=span(v), truths=9)
        for v in (0.2, 0.3, 0.6)
    )
    laps = [
        lap_record(
            incumbent=Contestant(bundle_id="b-1", slices=scores[:1]),
            candidate=Contestant(
                bundle_id=lap_record().candidate.bundle_id, slices=(*scores[1:2],)
            ),
        ),
        lap_record(
            lap=2,
            claimed_slice="pedestrian_night",
            candidate=Contestant(bundle_id=second.candidate.bundle_id, slices=scores[2:]),
        ),
    ]
    (row,) = lap_matrix(laps)
    assert row.claimed_in == 2 and row.scores == pytest.approx((0.2, 0.3, 0.6))
    assert row.forward == pytest.approx(0.1) and row.backward is None


def test_refused_candidate_leaves_no_trace_in_the_matrix(lap_record: MakeRecord) -> None:
    rows = {row.slice: row for row in lap_matrix([lap_record(Decision.FAIL)])}
    assert rows["animal"].scores == pytest.approx((0.0, 0.0))


def test_history_may_hold_the_lap_itself(lap_record: MakeRecord) -> None:
    laps = [lap_record(lap=1), lap_record(lap=2)]
    assert render(laps[1], (), laps) == render(laps[1], (), laps[:1])
