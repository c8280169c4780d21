"""Rollouts: good reports open the next wave, anything else halts, and halting sends the vehicles back."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.release import Release
from edge.contracts.scene import Rung
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import HealthReport, InstallPhase
from fleet.rollout import (
    CanaryRule,
    Halted,
    Passed,
    Reported,
    RolloutPlan,
    RolloutStage,
    Started,
    WaveOpened,
    decide_rollout,
    decode_event,
    event_facts,
    event_from,
    fold_events,
    plan_waves,
    publish_decision,
)

KEYS = {f"car-{i}": Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2, 3)}
CANDIDATE = Release(bundle_id="b-new", profile="laptop", release_counter=2, unpacked_bytes=1)
HEAL = Release(bundle_id="b-old", profile="laptop", release_counter=3, unpacked_bytes=1)
RULE = CanaryRule(ticks=100, report_s=60.0, wave_s=600.0, full_ratio=0.5)
PLAN = RolloutPlan(
    rollout_id="r-1",
    candidate=CANDIDATE,
    heal=HEAL,
    waves=(("car-1",), ("car-2", "car-3")),
    report_keys={name: key.public_key().public_bytes_raw() for name, key in KEYS.items()},
    rule=RULE,
)
START = Started(at_ns=0, actor="operator")


def seconds(value):
    return int(value * NS_PER_S)


def report(vehicle_id="car-1", *, at_s=1.0, key=None, sender=None, **changes):
    """A signed report that shows all a canary must show, apart from ``changes``."""
    fields = {
        "vehicle_id": vehicle_id,
        "boot_id": "boot-1",
        "sequence": seconds(at_s),
        "bundle_id": "b-new",
        "release_counter": 2,
        "phase": InstallPhase.COMMITTED,
        "ticks": 100,
        "faults": 0,
        "is_golden_passed": True,
        "rungs": {Rung.FULL: 100},
        "stamp_ns": 0,
    } | changes
    payload = msgspec.msgpack.encode(HealthReport(**fields))
    signature = (key or KEYS[vehicle_id]).sign(payload)
    return Reported(
        at_ns=seconds(at_s),
        vehicle_id=sender or vehicle_id,
        payload=payload,
        signature=signature,
    )


def told(decision):
    return {a.vehicle_id: a.release.release_counter for a in decision.assignments}


def test_planned_rollout_tells_nobody_anything():
    decision = decide_rollout(PLAN, [], seconds(1e6))
    assert (decision.stage, decision.events, told(decision)) == (RolloutStage.PLANNED, (), {})


def test_started_rollout_tells_the_canary_alone():
    decision = decide_rollout(PLAN, [START], 0)
    assert decision.stage is RolloutStage.RUNNING
    assert told(decision) == {"car-1": 2}


def test_good_canary_opens_the_rest():
    decision = decide_rollout(PLAN, [START, report()], seconds(2))
    assert decision.events == (WaveOpened(at_ns=seconds(2), wave=1),)
    assert told(decision) == {"car-1": 2, "car-2": 2, "car-3": 2}


def test_good_fleet_passes():
    events = [START, report(), WaveOpened(at_ns=seconds(2), wave=1)]
    events += [report(name, at_s=3) for name in ("car-2", "car-3")]
    decision = decide_rollout(PLAN, events, seconds(4))
    assert decision.stage is RolloutStage.PASSED
    assert decision.events == (Passed(at_ns=seconds(4)),)
    assert told(decision) == {"car-1": 2, "car-2": 2, "car-3": 2}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phase": InstallPhase.REVERTED, "reason": "1 fault"}, "reverted the candidate: 1 fault"),
        ({"phase": InstallPhase.REFUSED, "reason": "probe"}, "refused the candidate: probe"),
        ({"is_golden_passed": False}, "without its golden frames passed"),
        ({"faults": 1}, "had 1 faults in 100 ticks, at most 0"),
        ({"rungs": {Rung.FULL: 49, Rung.SMALL: 51}}, "ran 0.49 of its ticks on the full rung"),
    ],
)
def test_bad_canary_halts_and_is_sent_back(changes, reason):
    decision = decide_rollout(PLAN, [START, report(**changes)], seconds(2))
    assert decision.stage is RolloutStage.HALTED
    assert reason in decision.reasons[0]
    assert told(decision) == {"car-1": 3}
    assert decision.unhealed == ("car-1",)


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": InstallPhase.TRIAL},
        {"ticks": 99},
        {"rungs": {Rung.FULL: 99}},
        {"rungs": {}},
        {"bundle_id": "b-old", "release_counter": 1},
        {"release_counter": 1},
    ],
)
def test_report_that_does_not_show_everything_neither_passes_nor_halts(changes):
    decision = decide_rollout(PLAN, [START, report(**changes)], seconds(2))
    assert (decision.stage, decision.wave, decision.events) == (RolloutStage.RUNNING, 0, ())


def test_full_ratio_at_the_bound_is_good_enough():
    rungs = {Rung.FULL: 50, Rung.SMALL: 50}
    assert decide_rollout(PLAN, [START, report(rungs=rungs)], seconds(2)).wave == 1


def test_silence_halts():
    assert decide_rollout(PLAN, [START], seconds(60)).stage is RolloutStage.RUNNING
    decision = decide_rollout(PLAN, [START], seconds(60.001))
    assert decision.stage is RolloutStage.HALTED
    assert "silent for more than 60 s" in decision.reasons[0]


def test_silence_halts_also_when_nobody_looked_while_it_lasted():
    decision = decide_rollout(PLAN, [START, report(at_s=100)], seconds(100))
    assert decision.stage is RolloutStage.HALTED


def test_vehicle_that_talks_for_ever_without_passing_halts():
    events = [START] + [report(at_s=s, phase=InstallPhase.TRIAL) for s in range(30, 630, 30)]
    assert "did not pass within 600 s" in decide_rollout(PLAN, events, seconds(601)).reasons[0]


def test_one_silent_vehicle_of_a_wave_halts_it_for_all():
    events = [START, report(), WaveOpened(at_ns=seconds(2), wave=1), report("car-2", at_s=3)]
    decision = decide_rollout(PLAN, events, seconds(63))
    assert decision.reasons == ("car-3 was silent for more than 60 s",)
    assert told(decision) == {"car-1": 3, "car-2": 3, "car-3": 3}


def test_canary_that_passed_may_rest_but_its_late_fault_halts():
    events = [START, report(), WaveOpened(at_ns=seconds(2), wave=1)]
    talking = [report("car-2", at_s=40), report("car-3", at_s=40, phase=InstallPhase.TRIAL)]
    assert decide_rollout(PLAN, events + talking, seconds(90)).stage is RolloutStage.RUNNING
    late = report(at_s=50, phase=InstallPhase.REVERTED)
    assert decide_rollout(PLAN, [*events, *talking, late], seconds(90)).stage is RolloutStage.HALTED


THIEF = Ed25519PrivateKey.from_private_bytes(b"t" * 32)


@pytest.mark.parametrize(
    "forged",
    [
        report(key=THIEF),
        report("car-2", sender="car-1"),
        report(key=KEYS["car-2"]),
        msgspec.structs.replace(report(), payload=report().payload + b"x"),
        msgspec.structs.replace(report(), signature=b""),
        Reported(at_ns=1, vehicle_id="car-1", payload=b"", signature=KEYS["car-1"].sign(b"")),
    ],
)
def test_forged_report_counts_for_nothing(forged):
    decision = decide_rollout(PLAN, [START, forged], seconds(2))
    assert (decision.stage, decision.wave) == (RolloutStage.RUNNING, 0)
    assert fold_events(PLAN, [START, forged]).evidence["car-1"].ignored == 1
    assert decide_rollout(PLAN, [START, forged], seconds(61)).stage is RolloutStage.HALTED


def test_replayed_report_does_not_break_the_silence():
    honest = report(at_s=1, phase=InstallPhase.TRIAL)
    replayed = msgspec.structs.replace(honest, at_ns=seconds(50))
    assert decide_rollout(PLAN, [START, honest, replayed], seconds(62)).stage is RolloutStage.HALTED


def test_report_from_before_the_wave_replayed_after_it_does_not_count():
    early = report(at_s=0)
    events = [msgspec.structs.replace(early, at_ns=0), START]
    late = msgspec.structs.replace(early, at_ns=seconds(5))
    assert decide_rollout(PLAN, [*events, late], seconds(6)).wave == 0


def test_boot_that_was_left_never_speaks_again():
    events = [
        START,
        report(at_s=1, boot_id="boot-1", phase=InstallPhase.TRIAL),
        report(at_s=2, boot_id="boot-2", sequence=0, phase=InstallPhase.TRIAL),
        report(at_s=3, boot_id="boot-1"),
    ]
    assert decide_rollout(PLAN, events, seconds(4)).wave == 0
    assert decide_rollout(PLAN, [*events, report(boot_id="boot-2", at_s=4)], seconds(5)).wave == 1


def test_report_of_a_stranger_counts_for_nothing():
    stranger = Reported(at_ns=1, vehicle_id="car-9", payload=b"", signature=b"")
    assert decide_rollout(PLAN, [START, stranger], 2) == decide_rollout(PLAN, [START], 2)


def test_person_may_halt_before_and_during():
    stop = Halted(at_ns=1, reasons=("operator",))
    assert told(decide_rollout(PLAN, [stop], 2)) == {}
    assert decide_rollout(PLAN, [stop, START], 2).stage is RolloutStage.HALTED
    assert told(decide_rollout(PLAN, [START, stop], 2)) == {"car-1": 3}


def test_halted_rollout_says_who_is_not_back_yet():
    events = [START, Halted(at_ns=1, reasons=("operator",))]
    assert decide_rollout(PLAN, events, 2).unhealed == ("car-1",)
    staying = report(at_s=2, bundle_id="b-old", release_counter=1)
    assert decide_rollout(PLAN, [*events, staying], seconds(3)).unhealed == ("car-1",)
    back = report(at_s=3, bundle_id="b-old", release_counter=3)
    assert decide_rollout(PLAN, [*events, back], seconds(4)).unhealed == ()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"waves": ()}, "empty wave"),
        ({"waves": (("car-1",), ())}, "empty wave"),
        ({"waves": (("car-1",), ("car-1",))}, "twice"),
        ({"waves": (("car-1", "car-9"),)}, "no report key of car-9"),
        ({"heal": msgspec.structs.replace(HEAL, release_counter=2)}, "not above candidate"),
    ],
)
def test_plan_that_makes_no_sense_is_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        msgspec.structs.replace(PLAN, **changes)


def test_waves_are_the_first_by_id_and_then_the_rest():
    assert plan_waves(["car-3", "car-1", "car-2"]) == (("car-1",), ("car-2", "car-3"))
    assert plan_waves(["car-1"]) == (("car-1",),)
    with pytest.raises(OperatorError):
        plan_waves([])
    with pytest.raises(OperatorError):
        plan_waves(["car-1"], canaries=0)


class Board:
    """A director that remembers, and may die after some assignments."""

    def __init__(self):
        self.told = {}
        self.dies_after = None

    def assign(self, assignment, _now_ns):
        if self.dies_after == 0:
            raise OSError("died")
        is_new = self.told.get(assignment.vehicle_id) != assignment
        self.told[assignment.vehicle_id] = assignment
        if self.dies_after is not None:
            self.dies_after -= 1
        return is_new


def test_decision_published_again_after_dying_half_way_ends_the_same():
    decision = decide_rollout(PLAN, [START, report()], seconds(2))
    board = Board()
    board.dies_after = 1
    with pytest.raises(OSError, match="died"):
        publish_decision(decision, board, 0)
    board.dies_after = None
    assert publish_decision(decision, board, 0) == ("car-2", "car-3")
    assert publish_decision(decision, board, 0) == ()


shown = st.fixed_dictionaries(
    {
        "vehicle_id": st.sampled_from(sorted(KEYS)),
        "phase": st.sampled_from(list(InstallPhase)),
        "ticks": st.sampled_from([0, 99, 100]),
        "faults": st.sampled_from([0, 0, 0, 1]),
        "is_golden_passed": st.sampled_from([True, True, False]),
        "bundle_id": st.sampled_from(["b-new", "b-new", "b-old"]),
        "release_counter": st.sampled_from([1, 2, 2, 3]),
        "rungs": st.sampled_from([{}, {Rung.FULL: 100}, {Rung.SMALL: 100}]),
        "boot_id": st.sampled_from(["boot-1", "boot-2"]),
        "sequence": st.integers(0, 5),
        "key": st.sampled_from([None, None, None, THIEF]),
    }
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["report", "report", "report", "start", "look", "halt"]),
        st.integers(0, 50),
        shown,
    ),
    max_size=25,
)


def lived(happenings, plan=PLAN):
    """Live through happenings as the service does: record, decide, record what follows."""
    events, now_s = [], 0
    for what, wait_s, fields in happenings:
        now_s += wait_s
        if what == "report":
            events.append(report(at_s=now_s, **fields))
        elif what == "start":
            events.append(Started(at_ns=seconds(now_s), actor="operator"))
        elif what == "halt":
            events.append(Halted(at_ns=seconds(now_s), reasons=("operator",)))
        events += decide_rollout(plan, events, seconds(now_s)).events
    return events, seconds(now_s)


@given(steps)
def test_deciding_again_changes_nothing(happenings):
    events, now_ns = lived(happenings)
    once = decide_rollout(PLAN, events, now_ns)
    assert once.events == ()
    assert decide_rollout(PLAN, events, now_ns) == once


@given(steps)
def test_silence_always_ends_a_running_rollout(happenings):
    events, now_ns = lived(happenings)
    later_ns = now_ns + seconds(RULE.report_s + 1)
    before, after = decide_rollout(PLAN, events, now_ns), decide_rollout(PLAN, events, later_ns)
    if before.stage is RolloutStage.RUNNING:
        assert after.stage is RolloutStage.HALTED


@given(steps)
def test_every_stage_but_the_last_two_has_an_exit(happenings):
    events, now_ns = lived(happenings)
    stage = decide_rollout(PLAN, events, now_ns).stage
    if stage is RolloutStage.PLANNED:
        events.append(Started(at_ns=now_ns, actor="operator"))
    final = decide_rollout(PLAN, events, now_ns + seconds(RULE.wave_s + 1)).stage
    assert final in {RolloutStage.PASSED, RolloutStage.HALTED}


@given(steps)
def test_passed_only_when_each_vehicle_itself_showed_everything(happenings):
    events, now_ns = lived(happenings)
    if decide_rollout(PLAN, events, now_ns).stage is not RolloutStage.PASSED:
        return
    for vehicle_id, evidence in fold_events(PLAN, events).evidence.items():
        assert evidence.has_passed and not evidence.faults, vehicle_id


@given(steps)
def test_halted_never_leaves_a_switched_vehicle_on_the_candidate(happenings):
    events, now_ns = lived(happenings)
    decision = decide_rollout(PLAN, events, now_ns)
    opened = {v for wave in PLAN.waves[: decision.wave + 1] for v in wave}
    assert set(told(decision)) == opened
    if decision.stage is RolloutStage.HALTED:
        assert set(told(decision).values()) <= {HEAL.release_counter}


@given(steps)
def test_waves_open_in_order_and_stages_never_go_back(happenings):
    events, _ = lived(happenings)
    rank = {
        RolloutStage.PLANNED: 0,
        RolloutStage.RUNNING: 1,
        RolloutStage.PASSED: 2,
        RolloutStage.HALTED: 2,
    }
    last, wave = 0, -1
    for end in range(len(events) + 1):
        state = fold_events(PLAN, events[:end])
        assert rank[state.stage] >= last and wave <= state.wave <= wave + 1
        last, wave = rank[state.stage], state.wave


@given(steps)
def test_events_come_back_from_the_catalog_as_they_were(happenings):
    events, _ = lived(happenings)
    assert [event_from(event_facts(event)) for event in events] == events


@given(st.binary(max_size=50))
def test_junk_is_no_event(junk):
    try:
        decode_event(junk)
    except SchemaError:
        return
    raise AssertionError("junk was taken for an event")


def test_passed_rollout_is_reachable_by_what_the_property_tests_send():
    good = {"phase": InstallPhase.COMMITTED, "bundle_id": "b-new", "release_counter": 2}
    shows = [("start", 0, {})] + [
        ("report", 1, {"vehicle_id": name, "sequence": 1, **good}) for name in sorted(KEYS)
    ]
    events, now_ns = lived(shows)
    assert decide_rollout(PLAN, events, now_ns).stage is RolloutStage.PASSED
