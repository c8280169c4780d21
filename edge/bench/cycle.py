"""Repeat recorded instants without end: with new stamps, and further along the road."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from edge.contracts.geometry import Pose
from edge.contracts.sensors import FrameSet
from edge.contracts.time import frame_stamp_ns


@dataclass(eq=False)
class Cycle:
    """An endless drive made of one recording: each round starts where the last one ended."""

    frames: Sequence[FrameSet]
    """Recorded, oldest first."""
    rate_hz: float
    """Frame sets per second of the endless drive."""

    def __post_init__(self) -> None:
        first, last = (_on_the_ground(self.frames[k].ego.world_from_ego) for k in (0, -1))
        self._onward = last @ first.inverse()
        """Moves a place of one round to the same place of the next one, in the plane."""
        self._round = 0
        self._moved = Pose()

    def at(self, index: int) -> FrameSet:
        """Return frame set ``index`` of the drive; call with growing indices."""
        round_, number = divmod(index, len(self.frames))
        while self._round < round_:
            self._round += 1
            self._moved = self._onward @ self._moved
        recorded = self.frames[number]
        stamp_ns = frame_stamp_ns(index, rate_hz=self.rate_hz)
        later_ns = stamp_ns - recorded.stamp_ns
        ego = msgspec.structs.replace(
            recorded.ego,
            stamp_ns=stamp_ns,
            world_from_ego=self._moved @ recorded.ego.world_from_ego,
        )
        images = tuple(replace(f, stamp_ns=f.stamp_ns + later_ns) for f in recorded.frames)
        return replace(recorded, index=index, stamp_ns=stamp_ns, frames=images, ego=ego)


def _on_the_ground(pose: Pose) -> Pose:
    return Pose.from_xy_yaw(pose.x_m, pose.y_m, pose.yaw_rad)
