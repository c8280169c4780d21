"""A polyline that can be walked along by arc length."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Line:
    """A polyline in the world frame. ``points_world``: float64 (N, 2) in metres, N >= 2."""

    points_world: NDArray[np.float64]

    @cached_property
    def _points(self) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in self.points_world]

    @cached_property
    def _offsets_m(self) -> list[float]:
        steps = np.hypot(*np.diff(self.points_world, axis=0).T)
        return [0.0, *(float(s) for s in np.cumsum(steps))]

    @property
    def length_m(self) -> float:
        """Arc length."""
        return self._offsets_m[-1]

    def at(self, offset_m: float) -> tuple[float, float, float]:
        """Return x, y and heading at an arc length; beyond the ends the line goes straight on."""
        last = len(self._points) - 2
        k = min(max(bisect.bisect_right(self._offsets_m, offset_m) - 1, 0), last)
        (x0, y0), (x1, y1) = self._points[k], self._points[k + 1]
        yaw = math.atan2(y1 - y0, x1 - x0)
        along = offset_m - self._offsets_m[k]
        return x0 + along * math.cos(yaw), y0 + along * math.sin(yaw), yaw

    def beside(self, offset_m: float, left_m: float) -> tuple[float, float, float]:
        """Return x, y and the line's heading at a point ``left_m`` to the left of the line."""
        x, y, yaw = self.at(offset_m)
        return x - left_m * math.sin(yaw), y + left_m * math.cos(yaw), yaw

    def project(self, x_m: float, y_m: float) -> tuple[float, float]:
        """Return the arc length of the nearest point of the line, and how far left of it (x, y) is."""
        start, step = self.points_world[:-1], np.diff(self.points_world, axis=0)
        squared = np.maximum((step**2).sum(1), 1e-12)
        t = np.clip(((np.array([x_m, y_m]) - start) * step).sum(1) / squared, 0.0, 1.0)
        away = np.array([x_m, y_m]) - (start + t[:, None] * step)
        k = int(np.argmin((away**2).sum(1)))
        left = math.copysign(
            math.hypot(*away[k]), step[k, 0] * away[k, 1] - step[k, 1] * away[k, 0]
        )
        return self._offsets_m[k] + float(t[k]) * math.sqrt(float(squared[k])), left
