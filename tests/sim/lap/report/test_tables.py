"""Steps of the loop, rungs, uplink and shares as the page lays them out."""

from collections.abc import Callable

import msgspec
import pytest

from sim.lap.record import (
    LapRecord,
)
from sim.lap.report.loop import steps
from sim.lap.report.rows import rungs, uplink, wilson

MakeRecord = Callable[..., LapRecord]


def test_stages_are_timed_at_their_step_of_the_loop(lap_record: MakeRecord) -> None:
    seconds = {step.title: step.seconds for step in steps(lap_record())}
    assert seconds["Drive"] == pytest.approx(98.2), "the second drive is not the first"
    assert seconds["Learn"] == pytest.approx(3.3 + 131.6)
    assert seconds["Sign and roll out"] == pytest.approx(5.2 + 12.9)
    assert seconds["Admit"] is None


def test_drive_counts_the_ticks_before_the_gate_alone(lap_record: MakeRecord) -> None:
    (drive,) = [step for step in steps(lap_record()) if step.title == "Drive"]
    assert drive.lines == ("3 vehicles", "6,420 ticks")


def test_rungs_that_were_never_used_are_left_out(lap_record: MakeRecord) -> None:
    drive = msgspec.structs.replace(
        lap_record().drives[0], rungs={"minimum_risk": 3, "small": 0, "full": 2157, "unknown": 0}
    )
    assert rungs(drive) == [("full", 2157), ("minimum_risk", 3)]


def test_uplink_is_told_per_clip_per_minute_and_per_find(lap_record: MakeRecord) -> None:
    clips = msgspec.structs.replace(
        lap_record().clips, uploaded=20, bytes_uploaded=321_000_000, with_rare_triggered=10
    )
    # Three drives of 2,140 ticks at 36 Hz are 2.97 minutes.
    found = uplink(lap_record(clips=clips))
    assert found is not None
    assert (found.per_clip_bytes, found.per_find_bytes) == (16_050_000, 32_100_000)
    assert found.per_minute_bytes == 108_000_000
    older = [msgspec.structs.replace(d, seconds=None) for d in lap_record().drives]
    assert uplink(lap_record(clips=clips, drives=tuple(older))) == found
    slow = [msgspec.structs.replace(d, seconds=d.ticks / 12) for d in lap_record().drives]
    at_12_hz = uplink(lap_record(clips=clips, drives=tuple(slow)))
    assert at_12_hz is not None and at_12_hz.per_minute_bytes == 36_000_000
    nothing = msgspec.structs.replace(clips, uploaded=0, bytes_uploaded=0)
    assert uplink(lap_record(clips=nothing)) is None


@pytest.mark.parametrize(
    ("hits", "draws", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634)]
)
def test_wilson_interval(hits: int, draws: int, low: float, high: float) -> None:
    bounds = wilson(hits, draws)
    assert (bounds.low, bounds.high) == pytest.approx((low, high), abs=1e-4)
