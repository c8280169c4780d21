import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.classes import ANIMAL, BARRIER, BUS, CAR, SHIPPED_CLASSES, TRAFFIC_CONE
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Attribute, Box3D
from fleet.evaluate import (
    EvalFrame,
    HeadingBand,
    best_f1_threshold,
    class_scores,
    detection_scores,
    false_alarms_in_clean_frames,
    heading_errors,
    match,
    nuscenes_detection_score,
    operating_point,
    threshold_for,
)
from fleet.evaluate.metrics import ERRORS, average_precision


def test_one_perfect_box_has_ap_one_and_no_error(frame, truth, box):
    matches = match([frame([truth(attribute="moving")], [box(attribute="moving")])])
    scores = detection_scores(matches, min_instances=1)
    assert scores.mean_ap == pytest.approx(1.0)
    assert scores.mean_errors == pytest.approx((0.0, 0.0, 0.0, 0.0, 0.0), abs=1e-12)
    assert scores.nds == pytest.approx(1.0)


def test_one_box_three_metres_off_has_a_quarter_of_the_ap(frame, truth, box):
    matches = match([frame([truth(x_m=10.0)], [box(x_m=13.0)])])
    scores = class_scores(matches, CAR)
    assert scores.ap_at == pytest.approx((0.0, 0.0, 0.0, 1.0))
    assert scores.ap == pytest.approx(0.25)


def test_a_false_alarm_above_the_only_hit_halves_precision_at_every_recall():
    # From recall 0 to 1 precision rises in a straight line from 0 to 1/2; below 0.1 it is clipped.
    expected = np.mean([max(0.5 * k / 100 - 0.1, 0.0) for k in range(11, 101)]) / 0.9
    assert average_precision(np.array([False, True]), 1) == pytest.approx(expected)


def test_half_of_the_truths_found_without_a_false_alarm_is_ap_four_ninths():
    # Precision is 1 from recall 0.11 to 0.50: 40 of 90 points.
    assert average_precision(np.array([True]), 2) == pytest.approx(40 / 90)


def test_a_class_that_finds_nothing_has_ap_zero_and_every_error_one(frame, truth):
    scores = class_scores(match([frame([truth()])]), CAR)
    assert scores.ap == 0.0
    assert scores.errors == (1.0, 1.0, 1.0, 1.0, 1.0)


def test_errors_of_one_hit_are_what_one_computes_by_hand(frame, truth, box):
    label = truth(attribute="moving", vx_mps=3.0)
    found = box(
        x_m=10.6, y_m=0.8, length_m=8.0, yaw_rad=0.3, vx_mps=0.0, vy_mps=4.0, attribute="parked"
    )
    errors = class_scores(match([frame([label], [found])]), CAR).errors
    assert errors == pytest.approx((1.0, 0.5, 0.3, 5.0, 1.0))


def test_a_barrier_turned_by_half_a_circle_has_no_heading_error(frame, truth, box):
    wall = BARRIER
    matches = match([frame([truth(category=wall)], [box(category=wall, yaw_rad=math.pi)])])
    errors = class_scores(matches, wall).errors
    assert errors[2] == pytest.approx(0.0, abs=1e-12)
    assert errors[3:] == (None, None)


def test_a_cone_has_neither_heading_nor_velocity_nor_attribute_error(frame, truth, box):
    cone = TRAFFIC_CONE
    matches = match([frame([truth(category=cone)], [box(category=cone, yaw_rad=2.0)])])
    assert class_scores(matches, cone).errors[2:] == (None, None, None)


def test_the_nuscenes_score_of_a_known_entry_is_reproduced():
    # PointPillars in the table of the nuScenes paper: mAP 30.5 %, errors below, NDS 45.3 %.
    errors = (0.517, 0.290, 0.500, 0.316, 0.368)
    assert nuscenes_detection_score(0.305, errors) == pytest.approx(0.453, abs=5e-4)


def test_an_error_above_one_costs_no_more_than_an_error_of_one():
    assert nuscenes_detection_score(0.0, (9.0, 1.0, 1.0, 1.0, 1.0)) == 0.0


