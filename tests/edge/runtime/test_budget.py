"""Budget, ladder and ledger: what fits is run, what was shed is said, and the parts sum to the whole."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.compose import settings_from
from edge.budget import (
    PERIOD_MS,
    Budget,
    BudgetSettings,
    Ladder,
    Ledger,
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

ALL = (Rung.FULL, Rung.SMALL, Rung.CAMERAS_SUBSET, Rung.RADAR_ONLY, Rung.MINIMUM_RISK)


def ladder(profile: DeviceProfile, rungs: tuple[Rung, ...] = ALL, **settings) -> Ladder:
    return Ladder(modelled_latency(profile, "pico", rungs), BudgetSettings(**settings))


def at_pace(one: Ladder, pace: float) -> Ladder:
    """Let the ladder see one tick on its richest rung that took ``pace`` times its model."""
    costs = one.latency.costs_ms[Rung.FULL]
    one.observe(Rung.FULL, [StageTime(stage=s, ms=pace * ms) for s, ms in costs.items()])
    return one


def test_a_budget_is_spent_stage_by_stage() -> None:
    budget = Budget(100.0).spend("sense", 2.0).spend("infer", 13.5)
    assert (budget.spent_ms, budget.remaining_ms) == (15.5, 84.5)
    assert [s.stage for s in budget.spent] == ["sense", "infer"]


def test_rungs_cost_what_the_profile_says(profile) -> None:
    latency = modelled_latency(profile, "pico", ALL)
    assert [latency.sensor_to_plan_ms(rung) for rung in ALL] == [14.0, 11.0, 10.0, 5.5, 5.5]


def test_without_a_small_graph_the_subset_runs_the_full_one(profile) -> None:
    rungs = (Rung.FULL, Rung.CAMERAS_SUBSET, Rung.RADAR_ONLY)
    assert modelled_latency(profile, "pico", rungs).sensor_to_plan_ms(Rung.CAMERAS_SUBSET) == 13.0


def test_a_profile_that_does_not_know_the_model_is_refused(profile) -> None:
    with pytest.raises(OperatorError, match="paper has no modelled_ms for infer_nano"):
        modelled_latency(profile, "nano", (Rung.FULL,))


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (1.0, Rung.FULL),  # 14 of 25 ms
        (2.0, Rung.SMALL),  # 28, 22
        (2.4, Rung.CAMERAS_SUBSET),  # 33.6, 26.4, 24
        (4.0, Rung.RADAR_ONLY),  # 40, 22: misses the target, keeps the deadline of 100
        (20.0, Rung.MINIMUM_RISK),  # 110
    ],
)
def test_the_richest_rung_that_fits_is_chosen(profile, pace: float, expected: Rung) -> None:
    choice = at_pace(ladder(profile), pace).choose(0.0)
    assert choice.rung is expected
    assert (choice.reason == "") is (expected is Rung.FULL)


def test_a_slow_tick_lowers_the_rung_at_once_and_36_good_ones_raise_it(profile) -> None:
    one = at_pace(ladder(profile, pace_memory=0.0), 2.0)
    assert one.choose(0.0).rung is Rung.SMALL
    at_pace(one, 1.0)
    rungs = [one.choose(0.0).rung for _ in range(36)]
    assert rungs == [Rung.SMALL] * 35 + [Rung.FULL]


def test_a_rung_that_fits_every_other_tick_is_not_taken(profile) -> None:
    one = at_pace(ladder(profile, pace_memory=0.0), 2.0)
    rungs = [at_pace(one, 2.0 - k % 2).choose(0.0).rung for k in range(100)]
    assert set(rungs) == {Rung.SMALL}


def test_recovery_is_believed_slowly(profile) -> None:
    one = at_pace(ladder(profile, pace_memory=0.9), 3.0)
    paces = [at_pace(one, 1.0).pace for _ in range(10)]
    assert paces[0] == pytest.approx(2.8)
    assert paces[-1] == pytest.approx(1.0 + 2.0 * 0.9**10)


def test_frames_that_waited_lower_this_tick_only(profile) -> None:
    one = ladder(profile)
    waited = one.choose(12.0)
    assert waited.rung is Rung.SMALL
    assert waited.reason == "full no longer fits after 12.0 ms"
    assert one.choose(0.0).rung is Rung.FULL


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0.2, 30), st.floats(0, 60)), max_size=80))
def test_the_chosen_rung_always_fits_or_is_the_last(ticks) -> None:
    profile = DeviceProfile(name="p", engines=(), modelled_ms=dict.fromkeys(PARTS, 1.0))
    one = ladder(profile)
    for pace, waited_ms in ticks:
        choice = at_pace(one, pace).choose(waited_ms)
        needed_ms = one.pace * one.latency.sensor_to_plan_ms(choice.rung) + waited_ms
        has_network = "infer" in one.latency.costs_ms[choice.rung]
        room_ms = one.settings.target_ms if has_network else one.settings.deadline_ms
        assert needed_ms <= room_ms or choice.rung is Rung.MINIMUM_RISK


PARTS = (
    "sense", "preprocess", "preprocess_subset", "infer_pico", "infer_pico_small", "decode",
    "track", "radar", "plan", "trigger", "record",
)  # fmt: skip


def test_slowdowns_hold_between_their_stamps_and_multiply(profile) -> None:
    slow = (Slowdown(10, 20, 2.0), Slowdown(15, 30, 3.0))
    latency = modelled_latency(profile, "pico", ALL, slow)
    assert [latency.factor(t) for t in (9, 10, 15, 20, 30)] == [1.0, 2.0, 6.0, 3.0, 1.0]


def test_an_account_charges_the_model_and_notes_the_clock_aside() -> None:
    clock, ledger = VirtualClock(), Ledger()
    account = TickAccount(Budget(100.0), {"plan": 2.0}, ledger, clock)
    with account.stage("plan"):
        clock.stamp_ns += 7_000_000
    assert account.budget.spent == (StageTime(stage="plan", ms=2.0),)
    assert list(ledger.measured["plan"]) == [7.0]


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


DEVICES = sorted((Path(__file__).parents[3] / "conf" / "device").glob("*.yaml"))


@pytest.mark.parametrize("path", DEVICES, ids=lambda path: path.stem)
def test_every_shipped_board_knows_every_model_and_keeps_the_period_with_pico(path: Path) -> None:
    board = settings_from(yaml.safe_load(path.read_text()), DeviceProfile, origin=path.name)
    assert board.name == path.stem
    for model in SPECS:
        modelled_latency(board, model, (Rung.FULL, Rung.CAMERAS_SUBSET, Rung.RADAR_ONLY))
    pico = modelled_latency(board, "pico", (Rung.FULL,))
    assert pico.sensor_to_plan_ms(Rung.FULL) < 0.9 * PERIOD_MS
