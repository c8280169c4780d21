"""The model that labels: any bundle's network, run twice, on each instant and on its mirror image.

Test-time augmentation costs a second pass and gives two things: positions averaged over two passes, and a
score that reflects doubt, because a box that only one of them found loses half of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import Category
from edge.contracts.geometry import Pose, wrap_rad
from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    Route,
    UltrasonicScan,
)
from edge.perceive.engine import Engine
from edge.perceive.tensors import (
    MIRRORED_SLOTS,
    Memory,
    NetSpec,
    calibration_table,
    cameras_of_slots,
    mirrored_rig,
    network_inputs,
    read_outputs,
)


@dataclass
class TeacherSettings:
    """Settings of merging two passes into one opinion."""

    score_floor: float = 0.12
    """Boxes below it in a single look are not considered."""
    same_distance_m: float = 1.2
    """Boxes of one class closer than this are the same object in both looks."""


@dataclass(frozen=True, eq=False)
class Opinion:
    """The teacher's output at one instant; ``segmentation`` is uint8 (n, n) of the plain pass."""

    boxes: tuple[Box3D, ...]
    segmentation: NDArray[np.uint8]


class Teacher:
    """Looks at the instants of one clip, in order, with a memory for each look."""

    def __init__(
        self,
        engine: Engine,
        spec: NetSpec,
        rig: Rig,
        settings: TeacherSettings | None = None,
        *,
        categories: Sequence[Category],
    ) -> None:
        self._engine, self._spec, self._rig = engine, spec, rig
        self._categories = tuple(categories)
        self._settings = settings or TeacherSettings()
        self._tables = [calibration_table(r, spec) for r in (rig, mirrored_rig(rig))]
        self._memories = [Memory(), Memory()]

    def look(self, frame_set: FrameSet) -> Opinion:
        """Return the merged boxes of both looks, best score first.

        Raises:
            OutputFault: The network's output was unusable.
        """
        plain, segmentation = self._pass(frame_set, 0)
        reflected, _ = self._pass(mirrored(frame_set, self._rig), 1)
        boxes = merge(plain, [mirrored_box(box) for box in reflected], self._settings)
        return Opinion(boxes, segmentation)

    def _pass(self, frame_set: FrameSet, side: int) -> tuple[Sequence[Box3D], NDArray[np.uint8]]:
        inputs = network_inputs(frame_set, self._tables[side], self._memories[side], self._spec)
        output = read_outputs(
            self._engine.run(inputs),
            frame_set,
            self._spec,
            categories=self._categories,
            thresholds=dict.fromkeys(self._categories, self._settings.score_floor),
        )
        self._memories[side] = self._memories[side].with_(output.recollection)
        return output.boxes, output.segmentation


def merge(
    first: Sequence[Box3D], second: Sequence[Box3D], settings: TeacherSettings
) -> tuple[Box3D, ...]:
    """Average the boxes that both looks saw; halve the score of those that one saw alone."""
    left = list(second)
    merged: list[Box3D] = []
    for box in first:
        twins = [
            b
            for b in left
            if b.category == box.category and _apart_m(b, box) < settings.same_distance_m
        ]
        if not twins:
            merged.append(msgspec.structs.replace(box, score=0.5 * box.score))
            continue
        twin = min(twins, key=lambda b: _apart_m(b, box))
        left.remove(twin)
        merged.append(_mean(box, twin))
    merged.extend(msgspec.structs.replace(box, score=0.5 * box.score) for box in left)
    return tuple(sorted(merged, key=lambda b: -b.score))


def _apart_m(a: Box3D, b: Box3D) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


def _mean(a: Box3D, b: Box3D) -> Box3D:
    """Average two looks at one object; the heading is the stronger look's where they oppose."""
    turn = wrap_rad(b.yaw_rad - a.yaw_rad)
    yaw = a.yaw_rad + 0.5 * turn if abs(turn) < 0.5 * math.pi else max(a, b, key=_score).yaw_rad
    averaged = ("x_m", "y_m", "z_m", "length_m", "width_m", "height_m", "vx_mps", "vy_mps", "score")
    means = {name: 0.5 * (getattr(a, name) + getattr(b, name)) for name in averaged}
    return msgspec.structs.replace(a, yaw_rad=wrap_rad(yaw), **means)


def _score(box: Box3D) -> float:
    return box.score


def mirrored_box(box: Box3D) -> Box3D:
    """Reflect a box left to right."""
    return msgspec.structs.replace(
        box, y_m=-box.y_m, yaw_rad=wrap_rad(-box.yaw_rad), vy_mps=-box.vy_mps
    )


def mirrored(frame_set: FrameSet, rig: Rig) -> FrameSet:
    """Reflect everything sensed left to right: what ``mirrored_rig`` of the rig sees of a mirrored world."""
    radar = frame_set.radar.points_ego * np.array([1, -1, 1, 1], np.float32)
    ego, route = frame_set.ego, frame_set.route
    pose = ego.world_from_ego
    return replace(
        frame_set,
        frames=_mirrored_frames(frame_set, rig),
        radar=RadarScan(radar),
        ultrasonics=UltrasonicScan(frame_set.ultrasonics.ranges_m[_mirrored_mounts(rig)]),
        ego=EgoState(
            stamp_ns=ego.stamp_ns,
            world_from_ego=Pose.from_xy_yaw(pose.x_m, -pose.y_m, -pose.yaw_rad),
            speed_mps=ego.speed_mps,
            acceleration_mps2=ego.acceleration_mps2,
            yaw_rate_radps=-ego.yaw_rate_radps,
            steering_rad=-ego.steering_rad,
        ),
        route=Route(
            points_ego=tuple((x, -y) for x, y in route.points_ego),
            speed_limit_mps=route.speed_limit_mps,
            stop_distance_m=route.stop_distance_m,
        ),
    )


def _mirrored_frames(frame_set: FrameSet, rig: Rig) -> tuple[Frame, ...]:
    """Flip each image and give it to the camera of the mirrored rig that feeds the mirrored slot."""
    flipped = mirrored_rig(rig)
    ours, theirs = cameras_of_slots(rig), cameras_of_slots(flipped)
    missing = Frame(None, frame_set.stamp_ns, FrameStatus.MISSING)
    frames = [missing] * len(flipped.cameras)
    for slot, number in enumerate(ours):
        place = theirs[MIRRORED_SLOTS[slot]]
        if number is not None and place is not None:
            frame = frame_set.frames[number]
            image = None if frame.image is None else np.ascontiguousarray(frame.image[:, ::-1])
            frames[place] = replace(frame, image=image)
    return tuple(frames)


def _mirrored_mounts(rig: Rig) -> list[int]:
    """Find, for each ultrasonic sensor, the one that stands where its mirror image does."""
    mounts = [(m.x_m, m.y_m, m.yaw_rad) for m in rig.ultrasonics]
    return [
        min(
            range(len(mounts)),
            key=lambda k: (
                math.hypot(mounts[k][0] - x, mounts[k][1] + y) + abs(wrap_rad(mounts[k][2] + yaw))
            ),
        )
        for x, y, yaw in mounts
    ]