def test_classes_with_too_few_truths_do_not_enter_the_mean(frame, truth, box):
    truths = [truth(x_m=float(x)) for x in (5, 10, 15)] + [truth(category="bus", y_m=9.0)]
    matches = match([frame(truths, [box(x_m=float(x)) for x in (5, 10, 15)])])
    scores = detection_scores(matches, min_instances=3)
    assert scores.mean_ap == pytest.approx(1.0)
    assert [c.category for c in scores.classes] == [CAR]
    assert (BUS, 1) in scores.too_few


def test_a_set_without_any_class_to_score_is_refused(frame, truth):
    with pytest.raises(OperatorError, match="at least 50 counted truths of one, got at most 1"):
        detection_scores(match([frame([truth()])]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_agree_with_a_plain_reading_of_the_published_evaluation(drive, seed):
    frames = drive(seed)
    scores = detection_scores(match(frames), min_instances=20)
    expected = {c.category: _plain_class(frames, c.category) for c in scores.classes}
    for c in scores.classes:
        ap_at, errors = expected[c.category]
        assert c.ap_at == pytest.approx(ap_at, abs=1e-12)
        assert c.errors == pytest.approx(errors, abs=1e-12)
    assert len(expected) == 4
    mean_ap = np.mean([ap for ap, _ in expected.values()])
    means = [_mean_of_defined(e[k] for _, e in expected.values()) for k in range(len(ERRORS))]
    assert scores.nds == pytest.approx((5 * mean_ap + sum(max(0, 1 - m) for m in means)) / 10)


@given(
    is_hit=st.lists(st.booleans(), min_size=1, max_size=60),
    missed=st.integers(0, 20),
)
def test_ap_lies_between_zero_and_one_and_a_false_alarm_at_the_end_never_helps(is_hit, missed):
    outcomes = np.array(is_hit, np.bool_)
    truths = int(outcomes.sum()) + missed
    if truths == 0:
        return
    ap = average_precision(outcomes, truths)
    assert 0.0 <= ap <= 1.0
    assert average_precision(np.append(outcomes, False), truths) <= ap + 1e-12


def test_recall_and_precision_at_a_threshold_are_plain_ratios(frame, truth, box):
    truths = [truth(x_m=float(x)) for x in (5, 10, 15, 20)]
    predictions = [
        box(x_m=5.0, score=0.9),
        box(x_m=10.0, score=0.7),
        box(y_m=15.0, score=0.6),
        box(x_m=15.0, score=0.2),
    ]
    point = operating_point(match([frame(truths, predictions)]), CAR, 0.5)
    assert (point.recall, point.precision) == (0.5, pytest.approx(2 / 3))


def test_nothing_to_find_and_nothing_found_is_undefined_not_perfect(frame):
    point = operating_point(match([frame()]), CAR, 0.5)
    assert (point.recall, point.precision) == (None, None)


def _ghost_frames(frame, box, scores):
    return [
        frame(predictions=[box(category="animal", score=s)] if s else [], frame_id=f"f{k}")
        for k, s in enumerate(scores)
    ]


def test_a_frame_with_an_invisible_animal_is_not_clean(frame, truth, box):
    animal = ANIMAL
    hidden = frame([truth(category=animal, visible_px=0)], [box(category=animal, y_m=9.0)])
    clean = frame(predictions=[box(category=animal)], frame_id="f1")
    alarms = false_alarms_in_clean_frames(match([hidden, clean]), animal, 0.5)
    assert (alarms.false_alarms, alarms.clean_frames, alarms.per_frame) == (1, 1, 1.0)


def test_the_threshold_is_the_lowest_that_keeps_the_allowance(frame, box):
    # 20 clean frames at 0.05 allow one false alarm: the second best must go, the best may stay.
    matches = match(_ghost_frames(frame, box, [0.9, 0.6, 0.3] + [0.0] * 17))
    threshold = threshold_for(matches, ANIMAL, 0.05)
    assert 0.6 < threshold < 0.6 + 1e-9
    assert false_alarms_in_clean_frames(matches, ANIMAL, threshold).per_frame == 0.05


def test_tied_false_alarms_all_go_when_one_of_them_must(frame, box):
    matches = match(_ghost_frames(frame, box, [0.6, 0.6] + [0.0] * 18))
    threshold = threshold_for(matches, ANIMAL, 0.05)
    assert false_alarms_in_clean_frames(matches, ANIMAL, threshold).false_alarms == 0


def test_silent_clean_frames_leave_the_threshold_at_its_floor(frame, box):
    matches = match(_ghost_frames(frame, box, [0.0] * 20))
    assert threshold_for(matches, ANIMAL, 0.05, lowest=0.1) == 0.1


def test_a_threshold_without_clean_frames_is_refused(frame, truth):
    with pytest.raises(OperatorError, match="got none of 1"):
        threshold_for(match([frame([truth()])]), CAR, 0.05)


@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.50001, 0.9]), min_size=1, max_size=40))
def test_the_chosen_threshold_never_exceeds_the_allowance(scores):
    ghost = {"x_m": 5.0, "y_m": 0.0, "z_m": 0.5, "length_m": 1.0, "width_m": 1.0, "height_m": 1.0}
    frames = [
        EvalFrame(f"f{k}", "p0", (), (Box3D(category=ANIMAL, yaw_rad=0.0, score=s, **ghost),))
        for k, s in enumerate(scores)
    ]
    matches = match(frames)
    threshold = threshold_for(matches, ANIMAL, 0.1)
    per_frame = false_alarms_in_clean_frames(matches, ANIMAL, threshold).per_frame
    assert per_frame is not None and per_frame <= 0.1


