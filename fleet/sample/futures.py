"""Add the futures of tracks and ego to the labels of one instant, from later instants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from edge.contracts.geometry import Pose
from edge.contracts.time import NS_PER_S
from edge.perceive.tensors import FUTURE_STEP_S, FUTURE_STEPS
from fleet.sample.row import SampleBox, SampleLabels


def with_futures(
    stamp_ns: int, labels: Mapping[int, SampleLabels], ego_poses: Mapping[int, Pose]
) -> SampleLabels:
    """Add to the labels of one instant the later positions of the same tracks and of the ego."""
    now = labels[stamp_ns]
    pose = ego_poses[stamp_ns]
    later = [stamp_ns + round((k + 1) * FUTURE_STEP_S * NS_PER_S) for k in range(FUTURE_STEPS)]
    found = [_nearest(ego_poses, wanted) for wanted in later]
    if any(stamp is None for stamp in found):
        return now
    ego_from_ego = [pose.inverse() @ ego_poses[s] for s in found if s is not None]
    tracks = [
        {b.track: (b.box.x_m, b.box.y_m) for b in labels[s].boxes}
        for s in found
        if s is not None and s in labels
    ]
    if len(tracks) < FUTURE_STEPS:
        return now
    boxes = tuple(_with_future(box, tracks, ego_from_ego) for box in now.boxes)
    ego_future = tuple((p.x_m, p.y_m, p.yaw_rad) for p in ego_from_ego)
    return msgspec.structs.replace(now, boxes=boxes, ego_future=ego_future)


def _nearest(ego_poses: Mapping[int, Pose], wanted_ns: int) -> int | None:
    best = min(ego_poses, key=lambda stamp: abs(stamp - wanted_ns))
    return best if abs(best - wanted_ns) < 0.05 * NS_PER_S else None


def _with_future(
    labelled: SampleBox, tracks: Sequence[Mapping[str, tuple[float, float]]], poses: Sequence[Pose]
) -> SampleBox:
    points = []
    for known, ego_from_later in zip(tracks, poses, strict=True):
        if labelled.track not in known:
            return labelled
        x, y = known[labelled.track]
        moved = ego_from_later @ np.array([x, y, 0.0])
        points.append((float(moved[0]) - labelled.box.x_m, float(moved[1]) - labelled.box.y_m))
    return msgspec.structs.replace(labelled, future=tuple(points))
