import math

import numpy as np
import pytest

from edge.contracts.projection import pixels_from_ego
from edge.contracts.rig import Camera, ego_from_cam
from edge.perceive.tensors import IMAGE_SLOTS, MIRRORED_SLOTS
from sim.sense.rig import default_rig

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

RIG = default_rig()
BODY_REAR_M, BODY_FRONT_M = -RIG.body.rear_overhang_m, RIG.body.front_m
BODY_HALF_WIDTH_M = RIG.body.half_width_m


def sees(camera: Camera, points_ego: np.ndarray) -> np.ndarray:
    u, v, depth = np.moveaxis(pixels_from_ego(camera, points_ego), -1, 0)
    k = camera.intrinsics
    return (depth > 0) & (u >= 0) & (u < k.width_px) & (v >= 0) & (v < k.height_px)


def ring_around_body(distance_m: float, z_m: float) -> np.ndarray:
    """Points all around, ``distance_m`` from the body's rectangle."""
    angle = np.linspace(-math.pi, math.pi, 720, endpoint=False)
    x = np.cos(angle) * distance_m + np.where(np.cos(angle) > 0, BODY_FRONT_M, BODY_REAR_M)
    y = np.sin(angle) * distance_m + np.sign(np.sin(angle)) * BODY_HALF_WIDTH_M
    corners = np.stack([x, y], axis=1)
    along = np.linspace(BODY_REAR_M, BODY_FRONT_M, 100)
    side = BODY_HALF_WIDTH_M + distance_m
    left = np.stack([along, np.full_like(along, side)], axis=1)
    flat = np.concatenate([corners, left, left * (1.0, -1.0)])
    return np.column_stack([flat, np.full(len(flat), z_m)])


@pytest.mark.parametrize("z_m", [0.3, 1.0])
def test_every_direction_is_seen_four_metres_from_the_body(z_m: float) -> None:
    points = ring_around_body(4.0, z_m)
    seen = np.stack([sees(camera, points) for camera in RIG.cameras])
    assert seen.any(axis=0).all()


def test_a_point_straight_ahead_lands_in_the_middle_column_and_below_by_the_pitch() -> None:
    camera = RIG.cameras[0]
    u, v, depth = pixels_from_ego(camera, np.array([1.70 + 10.0, 0.0, 1.50]))
    assert u == pytest.approx(128.0)
    # The axis points 3.4377 degrees down, so a level point appears f * tan(0.06) above the centre.
    assert v == pytest.approx(64.0 - camera.intrinsics.fx_px * math.tan(math.radians(3.4377)))
    assert depth == pytest.approx(10.0 * math.cos(math.radians(3.4377)))


def test_left_in_the_world_is_left_in_the_image() -> None:
    u, _, _ = pixels_from_ego(RIG.cameras[0], np.array([12.0, 2.0, 1.0]))
    assert u < 128.0


def test_yaw_turns_a_camera_to_the_left() -> None:
    pose = ego_from_cam(0.0, 0.0, 1.0, yaw_rad=math.pi / 2, pitch_rad=0.0)
    np.testing.assert_allclose(pose @ np.array([0.0, 0.0, 5.0]), [0.0, 5.0, 1.0], atol=1e-12)


def test_rig_is_its_own_mirror_image() -> None:
    points = np.random.default_rng(0).uniform((-30, -30, 0), (30, 30, 3), (200, 3))
    for index, name in enumerate(CAMERAS):
        camera, mirrored = RIG.cameras[index], RIG.cameras[MIRRORED_SLOTS[index]]
        assert camera.name == name
        here = pixels_from_ego(camera, points)
        there = pixels_from_ego(mirrored, points * (1.0, -1.0, 1.0))
        in_front = here[:, 2] > 0.1
        np.testing.assert_allclose(256.0 - there[in_front, 0], here[in_front, 0], rtol=1e-9)
        np.testing.assert_allclose(there[in_front, 1:], here[in_front, 1:], rtol=1e-9)


def test_twelve_ultrasonics_sit_on_the_body_look_outward_and_mirror() -> None:
    mounts = RIG.ultrasonics
    assert len(mounts) == 12
    assert [m.x_m > 3.0 for m in mounts] == [True] * 6 + [False] * 6
    as_set = {(round(m.x_m, 9), round(m.y_m, 9), round(m.yaw_rad, 9)) for m in mounts}
    assert {(x, -y, -yaw) for x, y, yaw in as_set} == as_set
    for m in mounts:
        outward = m.x_m - 0.5 * (BODY_FRONT_M + BODY_REAR_M)
        assert math.cos(m.yaw_rad) * outward > 0
        assert BODY_REAR_M - 1e-9 <= m.x_m <= BODY_FRONT_M + 1e-9
