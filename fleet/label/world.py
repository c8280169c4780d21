"""Bring the teacher's boxes into the world, where tracks live, and tracks back to the vehicle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.clip_file import ClipFrame
from edge.contracts.classes import Category
from edge.contracts.geometry import wrap_rad
from edge.contracts.scene import Box3D, BoxSource, attribute_at
from fleet.label.hindsight_tracks import Detections, HindsightTrack, measured_covariance
from fleet.label.teacher import Opinion


def detections(frame: ClipFrame, opinion: Opinion, known: Sequence[Category]) -> Detections:
    """Bring the teacher's boxes of the classes that it has learnt into the world."""
    boxes = [b for b in opinion.boxes if b.category in known]
    pose = frame.sensed.ego.world_from_ego
    xyz = np.array([[b.x_m, b.y_m, b.z_m] for b in boxes]).reshape(-1, 3)
    xy_world = (pose @ xyz)[:, :2]
    return Detections(
        stamp_ns=frame.stamp_ns,
        categories=tuple(b.category for b in boxes),
        score=np.array([b.score for b in boxes]),
        xy_world=xy_world,
        z_m=xyz[:, 2],
        size_m=np.array([[b.length_m, b.width_m, b.height_m] for b in boxes]).reshape(-1, 3),
        yaw_world_rad=np.array([wrap_rad(b.yaw_rad + pose.yaw_rad) for b in boxes]),
        covariance=measured_covariance(xy_world, pose.translation[:2]),
    )


def boxes_of(track: HindsightTrack, frames: Sequence[ClipFrame]) -> list[tuple[int, Box3D]]:
    """Return a track's smoothed boxes, in the ego frame of each of its instants."""
    found = []
    for k, frame in enumerate(track.frame.tolist()):
        ego_from_world = frames[frame].sensed.ego.world_from_ego.inverse()
        yaw = ego_from_world.yaw_rad
        x, y, _ = ego_from_world @ np.array([*track.xy_world[k], 0.0])
        vx, vy = _turned(track.velocity_world[k], yaw)
        speed = math.hypot(vx, vy)
        box = Box3D(
            category=track.category,
            x_m=float(x),
            y_m=float(y),
            z_m=track.z_m,
            length_m=float(track.size_m[0]),
            width_m=float(track.size_m[1]),
            height_m=float(track.size_m[2]),
            yaw_rad=wrap_rad(float(track.yaw_world_rad[k]) + yaw),
            vx_mps=vx,
            vy_mps=vy,
            attribute=attribute_at(speed),
            source=BoxSource.HINDSIGHT,
        )
        found.append((frame, box))
    return found


def _turned(vector: NDArray[np.float64], yaw_rad: float) -> tuple[float, float]:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return float(c * vector[0] - s * vector[1]), float(s * vector[0] + c * vector[1])
