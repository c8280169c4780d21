import pytest

from edge.contracts.classes import ANIMAL, BUS, CAR, TRUCK
from edge.contracts.errors import OperatorError
from fleet.evaluate import (
    SLICES,
    Contender,
    Decision,
    GateSettings,
    MatchSettings,
    Slice,
    compare_episodes,
    gather_evidence,
    judge_candidate,
    match,
)

SETTINGS = GateSettings(min_guard_frames=60, min_guard_places=60, min_episodes=0)


@pytest.fixture
def contender(frame, truth, box):
    """A model that finds every car, and the animals of the encounters it is told to find."""

    def build(finds, ghosts=(), gate_truths=True, known=(CAR,), cars=lambda k: True):
        def split(name, encounters):
            frames = []
            for k in range(encounters):
                label = truth(category=ANIMAL, y_m=5.0, encounter_id=f"{name}{k}")
                found = [box(category=ANIMAL, y_m=5.0, score=0.8)] if finds(k) else []
                seen = [box()] if cars(k) else []
                frames.append(
                    frame([truth(), label], [*seen, *found], frame_id=f"a{k}", place_id=f"p{k}")
                )
            for k in range(20):
                ghost = [box(category=ANIMAL, y_m=-5.0, score=s) for s in ghosts[k : k + 1]]
                frames.append(frame([truth()], [box(), *ghost], frame_id=f"c{k}", place_id=f"p{k}"))
            return match(frames, MatchSettings())

        return Contender(split("tune", 20), split("gate", 60 if gate_truths else 0), known)

    return build


def _never(k):
    return False


def test_a_model_that_learned_the_animal_is_told_from_one_that_did_not(contender):
    candidate, blind = contender(lambda k: k % 2 == 0), contender(_never)
    evidence = gather_evidence(candidate, blind, blind, [SLICES["animal"]], None, SETTINGS)
    claim = evidence.claims[0]
    assert (claim.encounters, claim.truths, claim.category) == (60, 60, "animal")
    assert claim.over_incumbent.estimate == 0.5
    assert 0.3 < claim.over_incumbent.lower < 0.5 < claim.over_incumbent.upper < 0.7
    assert claim.over_control == claim.over_incumbent
    assert judge_candidate(evidence, SETTINGS).decision is Decision.PASS


def test_the_threshold_comes_from_the_tune_split_and_its_price_from_both(contender):
    # Two ghosts on 20 clean frames, one allowed: the threshold goes just above the weaker one.
    candidate = contender(lambda k: True, ghosts=(0.9, 0.4))
    evidence = gather_evidence(
        candidate, contender(_never), None, [SLICES["animal"]], None, SETTINGS
    )
    rare = evidence.claims[0].candidate
    assert rare.threshold == pytest.approx(0.4)
    assert (rare.tune_false_alarms, rare.gate_false_alarms) == (0.05, 0.05)
    assert rare.recall.estimate == 1.0


def test_ghosts_as_strong_as_the_animal_cost_the_animal(contender):
    candidate = contender(lambda k: True, ghosts=(0.85, 0.85))
    evidence = gather_evidence(
        candidate, contender(_never), None, [SLICES["animal"]], None, SETTINGS
    )
    assert evidence.claims[0].candidate.recall.estimate == 0.0


def test_the_guard_covers_ordinary_classes_with_enough_truths_and_leaves_the_animal_out(contender):
    blind = contender(_never)
    evidence = gather_evidence(blind, blind, None, [SLICES["animal"]], None, SETTINGS)
    guard = evidence.guard
    assert guard.categories == ("car",)
    assert (guard.frames, guard.places) == (80, 60)
    assert guard.candidate_map == pytest.approx(1.0)
    assert (guard.difference.lower, guard.difference.upper) == (0.0, 0.0)


def test_a_gate_split_without_the_claimed_class_is_not_enough_evidence(contender):
    blind = contender(_never, gate_truths=False)
    settings = GateSettings(min_episodes=0, min_instances=10)
    evidence = gather_evidence(blind, blind, blind, [SLICES["animal"]], None, settings)
    assert evidence.claims[0].candidate.recall is None
    assert evidence.claims[0].candidate.gate_alarm_rate.estimate == 0.0
    assert judge_candidate(evidence, settings).decision is Decision.NOT_ENOUGH_EVIDENCE


def test_a_gate_split_without_any_class_to_score_has_no_guard(contender):
    blind = contender(_never)
    settings = GateSettings(min_instances=1000)
    assert gather_evidence(blind, blind, None, [], None, settings).guard is None


def test_a_claim_on_two_classes_is_refused(contender):
    blind = contender(_never)
    both = Slice("both", (ANIMAL, TRUCK))
    with pytest.raises(OperatorError, match="exactly one class"):
        gather_evidence(blind, blind, None, [both], None, SETTINGS)


