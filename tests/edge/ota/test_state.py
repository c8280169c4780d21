"""The memory of the slots: whatever happens in whatever order, something proven drives or is on trial."""

from itertools import pairwise

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from edge.contracts.errors import OperatorError
from edge.contracts.wire import InstallPhase
from edge.ota import RefusalKind
from edge.ota import state as states
from edge.ota.state import BundlePhase, InstallState, SlotRecord, TrialRule

RULE = TrialRule(ticks=10, max_faults=0, tries=2)
FACTORY = SlotRecord(manifest_sha256="0" * 64, bundle_id="b-0", release_counter=0)


def record(counter):
    return SlotRecord(
        manifest_sha256=f"{counter:064x}", bundle_id=f"b-{counter}", release_counter=counter
    )


def staged(state, counter):
    if state.phase in {BundlePhase.TRIAL, BundlePhase.STAGED}:
        return state
    return states.staged(state, record(counter), RULE)


def switched(state):
    return states.switched(state, RULE, 0) if _is_proven(state) else state


def probing(state):
    return states.probing(state, 0) if state.phase is BundlePhase.STAGED else state


def proven(state):
    return states.proven(state, RULE) if state.phase is BundlePhase.STAGED else state


def given_up(state):
    is_staged = state.phase is BundlePhase.STAGED
    return states.unstaged(state, "no", 0, is_bad=True) if is_staged else state


def superseded(state):
    is_trial = state.phase is BundlePhase.TRIAL
    return states.reverted(state, "newer", 0, is_bad=False) if is_trial else state


def _is_proven(state):
    waiting = state.slot(state.inactive)
    return state.phase is BundlePhase.STAGED and waiting is not None and waiting.is_golden_passed


def installed(state, counter):
    """Stage, prove and switch in one step, so that random lives do reach trials and what ends them."""
    return switched(proven(staged(state, counter)))


STEPS = {
    "install": installed,
    "stage": staged,
    "probe": lambda s, _: probing(s),
    "prove": lambda s, _: proven(s),
    "give_up": lambda s, _: given_up(s),
    "switch": lambda s, _: switched(s),
    "boot": lambda s, _: states.booted(s, 0),
    "good_ticks": lambda s, _: states.ticked(s, 4, 0, RULE, 0),
    "fault": lambda s, _: states.ticked(s, 1, 1, RULE, 0),
    "supersede": lambda s, _: superseded(s),
    "refuse": lambda s, n: states.refused(s, RefusalKind.PROFILE, "no", 0, bundle_id=f"b-{n}"),
    "acknowledge": states.acknowledged,
}
lives = st.lists(st.sampled_from(sorted(STEPS)), max_size=40)


def lived(steps) -> list[InstallState]:
    state = states.first(FACTORY)
    history = [state]
    for counter, step in enumerate(steps, start=1):
        state = STEPS[step](state, counter)
        history.append(state)
    return history


@pytest.mark.parametrize("phase", list(BundlePhase))
def test_random_lives_reach_every_phase(phase):
    """Without this the properties below could hold for want of anything happening."""
    find(lives, lambda steps: any(state.phase is phase for state in lived(steps)))


def test_reverted_bundle_is_no_longer_remembered_as_a_way_back():
    state = states.ticked(on_trial(), 10, 1, RULE, 0)
    assert state.slot(state.inactive) is None


@given(lives)
def test_some_bundle_always_drives_and_a_trial_always_has_a_way_back(steps):
    for state in lived(steps):
        assert state.driving is not None
        if state.phase is BundlePhase.TRIAL:
            assert state.slot(state.inactive) is not None


@given(lives)
def test_only_staged_or_once_committed_bundles_are_remembered_in_the_inactive_slot(steps):
    committed = {FACTORY.bundle_id}
    for state in lived(steps):
        if state.phase is BundlePhase.COMMITTED:
            committed.add(state.driving.bundle_id)
        other = state.slot(state.inactive)
        if other is not None and state.phase is not BundlePhase.STAGED:
            assert other.bundle_id in committed


@given(lives)
def test_tries_fall_only_in_a_trial_or_a_probe(steps):
    history = lived(steps)
    for before, after in pairwise(history):
        if before.phase is after.phase and after.tries_left < before.tries_left:
            assert after.phase in {BundlePhase.TRIAL, BundlePhase.STAGED}
        if after.phase not in {BundlePhase.TRIAL, BundlePhase.STAGED}:
            assert after.tries_left == 0


