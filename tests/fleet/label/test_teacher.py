"""Two looks become one opinion."""

import math

import numpy as np
import pytest

from edge.contracts.classes import CAR
from edge.contracts.geometry import Pose
from edge.contracts.scene import Box3D
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.perceive.tensors import IMAGE_SLOTS
from fleet.label.teacher import TeacherSettings, merge, mirrored, mirrored_box
from sim.sense.rig import default_rig

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)


def _box(x_m: float, y_m: float = 0.0, score: float = 0.8, yaw_rad: float = 0.0) -> Box3D:
    return Box3D(category=CAR, x_m=x_m, y_m=y_m, z_m=0.8, length_m=4.5, width_m=1.8,
                 height_m=1.5, yaw_rad=yaw_rad, vy_mps=2.0, score=score)  # fmt: skip


def test_what_both_looks_saw_is_averaged() -> None:
    (merged,) = merge([_box(10.0)], [_box(10.6, score=0.6)], TeacherSettings())
    assert merged.x_m == pytest.approx(10.3)
    assert merged.score == pytest.approx(0.7)


def test_what_one_look_saw_alone_loses_half_its_score() -> None:
    merged = merge([_box(10.0)], [_box(20.0, score=0.5)], TeacherSettings())
    assert [(b.x_m, b.score) for b in merged] == [(10.0, 0.4), (20.0, 0.25)]


def test_opposed_headings_are_not_averaged_to_a_right_angle() -> None:
    (merged,) = merge([_box(10.0, score=0.9)], [_box(10.0, yaw_rad=math.pi)], TeacherSettings())
    assert merged.yaw_rad == 0.0


def test_a_mirrored_box_is_mirrored_back() -> None:
    box = _box(10.0, y_m=3.0, yaw_rad=0.5)
    assert mirrored_box(mirrored_box(box)) == box
    assert mirrored_box(box).y_m == -3.0
    assert mirrored_box(box).vy_mps == -2.0


def test_mirroring_a_frame_set_swaps_sides_and_keeps_front_and_rear() -> None:
    rig = default_rig()
    images = np.zeros((8, 4, 8, 3), np.uint8)
    for k in range(8):
        images[k, :, :4] = 10 * (k + 1)  # the left half is bright
    ranges = np.arange(12, dtype=np.float32) / 4
    frame_set = FrameSet(
        index=0,
        stamp_ns=0,
        frames=frames_of(images, 0),
        radar=RadarScan(np.array([[10.0, 3.0, 1.0, 0.0]], np.float32)),
        ultrasonics=UltrasonicScan(ranges),
        ego=EgoState(stamp_ns=0, world_from_ego=Pose.from_xy_yaw(1.0, 2.0, 0.3), steering_rad=0.1),
        route=Route(points_ego=((0.0, 0.0), (5.0, 1.0))),
    )
    mirror = mirrored(frame_set, rig)
    left, right = CAMERAS.index("forward_left"), CAMERAS.index("forward_right")
    assert mirror.frames[left].image[0, 7, 0] == 10 * (right + 1)
    assert mirror.radar.points_ego[0, 1] == -3.0
    assert mirror.route.points_ego[1] == (5.0, -1.0)
    assert mirror.ego.steering_rad == -0.1
    twice = mirrored(mirror, rig)
    pairs = zip(twice.frames, frame_set.frames, strict=True)
    assert all(np.array_equal(a.image, b.image) for a, b in pairs)
    assert np.array_equal(twice.ultrasonics.ranges_m, ranges)
