import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.named import load
from edge.contracts.errors import OperatorError
from fleet.evaluate import (
    ApChange,
    BootstrapSettings,
    ClassGuard,
    Decision,
    EpisodeComparison,
    Evidence,
    GateSettings,
    Guard,
    Interval,
    class_outcome,
    judge_candidate,
)
from fleet.evaluate.gate import ClaimEvidence, RareRecall, Verdict
from fleet.evaluate.guard import compared, holm, lost

SETTINGS = GateSettings()


def _interval(lower, upper, clusters=60):
    return Interval(estimate=(lower + upper) / 2, lower=lower, upper=upper, clusters=clusters)


def _rare(**fields):
    plain = {
        "threshold": 0.3,
        "tune_false_alarms": 0.05,
        "gate_false_alarms": 0.03,
        "gate_alarm_rate": _interval(0.03, 0.05),
        "precision": 0.8,
        "recall": _interval(0.3, 0.4),
    }
    return RareRecall(**(plain | fields))


def _claim(**fields):
    plain = {
        "slice": "animal",
        "category": "animal",
        "encounters": 60,
        "truths": 240,
        "candidate": _rare(),
        "incumbent": _rare(),
        "control": _rare(),
        "over_incumbent": _interval(0.2, 0.4),
        "over_control": _interval(0.1, 0.3),
    }
    return ClaimEvidence(**(plain | fields))


def _guard(**fields):
    plain = {
        "frames": 1200,
        "places": 100,
        "categories": ("car",),
        "candidate_map": 0.63,
        "incumbent_map": 0.64,
        "difference": _interval(-0.02, 0.01),
        "classes": (_class(),),
    }
    return Guard(**(plain | fields))


def _change(estimate, p_value, ap=0.5):
    around = Interval(estimate=estimate, lower=estimate - 0.04, upper=estimate + 0.04, clusters=180)
    return ApChange(ap=ap, difference=around, p_value=p_value)


def _class(category="car", *, incumbent=(-0.01, 0.3), anchor=None, truths=400):
    """One class by its estimated change and p-value, against each of the others."""
    changes = [_change(*pair) if pair else None for pair in (incumbent, anchor)]
    return ClassGuard(
        category=category, truths=truths, candidate_ap=0.5, incumbent=changes[0], anchor=changes[1]
    )


def _with_anchor(*classes, over_anchor=(-0.02, 0.01)):
    return _guard(classes=classes, anchor_map=0.64, over_anchor=_interval(*over_anchor))


def _episodes(new_collisions=(), episodes=4):
    return EpisodeComparison(
        episodes=episodes, new_collisions=new_collisions, candidate=None, incumbent=None
    )


def _decide(settings=SETTINGS, **fields):
    plain = {"claims": (_claim(),), "guard": _guard(), "episodes": _episodes()}
    return judge_candidate(Evidence(**(plain | fields)), settings)


def _outcome(verdict, words):
    found = [r for r in verdict.reasons if words in r.rule]
    assert len(found) == 1, verdict.lines
    return found[0].outcome


def test_a_candidate_that_meets_every_rule_exactly_at_its_limit_passes():
    verdict = _decide()
    assert verdict.decision is Decision.PASS
    assert {r.outcome for r in verdict.reasons} == {Decision.PASS}


@pytest.mark.parametrize("other", ["incumbent", "control"])
def test_a_gain_whose_interval_reaches_zero_is_not_enough_evidence(other):
    verdict = _decide(claims=(_claim(**{f"over_{other}": _interval(0.0, 0.3)}),))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE
    assert (
        _outcome(verdict, f"recall of animal, candidate minus {other}")
        is Decision.NOT_ENOUGH_EVIDENCE
    )


@pytest.mark.parametrize("other", ["incumbent", "control"])
def test_a_candidate_no_better_for_sure_fails(other):
    verdict = _decide(claims=(_claim(**{f"over_{other}": _interval(-0.2, 0.0)}),))
    assert verdict.decision is Decision.FAIL


@pytest.mark.parametrize("other", ["incumbent", "control"])
def test_a_recall_whose_middle_alone_lies_below_the_bound_is_not_a_failure(other):
    verdict = _decide(claims=(_claim(**{f"over_{other}": _interval(-0.3, 0.1)}),))
    rule = f"recall of animal, candidate minus {other}"
    assert _outcome(verdict, rule) is Decision.NOT_ENOUGH_EVIDENCE


def test_a_map_whose_middle_alone_lies_below_the_bound_is_not_a_failure():
    verdict = _decide(guard=_guard(difference=_interval(-0.09, 0.01)))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE


def test_fifty_nine_encounters_are_not_enough_however_clear_the_gain():
    verdict = _decide(claims=(_claim(encounters=59),))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE
    assert "at least 60 encounters, got 59" in "\n".join(verdict.lines)


