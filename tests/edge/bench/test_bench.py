"""The benchmark's cadence, quantiles and urgency, on a clock on paper."""

import gc
import itertools
import os
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.cadence import newest_frame, paced
from edge.bench.latency import latency
from edge.bench.urgency import collected_by_hand, urgent

PERIOD_NS = 1_000_000_000 // 36


@dataclass
class PaperTimer:
    """A clock that moves when it is slept on, and while a tick works."""

    at_ns: int = 5_000
    slept_until_ns: list[int] = field(default_factory=list)

    def now_ns(self) -> int:
        return self.at_ns

    def sleep_until(self, at_ns: int) -> None:
        self.slept_until_ns.append(at_ns)
        self.at_ns = max(self.at_ns, at_ns)

    def working(self, *durations_ms: float):
        left = iter(durations_ms)

        def work() -> None:
            self.at_ns += round(next(left) * 1e6)

        return work


def test_quick_ticks_begin_when_their_frame_is_born() -> None:
    timer = PaperTimer()
    beats, dropped = paced(timer.working(5, 5, 5), 3, timer, 36.0)
    assert [beat.due_ns - 5_000 for beat in beats] == [0, PERIOD_NS, 55_555_555]
    assert [beat.waited_ms for beat in beats] == [0.0, 0.0, 0.0]
    assert [beat.total_ms for beat in beats] == [5.0, 5.0, 5.0]
    assert dropped == 0


def test_frames_of_a_source_of_12_hz_are_born_every_83_ms() -> None:
    timer = PaperTimer()
    beats, dropped = paced(timer.working(5, 200, 5), 3, timer, 12.0)
    assert [beat.due_ns - 5_000 for beat in beats] == [0, 83_333_333, 250_000_000]
    assert dropped == 1


def test_frame_that_comes_while_a_tick_works_waits_for_it() -> None:
    timer = PaperTimer()
    beats, dropped = paced(timer.working(40, 5), 2, timer, 36.0)
    assert [beat.frame for beat in beats] == [0, 1]
    assert beats[1].waited_ms == pytest.approx(40 - 27.78, abs=0.01)
    assert beats[1].total_ms == pytest.approx(45 - 27.78, abs=0.01)
    assert dropped == 0


def test_newest_frame_is_taken_and_older_ones_are_dropped() -> None:
    """100 ms are three periods and a half: frames 1 and 2 are gone when frame 3 is taken."""
    timer = PaperTimer()
    beats, dropped = paced(timer.working(100, 5, 5), 3, timer, 36.0)
    assert [beat.frame for beat in beats] == [0, 3, 4]
    assert dropped == 2
    assert beats[1].waited_ms == pytest.approx(100 - 3 * 27.78, abs=0.02)


def test_late_loop_never_works_on_two_frames_in_one_period() -> None:
    timer = PaperTimer()
    beats, _ = paced(timer.working(100, 1, 1, 1), 4, timer, 36.0)
    assert all(b.frame > a.frame and b.due_ns > a.due_ns for a, b in itertools.pairwise(beats))
    assert all(beat.began_ns >= beat.due_ns for beat in beats)


@given(st.integers(0, 10**13))
def test_newest_frame_is_the_last_one_that_is_born(elapsed_ns: int) -> None:
    frame = newest_frame(elapsed_ns, 36.0)
    assert frame * 1_000_000_000 // 36 <= elapsed_ns < (frame + 1) * 1_000_000_000 // 36


def test_tails_are_only_told_of_series_that_are_long_enough() -> None:
    short = latency([float(k) for k in range(1, 662)])
    assert (short.count, short.p50_ms, short.p99_ms, short.p999_ms) == (661, 331.0, None, None)
    enough = latency([float(k) for k in range(1, 663)])
    assert (enough.p99_ms, enough.p999_ms, enough.max_ms) == (656.0, None, 662.0)
    assert latency([1.0] * 6_635 + [9.0]).p999_ms == 1.0


def test_urgency_and_collector_are_given_back() -> None:
    before = os.sched_getscheduler(0), os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    with urgent(is_wanted=True) as granted, collected_by_hand():
        assert len(os.sched_getaffinity(0)) == 1 and "pinned to core" in granted
        assert not gc.isenabled()
    assert gc.isenabled()
    after = os.sched_getscheduler(0), os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    assert after == before
