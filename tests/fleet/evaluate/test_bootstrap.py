import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts.classes import ANIMAL, BARRIER, BUS, CAR, PEDESTRIAN, TRAFFIC_CONE
from edge.contracts.errors import OperatorError
from fleet.evaluate import (
    BootstrapSettings,
    ClusterRecall,
    ap_differences,
    ap_intervals,
    class_scores,
    cluster_recall,
    detection_scores,
    false_alarm_rate,
    match,
    mean_interval,
    recall_difference,
    recall_interval,
)
from fleet.evaluate.bootstrap import weighted_average_precision
from fleet.evaluate.metrics import average_precision

CLASSES = (CAR, PEDESTRIAN, BARRIER, TRAFFIC_CONE)
FEW = BootstrapSettings(resamples=300)


def _recall(hits, truths):
    names = tuple(f"encounter {k:03d}" for k in range(len(truths)))
    return ClusterRecall(names, len(names), np.array(hits), np.array(truths))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=30),
    st.integers(0, 99),
)
def test_a_model_differs_from_itself_by_exactly_zero(counts, seed):
    truths = [t for t, _ in counts]
    recall = _recall([min(t, h) for t, h in counts], truths)
    found = recall_difference(recall, recall, BootstrapSettings(resamples=50, seed=seed))
    assert (found.estimate, found.lower, found.upper) == (0.0, 0.0, 0.0)


def test_the_map_of_a_model_differs_from_itself_by_exactly_zero(drive):
    matches = match(drive(1))
    found = ap_differences(matches, matches, CLASSES, FEW)
    assert (found.mean.estimate, found.mean.lower, found.mean.upper) == (0.0, 0.0, 0.0)
    assert found.mean.clusters == 8
    assert {part.p_value for part in found.classes.values()} == {1.0}


def test_a_model_that_finds_one_more_of_four_everywhere_gains_a_quarter_for_sure():
    found = recall_difference(_recall([3] * 60, [4] * 60), _recall([2] * 60, [4] * 60), FEW)
    assert (found.estimate, found.lower, found.upper) == (0.25, 0.25, 0.25)


def test_ten_frames_of_the_same_encounter_are_no_more_evidence_than_one(frame, truth, box):
    def drive(copies):
        return match(
            [
                frame(
                    [truth(category=ANIMAL, encounter_id=f"e{k}")],
                    [box(category=ANIMAL)] if k % 3 == 0 else [],
                    frame_id=f"f{k}-{copy}",
                )
                for k in range(30)
                for copy in range(copies)
            ]
        )

    once = recall_interval(cluster_recall(drive(1), ANIMAL, 0.5), FEW)
    tenfold = recall_interval(cluster_recall(drive(10), ANIMAL, 0.5), FEW)
    assert once == tenfold
    assert once.clusters == 30


def test_truths_without_an_encounter_fall_under_their_place(frame, truth):
    frames = [
        frame([truth(category=ANIMAL)], frame_id=f"f{k}", place_id=f"p{k % 2}") for k in range(6)
    ]
    recall = cluster_recall(match(frames), ANIMAL, 0.5)
    assert recall.clusters == ("place p0", "place p1")
    assert recall.truths.tolist() == [3, 3]
    assert recall.encounters == 0


def test_a_threshold_turns_weak_hits_into_misses(frame, truth, box):
    label = truth(category=ANIMAL, encounter_id="e0")
    matches = match([frame([label], [box(category=ANIMAL, score=0.4)])])
    assert cluster_recall(matches, ANIMAL, 0.4).hits.tolist() == [1]
    assert cluster_recall(matches, ANIMAL, 0.5).hits.tolist() == [0]


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    rng = np.random.default_rng(2)
    first, second = _recall(rng.integers(0, 5, 40), [4] * 40), _recall([1] * 40, [4] * 40)
    assert recall_difference(first, second, FEW) == recall_difference(first, second, FEW)
    other = BootstrapSettings(resamples=300, seed=1)
    assert recall_difference(first, second, FEW) != recall_difference(first, second, other)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    # 60 encounters of 4 frames; each is hard or easy, so that its frames succeed and fail together.
    rng = np.random.default_rng(11)
    truths, covered, trials = [4] * 60, 0, 300
    few = BootstrapSettings(resamples=400)
    for _ in range(trials):
        ease = rng.beta(1.0, 1.0, size=60)
        first = rng.binomial(4, 0.2 + 0.8 * ease)  # mean recall 0.6
        second = rng.binomial(4, 0.8 * ease)  # mean recall 0.4
        found = recall_difference(_recall(first, truths), _recall(second, truths), few)
        covered += found.lower <= 0.2 <= found.upper
    assert 0.91 <= covered / trials <= 0.98


