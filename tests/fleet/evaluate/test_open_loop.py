"""Plans and forecasts against what happened; distances that can be checked on paper."""

import numpy as np
import pytest

from edge.contracts.classes import TRUCK
from edge.contracts.scene import Trajectory
from fleet.evaluate.open_loop import forecast_ade_m, mean_distance_m, straight_on

STEPS = 12
STANDING = np.zeros((STEPS, 2))


def mode(x_m: float, y_m: float, step_m: float) -> Trajectory:
    """Go ``step_m`` along x at each instant, from a centre."""
    points = tuple((x_m + step_m * (k + 1), y_m) for k in range(STEPS))
    return Trajectory(points_ego=points, step_s=0.25, probability=0.5)


def test_a_plan_three_metres_ahead_and_four_to_the_left_is_five_metres_off():
    assert mean_distance_m(STANDING + np.array([3.0, 4.0]), STANDING) == pytest.approx(5.0)


def test_errors_of_all_instants_count_alike():
    """A plan that gains 1 m a step is 1, 2, ... 12 m off: 6.5 m in the mean."""
    gaining = np.stack([np.arange(1.0, 13.0), np.zeros(STEPS)], axis=1)
    assert mean_distance_m(gaining, STANDING) == pytest.approx(6.5)


def test_straight_on_at_ten_metres_per_second_is_thirty_metres_after_three_seconds():
    points = straight_on(10.0, steps=STEPS, step_s=0.25)
    assert points[0] == pytest.approx([2.5, 0.0])
    assert points[-1] == pytest.approx([30.0, 0.0])


def test_the_best_of_the_modes_counts(box):
    """The car goes 1 m a step; modes of 0 and 1.5 m a step are 6.5 and 3.25 m off."""
    future = np.stack([np.arange(1.0, 13.0), np.zeros(STEPS)], axis=1)
    modes = (mode(10.0, 0.0, 0.0), mode(10.0, 0.0, 1.5))
    assert forecast_ade_m(box(), future, [box()], [modes]) == pytest.approx(3.25)


def test_a_misplaced_box_with_the_right_motion_has_no_forecast_error(box):
    future = np.stack([np.arange(1.0, 13.0), np.zeros(STEPS)], axis=1)
    beside = box(y_m=1.5)
    assert forecast_ade_m(box(), future, [beside], [(mode(10.0, 1.5, 1.0),)]) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "other", [{"y_m": 2.1}, {"category": TRUCK}], ids=["too far", "another class"]
)
def test_what_was_not_found_has_no_forecast(box, other):
    other_box = box(**other)
    found = [(mode(other_box.x_m, other_box.y_m, 0.0),)]
    assert forecast_ade_m(box(), STANDING, [other_box], found) is None


def test_a_box_without_a_query_leaves_the_next_nearest_to_answer(box):
    boxes, found = [box(), box(y_m=1.0)], [(), (mode(10.0, 1.0, 2.0),)]
    assert forecast_ade_m(box(), STANDING, boxes, found) == pytest.approx(13.0)


def test_no_box_no_forecast(box):
    assert forecast_ade_m(box(), STANDING, [], []) is None
