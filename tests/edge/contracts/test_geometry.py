import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from edge.contracts.geometry import Pose, wrap_rad

metres = st.floats(-1e3, 1e3)
angles = st.floats(-50.0, 50.0)


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    q = np.array([draw(st.floats(-1.0, 1.0)) for _ in range(4)])
    norm = float(np.linalg.norm(q))
    q = q / norm if norm > 1e-2 else np.array([1.0, 0.0, 0.0, 0.0])
    w, x, y, z = (float(v) for v in q)
    return Pose(x_m=draw(metres), y_m=draw(metres), z_m=draw(metres), qw=w, qx=x, qy=y, qz=z)


def points() -> st.SearchStrategy[np.ndarray]:
    row = st.tuples(metres, metres, metres)
    return st.lists(row, min_size=1, max_size=5).map(np.array)


@given(poses(), points())
def test_inverse_undoes_a_pose(a_from_b: Pose, points_b: np.ndarray) -> None:
    assert_allclose(a_from_b.inverse() @ (a_from_b @ points_b), points_b, atol=1e-9)
    assert_allclose((a_from_b @ a_from_b.inverse()).matrix, np.eye(4), atol=1e-9)


@given(poses(), poses(), points())
def test_composition_moves_points_one_pose_after_the_other(
    a_from_b: Pose, b_from_c: Pose, points_c: np.ndarray
) -> None:
    assert_allclose((a_from_b @ b_from_c) @ points_c, a_from_b @ (b_from_c @ points_c), atol=1e-8)


@given(poses(), poses(), poses())
def test_composition_is_associative(a: Pose, b: Pose, c: Pose) -> None:
    assert_allclose(((a @ b) @ c).matrix, (a @ (b @ c)).matrix, atol=1e-8)


@given(poses())
def test_rotation_is_a_rotation(pose: Pose) -> None:
    assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose.rotation) == pytest.approx(1.0)


@given(poses())
def test_matrix_and_pose_say_the_same(pose: Pose) -> None:
    assert_allclose(Pose.from_matrix(pose.matrix).matrix, pose.matrix, atol=1e-12)


@pytest.mark.parametrize("half_turn", [(1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
def test_half_turn_about_each_axis_survives_its_matrix(half_turn: tuple[int, int, int]) -> None:
    matrix = np.diag([*half_turn, 1]).astype(np.float64)
    assert_allclose(Pose.from_matrix(matrix).matrix, matrix, atol=1e-12)


@given(metres, metres, angles)
def test_yaw_of_a_pose_on_flat_ground_is_its_heading(x_m: float, y_m: float, yaw: float) -> None:
    pose = Pose.from_xy_yaw(x_m, y_m, yaw)
    assert math.cos(pose.yaw_rad - yaw) == pytest.approx(1.0)
    assert (pose.x_m, pose.y_m) == (x_m, y_m)


@given(st.floats(-1e6, 1e6))
@example(-math.pi - 4e-16)
def test_wrapped_angle_lies_in_the_half_open_turn(angle: float) -> None:
    wrapped = wrap_rad(angle)
    assert -math.pi <= wrapped < math.pi
    assert math.cos(wrapped - angle) == pytest.approx(1.0)


@pytest.mark.parametrize("angle", [math.pi, -math.pi, 3 * math.pi])
def test_half_a_turn_wraps_to_minus_pi(angle: float) -> None:
    assert wrap_rad(angle) == -math.pi


def test_left_of_a_vehicle_facing_north_is_west() -> None:
    world_from_ego = Pose.from_xy_yaw(10.0, 20.0, math.pi / 2)
    assert_allclose(world_from_ego @ np.array([0.0, 3.0, 0.0]), [7.0, 20.0, 0.0], atol=1e-12)


def test_points_keep_their_leading_shape() -> None:
    assert (Pose() @ np.zeros((2, 5, 3))).shape == (2, 5, 3)


def test_quaternion_that_is_no_rotation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unit quaternion, got norm 1\.414"):
        Pose(qw=1.0, qx=1.0)
    with pytest.raises(ValueError, match="unit quaternion"):
        Pose(qw=math.nan)
