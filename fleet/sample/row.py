"""Training rows: one sensed instant, the one before it, and its labels.

Rows come from recorded clips and from rendered recipes, and are alike from here on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.clip_file import Instant, is_usable, stored_radar_scan
from edge.contracts.classes import CLASSES, SHIPPED_CLASSES, Category
from edge.contracts.clean import clean_ultrasonics
from edge.contracts.fields import Count, Metres, Name, OpenEnum, Ratio, Sha256
from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D
from edge.contracts.sensors import UltrasonicScan
from edge.perceive.tensors import (
    FUTURE_STEPS,
    NetSpec,
    absent_slots,
    ego_token,
    ultrasonic_tokens,
)
from models.examples import Labels, Senses

NIGHT = "night"
"""Tag of a row that was sensed in the dark."""
MIN_VISIBLE_PX = 12
"""An object that shows fewer pixels teaches nothing: it is neither a positive nor a negative."""


class LabelSource(OpenEnum):
    """Origin of a label."""

    AUTO = "auto"
    REVIEWED = "reviewed"
    ANNOTATED = "annotated"
    UNKNOWN = "unknown"


class SampleBox(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled object at one instant."""

    box: Box3D
    track: Name
    """Identity over the instants of the same clip or scene."""
    source: LabelSource
    confidence: Ratio = 1.0
    visible_px: Count | None = None
    """Pixels that show it, over all cameras; None where they were not counted and it is taken as seen."""
    encounter_id: str | None = None
    future: tuple[tuple[Metres, Metres], ...] = ()
    """Offsets from the box centre every 0.25 s, ego frame of this instant; empty when unknown."""


class Disc(msgspec.Struct, frozen=True, array_like=True):
    """A round place on the ground, in the ego frame."""

    x_m: Metres
    y_m: Metres
    radius_m: Metres


class SampleLabels(msgspec.Struct, frozen=True, kw_only=True):
    """All labels of one instant."""

    boxes: tuple[SampleBox, ...] = ()
    ignored: tuple[Disc, ...] = ()
    """Places where the labeler could not tell: neither positive nor negative."""
    absence_known: tuple[Category, ...] = msgspec.field(default_factory=lambda: tuple(CLASSES))
    """Classes for which an empty, not ignored place means that there is none; by default every class that
    this software knows, because a label without this field was made with full care."""
    looked: tuple[Disc, ...] = ()
    """Places that a labeler with knowledge of every class has looked at: absence is known there for all
    classes."""
    signs: tuple[Disc, ...] | msgspec.UnsetType = msgspec.UNSET
    """Places of signs, see ``fleet.label.silence``; absence of every class is known everywhere else. Not
    written where the radar measured nothing."""
    ego_future: tuple[tuple[float, float, float], ...] = ()
    teaches_driving: bool = True
    """Whether a network may imitate ``ego_future``; False for a clip that a trigger recorded."""
    segmentation: bytes = b""
    """uint8 (n, n) row-major over +-32 m, n from its length; empty when unknown."""


def senses_of(instant: Instant, rig: Rig, spec: NetSpec, images: NDArray[np.uint8]) -> Senses:
    """Pair the network's other inputs with ``images`` (8, 3, h, w), already decoded and resized."""
    ranges = clean_ultrasonics(UltrasonicScan(instant.ranges_m), len(rig.ultrasonics))
    return Senses(
        stamp_ns=instant.stamp_ns,
        world_from_ego=instant.ego.world_from_ego,
        images=images,
        absent=absent_slots([is_usable(frame) for frame in instant.frames], rig),
        radar_points=stored_radar_scan(instant, rig).points_ego,
        ultrasonics=ultrasonic_tokens(ranges.ranges_m, rig),
        ego=ego_token(instant.ego, instant.route),
    )


@dataclass(frozen=True, eq=False)
class Sample:
    """One row: an instant, the one about 0.25 s before it, its labels, and where it belongs."""

    sample_id: Sha256
    clip_id: str
    """The clip or the rendered scene it was taken from."""
    place_id: str
    """Where on which map; a place is in one split only."""
    rig_id: Sha256
    now: Instant
    earlier: Instant | None
    labels: SampleLabels
    tags: tuple[str, ...] = ()
    """For slicing: ``night``, ``rare``, the scenario's name."""


def training_labels(
    labels: SampleLabels, spec: NetSpec, categories: Sequence[Category] = SHIPPED_CLASSES
) -> Labels:
    """Turn labels into the arrays that the loss is computed from; confidence becomes weight.

    A box of a class that the network cannot name is neither positive nor negative. The loss imitates every
    ego future that it is given, so it is given only those that teach driving.
    """
    number_of = {category: number for number, category in enumerate(categories)}
    rows, futures, hidden = [], [], []
    for labelled in labels.boxes:
        box = labelled.box
        is_hidden = labelled.visible_px is not None and labelled.visible_px < MIN_VISIBLE_PX
        if is_hidden or box.category not in number_of:
            hidden.append(Disc(box.x_m, box.y_m, max(1.5, 0.4 * box.length_m)))
            continue
        rows.append(
            (number_of[box.category], box.x_m, box.y_m, box.z_m, box.length_m, box.width_m,
             box.height_m, box.yaw_rad, box.vx_mps, box.vy_mps, labelled.confidence)
        )  # fmt: skip
        known = len(labelled.future) == FUTURE_STEPS
        futures.append(labelled.future if known else [(np.nan, np.nan)] * FUTURE_STEPS)
    empty = Labels()
    segmentation = None
    if len(labels.segmentation) == spec.bev_cells**2:
        flat = np.frombuffer(labels.segmentation, np.uint8)
        segmentation = flat.reshape(spec.bev_cells, spec.bev_cells)
    is_imitated = labels.teaches_driving and bool(labels.ego_future)
    return Labels(
        boxes=np.array(rows, np.float32) if rows else empty.boxes,
        futures=np.array(futures, np.float32) if rows else empty.futures,
        ignored=_disc_array((*labels.ignored, *hidden)),
        looked=_disc_array(labels.looked),
        signs=None if labels.signs is msgspec.UNSET else _disc_array(labels.signs),
        is_absence_known=np.array([c in labels.absence_known for c in categories]),
        ego_future=np.array(labels.ego_future, np.float32) if is_imitated else None,
        segmentation=segmentation,
    )


def _disc_array(discs: tuple[Disc, ...]) -> NDArray[np.float32]:
    return np.array([(d.x_m, d.y_m, d.radius_m) for d in discs], np.float32).reshape(-1, 3)