def test_a_claim_without_a_control_is_not_enough_evidence():
    verdict = _decide(claims=(_claim(control=None, over_control=None),))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE


def test_more_false_alarms_on_the_gate_split_than_allowed_fail_for_sure():
    rare = _rare(gate_alarm_rate=_interval(0.051, 0.09))
    verdict = _decide(claims=(_claim(candidate=rare),))
    assert verdict.decision is Decision.FAIL
    assert _outcome(verdict, "false alarms") is Decision.FAIL


def test_false_alarms_that_may_be_more_than_allowed_are_not_enough_evidence():
    rare = _rare(gate_alarm_rate=_interval(0.03, 0.051))
    verdict = _decide(claims=(_claim(candidate=rare),))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE
    assert "got 0.040 [0.030, 0.051], on the tune split 0.050" in "\n".join(verdict.lines)


def test_a_promise_kept_on_the_tune_split_alone_does_not_help():
    loud = _rare(tune_false_alarms=0.0, gate_alarm_rate=_interval(4.9, 5.1))
    assert _decide(claims=(_claim(candidate=loud),)).decision is Decision.FAIL


def test_alarms_that_nobody_counted_on_the_gate_split_cannot_pass():
    silent = _rare(gate_alarm_rate=None)
    assert _decide(claims=(_claim(candidate=silent),)).decision is Decision.NOT_ENOUGH_EVIDENCE


def test_few_frames_without_an_alarm_promise_nothing():
    silent = _claim(candidate=_rare(gate_alarm_rate=_interval(0.0, 0.0, 5)))
    verdict = _decide(claims=(silent,), guard=_guard(frames=5, places=5))
    assert _outcome(verdict, "false alarms") is Decision.NOT_ENOUGH_EVIDENCE


def test_every_claimed_slice_must_pass_by_itself():
    worse = _claim(slice="animal_night", over_incumbent=_interval(-0.3, -0.1))
    assert _decide(claims=(_claim(), worse)).decision is Decision.FAIL


def test_a_candidate_that_claims_nothing_is_not_enough_evidence():
    assert _decide(claims=()).decision is Decision.NOT_ENOUGH_EVIDENCE


def test_ordinary_map_that_may_have_fallen_by_three_points_is_not_enough_evidence():
    verdict = _decide(guard=_guard(difference=_interval(-0.03, 0.02)))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE


def test_ordinary_map_that_fell_by_more_than_three_points_for_sure_fails():
    verdict = _decide(guard=_guard(difference=_interval(-0.08, -0.04)))
    assert verdict.decision is Decision.FAIL


@pytest.mark.parametrize("fields", [{"frames": 1199}, {"places": 99}])
def test_a_guard_over_too_few_frames_or_places_is_not_enough_evidence(fields):
    assert _decide(guard=_guard(**fields)).decision is Decision.NOT_ENOUGH_EVIDENCE


def test_no_guard_is_not_enough_evidence():
    assert _decide(guard=None).decision is Decision.NOT_ENOUGH_EVIDENCE


def test_one_new_collision_vetoes_the_best_candidate():
    verdict = _decide(episodes=_episodes(("jaywalker-1",)))
    assert verdict.decision is Decision.FAIL
    assert "got 1 in 4 episodes (jaywalker-1)" in verdict.lines[-1]


def test_episodes_that_were_never_driven_cannot_pass():
    assert _decide(episodes=None).decision is Decision.NOT_ENOUGH_EVIDENCE
    assert _decide(GateSettings(min_episodes=0), episodes=None).decision is Decision.PASS


def test_a_failure_outweighs_a_doubt():
    verdict = _decide(claims=(_claim(encounters=5),), episodes=_episodes(("a",)))
    assert verdict.decision is Decision.FAIL


def test_a_slice_without_any_truth_is_not_enough_evidence():
    empty = _claim(
        encounters=0,
        truths=0,
        candidate=_rare(recall=None),
        over_incumbent=None,
        over_control=None,
    )
    assert _decide(claims=(empty,)).decision is Decision.NOT_ENOUGH_EVIDENCE


def test_one_lost_class_refuses_however_good_the_mean_is_and_is_named():
    fallen = _class("bicycle", incumbent=(-0.093, 0.0005, 0.467))
    verdict = _decide(guard=_guard(difference=_interval(0.0, 0.02), classes=(_class(), fallen)))
    assert verdict.decision is Decision.FAIL
    (reason,) = [r for r in verdict.reasons if r.outcome is Decision.FAIL]
    assert reason.rule == "AP of every class, candidate beside incumbent"
    assert reason.got == "bicycle fell from 0.467 to 0.374, -0.093 [-0.133, -0.053]"
    outcomes = [class_outcome(row, verdict.numbers.guard, SETTINGS) for row in (_class(), fallen)]
    assert outcomes == [Decision.PASS, Decision.FAIL]