def test_the_best_f1_threshold_keeps_the_hits_and_drops_the_ghosts_below(frame, truth, box):
    truths = [truth(x_m=5.0), truth(x_m=10.0)]
    predictions = [box(x_m=5.0, score=0.9), box(x_m=10.0, score=0.7), box(y_m=9.0, score=0.4)]
    assert best_f1_threshold(match([frame(truths, predictions)]), CAR) == 0.7


def test_the_best_f1_threshold_of_a_class_never_found_is_the_fallback(frame, truth):
    assert best_f1_threshold(match([frame([truth()])]), CAR, fallback=0.4) == 0.4


def test_heading_error_is_reported_per_band_of_the_truth(frame, truth, box):
    truths = [
        truth(x_m=5.0, yaw_rad=0.1),
        truth(x_m=10.0, yaw_rad=math.pi / 2),
        truth(x_m=15.0, yaw_rad=math.pi - 0.1),
        truth(x_m=25.0, yaw_rad=0.0),
    ]
    predictions = [
        box(x_m=5.0, yaw_rad=0.2),
        box(x_m=10.0, yaw_rad=-math.pi / 2),
        box(x_m=15.0, yaw_rad=-math.pi + 0.1),
        box(x_m=25.0, yaw_rad=1.0),
    ]
    errors = {e.band: e for e in heading_errors(match([frame(truths, predictions)]), [CAR], {})}
    assert errors[HeadingBand.ALONG].median_rad == pytest.approx(0.1)
    assert errors[HeadingBand.CROSSING].median_rad == pytest.approx(math.pi)
    assert errors[HeadingBand.CROSSING].flipped_ratio == 1.0
    assert errors[HeadingBand.ONCOMING].median_rad == pytest.approx(0.2)
    assert errors[HeadingBand.DIAGONAL].found == 0
    assert errors[HeadingBand.DIAGONAL].median_rad is None


def _mean_of_defined(values):
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else 1.0


def _plain_class(frames, category):
    """The published evaluation, read line by line: one box after the other, no tables."""
    ap_at, errors = [], ()
    for limit_m in (0.5, 1.0, 2.0, 4.0):
        events, positives = _plain_events(frames, category, limit_m)
        recall, precision, confidence, hits = _plain_curve(events, positives)
        ap_at.append(float(np.mean(np.maximum(precision[11:] - 0.1, 0.0))) / 0.9)
        if limit_m == 2.0:
            errors = _plain_errors(hits, confidence, category)
        assert len(recall) == 101
    return tuple(ap_at), errors


