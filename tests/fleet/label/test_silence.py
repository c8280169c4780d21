"""Where radar and teacher kept silent, and where they did not."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from edge.clip_file import Clip, ClipFrame
from edge.contracts.classes import TRAFFIC_CONE
from edge.contracts.geometry import Pose
from edge.contracts.scene import Box3D
from fleet.label.settings import LabelSettings
from fleet.label.silence import signs
from fleet.label.teacher import Opinion
from fleet.sample.row import Disc

SECOND_NS = 1_000_000_000
FAR = (50.0, 0.0)
"""An echo beyond every label: the radar is awake."""


def _frame(at_s: float, ego_x_m: float, *echoes_ego: tuple[float, float]) -> ClipFrame:
    """Stand in for a recorded frame: its stamp, its pose and its radar are all that is read."""
    points = np.array([(x, y, 0.0, 0.0) for x, y in echoes_ego], np.float32).reshape(-1, 4)
    ego = SimpleNamespace(world_from_ego=Pose.from_xy_yaw(ego_x_m, 0.0, 0.0))
    stamp_ns = round(at_s * SECOND_NS)
    sensed = SimpleNamespace(ego=ego, radar_points=points)
    frame = SimpleNamespace(stamp_ns=stamp_ns, sensed=sensed)
    return cast(ClipFrame, frame)


def _clip(*frames: ClipFrame) -> Clip:
    return cast(Clip, SimpleNamespace(frames=frames))


def _opinion(*boxes: tuple[float, float, float]) -> Opinion:
    """See cones at x, y with a score."""
    found = tuple(
        Box3D(category=TRAFFIC_CONE, x_m=x, y_m=y, z_m=0.4, length_m=0.4, width_m=0.4,
              height_m=0.8, yaw_rad=0.0, score=score)
        for x, y, score in boxes
    )  # fmt: skip
    return Opinion(boxes=found, segmentation=np.zeros((48, 48), np.uint8))


def _places(found: Sequence[Disc]) -> set[tuple[float, float]]:
    return {(disc.x_m, disc.y_m) for disc in found}


def test_an_echo_of_the_same_second_counts_where_it_now_is() -> None:
    """The ego drives 4 m between the frames: an echo 10 m ahead is then 6 m ahead."""
    before, now = _frame(1.0, 0.0, (10.0, 2.0)), _frame(1.4, 4.0)
    found = signs(_clip(before, now), [now], [_opinion()], LabelSettings())
    assert _places(found[now.stamp_ns]) == {(6.0, 2.0)}


def test_an_echo_of_another_second_is_no_sign() -> None:
    before, now = _frame(1.0, 0.0, (10.0, 2.0)), _frame(1.6, 0.0, FAR)
    found = signs(_clip(before, now), [now], [_opinion()], LabelSettings())
    assert found == {now.stamp_ns: ()}


def test_a_radar_that_hears_nothing_at_all_is_no_witness() -> None:
    """It may be broken: its silence must not teach anybody that the road is empty."""
    now = _frame(1.0, 0.0)
    assert signs(_clip(now), [now], [_opinion((8.0, -3.0, 0.9))], LabelSettings()) == {}


@pytest.mark.parametrize(("score", "expected"), [(0.1, {(8.0, -3.0)}), (0.09, set())])
def test_a_faint_box_of_any_class_is_a_sign(score: float, expected: set[object]) -> None:
    now = _frame(1.0, 0.0, FAR)
    found = signs(_clip(now), [now], [_opinion((8.0, -3.0, score))], LabelSettings())
    assert _places(found[now.stamp_ns]) == expected


def test_many_echoes_of_one_thing_are_one_sign_and_far_ones_none() -> None:
    echoes = [(9.9 + 0.02 * k, 5.1) for k in range(10)]
    now = _frame(1.0, 0.0, *echoes, FAR)
    found = signs(_clip(now), [now], [_opinion()], LabelSettings())
    assert _places(found[now.stamp_ns]) == {(10.0, 5.0)}