def test_a_class_that_may_have_fallen_far_by_luck_passes():
    assert (
        _decide(guard=_guard(classes=(_class(incumbent=(-0.3, 0.03)),))).decision is Decision.PASS
    )


def test_a_class_that_surely_fell_a_little_passes():
    assert _decide(guard=_guard(classes=(_class(incumbent=(-0.03, 0.0005)),))).decision is (
        Decision.PASS
    )


def test_the_more_classes_are_looked_at_the_surer_a_loss_must_be():
    fallen = _class("bicycle", incumbent=(-0.08, 0.004))
    alone = _guard(classes=(fallen,))
    among = _guard(classes=(fallen, *(_class(f"class {k}") for k in range(9))))
    assert _decide(guard=alone).decision is Decision.FAIL
    assert _decide(guard=among).decision is Decision.PASS


def test_comparisons_with_incumbent_and_anchor_are_counted_together():
    fallen = _class("bicycle", incumbent=(-0.08, 0.02), anchor=(0.0, 0.5))
    assert _decide(
        guard=_guard(classes=(_class("bicycle", incumbent=(-0.08, 0.02)),))
    ).decision is (Decision.FAIL)
    assert _decide(guard=_with_anchor(fallen)).decision is Decision.PASS


def test_small_losses_that_each_lap_may_have_add_up_against_the_anchor():
    # -0.028 a lap passes beside the incumbent; after two laps the anchor sees -0.056.
    first = _guard(classes=(_class("bus", incumbent=(-0.028, 0.0005)),))
    assert _decide(guard=first).decision is Decision.PASS
    second = _with_anchor(_class("bus", incumbent=(-0.028, 0.0005), anchor=(-0.056, 0.0005)))
    verdict = _decide(guard=second)
    assert verdict.decision is Decision.FAIL
    assert _outcome(verdict, "every class, candidate beside anchor") is Decision.FAIL
    assert _outcome(verdict, "every class, candidate beside incumbent") is Decision.PASS


def test_a_mean_that_fell_lap_by_lap_fails_beside_the_anchor():
    row = _class(anchor=(-0.01, 0.3))
    verdict = _decide(guard=_with_anchor(row, over_anchor=(-0.08, -0.04)))
    assert _outcome(verdict, "ordinary mAP, candidate minus anchor") is Decision.FAIL


def test_a_lap_whose_incumbent_is_the_anchor_counts_that_comparison_once():
    once, twice = _decide(), _decide(guard=_with_anchor(_class(anchor=(-0.01, 0.3))))
    assert not [r for r in once.reasons if "anchor" in r.rule]
    assert len(twice.reasons) == len(once.reasons) + 2


def test_a_class_that_an_earlier_lap_taught_must_not_fall_either():
    taught = _class("animal", incumbent=(-0.2, 0.0005), anchor=None)
    verdict = _decide(guard=_with_anchor(_class(anchor=(-0.01, 0.3)), taught))
    assert verdict.decision is Decision.FAIL
    assert "animal fell from 0.500 to 0.300" in "\n".join(verdict.lines)


def test_a_known_class_without_enough_truths_withholds_the_verdict():
    unseen = _class("animal", incumbent=None, truths=3)
    verdict = _decide(guard=_guard(classes=(_class(), unseen)))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE
    assert "got 3 animal, of 50 truths needed" in "\n".join(verdict.lines)
    assert class_outcome(unseen, verdict.numbers.guard, SETTINGS) is Decision.NOT_ENOUGH_EVIDENCE


def test_too_few_resamples_to_be_sure_of_any_class_are_not_enough_evidence():
    # With 100 resamples no p-value is below 1/101, ten classes ask for 0.0025.
    few = GateSettings(bootstrap=BootstrapSettings(resamples=100))
    ten = _guard(classes=tuple(_class(f"class {k}") for k in range(10)))
    assert _decide(few, guard=ten).decision is Decision.NOT_ENOUGH_EVIDENCE
    assert _decide(guard=ten).decision is Decision.PASS


def test_holm_by_hand():
    # 0.01 times 3; 0.02 times 2; 0.03, which cannot be below its predecessor's 0.04.
    assert holm((0.02, 0.03, 0.01)) == pytest.approx((0.04, 0.04, 0.03))
    assert holm((0.5, 0.9)) == (1.0, 1.0)
    assert holm(()) == ()


chances = st.lists(st.floats(0.0005, 1.0), min_size=1, max_size=12)


