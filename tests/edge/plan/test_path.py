"""Paths: stations, offsets, and the way back onto the route."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.board.rig import load_rig
from edge.contracts.geometry import Pose
from edge.contracts.sensors import EgoState, Route
from edge.plan.path import (
    Path,
    coast_path,
    drive_path,
    path_from_points,
    route_line,
    steering_towards,
)


def straight(length_m: float = 40.0, y_m: float = 0.0) -> Route:
    return Route(points_ego=tuple((2.0 * k, y_m) for k in range(int(length_m / 2) + 1)))


def circle(radius_m: float = 20.0) -> np.ndarray:
    turn = np.linspace(0.0, math.pi / 2, 40)
    return radius_m * np.stack([np.sin(turn), 1.0 - np.cos(turn)], axis=1)


def test_a_straight_path_has_no_curvature_and_its_length_as_last_station() -> None:
    path = path_from_points(np.array([[0.0, 0.0], [10.0, 0.0]]))
    assert path.length_m == pytest.approx(10.0)
    np.testing.assert_allclose(path.curvature_pm, 0.0, atol=1e-12)


def test_a_circle_of_20_m_has_a_curvature_of_a_twentieth() -> None:
    path = path_from_points(circle(20.0))
    np.testing.assert_allclose(path.curvature_pm, 0.05, rtol=0.05)
    assert path.yaw_rad[0] == pytest.approx(0.0, abs=0.01)
    assert path.length_m == pytest.approx(20.0 * math.pi / 2, rel=0.01)


def test_points_are_found_before_beside_and_after_a_path() -> None:
    path = path_from_points(np.array([[0.0, 0.0], [10.0, 0.0]]))
    station, offset = path.project(np.array([[4.0, 2.0], [-3.0, -1.0], [15.0, 0.0]]))
    np.testing.assert_allclose(station, [4.0, -3.0, 15.0])
    np.testing.assert_allclose(offset, [2.0, -1.0, 0.0], atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.floats(-5.0, 35.0), st.floats(-6.0, 6.0))
def test_station_and_offset_lead_back_to_the_point(station_m: float, offset_m: float) -> None:
    path = path_from_points(circle(20.0))
    point, _ = path.beside(np.array(station_m), np.array(offset_m))
    found_station, found_offset = path.project(point)
    again, _ = path.beside(found_station, found_offset)
    np.testing.assert_allclose(again, point, atol=0.35)


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)], [(1.0, 1.0), (1.0, 1.0)]])
def test_what_is_no_line_is_no_path(points: list[tuple[float, float]]) -> None:
    assert route_line(Route(points_ego=tuple(points))) is None


def drawn(route: Route, aside_m: float = 0.0) -> Path:
    line = route_line(route)
    assert line is not None
    return drive_path(line, 5.0, aside_m=aside_m, blend_s=2.0, blend_min_m=8.0)


def test_the_way_back_starts_where_we_stand_and_ends_on_the_route() -> None:
    path = drawn(straight(60.0, y_m=1.0))
    np.testing.assert_allclose(path.points[0], [0.0, 0.0], atol=1e-9)
    assert path.yaw_rad[0] == pytest.approx(0.0, abs=0.05)
    later, _ = path.at(np.array([12.0, 40.0]))
    np.testing.assert_allclose(later[:, 1], 1.0, atol=1e-6)


def test_stepping_aside_leads_to_the_left_of_the_route() -> None:
    path = drawn(straight(60.0), aside_m=0.5)
    np.testing.assert_allclose(path.points[0], [0.0, 0.0], atol=1e-9)
    later, _ = path.at(np.array([12.0, 40.0]))
    np.testing.assert_allclose(later[:, 1], 0.5, atol=1e-6)


def test_a_route_that_begins_behind_us_is_followed_from_here() -> None:
    route = Route(points_ego=tuple((2.0 * k - 10.0, 0.0) for k in range(20)))
    path = drawn(route)
    np.testing.assert_allclose(path.points[0], [0.0, 0.0], atol=1e-9)
    assert path.length_m == pytest.approx(28.0)


def test_without_a_route_the_wheels_say_where_we_go() -> None:
    shape = load_rig("sim_eight").rig.body
    ego = EgoState(
        stamp_ns=0, world_from_ego=Pose(), steering_rad=math.atan(shape.wheelbase_m / 20.0)
    )
    path = coast_path(ego, shape)
    np.testing.assert_allclose(path.curvature_pm[1:8], 1.0 / 20.0, rtol=0.02)


def test_pure_pursuit_steers_the_arc_through_the_point() -> None:
    shape = load_rig("sim_eight").rig.body
    on_circle = 20.0 * np.array([math.sin(0.3), 1.0 - math.cos(0.3)])
    assert steering_towards(on_circle, shape) == pytest.approx(math.atan(shape.wheelbase_m / 20.0))
    assert steering_towards(np.array([0.1, -5.0]), shape) == -shape.max_steering_rad
