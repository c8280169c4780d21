"""A network's memory: its own queries of a quarter of a second ago, moved into the present ego frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import Pose
from edge.perceive.tensors.spec import MEMORY_AGE_S, MEMORY_POSE_WIDTH, Floats, NetSpec


@dataclass(frozen=True, eq=False)
class Recollection:
    """The queries of one past tick, where they were and when.

    ``features``: float32 (K, d). ``points_ego``: float32 (K, 2) in the ego frame of that tick.
    """

    stamp_ns: int
    world_from_ego: Pose
    features: Floats
    points_ego: Floats
    scores: Floats


@dataclass(frozen=True, eq=False)
class Memory:
    """The last third of a second of recollections, oldest first."""

    recollections: tuple[Recollection, ...] = ()

    def at(self, stamp_ns: int) -> Recollection | None:
        """Return the recollection whose age is closest to what the network was trained on."""
        if self._is_of_another_time(stamp_ns):
            return None
        wanted_ns = stamp_ns - int(MEMORY_AGE_S * 1e9)
        usable = [r for r in self.recollections if abs(r.stamp_ns - wanted_ns) < 0.15e9]
        return min(usable, key=lambda r: abs(r.stamp_ns - wanted_ns), default=None)

    def with_(self, recollection: Recollection) -> Memory:
        """Add the newest recollection and forget what is too old to be used again."""
        if self._is_of_another_time(recollection.stamp_ns):
            return Memory((recollection,))
        oldest_ns = recollection.stamp_ns - int(1.2 * MEMORY_AGE_S * 1e9)
        kept = tuple(
            r for r in self.recollections if oldest_ns <= r.stamp_ns < recollection.stamp_ns
        )
        return Memory((*kept, recollection))

    def _is_of_another_time(self, stamp_ns: int) -> bool:
        """Return whether the clock stepped back since the newest recollection: no age is known then."""
        return bool(self.recollections) and self.recollections[-1].stamp_ns > stamp_ns


def empty_memory(spec: NetSpec) -> Memory:
    """Return the memory of a vehicle that has just started."""
    return Memory()


def memory_inputs(
    recollection: Recollection | None, stamp_ns: int, world_from_ego: Pose, spec: NetSpec
) -> tuple[Floats, Floats]:
    """Bring a recollection into today's ego frame: features (1, K, d) and poses (1, K, 6)."""
    features = np.zeros((1, spec.memory_slots, spec.width), np.float32)
    pose = np.zeros((1, spec.memory_slots, MEMORY_POSE_WIDTH), np.float32)
    if recollection is None:
        return features, pose
    now_from_then = world_from_ego.inverse() @ recollection.world_from_ego
    points = np.zeros((len(recollection.points_ego), 3))
    points[:, :2] = recollection.points_ego
    points_now = now_from_then @ points
    turn = now_from_then.yaw_rad
    age_s = (stamp_ns - recollection.stamp_ns) / 1e9
    features[0] = recollection.features
    pose[0, :, :2] = points_now[:, :2] / spec.bev_range_m
    pose[0, :, 2:5] = (math.sin(turn), math.cos(turn), age_s / MEMORY_AGE_S)
    pose[0, :, 5] = recollection.scores
    return features, pose


def recollect(
    features: Floats,
    cells: NDArray[np.generic],
    scores: Floats,
    *,
    stamp_ns: int,
    world_from_ego: Pose,
    spec: NetSpec,
) -> Recollection:
    """Keep one tick's queries (K, d), their BEV cells (K,) and scores (K,) for the next."""
    row, column = np.divmod(np.asarray(cells, np.float32), spec.bev_cells)
    points = (np.stack([row, column], axis=1) + 0.5) * spec.cell_m - spec.bev_range_m
    return Recollection(
        stamp_ns=stamp_ns,
        world_from_ego=world_from_ego,
        features=features,
        points_ego=points.astype(np.float32),
        scores=scores,
    )
