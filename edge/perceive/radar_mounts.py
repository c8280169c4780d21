"""Mounts of a rig's radars, as arrays: the points from which ranges and radial speeds are measured.

A radial speed means nothing without its line of sight. A point of a scan says which radar measured it; a
radar track may have been measured by several, and its sight is taken from the nearest that can see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import RADARS, RadarMount

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class RadarMounts:
    """The radars of a rig; without one, the lines of sight meet where the one of ``RADARS`` would sit."""

    def __init__(self, radars: Sequence[RadarMount] = RADARS) -> None:
        """Take the radars of a rig, in its order."""
        radars = radars or RADARS
        self.position_ego: Floats = np.array([(radar.x_m, radar.y_m) for radar in radars])  # (M, 2)
        self._yaw_rad = np.array([radar.yaw_rad for radar in radars])
        self._half_view_rad = np.array([0.5 * radar.field_of_view_rad for radar in radars])

    def in_world(self, rotation: Floats, origin: Floats) -> Floats:
        """Return the places in the world, (M, 2), from the ego's pose; see ``track.planar``."""
        x, y = self.position_ego[:, :1], self.position_ego[:, 1:]
        return np.asarray(origin + x * rotation[:, 0] + y * rotation[:, 1])

    def of_points(self, sensor: NDArray[np.uint8] | None, count: int) -> Ints:
        """Return which radar measured each point of a scan, (N,); see ``RadarScan.sensor``."""
        if sensor is None:
            return np.zeros(count, np.int64)
        return np.minimum(sensor.astype(np.int64), len(self.position_ego) - 1)

    def seeing(self, points_ego: Floats) -> Ints:
        """Return, for points (N, 2), the nearest radar that looks there; the nearest if none does."""
        ray = points_ego[:, None] - self.position_ego[None]  # (N, M, 2)
        off_rad = np.arctan2(ray[..., 1], ray[..., 0]) - self._yaw_rad
        off_rad = np.abs((off_rad + math.pi) % (2.0 * math.pi) - math.pi)
        is_unseen = off_rad > self._half_view_rad
        far_m = 1e6 * is_unseen  # no echo comes from as far
        return np.asarray((np.hypot(ray[..., 0], ray[..., 1]) + far_m).argmin(axis=1), np.int64)