@given(lives)
def test_committed_counter_never_falls(steps):
    history = lived(steps)
    for before, after in pairwise(history):
        assert after.floor_counter >= before.floor_counter


@given(lives)
def test_no_state_is_without_an_exit(steps):
    """From anywhere: finish or give up what is going on, then install and commit something new."""
    state = lived(steps)[-1]
    if state.phase is BundlePhase.STAGED:
        state = states.unstaged(state, "taken back", 0, is_bad=False)
    while state.phase is BundlePhase.TRIAL:
        state = states.booted(state, 0)
    state = states.proven(states.staged(state, record(1000), RULE), RULE)
    state = states.ticked(states.switched(state, RULE, 0), 10, 0, RULE, 0)
    assert state.phase is BundlePhase.COMMITTED
    assert state.driving.bundle_id == "b-1000"


@given(lives)
def test_every_change_of_what_drives_is_reported_in_the_same_memory(steps):
    history = lived(steps)
    for before, after in pairwise(history):
        if after.driving.bundle_id != before.driving.bundle_id:
            last = after.events[-1]
            assert last.phase in {InstallPhase.TRIAL, InstallPhase.REVERTED}
            assert last.event_id == before.next_event_id


@given(lives)
def test_memory_stays_small(steps):
    final = lived(steps)[-1]
    assert len(final.events) <= states.KEPT_EVENTS
    assert len(final.bad) <= states.KEPT_BAD


def on_trial():
    state = states.proven(states.staged(states.first(FACTORY), record(1), RULE), RULE)
    return states.switched(state, RULE, 0)


def test_ten_good_ticks_commit_and_nine_do_not():
    assert states.ticked(on_trial(), 9, 0, RULE, 0).phase is BundlePhase.TRIAL
    assert states.ticked(on_trial(), 10, 0, RULE, 0).phase is BundlePhase.COMMITTED


def test_a_tick_with_a_fault_does_not_count_towards_the_commit():
    rule = TrialRule(ticks=10, max_faults=2, tries=2)
    state = states.ticked(on_trial(), 11, 2, rule, 0)  # nine good ticks
    assert state.phase is BundlePhase.TRIAL
    assert states.ticked(state, 1, 0, rule, 0).phase is BundlePhase.COMMITTED


def test_one_fault_goes_back_and_the_bundle_is_remembered_as_bad():
    state = states.ticked(on_trial(), 10, 1, RULE, 0)
    assert state.phase is BundlePhase.REVERTED
    assert state.driving == FACTORY
    assert state.bad == (record(1).manifest_sha256,)


def test_start_of_a_committed_bundle_costs_nothing():
    state = states.ticked(on_trial(), 10, 0, RULE, 0)
    assert states.booted(state, 0) == state


def test_progress_gives_the_tries_back():
    state = states.booted(states.booted(on_trial(), 0), 0)
    assert state.tries_left == 0
    assert states.ticked(state, 1, 0, RULE, 0).tries_left == RULE.tries


def test_probe_that_never_comes_back_is_given_up():
    state = states.staged(states.first(FACTORY), record(1), RULE)
    for _ in range(RULE.tries):
        state = states.probing(state, 0)
        assert state.phase is BundlePhase.STAGED
    state = states.probing(state, 0)
    assert state.phase is BundlePhase.IDLE
    assert state.bad == (record(1).manifest_sha256,)


def test_committed_release_may_be_installed_again_but_no_other_of_its_counter():
    state = states.ticked(on_trial(), 10, 0, RULE, 0)
    assert states.is_acceptable(state, 1, record(1).manifest_sha256)
    assert not states.is_acceptable(state, 1, "f" * 64)
    assert not states.is_acceptable(state, 0, FACTORY.manifest_sha256)
    assert states.is_acceptable(state, 2, "f" * 64)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: states.switched(s, RULE, 0),
        lambda s: states.proven(s, RULE),
        lambda s: states.reverted(s, "", 0, is_bad=True),
        lambda s: states.staged(on_trial(), record(2), RULE),
        lambda s: states.switched(states.staged(s, record(1), RULE), RULE, 0),
    ],
)
def test_step_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(OperatorError):
        wrong(states.first(FACTORY))
