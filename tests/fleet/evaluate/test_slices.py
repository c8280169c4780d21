import math

import numpy as np
import pytest

from edge.contracts.classes import ANIMAL, CAR, PEDESTRIAN, TRUCK, UNKNOWN
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Attribute
from fleet.evaluate import (
    SLICES,
    HeadingBand,
    Light,
    Slice,
    by_range,
    class_scores,
    false_alarms_in_clean_frames,
    holds,
    match,
    operating_point,
    within,
)
from fleet.evaluate.slices import heading_bin, is_heading


def test_truths_outside_a_range_are_neither_hits_nor_misses(frame, truth, box):
    truths = [truth(x_m=5.0), truth(x_m=15.0), truth(x_m=16.0, y_m=9.0)]
    matches = match([frame(truths, [box(x_m=5.0), box(x_m=15.0)])])
    middle = within(matches, SLICES["middle"])
    assert operating_point(middle, CAR, 0.5).recall == 0.5
    assert operating_point(middle, CAR, 0.5).precision == 1.0


def test_a_false_alarm_belongs_to_the_range_it_claims(frame, truth, box):
    matches = match([frame([truth(x_m=15.0)], [box(x_m=15.0), box(y_m=25.0)])])
    assert operating_point(within(matches, SLICES["middle"]), CAR, 0.5).false_alarms == 0
    assert operating_point(within(matches, SLICES["far"]), CAR, 0.5).false_alarms == 1


def test_night_frames_do_not_count_by_day(frame, truth, box):
    day = frame([truth()], [box()])
    night = frame([truth()], frame_id="f1", is_night=True)
    matches = match([day, night])
    by_day = within(matches, Slice("day", light=Light.DAY))
    assert operating_point(by_day, CAR, 0.5).recall == 1.0
    assert operating_point(within(matches, SLICES["night"]), CAR, 0.5).recall == 0.0
    assert false_alarms_in_clean_frames(by_day, ANIMAL, 0.5).clean_frames == 1


def test_a_fallen_truck_is_told_from_an_upright_one(frame, truth, box):
    truck = TRUCK
    truths = [truth(category=truck), truth(category=truck, y_m=9.0, attribute=Attribute.FALLEN)]
    matches = within(match([frame(truths, [box(category=truck)])]), SLICES["overturned_truck"])
    assert operating_point(matches, truck, 0.5).truths == 1
    assert operating_point(matches, truck, 0.5).recall == 0.0


def test_every_tag_of_a_slice_must_be_on_the_frame(frame, truth):
    tagged = frame([truth()], tags=frozenset({"place:junction", "rain"}))
    plain = frame([truth()], frame_id="f1", tags=frozenset({"rain"}))
    part = within(match([tagged, plain]), Slice("x", tags=frozenset({"place:junction", "rain"})))
    assert part.is_frame_counted.tolist() == [True, False]


def test_a_perfect_model_is_perfect_in_every_range_band(frame, truth, box):
    places = (5.0, 15.0, 25.0)
    matches = match([frame([truth(x_m=x) for x in places], [box(x_m=x) for x in places])])
    for part in by_range(SLICES["all"]):
        assert class_scores(within(matches, part), CAR).ap == pytest.approx(1.0)


def test_slices_narrow_one_after_the_other(frame, truth):
    matches = match([frame([truth(x_m=5.0), truth(x_m=15.0)])])
    part = within(within(matches, SLICES["near"]), SLICES["middle"])
    assert not part.is_truth_counted.any()


def test_heading_bands_meet_where_they_are_said_to():
    degrees = np.array([0, 19, 21, -45, 71, -90, 109, 111, 159, 161, -180, 359])
    bins = heading_bin(np.radians(degrees).astype(float))
    assert bins.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 0]


def test_every_heading_lies_in_exactly_one_band():
    yaw = np.linspace(-math.pi, math.pi, 721)
    assert (sum(is_heading(yaw, band).astype(int) for band in HeadingBand) == 1).all()


def test_a_slice_of_unknown_category_is_refused(frame, truth):
    with pytest.raises(OperatorError, match="category unknown"):
        within(match([frame([truth()])]), Slice("x", (UNKNOWN,)))


@pytest.mark.parametrize("part", [part for part in SLICES.values() if not part.tags])
@pytest.mark.parametrize("is_night", [False, True])
def test_one_box_is_in_a_slice_exactly_if_the_match_table_says_so(frame, truth, part, is_night):
    boxes = [
        truth(category=category, x_m=x_m, yaw_rad=yaw_rad, attribute=attribute)
        for category in (CAR, TRUCK, PEDESTRIAN, ANIMAL)
        for x_m in (5.0, 10.0, -16.0, 25.0)
        for yaw_rad in (0.0, 1.0, 1.6, 3.1)
        for attribute in (Attribute.FALLEN, Attribute.PARKED)
    ]
    table = within(match([frame(boxes, is_night=is_night)]), part)
    assert [holds(part, label.box, is_night=is_night) for label in boxes] == list(
        table.is_truth_counted
    )