def test_recall_on_different_truths_cannot_be_paired():
    with pytest.raises(OperatorError, match="9 in 2 against 8 in 2"):
        recall_difference(_recall([1, 1], [4, 5]), _recall([1, 1], [4, 4]), FEW)


def test_map_on_different_frames_cannot_be_paired(drive):
    with pytest.raises(OperatorError, match=r"40 frames .* against 39"):
        ap_differences(match(drive(1)), match(drive(1)[:-1]), CLASSES, FEW)


def test_nothing_to_find_cannot_be_resampled():
    with pytest.raises(OperatorError, match="nothing to resample"):
        recall_interval(_recall([], []), FEW)


def test_a_mean_without_any_value_cannot_be_resampled():
    with pytest.raises(OperatorError, match="nothing to resample"):
        mean_interval([], [], FEW)


def test_a_mean_weighs_values_and_its_doubt_is_of_places():
    """A hundred values of one place leave the mean at 2; drawn alone, a place says 1 or 3."""
    values, places = [1.0, 3.0] * 100, ["a", "b"] * 100
    found = mean_interval(values, places, FEW)
    assert (found.estimate, found.lower, found.upper, found.clusters) == (2.0, 1.0, 3.0, 2)
    assert mean_interval([1.0, 1.0, 4.0], ["a", "a", "b"], FEW).estimate == 2.0


def test_map_over_a_class_without_truth_is_refused(drive):
    with pytest.raises(OperatorError, match="mAP over bus is undefined"):
        ap_intervals(match(drive(1)), (BUS,), FEW)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_estimate_is_the_map_of_the_plain_metric(drive, seed):
    matches = match(drive(seed))
    scores = detection_scores(matches, CLASSES, min_instances=1)
    assert ap_intervals(matches, CLASSES, FEW).mean.estimate == pytest.approx(
        scores.mean_ap, abs=1e-12
    )


def _one_car_per_place(frame, truth, box, found):
    """One frame with one car per place, found perfectly or not at all."""
    return match(
        [
            frame([truth()], [box()] if is_found else [], frame_id=f"f{k}", place_id=f"p{k}")
            for k, is_found in enumerate(found)
        ]
    )


def test_a_class_found_alike_everywhere_has_no_doubt_about_its_ap(frame, truth, box):
    found = ap_intervals(_one_car_per_place(frame, truth, box, [True] * 5), CLASSES[:1], FEW)
    interval = found.classes[CAR]
    assert (interval.estimate, interval.lower, interval.upper) == (1.0, 1.0, 1.0)
    assert interval.clusters == 5


def test_of_two_places_one_found_the_ap_may_be_anything(frame, truth, box):
    # A quarter of the resamples draws the good place twice, a quarter the bad one.
    found = ap_intervals(_one_car_per_place(frame, truth, box, [True, False]), CLASSES[:1], FEW)
    interval = found.classes[CAR]
    assert (interval.lower, interval.upper) == (0.0, 1.0)
    assert interval.estimate == pytest.approx(40 / 90)  # recall points 0.11 to 0.50 of 0.11 to 1.00


def test_the_intervals_of_a_class_and_of_map_over_it_alone_are_the_same(drive):
    found = ap_intervals(match(drive(3)), CLASSES[:1], FEW)
    assert found.classes[CAR] == found.mean


def test_every_class_is_bounded_around_its_own_ap(drive):
    matches = match(drive(3))
    found = ap_intervals(matches, CLASSES, FEW)
    for category, interval in found.classes.items():
        measured = class_scores(matches, category).ap
        assert interval.estimate == pytest.approx(measured, abs=1e-12)
        assert interval.lower < measured < interval.upper


def test_a_class_of_one_place_is_judged_where_that_place_was_drawn(frame, truth, box):
    elsewhere = [frame([truth()], [], frame_id=f"f{k}", place_id=f"p{k}") for k in range(3)]
    bus = frame([truth(category=BUS)], [box(category=BUS)], frame_id="b", place_id="b")
    found = ap_intervals(match([*elsewhere, bus]), (BUS,), FEW).classes[BUS]
    assert (found.lower, found.upper) == (1.0, 1.0)


def test_a_class_that_no_resample_drew_has_no_interval(frame, truth):
    frames = [frame([truth()], [], frame_id=f"f{k}", place_id=f"p{k}") for k in range(40)]
    bus = frame([truth(category=BUS)], [], frame_id="b", place_id="b")
    seldom = BootstrapSettings(resamples=1, seed=3)
    with pytest.raises(OperatorError, match="AP of bus has no interval: none of 1 resamples"):
        ap_intervals(match([*frames, bus]), (BUS,), seldom)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=40), st.data())