def _plain_events(frames, category, limit_m):
    positives, boxes = 0, []
    for f in frames:
        truths = [t for t in f.truths if t.box.category == category]
        taken: set[int] = set()
        is_counted = [
            t.visible_px >= 12 and math.hypot(t.box.x_m, t.box.y_m) <= 30.0 for t in truths
        ]
        positives += sum(is_counted)
        for b in sorted(f.predictions, key=lambda b: -b.score):
            if b.category != category:
                continue
            reach = []
            for k, t in enumerate(truths):
                d = math.hypot(t.box.x_m - b.x_m, t.box.y_m - b.y_m)
                if k not in taken and d < limit_m:
                    reach.append((not is_counted[k], d, k))
            if reach:
                is_ignored, _, k = min(reach)
                taken.add(k)
                if not is_ignored:
                    boxes.append((b.score, b, truths[k].box))
            elif math.hypot(b.x_m, b.y_m) <= 30.0:
                boxes.append((b.score, b, None))
    return sorted(boxes, key=lambda e: -e[0]), positives


def _plain_curve(events, positives):
    tp = np.cumsum([truth is not None for _, _, truth in events]).astype(float)
    confidence = np.array([s for s, _, _ in events])
    recall = tp / positives
    precision = tp / np.arange(1, len(events) + 1)
    if recall[0] != 0:
        recall = np.append(0.0, recall)
        precision = np.append(precision[0], precision)
        confidence = np.append(1.0, confidence)
    points = np.linspace(0, 1, 101)
    hits = [(s, b, t) for s, b, t in events if t is not None]
    return (
        points,
        np.interp(points, recall, precision, right=0),
        np.interp(points, recall, confidence, right=0),
        hits,
    )


def _plain_errors(hits, confidence, category):
    last = int(np.nonzero(confidence)[0][-1])
    errors = []
    for k in range(5):
        values = np.array([_plain_error(b, t, category)[k] for _, b, t in hits])
        if np.isnan(values).all():
            errors.append(None)
            continue
        mean = np.cumsum(values) / np.arange(1, len(values) + 1)
        scores = np.array([s for s, _, _ in hits])
        at_point = np.interp(confidence[::-1], scores[::-1], mean[::-1])[::-1]
        errors.append(float(np.mean(at_point[11 : last + 1])))
    return tuple(errors)


def _plain_error(b, t, category):
    is_cone, is_wall = category == TRAFFIC_CONE, category == BARRIER
    period = math.pi if is_wall else 2 * math.pi
    yaw = abs((b.yaw_rad - t.yaw_rad + period / 2) % period - period / 2)
    shared = math.prod(
        min(p, q)
        for p, q in (
            (b.length_m, t.length_m),
            (b.width_m, t.width_m),
            (b.height_m, t.height_m),
        )
    )
    volumes = b.length_m * b.width_m * b.height_m + t.length_m * t.width_m * t.height_m
    moves = not (is_cone or is_wall)
    return (
        math.hypot(b.x_m - t.x_m, b.y_m - t.y_m),
        1 - shared / (volumes - shared),
        math.nan if is_cone else yaw,
        math.hypot(b.vx_mps - t.vx_mps, b.vy_mps - t.vy_mps) if moves else math.nan,
        float(b.attribute != t.attribute) if moves else math.nan,
    )


def test_a_truth_of_unknown_attribute_is_left_out_of_the_attribute_error(frame, truth, box):
    truths = [truth(x_m=5.0), truth(x_m=10.0, attribute="parked")]
    predictions = [box(x_m=5.0, score=0.9), box(x_m=10.0, score=0.8, attribute="parked")]
    assert class_scores(match([frame(truths, predictions)]), CAR).errors[4] == pytest.approx(0.0)
    assert truths[0].box.attribute is Attribute.UNKNOWN


def test_every_category_can_be_scored(frame, truth, box):
    frames = [
        frame([truth(category=c)], [box(category=c)], frame_id=f"f{k}")
        for k, c in enumerate(SHIPPED_CLASSES)
    ]
    scores = detection_scores(match(frames), min_instances=1)
    assert scores.mean_ap == pytest.approx(1.0)
    assert len(scores.classes) == len(SHIPPED_CLASSES) == 12
