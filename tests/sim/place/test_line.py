import math

import numpy as np
import pytest

from sim.place.line import Line

CORNER = Line(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 5.0]]))


def test_length_is_the_sum_of_its_pieces() -> None:
    assert CORNER.length_m == 15.0


def test_walking_12_m_goes_round_the_corner() -> None:
    assert CORNER.at(12.0) == pytest.approx((10.0, 2.0, math.pi / 2))


def test_beyond_its_ends_a_line_goes_straight_on() -> None:
    assert CORNER.at(-1.0) == pytest.approx((-1.0, 0.0, 0.0))
    assert CORNER.at(17.0) == pytest.approx((10.0, 7.0, math.pi / 2))


def test_left_of_a_line_that_goes_north_is_west() -> None:
    assert CORNER.beside(12.0, 3.0)[:2] == pytest.approx((7.0, 2.0))


def test_a_point_is_projected_to_the_nearest_piece_with_its_side() -> None:
    assert CORNER.project(4.0, -1.5) == pytest.approx((4.0, -1.5))
    assert CORNER.project(8.5, 3.0) == pytest.approx((13.0, 1.5))
