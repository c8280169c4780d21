from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edge.contracts.classes import CAR, PEDESTRIAN, TRUCK, UNKNOWN
from edge.contracts.errors import OperatorError
from fleet.evaluate import MatchSettings, class_scores, detection_scores, match


def _hits(matches, distance_m=2.0, category=CAR):
    return matches.outcomes(category, distance_m)[1].tolist()


def test_a_box_three_metres_off_is_a_hit_at_four_metres_only(frame, truth, box):
    matches = match([frame([truth(x_m=10.0)], [box(x_m=13.0)])])
    assert [_hits(matches, d) for d in (0.5, 1.0, 2.0, 4.0)] == [[False], [False], [False], [True]]


def test_the_best_score_takes_the_truth_even_when_a_worse_one_is_nearer(frame, truth, box):
    predictions = [box(x_m=10.1, score=0.4), box(x_m=11.0, score=0.9)]
    matches = match([frame([truth(x_m=10.0)], predictions)])
    assert matches.predictions.score.tolist() == [0.9, 0.4]
    assert _hits(matches) == [True, False]


def test_a_second_box_on_the_same_object_is_a_false_alarm(frame, truth, box):
    matches = match([frame([truth()], [box(score=0.9), box(score=0.8)])])
    assert _hits(matches) == [True, False]


def test_a_box_takes_the_nearest_truth_that_is_still_free(frame, truth, box):
    truths = [truth(x_m=10.0), truth(x_m=11.5)]
    matches = match([frame(truths, [box(x_m=10.1, score=0.9), box(x_m=10.2, score=0.8)])])
    assert matches.truth_of[:, 2].tolist() == [0, 1]


def test_another_class_at_the_place_is_no_match(frame, truth, box):
    matches = match([frame([truth()], [box(category=TRUCK)])])
    assert _hits(matches, category=TRUCK) == [False]


def test_truth_with_too_few_pixels_is_neither_hit_nor_miss(frame, truth, box):
    matches = match([frame([truth(visible_px=11)], [box()])])
    assert len(matches.truth_rows(CAR)) == 0
    assert _hits(matches) == []


def test_truth_out_of_range_is_neither_hit_nor_miss(frame, truth, box):
    matches = match([frame([truth(x_m=30.5)], [box(x_m=29.8)])])
    assert len(matches.truth_rows(CAR)) == 0
    assert _hits(matches) == []


def test_a_box_out_of_range_is_no_false_alarm_but_may_find_a_truth_in_range(frame, truth, box):
    predictions = [box(x_m=30.2, score=0.9), box(x_m=40.0, score=0.8)]
    matches = match([frame([truth(x_m=29.8)], predictions)])
    assert _hits(matches) == [True]


def test_a_counted_truth_is_preferred_to_a_nearer_ignored_one(frame, truth, box):
    truths = [truth(x_m=10.0, is_ignored=True), truth(x_m=11.0)]
    assert _hits(match([frame(truths, [box(x_m=10.0)])])) == [True]


def test_an_ignored_truth_excuses_one_box_and_no_more(frame, truth, box):
    matches = match([frame([truth(is_ignored=True)], [box(score=0.9), box(score=0.8)])])
    assert _hits(matches) == [False]


def test_where_nobody_could_tell_there_are_no_misses_and_no_false_alarms(frame, truth, box):
    unsure = frame([truth(x_m=10.0)], [box(y_m=-9.0)], ignored_discs_ego=((10.0, -4.5, 5.0),))
    sure = frame(predictions=[box(y_m=-9.0)], frame_id="f1")
    matches = match([unsure, sure])
    assert matches.is_truth_counted.tolist() == [False]
    assert matches.outcomes(CAR, 2.0)[0].tolist() == [1]


def test_settings_decide_what_counts(frame, truth):
    settings = MatchSettings(max_range_m=5.0, min_visible_px=0)
    matches = match([frame([truth(x_m=4.0, visible_px=1), truth(x_m=6.0)])], settings)
    assert matches.is_truth_counted.tolist() == [True, False]


def test_boxes_of_an_unknown_category_take_no_part(frame, truth, box):
    unknown = UNKNOWN
    matches = match([frame([truth(category=unknown)], [box(category=unknown), box()])])
    assert len(matches.truths.score) == 0
    assert _hits(matches) == [False]


def test_the_matches_above_a_threshold_are_those_of_matching_only_these_boxes(drive, frame):
    frames = drive(3)
    matches = match(frames)
    strong = [
        frame(
            f.truths,
            [b for b in f.predictions if b.score >= 0.5],
            frame_id=f.frame_id,
            place_id=f.place_id,
        )
        for f in frames
    ]
    again = match(strong)
    kept = int((matches.predictions.score >= 0.5).sum())
    assert np.array_equal(matches.truth_of[:kept], again.truth_of)


def test_a_frame_given_twice_is_refused(frame):
    with pytest.raises(OperatorError, match="2 frames, 1 distinct"):
        match([frame(), frame()])


def test_no_frames_are_refused():
    with pytest.raises(OperatorError, match="at least one frame"):
        match([])


def test_equal_scores_give_the_same_ap_in_every_order_of_frames_and_boxes(drive):
    def tied(frames):
        return [
            replace(f, predictions=tuple(tied_box(b) for b in f.predictions[:: 1 - 2 * flip]))
            for f in frames
        ]

    def tied_box(box):
        return msgspec.structs.replace(box, score=round(box.score, 1))

    frames, ap = drive(3), []
    for flip in (0, 1):
        matches = match(tied(frames[:: 1 - 2 * flip]))
        ap.append([class_scores(matches, c).ap for c in (CAR, PEDESTRIAN)])
    assert ap[0] == ap[1]


def test_a_model_is_judged_by_the_classes_that_it_lists(frame, truth, box):
    frames = [frame([truth(category="scooter"), truth()], [box(category="scooter"), box()])]
    listed = match(frames, categories=("scooter",))
    assert _hits(listed, category="scooter") == [True]
    assert len(listed.truth_rows("scooter")) == 1
    assert len(listed.truth_rows(CAR)) == len(listed.prediction_rows(CAR)) == 0
    assert [c.category for c in detection_scores(listed, min_instances=1).classes] == ["scooter"]


def test_a_thirteenth_class_does_not_find_the_first_class_of_the_next_frame(frame, truth, box):
    names = tuple(f"class_{k}" for k in range(13))
    first = frame([], [box(category=names[12])])
    second = frame([truth(category=names[0])], [], frame_id="f1")
    assert _hits(match([first, second], categories=names), category=names[12]) == [False]
