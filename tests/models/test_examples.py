"""Ways to look at a scene must agree with what the cameras would have seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.geometry import Pose
from models.examples import Example, Lighting, View, daylight, night

VIEWS = st.builds(View, st.booleans(), st.floats(0, 2 * math.pi))


@given(VIEWS, st.floats(-20, 20), st.floats(-20, 20), st.floats(-3, 3))
def test_a_view_moves_a_point_as_it_moves_the_pose(
    view: View, x: float, y: float, yaw: float
) -> None:
    """A world point seen from a viewed pose is the viewed point (mirrored where the view is)."""
    world_from_ego = Pose.from_xy_yaw(x, y, yaw)
    point_ego = np.array([[7.0, -3.0]], np.float32)
    point_world = world_from_ego @ np.array([7.0, -3.0, 0.0])
    if view.is_mirrored:
        point_world[1] *= -1
    seen = view._pose(world_from_ego).inverse() @ point_world
    assert np.allclose(seen[:2], view.points(point_ego)[0], atol=1e-3)


@given(VIEWS)
def test_a_view_turns_headings_with_directions(view: View) -> None:
    yaw = 0.7
    direction = view.points(np.array([[math.cos(yaw), math.sin(yaw)]], np.float32))[0]
    turned = float(view.angles(np.array([yaw], np.float32))[0])
    assert math.cos(turned) == pytest.approx(direction[0], abs=1e-5)
    assert math.sin(turned) == pytest.approx(direction[1], abs=1e-5)


def test_mirroring_twice_gives_the_same_example(example: Example) -> None:
    mirror = View(is_mirrored=True)
    twice = mirror.senses(mirror.senses(example.senses))
    assert np.array_equal(twice.images, example.senses.images)
    assert np.allclose(twice.radar_points, example.senses.radar_points)
    assert np.allclose(twice.ego, example.senses.ego)
    labels = mirror.labels(mirror.labels(example.labels))
    assert np.allclose(labels.boxes, example.labels.boxes)
    assert labels.segmentation is not None
    assert np.array_equal(labels.segmentation, example.labels.segmentation)


def test_a_mirrored_vehicle_sees_its_left_camera_on_the_right(example: Example) -> None:
    mirrored = View(is_mirrored=True).senses(example.senses)
    left, right = 3, 4
    assert np.array_equal(mirrored.images[right], example.senses.images[left][..., ::-1])


def test_a_turned_grid_has_no_segmentation_truth(example: Example) -> None:
    assert View(turn_rad=0.5).labels(example.labels).segmentation is None


def test_light_stays_within_eight_bits_and_night_is_dark() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 3, 4, 4), dtype=np.uint8)
    bright = daylight(rng, (3.0, 3.0)).images(images, rng)
    assert bright.max() <= 255.0 and bright.min() >= 0.0
    assert night(rng).images(images, rng).mean() < 0.4 * images.mean()
    assert np.array_equal(Lighting().images(images, rng), images)
