"""One labelled instant as the network learns from it, and its random variations.

An example keeps three facts apart: where something *is* (boxes), where the labeller could not tell (ignored
discs: neither positive nor negative), and for which classes an empty place means that nothing is there
(``is_absence_known``). The last one matters for a class that the labeller of a clip cannot see: that the
labels hold none of it proves nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.contracts.clean import clean_radar
from edge.contracts.geometry import Pose
from edge.contracts.rig import Rig
from edge.contracts.sensors import RadarScan
from edge.perceive.tensors import FUTURE_STEPS, MIRRORED_SLOTS

Floats = NDArray[np.float32]

BOX_FIELDS = ("category", "x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "weight")


@dataclass(frozen=True, eq=False)
class Labels:
    """The truth about one instant, in the ego frame.

    ``boxes``: (N, 11), see ``BOX_FIELDS``. ``futures``: (N, 12, 2) positions relative to the box centre
    every 0.25 s, NaN where unknown. ``ignored``, ``looked``, ``signs``: (M, 3) discs x, y, radius;
    absence is known for every class inside ``looked``, and outside all ``signs`` unless they are None.
    ``is_absence_known``: (C,), or (1,) for all classes alike, for everywhere else.
    ``ego_future``: (12, 3) x, y, yaw or None. ``segmentation``: uint8 (n, n) or None.
    """

    boxes: Floats = field(default_factory=lambda: np.zeros((0, len(BOX_FIELDS)), np.float32))
    futures: Floats = field(default_factory=lambda: np.zeros((0, FUTURE_STEPS, 2), np.float32))
    ignored: Floats = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    looked: Floats = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    signs: Floats | None = None
    is_absence_known: NDArray[np.bool_] = field(default_factory=lambda: np.ones(1, np.bool_))
    ego_future: Floats | None = None
    segmentation: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Senses:
    """Readings of one instant, already at the network's image size.

    ``images``: uint8 (8, 3, h, w). ``radar_points``: (N, 4). ``ultrasonics``: (1, 12, 4) tokens.
    ``ego``: (1, 1, EGO_WIDTH) token.
    """

    stamp_ns: int
    world_from_ego: Pose
    images: NDArray[np.uint8]
    radar_points: Floats
    ultrasonics: Floats
    ego: Floats
    absent: tuple[int, ...] = ()
    """Slots whose camera gave nothing; their images are black."""


def clean_senses(senses: Senses, rig: Rig) -> Senses:
    """Drop the radar points that no radar can have measured; the tokens were made of clean readings."""
    scan = clean_radar(RadarScan(senses.radar_points), rig)
    is_clean = scan.points_ego is senses.radar_points
    return senses if is_clean else replace(senses, radar_points=scan.points_ego)


@dataclass(frozen=True, eq=False)
class Example:
    """A labelled instant and, where there is one, the instant about 0.25 s before it."""

    rig: Rig
    senses: Senses
    labels: Labels
    earlier: Senses | None = None


class ExampleSource(Protocol):
    """Anything that can be learnt from by number."""

    def __len__(self) -> int:
        """Count the examples."""

    def __getitem__(self, number: int) -> Example:
        """Give one example."""


@dataclass(frozen=True)
class View:
    """A way to look at the same scene: mirrored left to right, then the BEV grid turned."""

    is_mirrored: bool = False
    turn_rad: float = 0.0

    def points(self, points: Floats) -> Floats:
        """Bring vectors (..., 2) from the ego frame into the viewed grid."""
        x, y = points[..., 0], -points[..., 1] if self.is_mirrored else points[..., 1]
        c, s = math.cos(self.turn_rad), math.sin(self.turn_rad)
        return np.stack([c * x + s * y, c * y - s * x], axis=-1).astype(np.float32)

    def angles(self, angles: Floats) -> Floats:
        """Bring headings from the ego frame into the viewed grid."""
        return ((-angles if self.is_mirrored else angles) - self.turn_rad).astype(np.float32)

    def senses(self, senses: Senses) -> Senses:
        """Show a mirrored vehicle mirrored images; turn every token that holds a position."""
        radar = senses.radar_points.copy()
        radar[:, :2] = self.points(radar[:, :2])
        ultrasonics = senses.ultrasonics.copy()
        ultrasonics[..., :2] = self.points(ultrasonics[..., :2])
        ego = senses.ego.copy()
        ego[..., 4:12] = self.points(ego[..., 4:12].reshape(-1, 2)).reshape(ego[..., 4:12].shape)
        images, absent = senses.images, senses.absent
        if self.is_mirrored:
            images = images[list(MIRRORED_SLOTS)][..., ::-1]
            absent = tuple(sorted(MIRRORED_SLOTS[slot] for slot in absent))
            ego[..., 2:4] *= -1
        return replace(
            senses,
            images=images,
            absent=absent,
            radar_points=radar,
            ultrasonics=ultrasonics,
            ego=ego,
            world_from_ego=self._pose(senses.world_from_ego),
        )

    def _pose(self, world_from_ego: Pose) -> Pose:
        """Return the pose of the viewed grid in a world that is mirrored where the view is."""
        sign = -1.0 if self.is_mirrored else 1.0
        yaw = sign * world_from_ego.yaw_rad + self.turn_rad
        return Pose.from_xy_yaw(world_from_ego.x_m, sign * world_from_ego.y_m, yaw)

    def labels(self, labels: Labels) -> Labels:
        """Move every label with the grid; a turned grid has no segmentation truth."""
        boxes = labels.boxes.copy()
        boxes[:, 1:3] = self.points(boxes[:, 1:3])
        boxes[:, 7] = self.angles(boxes[:, 7])
        boxes[:, 8:10] = self.points(boxes[:, 8:10])
        ego_future = labels.ego_future
        if ego_future is not None:
            turned = self.points(ego_future[:, :2])
            ego_future = np.concatenate([turned, self.angles(ego_future[:, 2:])], axis=1)
        segmentation = labels.segmentation
        if segmentation is not None:
            segmentation = None if self.turn_rad else segmentation
        if segmentation is not None and self.is_mirrored:
            segmentation = np.ascontiguousarray(segmentation[:, ::-1])
        return replace(
            labels,
            boxes=boxes,
            futures=self.points(labels.futures),
            ignored=self._discs(labels.ignored),
            looked=self._discs(labels.looked),
            signs=None if labels.signs is None else self._discs(labels.signs),
            ego_future=ego_future,
            segmentation=segmentation,
        )

    def _discs(self, discs: Floats) -> Floats:
        return np.concatenate([self.points(discs[:, :2]), discs[:, 2:]], axis=1)


PLAIN_VIEW = View()


@dataclass(frozen=True)
class Lighting:
    """Light of the images: gain per colour and sensor noise, applied to a whole example alike."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0
    noise_sigma: float = 0.0

    def images(self, images: NDArray[np.uint8], rng: np.random.Generator) -> Floats:
        """Light (8, 3, h, w) images; the result stays in 0..255."""
        lit = images.astype(np.float32)
        lit *= np.array(self.gain, np.float32)[None, :, None, None]
        lit += np.float32(self.offset)
        if self.noise_sigma:
            noise = rng.standard_normal(lit.shape, dtype=np.float32)
            noise *= np.float32(self.noise_sigma)
            lit += noise
        return np.clip(lit, 0.0, 255.0, out=lit)


def daylight(rng: np.random.Generator, gain: tuple[float, float]) -> Lighting:
    """Draw an exposure: an overall gain, a tint, an offset, sometimes noise."""
    overall = rng.uniform(*gain)
    red, green, blue = (float(overall * t) for t in rng.uniform(0.92, 1.08, 3))
    sigma = 5.0 if rng.uniform() < 0.2 else 0.0
    return Lighting(gain=(red, green, blue), offset=float(rng.normal(0.0, 6.0)), noise_sigma=sigma)


def night(rng: np.random.Generator) -> Lighting:
    """Draw a night: a sixth to a third of the light, bluish, and a noisy sensor."""
    overall = rng.uniform(0.14, 0.34)
    tints = rng.uniform((0.85, 0.92, 1.0), (1.0, 1.05, 1.15))
    red, green, blue = (float(overall * t) for t in tints)
    return Lighting(gain=(red, green, blue), noise_sigma=float(rng.uniform(3.0, 6.0)))
