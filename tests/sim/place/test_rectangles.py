import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.place.rectangles import Rectangle, ahead_of, array_of, distances_m, overlaps

CAR = Rectangle(0.0, 0.0, 0.0, 4.0, 2.0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Rectangle(3.9, 0.0, 0.0, 4.0, 2.0), True),
        (Rectangle(4.1, 0.0, 0.0, 4.0, 2.0), False),
        (Rectangle(0.0, 1.9, 0.0, 4.0, 2.0), True),
        (Rectangle(0.0, 2.1, 0.0, 4.0, 2.0), False),
        (Rectangle(3.1, 0.0, math.pi / 2, 4.0, 2.0), False),
        (Rectangle(2.9, 0.0, math.pi / 2, 4.0, 2.0), True),
        (Rectangle(3.0, 2.0, math.pi / 4, 2.0, 2.0), False),
        (Rectangle(2.8, 1.0, math.pi / 4, 2.0, 2.0), True),
        (Rectangle(0.0, 0.0, 1.0, 0.1, 0.1), True),
    ],
)
def test_overlap_by_hand(other: Rectangle, expected: bool) -> None:
    assert overlaps(CAR, other) is expected


def test_a_gap_counts_as_overlap_when_it_is_asked_for() -> None:
    beside = Rectangle(0.0, 2.2, 0.0, 4.0, 2.0)
    assert not overlaps(CAR, beside, 0.1)
    assert overlaps(CAR, beside, 0.3)


rectangles = st.builds(
    Rectangle,
    st.floats(-5, 5),
    st.floats(-5, 5),
    st.floats(-4, 4),
    st.floats(0.2, 6),
    st.floats(0.2, 3),
)


@given(rectangles, rectangles)
def test_overlap_is_symmetric(a: Rectangle, b: Rectangle) -> None:
    assert overlaps(a, b) is overlaps(b, a)


@given(rectangles, rectangles)
def test_a_point_of_both_means_overlap(a: Rectangle, b: Rectangle) -> None:
    grid = np.stack(np.meshgrid(np.linspace(-0.49, 0.49, 7), np.linspace(-0.49, 0.49, 7)), -1)
    local = grid.reshape(-1, 2) * (a.length_m, a.width_m)
    cos, sin = math.cos(a.yaw_rad), math.sin(a.yaw_rad)
    points = local @ np.array([[cos, sin], [-sin, cos]]) + (a.x_m, a.y_m)
    if (distances_m(points, array_of([b])) == 0.0).any():
        assert overlaps(a, b) or overlaps(a, b, 1e-6)


def test_distances_are_those_of_a_ruler() -> None:
    points = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, -4.0], [5.0, 5.0]])
    assert distances_m(points, array_of([CAR]))[:, 0] == pytest.approx([0.0, 3.0, 3.0, 5.0])


def test_what_is_swept_begins_at_the_back_and_ends_further_ahead() -> None:
    swept = ahead_of(0.0, 0.0, math.pi / 2, 4.0, 2.0, 6.0)
    assert (swept.x_m, swept.y_m) == pytest.approx((0.0, 3.0))
    assert (swept.length_m, swept.width_m) == (10.0, 2.0)