@given(chances, st.data())
def test_holm_is_monotone_and_never_below_what_it_adjusts(p_values, data):
    lower = [p * data.draw(st.floats(0.0, 1.0)) for p in p_values]
    adjusted = holm(p_values)
    assert all(a <= b for a, b in zip(holm(lower), adjusted, strict=True))
    assert all(
        p <= a <= min(1.0, p * len(p_values)) for p, a in zip(p_values, adjusted, strict=True)
    )
    ranked = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def _rows(changes):
    return [
        _class(f"class {k}", incumbent=first, anchor=second)
        for k, (first, second) in enumerate(changes)
    ]


one_change = st.tuples(st.floats(-0.2, 0.1), st.floats(0.0005, 1.0))
changes_of_classes = st.lists(st.tuples(one_change, one_change), min_size=1, max_size=11)


@given(changes_of_classes, st.randoms())
def test_the_order_of_classes_changes_nothing(changes, order):
    rows = _rows(changes)
    shuffled = order.sample(rows, len(rows))
    assert _decide(guard=_with_anchor(*rows)).decision is (
        _decide(guard=_with_anchor(*shuffled)).decision
    )
    fallen = [
        {(row.category, other) for row, other, _ in lost(compared(s), level=0.025, max_drop=0.03)}
        for s in (rows, shuffled)
    ]
    assert fallen[0] == fallen[1]


@given(changes_of_classes, st.floats(0.0, 0.1), st.data())
def test_more_evidence_of_harm_never_passes_what_failed(changes, alarms, data):
    def worse(change):
        harm, surer = data.draw(st.floats(0.0, 0.2)), data.draw(st.floats(0.01, 1.0))
        return (change[0] - harm, change[1] * surer)

    def verdict(some, rate):
        claim = _claim(candidate=_rare(gate_alarm_rate=_interval(rate, rate + 0.02)))
        return _decide(claims=(claim,), guard=_with_anchor(*_rows(some))).decision

    order = [Decision.PASS, Decision.NOT_ENOUGH_EVIDENCE, Decision.FAIL]
    before = verdict(changes, alarms)
    after = verdict(
        [(worse(first), worse(second)) for first, second in changes],
        alarms + data.draw(st.floats(0.0, 0.1)),
    )
    assert order.index(after) >= order.index(before)


bounds = st.floats(-0.5, 0.5)


@given(bounds, bounds, bounds, bounds, st.integers(0, 120), st.booleans())
def test_what_passes_has_both_gains_and_no_loss_and_enough_encounters(a, b, c, d, n, has_crash):
    gain, guard = sorted((a, b)), sorted((c, d))
    verdict = _decide(
        claims=(_claim(over_incumbent=_interval(*gain), encounters=n),),
        guard=_guard(difference=_interval(*guard)),
        episodes=_episodes(("x",) if has_crash else ()),
    )
    may_pass = gain[0] > 0 and guard[0] > -0.03 and n >= 60 and not has_crash
    assert (verdict.decision is Decision.PASS) == may_pass
    assert (verdict.decision is Decision.FAIL) >= has_crash


def test_a_verdict_from_before_the_class_guards_can_still_be_read():
    old = msgspec.json.decode(_decide().to_json())
    for model in ("candidate", "incumbent", "control"):
        del old["numbers"]["claims"][0][model]["gate_alarm_rate"]
    for name in ("classes", "anchor_map", "over_anchor"):
        del old["numbers"]["guard"][name]
    for name in ("max_class_drop", "max_false_alarms_per_frame"):
        del old["settings"][name]
    again = msgspec.convert(old, Verdict)
    assert again.numbers.guard.classes == ()
    assert judge_candidate(again.numbers, again.settings).decision is Decision.NOT_ENOUGH_EVIDENCE


def test_a_verdict_survives_its_canonical_bytes_and_keeps_its_hash():
    verdict = _decide(claims=(_claim(control=None, over_control=None),))
    again = msgspec.json.decode(verdict.to_json(), type=Verdict)
    assert again == verdict
    assert again.sha256 == verdict.sha256
    assert len(verdict.sha256) == 64


def test_another_number_is_another_verdict():
    assert _decide().sha256 != _decide(guard=_guard(frames=1201)).sha256


def test_the_shipped_settings_are_the_defaults_of_the_code():
    assert load("gate", "default", GateSettings) == GateSettings()


def test_the_shipped_settings_name_every_field():
    shipped = load("gate", "default", dict[str, object])
    assert shipped == msgspec.to_builtins(GateSettings())


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("min_encounter: 60", "did you mean min_encounters"),
        ("min_encounters: x", "Expected `int`, got `str`"),
    ],
)
def test_a_misspelt_or_wrong_setting_is_refused(line, error, tmp_path):
    (tmp_path / "own.yaml").write_text(line)
    with pytest.raises(OperatorError, match=error):
        load("gate", str(tmp_path / "own.yaml"), GateSettings)
