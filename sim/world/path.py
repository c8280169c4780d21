"""Interpolate a motion between positions that are known at some stamps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import wrap_rad

Motion = tuple[float, float, float, float]
"""x, y (m), yaw (rad), speed (m/s): of the middle of a box, or of the rear axle for the ego."""


def between(before: Motion, now: Motion, ratio: float) -> Motion:
    """Interpolate two motions, the heading by the shorter way round."""
    return (
        before[0] + ratio * (now[0] - before[0]),
        before[1] + ratio * (now[1] - before[1]),
        wrap_rad(before[2] + ratio * wrap_rad(now[2] - before[2])),
        before[3] + ratio * (now[3] - before[3]),
    )


@dataclass(frozen=True, eq=False)
class TimedPath:
    """Known positions, linear in between: a recorded track, or one made up for a test.

    ``times_s``: float64 (N,), growing. ``poses``: float64 (N, 3): x, y (m) and yaw (rad).

    Raises:
        ValueError: The shapes differ, the times do not grow, or a number is not finite.
    """

    times_s: NDArray[np.float64]
    poses: NDArray[np.float64]

    def __post_init__(self) -> None:
        times, poses = self.times_s, self.poses
        if times.ndim != 1 or len(times) == 0 or poses.shape != (len(times), 3):
            raise ValueError(
                f"a path needs (N,) times and (N, 3) poses, got {times.shape}, {poses.shape}"
            )
        if not (
            np.isfinite(times).all() and np.isfinite(poses).all() and (np.diff(times) > 0).all()
        ):
            raise ValueError("a path needs finite numbers, and times that grow")

    @classmethod
    def standing(cls, x_m: float, y_m: float, yaw_rad: float = 0.0) -> TimedPath:
        """Make the path of something that stands at one place all the time."""
        return cls(np.zeros(1), np.array([(x_m, y_m, yaw_rad)]))

    @classmethod
    def straight(
        cls, start: tuple[float, float], end: tuple[float, float], *, from_s: float, to_s: float
    ) -> TimedPath:
        """Make a path that goes straight from one point to another at a constant speed."""
        (x0, y0), (x1, y1) = start, end
        yaw = float(np.arctan2(y1 - y0, x1 - x0))
        return cls(np.array([from_s, to_s]), np.array([(x0, y0, yaw), (x1, y1, yaw)]))

    def at(self, time_s: float) -> Motion | None:
        """Return position and speed; None before the first time and after the last.

        What has one known position stands there all the time.
        """
        times, k = self.times_s, int(np.searchsorted(self.times_s, time_s, side="right")) - 1
        if len(times) == 1:
            x, y, yaw = self.poses[0].tolist()
            return x, y, yaw, 0.0
        if k < 0 or time_s > times[-1]:
            return None
        k = min(k, len(times) - 2)
        ratio = float((time_s - times[k]) / (times[k + 1] - times[k]))
        before, after = ((*self.poses[i].tolist(), float(self._speeds[k])) for i in (k, k + 1))
        return between(before, after, ratio)

    def held_at(self, time_s: float) -> Motion:
        """Return position and speed; standing at the first position before, at the last afterwards."""
        inside_s = min(max(time_s, float(self.times_s[0])), float(self.times_s[-1]))
        x, y, yaw, speed = self.at(inside_s) or (0.0, 0.0, 0.0, 0.0)
        return x, y, yaw, speed if inside_s == time_s else 0.0

    @cached_property
    def _speeds(self) -> NDArray[np.float64]:
        """Speed from each position to the next, m/s, (N - 1,)."""
        steps = np.diff(self.poses[:, :2], axis=0)
        speeds: NDArray[np.float64] = np.hypot(steps[:, 0], steps[:, 1]) / np.diff(self.times_s)
        return speeds
