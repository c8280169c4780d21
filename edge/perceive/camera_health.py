"""Tell from the images alone which cameras cannot be trusted: black, saturated, frozen, noise, swapped.

Each image is sampled on a coarse grid of pixels, so that eight cameras cost a hundredth of a tick. A fault
must last for some time and is withdrawn at once: one dark frame under a bridge is no fault, and a camera that
shows the road again is used again.

Own motion reveals two faults. While the vehicle moves, a camera that shows the same pixels is frozen. While
it drives straight ahead, the scene passes a camera on the left side to the left, and one on the right side to
the right. Two cameras whose scenes pass the wrong way have swapped cables, one alone is turned.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Camera, Rig
from edge.contracts.sensors import Frame, FrameSet, FrameStatus
from edge.contracts.time import NS_PER_S

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass
class CameraHealthSettings:
    """Thresholds of each fault of a camera, and the time that it must last."""

    black_level: float = 6.0
    """Mean of 255 below which an image is black: a moonless road lit by low beams has about 12."""
    saturated_ratio: float = 0.9
    """Part of the pixels at 250 or above: the sun in the image fills less than half of it."""
    noise_correlation: float = 0.2
    """Correlation of neighbouring pixels below which an image is noise; roads at night have 0.6 and more."""
    min_contrast: float = 8.0
    """Standard deviation of 255 below which an image is plain (fog, a wall): it shows no noise nor motion."""
    look_s: float = 0.07
    """How often each camera is judged; between two looks its status stays."""
    fault_s: float = 0.25
    """How long an image must look faulty. Faults of 0.2 s and less cost less than a false alarm."""
    frozen_m: float = 1.0
    """How far the vehicle must have moved while the pixels stayed the same."""
    frozen_plain_m: float = 60.0
    """How far it must have moved for a plain image: a side camera sees one wall along a whole house."""
    swap_min_mps: float = 3.0
    """Below this speed the scene of a side camera hardly passes between two frames."""
    swap_max_turn_radps: float = 0.05
    """Above this rate of turning the scene passes because of the turn."""
    swap_s: float = 2.0
    """How much longer the scene must have passed the wrong way than the right way."""


_LONGEST_S = 0.2
"""A longer time between two looks counts as this much: nothing is known of the images between."""
_ROWS, _COLUMNS = 16, 32
"""Grid of pixels per image."""
_BRIGHT = 250
"""Of 255: from here on a pixel is saturated."""
_STRIP = 64
"""Columns of the strip in which passing is measured."""
_SHIFTS = np.arange(-8, 9)
"""Shifts of the strip between two frames that are tried, in its columns."""
_SIDE_RAD = (math.radians(35.0), math.radians(145.0))
"""Between these angles off straight ahead a camera looks to the side."""


@dataclass(eq=False)
class _Watched:
    """State of one camera between looks."""

    pixels: bytes = b""
    """Of the last look's grid."""
    checksum: int | None = None
    """Of the last look's whole image, if its grid was the same as before: a small thing may move between the
    pixels of the grid."""
    strip: Floats | None = None
    stamp_ns: int = 0
    status: FrameStatus = FrameStatus.FRESH
    suspected: FrameStatus = FrameStatus.FRESH
    suspected_s: float = 0.0
    still_m: float = 0.0
    still_s: float = 0.0
    is_plain: bool = False
    """Whether the pixels that stayed the same show nothing."""
    wrong_way_s: float = 0.0


@dataclass(frozen=True, eq=False)
class _Look:
    """An image to judge, whose camera was judged ``gap_s`` before."""

    image: Bytes
    camera: Camera
    seen: _Watched
    gap_s: float


