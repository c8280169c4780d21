"""Gaps between oriented boxes, against numbers on paper and against a brute-force search."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.plan.overlap import box_gap_m, gaps_over_time


def gap(
    x_m: float, y_m: float, yaw_a: float = 0.0, yaw_b: float = 0.0, half_b: tuple = (2.0, 1.0)
) -> float:
    """Gap between a 4 m by 2 m box at the origin and another at (x, y)."""
    return float(
        box_gap_m(
            np.array([[x_m, y_m]]),
            np.array([yaw_a]),
            np.array([[2.0, 1.0]]),
            np.array([yaw_b]),
            np.array([half_b]),
        )[0]
    )


def test_boxes_in_a_row_are_apart_by_the_room_between_bumpers() -> None:
    assert gap(7.0, 0.0) == pytest.approx(3.0)


def test_boxes_side_by_side_are_apart_by_the_room_between_doors() -> None:
    assert gap(0.0, 2.5) == pytest.approx(0.5)


def test_a_box_across_reaches_out_by_its_length() -> None:
    assert gap(5.0, 0.0, yaw_b=math.pi / 2) == pytest.approx(2.0)


def test_an_overlap_is_as_deep_as_the_shortest_way_out() -> None:
    assert gap(3.5, 0.0) == pytest.approx(-0.5)


def test_a_corner_that_points_at_us_is_found_by_its_own_edges() -> None:
    """A square turned by 45 degrees: its corner at 3 - sqrt(2) is ahead of ours at (2, 1)…"""
    assert gap(3.0 + 1e-3, 2.0 + 1e-3, yaw_b=math.pi / 4, half_b=(0.7, 0.7)) > 0.0
    assert gap(2.9, 0.0, yaw_b=math.pi / 4, half_b=(0.7, 0.7)) < 0.0


angle = st.floats(-math.pi, math.pi)
place = st.floats(-6.0, 6.0)


@settings(max_examples=150, deadline=None)
@given(place, place, angle, angle, st.floats(0.3, 3.0), st.floats(0.3, 2.0))
def test_the_sign_agrees_with_a_grid_of_points(
    x_m: float, y_m: float, yaw_a: float, yaw_b: float, half_l: float, half_w: float
) -> None:
    found = gap(x_m, y_m, yaw_a, yaw_b, (half_l, half_w))
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41)), -1).reshape(-1, 2)
    c, s = math.cos(yaw_b), math.sin(yaw_b)
    inside_b = grid * (half_l, half_w) @ np.array([[c, s], [-s, c]]) + (x_m, y_m)
    c, s = math.cos(yaw_a), math.sin(yaw_a)
    in_a = np.abs(inside_b @ np.array([[c, -s], [s, c]])) <= (2.0, 1.0)
    if in_a.all(axis=1).any():
        assert found <= 1e-9
    elif found < -0.3:  # deeper than the grid is coarse: it should have found a point
        pytest.fail(f"gap {found} but no common point")


def test_many_pairs_over_time_are_measured_like_one() -> None:
    rng = np.random.default_rng(0)
    centre, yaw = rng.uniform(-8, 8, (3, 4, 2)), rng.uniform(-3, 3, (3, 4))
    others, others_yaw = rng.uniform(-8, 8, (5, 4, 2)), rng.uniform(-3, 3, (5, 4))
    half, others_half = np.tile([2.0, 1.0], (3, 4, 1)), np.tile([1.5, 0.5], (5, 1))
    gaps = gaps_over_time(centre, yaw, half, others, others_yaw, others_half)
    for p, t, a in np.ndindex(3, 4, 5):
        one = box_gap_m(
            (others[a, t] - centre[p, t])[None],
            yaw[p, t][None],
            half[p, t][None],
            others_yaw[a, t][None],
            others_half[a][None],
        )[0]
        assert (gaps[p, t, a] < 0) == (one < 0)
        assert gaps[p, t, a] <= max(one, gaps[p, t, a])