def test_models_that_met_different_frames_cannot_be_compared(contender):
    with pytest.raises(OperatorError, match="cannot be paired"):
        gather_evidence(
            contender(_never),
            contender(_never, gate_truths=False),
            None,
            [SLICES["animal"]],
            None,
            SETTINGS,
        )


def test_the_same_inputs_give_the_same_verdict_byte_for_byte(contender):
    def verdict():
        candidate, blind = contender(lambda k: k % 3 == 0), contender(_never)
        episodes = compare_episodes([], [])
        evidence = gather_evidence(candidate, blind, blind, [SLICES["animal"]], episodes, SETTINGS)
        return judge_candidate(evidence, SETTINGS)

    assert verdict().to_json() == verdict().to_json()


def test_false_alarms_are_counted_on_the_gate_split_in_every_frame(contender, frame, truth, box):
    # Silent in clean frames, and a second box 4 m beside each of the 60 animals: 60 in 80 frames.
    label = truth(category=ANIMAL, y_m=5.0, encounter_id="e")
    boxes = [box(category=ANIMAL, y_m=y, score=0.8) for y in (5.0, 9.0)]
    frames = [frame([label], boxes, frame_id=f"a{k}", place_id=f"p{k}") for k in range(60)]
    frames += [frame(frame_id=f"c{k}", place_id=f"p{k}") for k in range(20)]
    doubled = Contender(contender(_never).tune, match(frames), (CAR,))
    evidence = gather_evidence(doubled, doubled, None, [SLICES["animal"]], None, SETTINGS)
    rare = evidence.claims[0].candidate
    assert (rare.tune_false_alarms, rare.gate_false_alarms) == (0.0, 0.0)
    assert rare.gate_alarm_rate.estimate == 0.75


def _rows(evidence):
    return {row.category: row for row in evidence.guard.classes}


def test_a_class_that_falls_fails_by_name(contender):
    blind, half = contender(_never), contender(_never, cars=lambda k: k % 2 == 0)
    evidence = gather_evidence(half, blind, None, [SLICES["animal"]], None, SETTINGS)
    lines = "\n".join(judge_candidate(evidence, SETTINGS).lines)
    assert "fail: AP of every class, candidate beside incumbent" in lines
    assert "car fell from 1.000 to" in lines


def test_what_an_earlier_lap_taught_is_guarded_beside_the_incumbent(contender):
    taught = contender(lambda k: True, known=(CAR, ANIMAL))
    forgetful, baseline = contender(_never), contender(_never)
    evidence = gather_evidence(
        forgetful, taught, None, [SLICES["overturned_truck"]], None, SETTINGS, anchor=baseline
    )
    animal, car = _rows(evidence)["animal"], _rows(evidence)["car"]
    assert animal.incumbent.difference.estimate == -1.0
    assert animal.anchor is None  # the baseline cannot name it
    assert car.anchor.difference.estimate == 0.0
    assert evidence.guard.categories == ("car", "animal")
    assert "animal fell from 1.000 to 0.000" in "\n".join(judge_candidate(evidence, SETTINGS).lines)


def test_a_class_that_is_claimed_again_must_not_fall_and_stays_out_of_the_mean(contender):
    taught = contender(lambda k: True, known=(CAR, ANIMAL))
    forgetful = contender(lambda k: k % 2 == 0)
    evidence = gather_evidence(forgetful, taught, None, [SLICES["animal"]], None, SETTINGS)
    assert evidence.guard.categories == ("car",)
    assert evidence.guard.difference.estimate == 0.0
    assert "animal fell from 1.000" in "\n".join(judge_candidate(evidence, SETTINGS).lines)


def test_a_known_class_that_the_gate_split_does_not_hold_withholds_the_verdict(contender):
    incumbent = contender(lambda k: True, known=(CAR, BUS))
    evidence = gather_evidence(incumbent, incumbent, None, [SLICES["animal"]], None, SETTINGS)
    assert _rows(evidence)["bus"].truths == 0
    assert "got 0 bus, of 50 truths needed" in "\n".join(judge_candidate(evidence, SETTINGS).lines)


def test_the_anchor_sees_what_the_incumbent_had_lost_before(contender):
    lost = contender(lambda k: k % 2 == 0, cars=lambda k: k % 2 == 0)
    fallen_before = contender(_never, cars=lambda k: k % 2 == 0)
    baseline = contender(_never)
    claims = [SLICES["animal"]]
    alone = gather_evidence(lost, fallen_before, fallen_before, claims, None, SETTINGS)
    assert judge_candidate(alone, SETTINGS).decision is Decision.PASS
    beside = gather_evidence(
        lost, fallen_before, fallen_before, claims, None, SETTINGS, anchor=baseline
    )
    assert judge_candidate(beside, SETTINGS).decision is Decision.FAIL
    assert beside.guard.anchor_map == 1.0
    assert beside.guard.over_anchor == _rows(beside)["car"].anchor.difference
