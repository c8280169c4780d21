"""Compare the bearings of boxes and radar points, to find a wrong yaw in the calibration of the cameras.

A wrong yaw of all cameras turns every box about the vehicle, and no radar point. The difference in bearing of
boxes and radar points at one distance then has its peak at the error. The monitor cannot tell whether cameras
or radar are turned, and it does not find one turned camera among several.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.scene import Box3D
from edge.contracts.sensors import FrameSet
from edge.contracts.time import NS_PER_S

_log = logging.getLogger(__name__)


@dataclass
class AlignmentSettings:
    """Limits of the error, and how fast it is found."""

    off_rad: float = 0.069
    """Error of yaw above which the calibration is wrong: just below 4 degrees. Right ones measured at most 2
    degrees in 15 drives by day and night, 5 degrees measured 3 to 7, and 3 degrees cost one box in forty."""
    min_pairs: int = 30
    """Pairs of box and radar point at the peak below which the verdict stays: about a second of traffic."""
    memory_s: float = 2.0
    """Time after which a pair counts 1 / e."""
    look_s: float = 0.07
    """Shortest time between two comparisons."""


_REACH_DEG = 20
"""Largest difference in bearing of a pair."""
_PEAK = np.array([1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0]) / 4.0
"""Weights of the bins about a peak, one per degree: the spread of boxes."""
_MIN_DISTANCE_M = 8.0
"""Smallest distance of a box: nearer, the size of a road user turns the bearing of its radar points."""
_SAME_DISTANCE_M = 2.0
"""Largest difference in distance of a pair."""


@dataclass(eq=False)
class AlignmentMonitor:
    """Compares boxes and radar points of one vehicle; call ``note`` in every tick, oldest first."""

    settings: AlignmentSettings

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a step of the clock."""
        self._counts = np.zeros(2 * _REACH_DEG + 1)
        """Pairs by the bearing from box to radar point, one bin per degree."""
        self._stamp_ns: int | None = None
        self.is_off = False
        """Whether the error of yaw is above its limit."""

    def note(self, boxes: Sequence[Box3D], frame_set: FrameSet) -> None:
        """Compare the boxes of one tick with its radar points."""
        stamp_ns = frame_set.stamp_ns
        gap_s = math.inf if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / NS_PER_S
        if gap_s < self.settings.look_s:
            return
        self._stamp_ns = stamp_ns
        self._counts *= math.exp(-gap_s / self.settings.memory_s)
        if boxes and len(frame_set.radar.points_ego):
            places = np.array([(box.x_m, box.y_m) for box in boxes])
            self._counts += _pairs(places, frame_set.radar.points_ego[:, :2])
        self._decide(stamp_ns)

    def _decide(self, stamp_ns: int) -> None:
        smooth = np.convolve(self._counts, _PEAK, "same")
        peak = int(smooth.argmax())
        yaw_deg = _REACH_DEG - peak  # boxes are turned the other way than radar points are found
        if smooth[peak] < self.settings.min_pairs:
            return  # too little to decide by
        was_off, self.is_off = self.is_off, abs(math.radians(yaw_deg)) > self.settings.off_rad
        if self.is_off and not was_off:
            fields = {"stamp_ns": stamp_ns, "yaw_error_deg": yaw_deg}
            _log.warning("cameras_misaligned", extra=fields)


def _pairs(boxes_ego: NDArray[np.float64], points_ego: NDArray[np.float32]) -> NDArray[np.float64]:
    """Count pairs of boxes (B, 2) and points (P, 2) at one distance by their difference in bearing, (41,)."""
    box_m, point_m = (np.hypot(*places.T) for places in (boxes_ego, points_ego))
    box_rad, point_rad = (np.arctan2(p[:, 1], p[:, 0]) for p in (boxes_ego, points_ego))
    turn_rad = point_rad[:, None] - box_rad  # (P, B)
    turn_deg = np.degrees((turn_rad + math.pi) % (2.0 * math.pi) - math.pi)
    is_pair = (
        (np.abs(point_m[:, None] - box_m) < _SAME_DISTANCE_M)
        & (box_m > _MIN_DISTANCE_M)
        & (np.abs(turn_deg) < _REACH_DEG)
    )
    bins = np.rint(turn_deg[is_pair]).astype(np.int64) + _REACH_DEG
    return np.bincount(bins, minlength=2 * _REACH_DEG + 1).astype(np.float64)
