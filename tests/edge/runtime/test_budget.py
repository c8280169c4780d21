"""Budget, ladder and ledger: what fits is run, what was shed is said, and the parts sum to the whole."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.named import load, names
from edge.budget import (
    Budget,
    BudgetSettings,
    Choice,
    Ladder,
    Ledger,
    MeasuredCharge,
    ModelledCharge,
    Slowdown,
    TickAccount,
    TickLedger,
    VirtualClock,
    modelled_latency,
)
from edge.contracts.bundle import DeviceProfile
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Rung, StageTime
from edge.perceive.tensors import SPECS

ALL = (Rung.FULL, Rung.SMALL, Rung.RADAR_ONLY, Rung.MINIMUM_RISK)


def ladder(profile: DeviceProfile, rungs: tuple[Rung, ...] = ALL, **settings) -> Ladder:
    latency = modelled_latency(profile, "pico", rungs)
    return Ladder(latency, BudgetSettings(**settings), rate_hz=36.0)


def at_pace(one: Ladder, pace: float) -> Ladder:
    """Let the ladder see one tick on its richest rung that took ``pace`` times its model."""
    costs = one.latency.costs_ms[Rung.FULL]
    one.observe(Rung.FULL, [StageTime(stage=s, ms=pace * ms) for s, ms in costs.items()])
    return one


def choose(one: Ladder, waited_ms: float = 0.0) -> Choice:
    """Choose for a tick whose frames lay this long."""
    budget = Budget(one.settings.deadline_ms)
    return one.choose(budget.spend("wait", waited_ms) if waited_ms else budget)


def test_a_budget_is_spent_stage_by_stage() -> None:
    budget = Budget(100.0).spend("sense", 2.0).spend("infer", 13.5)
    assert (budget.spent_ms, budget.remaining_ms) == (15.5, 84.5)
    assert [s.stage for s in budget.spent] == ["sense", "infer"]


def test_rungs_cost_what_the_profile_says(profile) -> None:
    latency = modelled_latency(profile, "pico", ALL)
    assert [latency.sensor_to_plan_ms(rung) for rung in ALL] == [14.0, 11.0, 5.5, 5.5]


def test_a_profile_that_does_not_know_the_model_is_refused(profile) -> None:
    with pytest.raises(OperatorError, match="paper has no modelled_ms for infer_nano"):
        modelled_latency(profile, "nano", (Rung.FULL,))


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (1.0, Rung.FULL),  # 14 of 25 ms
        (2.0, Rung.SMALL),  # 28, 22
        (2.4, Rung.RADAR_ONLY),  # 33.6, 26.4, 13.2
        (4.0, Rung.RADAR_ONLY),  # 56, 44, 22 of the deadline of 100
        (20.0, Rung.MINIMUM_RISK),  # 110
    ],
)
def test_the_richest_rung_that_fits_is_chosen(profile, pace: float, expected: Rung) -> None:
    choice = choose(at_pace(ladder(profile), pace))
    assert choice.rung is expected
    assert (choice.reason == "") is (expected is Rung.FULL)


def test_a_slow_tick_lowers_the_rung_at_once_and_36_good_ones_raise_it(profile) -> None:
    one = at_pace(ladder(profile, pace_memory=0.0), 2.0)
    assert choose(one).rung is Rung.SMALL
    at_pace(one, 1.0)
    rungs = [choose(one).rung for _ in range(36)]
    assert rungs == [Rung.SMALL] * 35 + [Rung.FULL]


def test_a_rung_that_fits_every_other_tick_is_not_taken(profile) -> None:
    one = at_pace(ladder(profile, pace_memory=0.0), 2.0)
    rungs = [choose(at_pace(one, 2.0 - k % 2)).rung for k in range(100)]
    assert set(rungs) == {Rung.SMALL}


def test_recovery_is_believed_slowly(profile) -> None:
    one = at_pace(ladder(profile, pace_memory=0.9), 3.0)
    predicted_ms = [at_pace(one, 1.0).predicted_ms(Rung.FULL) for _ in range(10)]
    assert predicted_ms[0] == pytest.approx(14.0 * 2.8)
    assert predicted_ms[-1] == pytest.approx(14.0 * (1.0 + 2.0 * 0.9**10))


def test_frames_that_waited_lower_this_tick_only(profile) -> None:
    one = ladder(profile)
    waited = choose(one, 12.0)
    assert waited.rung is Rung.SMALL
    assert waited.reason == "full no longer fits after 12.0 ms"
    assert choose(one).rung is Rung.FULL


def test_what_is_left_of_the_deadline_decides_between_radar_and_minimum_risk(profile) -> None:
    """Radar only needs 5.5 ms: it fits after a wait of 94 ms and not after one of 95."""
    assert choose(ladder(profile), 94.0).rung is Rung.RADAR_ONLY
    assert choose(ladder(profile), 95.0).rung is Rung.MINIMUM_RISK


def observe(one: Ladder, rung: Rung, **slower: float) -> Ladder:
    """Let the ladder see a tick whose named stages took so many times their model."""
    costs = one.latency.costs_ms[rung].items()
    one.observe(rung, [StageTime(stage=s, ms=slower.get(s, 1.0) * ms) for s, ms in costs])
    return one


def test_a_slow_network_says_nothing_about_the_rung_without_one(profile) -> None:
    """All of the tick is 13 times its model, and 13 times 5.5 would leave minimum risk alone to fit 60."""
    one = observe(ladder(profile, deadline_ms=60.0), Rung.FULL, infer=30.0)
    assert choose(one).rung is Rung.RADAR_ONLY


def test_a_rung_that_fails_as_soon_as_it_is_taken_waits_twice_as_long(profile) -> None:
    one = ladder(profile, (Rung.FULL, Rung.RADAR_ONLY, Rung.MINIMUM_RISK), pace_memory=0.0)
    waits = [0]
    for _ in range(400):
        if choose(one).rung is Rung.FULL:
            observe(one, Rung.FULL, infer=30.0)
            waits.append(0)
        else:
            observe(one, Rung.RADAR_ONLY)
            waits[-1] += 1
    assert waits[1:4] == [36, 72, 144]


def test_the_wait_for_a_failing_rung_has_an_end(profile) -> None:
    rungs = (Rung.FULL, Rung.RADAR_ONLY, Rung.MINIMUM_RISK)
    one = ladder(profile, rungs, pace_memory=0.0, max_climb_s=50 / 36)
    tried = []
    for k in range(400):
        rung = choose(one).rung
        observe(one, rung, infer=30.0)
        tried += [k] if rung is Rung.FULL else []
    assert [b - a for a, b in pairwise(tried)][1:] == [51] * (len(tried) - 2)


@pytest.mark.parametrize(("rate_hz", "ticks"), [(10.0, 10), (12.0, 12), (30.0, 30), (36.0, 36)])
def test_a_richer_rung_must_have_fitted_for_a_second_at_every_rate(profile, rate_hz, ticks) -> None:
    latency = modelled_latency(profile, "pico", (Rung.FULL, Rung.RADAR_ONLY, Rung.MINIMUM_RISK))
    one = Ladder(latency, BudgetSettings(pace_memory=0.0), rate_hz=rate_hz)
    choose(one)
    observe(one, Rung.FULL, infer=200.0)
    waited = 0
    while choose(one).rung is not Rung.FULL:
        observe(one, Rung.RADAR_ONLY)
        waited += 1
    assert waited == ticks


@pytest.mark.parametrize(("rate_hz", "target_ms"), [(12.0, 75.0), (36.0, 25.0)])
def test_the_target_is_nine_tenths_of_the_period_of_the_source(profile, rate_hz, target_ms) -> None:
    latency = modelled_latency(profile, "pico", ALL)
    assert Ladder(latency, rate_hz=rate_hz).target_ms == pytest.approx(target_ms)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0.2, 30), st.floats(0, 60)), max_size=80))
def test_the_chosen_rung_always_fits_or_is_the_last(ticks) -> None:
    profile = DeviceProfile(name="p", engines=(), modelled_ms=dict.fromkeys(PARTS, 1.0))
    one = ladder(profile)
    for pace, waited_ms in ticks:
        choice = choose(at_pace(one, pace), waited_ms)
        has_network = "infer" in one.latency.costs_ms[choice.rung]
        room_ms = one.target_ms if has_network else one.settings.deadline_ms
        fits = one.predicted_ms(choice.rung) <= room_ms - waited_ms
        assert fits or choice.rung is Rung.MINIMUM_RISK


PARTS = (
    "sense", "preprocess", "infer_pico", "infer_pico_small", "decode",
    "track", "radar", "plan", "trigger", "record",
)  # fmt: skip


def test_slowdowns_hold_between_their_stamps_and_multiply() -> None:
    slow = (Slowdown(10, 20, 2.0), Slowdown(15, 30, 3.0))
    charge = ModelledCharge(slow)
    charged = [charge.stage_ms(2.0, 99.0, stamp_ns) for stamp_ns in (9, 10, 15, 20, 30)]
    assert charged == [2.0, 4.0, 12.0, 6.0, 2.0]


def test_an_account_charges_as_it_is_told_and_notes_the_clock_aside() -> None:
    clock, ledger = VirtualClock(), Ledger()
    charges = {"modelled": ModelledCharge(), "measured": MeasuredCharge()}
    charged = {}
    for name, charge in charges.items():
        account = TickAccount(
            Budget(100.0), lambda _, ms, charge=charge: charge.stage_ms(2.0, ms, 0), ledger, clock
        )
        with account.stage("plan"):
            clock.stamp_ns += 7_000_000
        charged[name] = account.budget.spent
    assert charged["modelled"] == (StageTime(stage="plan", ms=2.0),)
    assert charged["measured"] == (StageTime(stage="plan", ms=7.0),)
    assert list(ledger.measured["plan"]) == [7.0, 7.0]


def tick(ms: float, rung: Rung = Rung.FULL) -> TickLedger:
    stages = (StageTime(stage="sense", ms=ms), StageTime(stage="trigger", ms=1.0))
    return TickLedger(0, 0, rung, "", stages, deadline_ms=100.0)


def test_the_deadline_is_about_the_plan_and_not_about_what_follows() -> None:
    late, in_time = tick(100.5), tick(99.5)
    assert (late.total_ms, late.sensor_to_plan_ms, late.is_missed) == (101.5, 100.5, True)
    assert not in_time.is_missed


def test_the_ledger_sums_up_a_drive() -> None:
    ledger = Ledger()
    for ms in [10.0] * 98 + [20.0, 150.0]:
        ledger.add(tick(ms))
    summary = ledger.summary()
    assert (summary.ticks, summary.missed) == (100, 1)
    assert (summary.p50_ms, summary.p99_ms, summary.max_ms) == (10.0, 150.0, 150.0)
    assert ledger.rungs == Counter({Rung.FULL: 100})


def test_before_the_first_tick_the_summary_is_empty() -> None:
    assert Ledger().summary().ticks == 0


@pytest.mark.parametrize("name", names("device"))
def test_every_shipped_board_knows_every_model_and_keeps_the_period_with_pico(name: str) -> None:
    board = load("device", name, DeviceProfile)
    assert board.name == name
    for model in SPECS:
        modelled_latency(board, model, (Rung.FULL, Rung.RADAR_ONLY))
    pico = modelled_latency(board, "pico", (Rung.FULL,))
    assert pico.sensor_to_plan_ms(Rung.FULL) < 0.9 * 1000.0 / 36.0
