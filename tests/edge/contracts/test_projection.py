"""Every projection against OpenCV's, and against pixels that can be computed on paper."""

import math

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.geometry import Pose
from edge.contracts.projection import (
    is_visible,
    pixels_from_cam,
    pixels_from_ego,
    sharpness_per_m,
)
from edge.contracts.rig import Camera, Intrinsics, Projection

PINHOLE = Intrinsics(fx_px=100, fy_px=100, cx_px=100, cy_px=50, width_px=200, height_px=100)
BENT = msgspec.structs.replace(
    PINHOLE, projection=Projection.BROWN_CONRADY, distortion=(-0.3, 0.1, 0.001, -0.002, -0.02)
)
FISHEYE = msgspec.structs.replace(
    PINHOLE, projection=Projection.FISHEYE, distortion=(0.05, -0.01, 0.002, -0.0005)
)
RAYS = st.tuples(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8), st.floats(1.0, 50.0))


def matrix(k: Intrinsics) -> np.ndarray:
    return np.array([[k.fx_px, 0, k.cx_px], [0, k.fy_px, k.cy_px], [0, 0, 1.0]], np.float64)


def test_a_metre_at_a_metre_is_one_focal_length_from_the_centre() -> None:
    assert pixels_from_cam(PINHOLE, np.array([1.0, 0.5, 1.0])).tolist() == [200.0, 100.0, 1.0]


def test_an_equidistant_fisheye_maps_angles_to_lengths() -> None:
    ideal = msgspec.structs.replace(FISHEYE, distortion=(0.0, 0.0, 0.0, 0.0))
    u_px, v_px, _ = pixels_from_cam(ideal, np.array([5.0, 0.0, 0.0]))  # a right angle to the side
    assert (u_px, v_px) == (pytest.approx(100 + 100 * math.pi / 2), 50.0)


@given(st.lists(RAYS, min_size=1, max_size=8))
def test_brown_conrady_is_what_opencv_computes(rays: list[tuple[float, float, float]]) -> None:
    points = np.array([(x * z, y * z, z) for x, y, z in rays])
    ours = pixels_from_cam(BENT, points)[:, :2]
    k = np.array(BENT.distortion)
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix(BENT), k)
    np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-6)


@given(st.lists(RAYS, min_size=1, max_size=8))
def test_fisheye_is_what_opencv_computes(rays: list[tuple[float, float, float]]) -> None:
    points = np.array([(x * z, y * z, z) for x, y, z in rays])
    ours = pixels_from_cam(FISHEYE, points)[:, :2]
    k = np.array(FISHEYE.distortion)
    theirs, _ = cv2.fisheye.projectPoints(
        points[:, None], np.zeros(3), np.zeros(3), matrix(FISHEYE), k
    )
    np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-6)


def test_what_lies_behind_a_pinhole_is_not_visible_and_behind_a_fisheye_may_be() -> None:
    behind = np.array([[5.0, 0.0, -0.5], [0.1, 0.0, -5.0]])
    ideal = msgspec.structs.replace(FISHEYE, distortion=(0.0, 0.0, 0.0, 0.0))
    assert is_visible(PINHOLE, behind).tolist() == [False, False]
    assert is_visible(ideal, behind[:1]).tolist() == [True]


def test_points_beyond_the_turn_of_a_distortion_do_not_fold_back_into_the_image() -> None:
    """r - 0.3 r^3 grows until r = 1.05; a ray at r = 1.8 lands at 0.05, near the centre, and is not seen."""
    barrel = msgspec.structs.replace(BENT, distortion=(-0.3, 0.0, 0.0, 0.0))
    near, far = np.array([1.0, 0.0, 1.0]), np.array([1.8, 0.0, 1.0])
    assert abs(pixels_from_cam(barrel, far)[0] - 100) < 10
    assert is_visible(barrel, np.stack([near, far])).tolist() == [True, False]


def test_twice_as_far_is_half_as_sharp() -> None:
    near, far = sharpness_per_m(PINHOLE, np.array([[0.0, 0.0, 5.0], [0.0, 0.0, 10.0]]))
    assert (near, far) == (20.0, 10.0)


def test_a_camera_on_the_roof_sees_the_ground_ahead_below_its_centre() -> None:
    """1.5 m above the ground, 15 m ahead: a tenth of the focal length below the optical axis."""
    ahead = Pose(x_m=1.0, z_m=1.5, qw=0.5, qx=-0.5, qy=0.5, qz=-0.5)
    camera = Camera(name="front", intrinsics=PINHOLE, ego_from_cam=ahead)
    u_px, v_px, depth_m = pixels_from_ego(camera, np.array([16.0, 0.0, 0.0]))
    assert (u_px, v_px, depth_m) == (pytest.approx(100), pytest.approx(60), pytest.approx(15))


def test_a_rig_says_how_wide_a_camera_sees_and_where_it_looks() -> None:
    assert PINHOLE.horizontal_fov_rad == pytest.approx(math.pi / 2)
    assert FISHEYE.horizontal_fov_rad == pytest.approx(2.0)
    left = Pose(qw=math.sqrt(0.5), qz=math.sqrt(0.5)) @ Pose(qw=0.5, qx=-0.5, qy=0.5, qz=-0.5)
    camera = Camera(name="left", intrinsics=PINHOLE, ego_from_cam=left)
    assert camera.yaw_rad == pytest.approx(math.pi / 2)
