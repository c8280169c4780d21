from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, ValidationError

import conf
from fleet.evaluate import Decision, EpisodeComparison, Evidence, GateSettings, Interval, judge
from fleet.evaluate.gate import Claim, Guard, RareRecall, Verdict

SETTINGS = GateSettings()
DEFAULT_YAML = Path(conf.__file__).parent / "gate" / "default.yaml"


def _interval(lower, upper, clusters=60):
    return Interval(estimate=(lower + upper) / 2, lower=lower, upper=upper, clusters=clusters)


def _rare(**fields):
    plain = {
        "threshold": 0.3,
        "tune_false_alarms": 0.05,
        "gate_false_alarms": 0.06,
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
    return Claim(**(plain | fields))


def _guard(**fields):
    plain = {
        "frames": 1200,
        "places": 100,
        "categories": ("car",),
        "candidate_map": 0.63,
        "incumbent_map": 0.64,
        "difference": _interval(-0.02, 0.01),
    }
    return Guard(**(plain | fields))


def _episodes(new_collisions=(), episodes=4):
    return EpisodeComparison(
        episodes=episodes, new_collisions=new_collisions, candidate=None, incumbent=None
    )


def _decide(settings=SETTINGS, **fields):
    plain = {"claims": (_claim(),), "guard": _guard(), "episodes": _episodes()}
    return judge(Evidence(**(plain | fields)), settings)


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


def test_fifty_nine_encounters_are_not_enough_however_clear_the_gain():
    verdict = _decide(claims=(_claim(encounters=59),))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE
    assert "at least 60 encounters, got 59" in "\n".join(verdict.lines)


def test_a_claim_without_a_control_is_not_enough_evidence():
    verdict = _decide(claims=(_claim(control=None, over_control=None),))
    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE


def test_too_many_false_alarms_on_the_tune_split_fail():
    verdict = _decide(claims=(_claim(candidate=_rare(tune_false_alarms=0.051)),))
    assert verdict.decision is Decision.FAIL
    assert _outcome(verdict, "false alarms") is Decision.FAIL


def test_false_alarms_of_the_gate_split_are_reported_and_do_not_decide():
    verdict = _decide(claims=(_claim(candidate=_rare(gate_false_alarms=0.4)),))
    assert verdict.decision is Decision.PASS
    assert "(on the gate split 0.400)" in "\n".join(verdict.lines)


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


def test_a_verdict_survives_its_canonical_bytes_and_keeps_its_hash():
    verdict = _decide(claims=(_claim(control=None, over_control=None),))
    again = msgspec.json.decode(verdict.to_json(), type=Verdict)
    assert again == verdict
    assert again.sha256 == verdict.sha256
    assert len(verdict.sha256) == 64


def test_another_number_is_another_verdict():
    assert _decide().sha256 != _decide(guard=_guard(frames=1201)).sha256


def test_the_shipped_settings_are_the_defaults_of_the_code():
    merged = OmegaConf.merge(OmegaConf.structured(GateSettings), OmegaConf.load(DEFAULT_YAML))
    assert OmegaConf.to_object(merged) == GateSettings()


def test_the_shipped_settings_name_every_field():
    shipped = OmegaConf.to_container(OmegaConf.load(DEFAULT_YAML))
    assert shipped == msgspec.to_builtins(GateSettings())


@pytest.mark.parametrize(
    ("line", "error"),
    [("min_encounter: 60", ConfigKeyError), ("min_encounters: x", ValidationError)],
)
def test_a_misspelt_or_wrong_setting_is_refused(line, error):
    with pytest.raises(error):
        OmegaConf.merge(OmegaConf.structured(GateSettings), OmegaConf.create(line))