def test_a_place_that_is_not_drawn_is_as_if_it_had_never_been_driven(events, data):
    is_hit, place = np.array([h for h, _ in events]), np.array([p for _, p in events])
    drawn = np.array([data.draw(st.lists(st.booleans(), min_size=4, max_size=4))])
    truths_at = np.bincount(place[is_hit], minlength=4) + 1
    found = weighted_average_precision(is_hit, place, drawn.astype(np.int32), truths_at)
    if not drawn.any():
        assert np.isnan(found[0])
        return
    kept = drawn[0, place]
    expected = average_precision(is_hit[kept], int(truths_at[drawn[0]].sum()))
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_a_place_drawn_twice_counts_like_two_places_that_saw_the_same(drive):
    rng = np.random.default_rng(4)
    is_hit = np.sort(rng.random(800))[::-1] > rng.random(800)
    place, weights = rng.integers(0, 3, 800), np.array([[2, 0, 1]], np.int32)
    truths_at = np.bincount(place[is_hit], minlength=3) + 20
    often = np.repeat(is_hit, weights[0, place])
    expected = average_precision(often, int(weights[0] @ truths_at))
    found = weighted_average_precision(is_hit, place, weights, truths_at)
    assert found[0] == pytest.approx(expected, abs=2e-3)


def test_resamples_in_blocks_are_the_same_as_all_at_once(drive, monkeypatch):
    matches = match(drive(2))
    whole = ap_intervals(matches, CLASSES, FEW).mean
    monkeypatch.setattr("fleet.evaluate.bootstrap._CELLS_AT_ONCE", 1000)
    assert ap_intervals(matches, CLASSES, FEW).mean == whole


def test_a_better_model_shows_and_pairing_makes_it_show_more_clearly(drive):
    good = match(drive(7, 120, 40, noise_m=0.3))
    poor = match(drive(7, 120, 40, noise_m=0.9))
    paired = ap_differences(good, poor, CLASSES, FEW).mean
    assert paired.lower > 0.0
    alone = [ap_intervals(m, CLASSES, FEW).mean for m in (good, poor)]
    assert paired.upper - paired.lower < sum(i.upper - i.lower for i in alone)


def test_each_class_is_compared_by_its_own_ap(drive):
    good, poor = match(drive(7, noise_m=0.3)), match(drive(7, noise_m=0.9))
    found = ap_differences(poor, good, CLASSES, FEW)
    for category, part in found.classes.items():
        assert part.first == pytest.approx(class_scores(poor, category).ap, abs=1e-12)
        assert part.second == pytest.approx(class_scores(good, category).ap, abs=1e-12)
        assert part.difference.estimate == pytest.approx(part.first - part.second)
    mean = np.mean([part.difference.estimate for part in found.classes.values()])
    assert found.mean.estimate == pytest.approx(mean)


def test_a_class_that_is_left_out_of_the_mean_is_still_compared(drive):
    good, poor = match(drive(7, noise_m=0.3)), match(drive(7, noise_m=0.9))
    found = ap_differences(poor, good, CLASSES, FEW, averaged=CLASSES[:1])
    assert tuple(found.classes) == CLASSES
    assert found.mean == found.classes[CLASSES[0]].difference


def test_the_p_value_is_below_half_the_tail_where_the_interval_lies_below_zero(drive):
    for seed in range(6):
        found = ap_differences(match(drive(seed)), match(drive(seed, model_seed=1)), CLASSES, FEW)
        for part in found.classes.values():
            if abs(part.difference.upper) > 0.002:  # not within a draw of the bound
                assert (part.p_value < 0.025) == (part.difference.upper < 0.0)


def test_a_false_alarm_counts_in_a_frame_that_holds_the_class_too(frame, truth, box):
    animal = truth(category=ANIMAL)
    twice = [box(category=ANIMAL), box(category=ANIMAL, y_m=3.0)]  # the second stands 3 m off
    frames = [frame([animal], twice, frame_id=f"f{k}", place_id=f"p{k}") for k in range(3)]
    frames.append(frame(frame_id="clean", place_id="p3"))
    rate = false_alarm_rate(match(frames), ANIMAL, 0.5, 2.0, FEW)
    assert (rate.estimate, rate.clusters) == (0.75, 4)
    assert rate.lower < 0.75 < rate.upper


def test_alarms_of_one_place_are_one_piece_of_evidence(frame, box):
    def rate(places):
        frames = [
            frame(
                [],
                [box(category=ANIMAL)] if k % 10 == 0 else [],
                frame_id=f"f{k}",
                place_id=f"p{k % places}",
            )
            for k in range(200)
        ]
        return false_alarm_rate(match(frames), ANIMAL, 0.5, 2.0, FEW)

    few, many = rate(10), rate(200)
    assert few.estimate == many.estimate == 0.1
    assert few.upper - few.lower > 2.0 * (many.upper - many.lower)
