"""Judge the sensors in every tick, and limit what the vehicle does by what they still show.

The limits depend on what is left and not on what is lost. Where no camera can be trusted to show the road
ahead, the vehicle drives on radar. Where it is shown poorly, late or without a radar, the vehicle drives
slowly.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D
from edge.contracts.sensors import FrameSet, FrameStatus
from edge.contracts.time import NS_PER_S
from edge.perceive.alignment import AlignmentMonitor, AlignmentSettings
from edge.perceive.camera_health import CameraHealthSettings, CameraMonitor
from edge.perceive.tensors import PICO, absent_slots, calibration_table


@dataclass
class SensorWatchSettings:
    """Limits of a vehicle whose sensors partly fail."""

    camera: CameraHealthSettings = field(default_factory=CameraHealthSettings)
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    blind_ahead_ratio: float = 0.5
    """Part of the road ahead, of what all cameras show of it, below which the network does not run: with
    every camera black it found 0.02 of what it finds otherwise, with all but one frozen about half."""
    poor_ahead_ratio: float = 0.9
    """Part of the road ahead, of what all cameras show of it, below which the vehicle drives slowly."""
    poor_around_ratio: float = 0.6
    """Part of everything around, of what all cameras show of it, below which the vehicle drives slowly."""
    poor_speed_mps: float = 8.3
    """30 km/h: a vehicle brakes from it within 7 m, inside of what radar and ultrasonics see."""
    radar_silent_s: float = 1.0
    """A radar that has measured points is silent after this long without any: clutter fills every scan."""


@dataclass(frozen=True, eq=False)
class SensorState:
    """The state of the sensors in one tick."""

    frame_set: FrameSet
    """With the status of each image."""
    faults: tuple[str, ...] = ()
    """One entry per fault: sensor and status, for instance ``rear frozen``."""
    blind_reason: str = ""
    """Why no network runs; empty: it runs."""
    speed_cap_mps: float | None = None
    """How fast the vehicle may drive; None: as fast as the road allows."""
    radar_silent_s: float = 0.0
    """For how long the radar has been silent."""
    is_misaligned: bool = False
    """Whether boxes and radar disagree about directions."""

    @property
    def faulty_cameras(self) -> int:
        """How many cameras cannot be trusted."""
        usable = self.frame_set.usable
        return len(usable) if self.is_misaligned else usable.count(False)


@dataclass(frozen=True)
class GroundCoverage:
    """Part of the ground that some cameras show, of what all cameras of the rig show."""

    ahead_ratio: float
    around_ratio: float


@dataclass(eq=False)
class SensorWatch:
    """Watches the sensors of one vehicle; call ``update`` with every frame set, oldest first."""

    rig: Rig
    settings: SensorWatchSettings = field(default_factory=SensorWatchSettings)

    def __post_init__(self) -> None:
        self._cameras = CameraMonitor(self.rig, self.settings.camera)
        self._alignment = AlignmentMonitor(self.settings.alignment)
        self.reset()

    def reset(self) -> None:
        """Forget everything that holds a stamp, as after a step of the clock."""
        self._cameras.reset()
        self._alignment.reset()
        self._radar_ns: int | None = None

    def note_boxes(self, boxes: Sequence[Box3D], frame_set: FrameSet) -> None:
        """Compare the boxes of the frame set that was judged last with its radar points."""
        self._alignment.note(boxes, frame_set)

    def update(self, frame_set: FrameSet) -> SensorState:
        """Judge one frame set.

        Args:
            frame_set: As ``edge.contracts.clean`` left it.
        """
        frame_set = self._cameras.update(frame_set)
        silent_s = self._silence_s(frame_set)
        is_silent, is_off = silent_s > self.settings.radar_silent_s, self._alignment.is_off
        statuses = tuple(frame.status for frame in frame_set.frames)
        if not (is_silent or is_off) and all(s is FrameStatus.FRESH for s in statuses):
            return SensorState(frame_set)
        blind_reason, is_poor = self._sight(frame_set)
        is_slow = is_poor or is_silent or is_off
        return SensorState(
            frame_set=frame_set,
            faults=self._faults(statuses, is_silent),
            blind_reason=blind_reason,
            speed_cap_mps=self.settings.poor_speed_mps if is_slow else None,
            radar_silent_s=silent_s if is_silent else 0.0,
            is_misaligned=is_off,
        )

    def _silence_s(self, frame_set: FrameSet) -> float:
        """Return for how long a radar that has measured before has measured nothing, in s."""
        if len(frame_set.radar.points_ego):
            self._radar_ns = frame_set.stamp_ns
        if self._radar_ns is None:
            return 0.0
        return max(0.0, (frame_set.stamp_ns - self._radar_ns) / NS_PER_S)

    def _sight(self, frame_set: FrameSet) -> tuple[str, bool]:
        """Return why the network need not run, empty if it must, and whether the road is shown poorly."""
        s = self.settings
        usable = ground_coverage(self.rig, frame_set.usable)
        fresh = ground_coverage(
            self.rig, tuple(f.status is FrameStatus.FRESH for f in frame_set.frames)
        )
        if usable.ahead_ratio < s.blind_ahead_ratio:
            return f"cameras show {usable.ahead_ratio:.0%} of the road ahead", True
        is_poor = fresh.ahead_ratio < s.poor_ahead_ratio
        return "", is_poor or fresh.around_ratio < s.poor_around_ratio

    def _faults(self, statuses: tuple[FrameStatus, ...], is_silent: bool) -> tuple[str, ...]:
        pairs = zip(self.rig.cameras, statuses, strict=True)
        swapped = self._cameras.swapped
        cameras = tuple(
            f"{camera.name} {'swapped' if camera.name in swapped else status}"
            for camera, status in pairs
            if status is not FrameStatus.FRESH
        )
        misaligned = ("cameras misaligned",) if self._alignment.is_off else ()
        return (*cameras, *misaligned, *(("radar silent",) if is_silent else ()))


@functools.lru_cache(maxsize=64)
def ground_coverage(rig: Rig, is_used: tuple[bool, ...]) -> GroundCoverage:
    """Compute how much of the ground the used cameras show; one bool per camera of the rig."""
    whole = _shown(rig, (True,) * len(rig.cameras))
    left = _shown(rig, is_used)
    centres_m = -PICO.bev_range_m + (np.arange(PICO.bev_cells) + 0.5) * PICO.cell_m
    x_m, y_m = np.meshgrid(centres_m, centres_m, indexing="ij")
    is_ahead = (x_m > 2.0) & (x_m < 30.0) & (np.abs(y_m) < 4.0)
    ahead = int((whole & is_ahead).sum())
    return GroundCoverage(
        ahead_ratio=float((left & is_ahead).sum()) / ahead if ahead else 1.0,
        around_ratio=float(left.sum()) / max(int(whole.sum()), 1),
    )


def _shown(rig: Rig, is_used: tuple[bool, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which cells of the ground, (n, n), some used camera shows."""
    table = calibration_table(rig, PICO, missing=absent_slots(is_used, rig))
    ground = table.index[: PICO.bev_cells**2] < PICO.zero_row
    return np.asarray(ground.reshape(PICO.bev_cells, PICO.bev_cells))
