"""Give back the boxes that a clip recorded, without a network, to replay what comes after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.contracts.scene import Box3D
from edge.contracts.sensors import FrameSet
from edge.perceive.perceiver import StageWatch, unwatched
from edge.perceive.tensors import GroundClass, NetOutput, NetSpec, Recollection


@dataclass(frozen=True)
class RecordedPerceiver:
    """A perceiver that repeats recorded boxes. ``boxes_of``: by stamp_ns, the boxes of the drive."""

    boxes_of: Mapping[int, tuple[Box3D, ...]]
    spec: NetSpec

    def perceive(self, frame_set: FrameSet, watch: StageWatch = unwatched) -> NetOutput:
        """Return the boxes of this stamp, none where none were recorded; no futures and no plans.

        A clip does not record the ground, so all of it is drivable and no plan is marked down.
        """
        n = self.spec.bev_cells
        return NetOutput(
            boxes=self.boxes_of.get(frame_set.stamp_ns, ()),
            futures=(),
            segmentation=np.full((n, n), GroundClass.DRIVABLE, np.uint8),
            plans=np.zeros((0, self.spec.plan_steps, 3), np.float32),
            plan_scores=np.zeros(0, np.float32),
            recollection=_nothing(frame_set),
        )


def _nothing(frame_set: FrameSet) -> Recollection:
    """Return a recollection without queries."""
    return Recollection(
        stamp_ns=frame_set.stamp_ns,
        world_from_ego=frame_set.ego.world_from_ego,
        features=np.zeros((0, 0), np.float32),
        points_ego=np.zeros((0, 2), np.float32),
        scores=np.zeros(0, np.float32),
    )