@dataclass(eq=False)
class CameraMonitor:
    """Watches the cameras of one vehicle; call ``update`` with every frame set, oldest first."""

    rig: Rig
    settings: CameraHealthSettings = field(default_factory=CameraHealthSettings)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a step of the clock."""
        self._watched = [_Watched() for _ in self.rig.cameras]

    def update(self, frame_set: FrameSet) -> FrameSet:
        """Return the frame set with the status of each image that cannot be trusted.

        Args:
            frame_set: As ``edge.contracts.clean`` left it.
        """
        self._look(frame_set)
        pairs = [
            (frame, self._status_of(frame, seen))
            for frame, seen in zip(frame_set.frames, self._watched, strict=True)
        ]
        if all(frame.status is status for frame, status in pairs):
            return frame_set
        frames = tuple(f if f.status is s else replace(f, status=s) for f, s in pairs)
        return replace(frame_set, frames=frames)

    @property
    def swapped(self) -> tuple[str, ...]:
        """The cameras whose scenes pass the wrong way."""
        limit_s = self.settings.swap_s
        pairs = zip(self.rig.cameras, self._watched, strict=True)
        return tuple(camera.name for camera, seen in pairs if seen.wrong_way_s > limit_s)

    def _status_of(self, frame: Frame, seen: _Watched) -> FrameStatus:
        is_trusted = not frame.is_usable or seen.status is FrameStatus.FRESH
        return frame.status if is_trusted else seen.status

    def _look(self, frame_set: FrameSet) -> None:
        """Judge the cameras whose last look is long enough ago, those of one size together."""
        due: dict[tuple[int, ...], list[_Look]] = {}
        cameras = zip(frame_set.frames, self.rig.cameras, self._watched, strict=True)
        for frame, camera, seen in cameras:
            if frame.image is None or not frame.is_usable:
                seen.pixels, seen.strip = b"", None
                continue
            passed_s = (frame.stamp_ns - seen.stamp_ns) / NS_PER_S
            if not 0.0 <= passed_s < self.settings.look_s:
                seen.stamp_ns = frame.stamp_ns
                look = _Look(frame.image, camera, seen, min(abs(passed_s), _LONGEST_S))
                due.setdefault(frame.image.shape, []).append(look)
        for looks in due.values():
            self._judge(looks, frame_set)

    def _judge(self, looks: list[_Look], frame_set: FrameSet) -> None:
        """Judge cameras whose images have one size."""
        grids = np.stack([_grid(look.image) for look in looks])
        beside = np.stack([_grid(look.image[..., 1], right_px=1) for look in looks])
        statuses = self._looks_like(grids[..., 1], beside)
        for look, grid, status in zip(looks, grids, statuses, strict=True):
            seen, gap_s = look.seen, look.gap_s
            seen.suspected_s = seen.suspected_s + gap_s if status is seen.suspected else 0.0
            seen.suspected = status
            self._note_stillness(look, grid, frame_set)
            self._note_passing(look, frame_set)
            seen.status = self._status(seen)

    def _status(self, seen: _Watched) -> FrameStatus:
        s = self.settings
        if seen.suspected is not FrameStatus.FRESH and seen.suspected_s >= s.fault_s:
            return seen.suspected
        frozen_m = s.frozen_plain_m if seen.is_plain else s.frozen_m
        if seen.still_m >= frozen_m and seen.still_s >= s.fault_s:
            return FrameStatus.FROZEN
        if seen.wrong_way_s > s.swap_s:
            return FrameStatus.CORRUPT
        return FrameStatus.FRESH

    def _looks_like(self, green: Bytes, beside: Bytes) -> list[FrameStatus]:
        """Classify images by their pixels alone: (K, R, C) green values and those of the pixels beside."""
        s = self.settings
        levels = green.mean(axis=(1, 2)).tolist()
        bright_ratios = (green >= _BRIGHT).mean(axis=(1, 2)).tolist()
        correlations = _correlations(green, beside, s.min_contrast)
        return [
            self._looks(*values) for values in zip(levels, bright_ratios, correlations, strict=True)
        ]

    def _looks(self, level: float, bright_ratio: float, correlation: float) -> FrameStatus:
        s = self.settings
        if level < s.black_level:
            return FrameStatus.BLACK
        if bright_ratio >= s.saturated_ratio:
            return FrameStatus.SATURATED
        return FrameStatus.CORRUPT if correlation < s.noise_correlation else FrameStatus.FRESH

    def _note_stillness(self, look: _Look, grid: Bytes, frame_set: FrameSet) -> None:
        """Count time and way for as long as the pixels stay the very same."""
        seen, gap_s, pixels = look.seen, look.gap_s, grid.tobytes()
        is_same = seen.pixels == pixels
        if is_same and frame_set.ego.speed_mps:
            checksum = zlib.crc32(np.ascontiguousarray(look.image).data)
            is_same = seen.checksum in (None, checksum)
            seen.checksum = checksum
        else:
            seen.checksum = None
        seen.is_plain = is_same and float(grid[..., 1].std()) < self.settings.min_contrast
        seen.still_s = seen.still_s + gap_s if is_same else 0.0
        seen.still_m = seen.still_m + gap_s * abs(frame_set.ego.speed_mps) if is_same else 0.0
        seen.pixels = pixels

    def _note_passing(self, look: _Look, frame_set: FrameSet) -> None:
        """Count how much longer the scene of a side camera has passed the wrong way than the right way."""
        s, ego, seen, yaw_rad = self.settings, frame_set.ego, look.seen, look.camera.yaw_rad
        is_straight = abs(ego.yaw_rate_radps) <= s.swap_max_turn_radps
        is_side = _SIDE_RAD[0] <= abs(yaw_rad) <= _SIDE_RAD[1]
        if not (is_side and is_straight and ego.speed_mps >= s.swap_min_mps):
            seen.strip = None
            return
        strip = _strip(look.image)
        if seen.strip is not None and strip.std() >= s.min_contrast:
            passed = _shift(seen.strip, strip)
            expected = -1 if yaw_rad > 0.0 else 1  # the scene passes towards the rear
            sign = -float(np.sign(passed * expected))
            seen.wrong_way_s = min(max(0.0, seen.wrong_way_s + sign * look.gap_s), 2.0 * s.swap_s)
        seen.strip = strip


def _grid(image: Bytes, right_px: int = 0) -> Bytes:
    """Pick a coarse grid of pixels, (16, 32, ...) or all of a smaller image, ``right_px`` to the right."""
    rows, columns = max(1, image.shape[0] // _ROWS), max(1, image.shape[1] // _COLUMNS)
    return image[rows // 2 :: rows, columns // 2 + right_px :: columns][:_ROWS, :_COLUMNS]


def _strip(image: Bytes) -> Floats:
    """Average the middle band of an image over its height, (64,): what stands on and beside the road."""
    height, width = image.shape[:2]
    step = max(1, width // _STRIP)
    band = image[height // 3 : 2 * height // 3 : 4, ::step, 1]
    return np.asarray(band.mean(axis=0, dtype=np.float32)[:_STRIP])


def _shift(before: Floats, now: Floats) -> int:
    """Find by how many columns a strip has moved to the right: the shift with the least difference."""
    reach = int(_SHIFTS[-1])
    if len(now) <= 2 * reach:
        return 0
    inner = now[reach:-reach]
    shifted = np.lib.stride_tricks.sliding_window_view(before, len(inner))[::-1]  # by -reach first
    errors = np.abs(shifted - inner).mean(axis=1)
    best = int(errors.argmin())
    return int(_SHIFTS[best]) if errors[best] < 0.8 * errors[reach] else 0


def _correlations(green: Bytes, beside: Bytes, min_contrast: float) -> list[float]:
    """Correlate pixels (K, R, C) of K images with those beside them.

    Returns:
        Per image 0 for noise, 1 for a smooth picture or one without contrast, a standard deviation in levels
        of 255.
    """
    left = green[:, :, : beside.shape[2]].reshape(len(green), -1).astype(np.float32)
    right = beside.reshape(len(beside), -1).astype(np.float32)
    left -= left.mean(axis=1, keepdims=True)
    right -= right.mean(axis=1, keepdims=True)
    together, *alone = (
        np.einsum("kp,kp->k", a, b) for a, b in ((left, right), (left, left), (right, right))
    )
    spread = np.sqrt(alone[0] * alone[1])
    is_flat = spread < min_contrast**2 * left.shape[1]
    correlation: list[float] = np.where(is_flat, 1.0, together / np.maximum(spread, 1e-9)).tolist()
    return correlation
