"""A tiny scene that a network can learn by heart."""

import math

import numpy as np
import pytest

from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig, UltrasonicMount
from edge.perceive.tensors import EGO_WIDTH, IMAGE_SLOTS, PICO
from models.examples import Example, Labels, Senses

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)


@pytest.fixture(scope="session")
def rig() -> Rig:
    """Eight cameras, left-right symmetric."""
    cameras = []
    for name, yaw_deg in zip(CAMERAS, (0, 0, 0, 60, -60, 120, -120, 180), strict=True):
        yaw = math.radians(yaw_deg)
        matrix = np.eye(4)
        forward, right = [math.cos(yaw), math.sin(yaw), 0.0], [math.sin(yaw), -math.cos(yaw), 0.0]
        matrix[:3, :3] = np.stack([right, [0.0, 0.0, -1.0], forward], axis=1)
        matrix[:3, 3] = (0.0, 0.0, 1.5)
        intrinsics = Intrinsics.from_fov(math.radians(70), 256, 128)
        pose = Pose.from_matrix(matrix)
        cameras.append(Camera(name=name, intrinsics=intrinsics, ego_from_cam=pose))
    mounts = tuple(UltrasonicMount(x_m=3.0, y_m=0.0, yaw_rad=0.0) for _ in range(12))
    return Rig(name="test", cameras=tuple(cameras), ultrasonics=mounts)


def make_senses(rng: np.random.Generator, stamp_ns: int = 250_000_000) -> Senses:
    """Draw senses of the right shapes."""
    shape = (8, 3, PICO.image_height_px, PICO.image_width_px)
    return Senses(
        stamp_ns=stamp_ns,
        world_from_ego=Pose(),
        images=rng.integers(0, 256, shape, dtype=np.uint8),
        radar_points=rng.normal(0, 10, (20, 4)).astype(np.float32),
        ultrasonics=rng.normal(0, 1, (1, 12, 4)).astype(np.float32),
        ego=rng.normal(0, 1, (1, 1, EGO_WIDTH)).astype(np.float32),
    )


def make_box(category: int, x_m: float, y_m: float, yaw_rad: float = 0.0) -> np.ndarray:
    """Build one label row of a car-sized object."""
    return np.array([category, x_m, y_m, 0.8, 4.5, 1.8, 1.5, yaw_rad, 3.0, 1.0, 1.0], np.float32)


@pytest.fixture
def example(rig: Rig) -> Example:
    """Two cars, a pair of instants."""
    rng = np.random.default_rng(0)
    boxes = np.stack([make_box(0, 10.0, 2.0, 0.3), make_box(0, -8.0, -5.0, 2.0)])
    labels = Labels(
        boxes=boxes,
        futures=np.zeros((2, 12, 2), np.float32),
        ego_future=np.zeros((12, 3), np.float32),
        segmentation=rng.integers(0, 4, (48, 48)).astype(np.uint8),
    )
    return Example(rig, make_senses(rng), labels, make_senses(rng, 0))
