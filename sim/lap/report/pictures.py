"""An instant of a captured clip as pictures: each model's boxes, and the scene from above.

A crop of one camera shows the one object that the clip was kept for, better than all eight small images.
Crops are enlarged by whole factors, so that a pixel of the camera stays a square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import Category
from edge.contracts.rig import Camera, Intrinsics, Rig
from edge.contracts.scene import Box3D
from edge.contracts.sensors import FrameSet
from fleet.evaluate import Slice, holds
from sim.place.ground import Ground
from sim.show.pictures import (
    CANDIDATE_RGB,
    INCUMBENT_RGB,
    TRUTH_RGB,
    Image,
    Layer,
    birds_eye,
    box_corners,
    draw_boxes,
    mosaic,
    png_bytes,
)

HIT_M = 2.0
"""Centre distance within which a box is about an object, as in the gate."""

_CROP_PX = 768
_ZOOMS = (12, 8, 6)
"""Whole factors that turn a square of a camera's picture into ``_CROP_PX``, closest first."""
_CHART_PX = 768
_CHART_CELLS = 192
_WEIGHT = 2
"""Of lines and words in a picture that the page shows at about half its size."""
_MARGIN_RATIO = 2.2
"""Side of a crop over the larger side of its object."""
_NEAR_M = 0.2


class PictureKind(StrEnum):
    """Subject of a picture; the page lays pictures out by it."""

    EDGE_CASE = "edge_case"
    BIRDS_EYE = "birds_eye"
    MOSAIC = "mosaic"


@dataclass(frozen=True)
class Picture:
    """A picture for the page."""

    title: str
    caption: str
    png: bytes
    kind: PictureKind
    clip_id: str
    """The clip, or the scene of the gate, that it was taken from."""
    is_unseen: bool = False
    """Of a place that no model was trained on."""


@dataclass(frozen=True, eq=False)
class EdgeCase:
    """One instant of a clip and the models' boxes; all in the ego frame of the instant."""

    clip_id: str
    frame_set: FrameSet
    rig: Rig
    claim: Slice
    """The claim of the lap."""
    labels: tuple[Box3D, ...]
    """Reviewed, of any class."""
    incumbent: tuple[Box3D, ...]
    candidate: tuple[Box3D, ...]
    caught_by: tuple[str, ...] = ()
    """Trigger rules of the clip."""
    is_unseen: bool = False
    """Of a place that no model was trained on."""
    is_night: bool = False

    @property
    def claimed(self) -> list[Box3D]:
        """The labels of the claimed slice."""
        return [box for box in self.labels if holds(self.claim, box, is_night=self.is_night)]


@dataclass(frozen=True)
class _View:
    """The camera view that shows an object best."""

    camera: int
    low_px: NDArray[np.float64]
    """Corners of the object's rectangle in the picture, (2,), cut at its borders."""
    high_px: NDArray[np.float64]
    clarity_px: float
    """Height of what shows, less when some of it lies outside the picture."""


def edge_case_pictures(case: EdgeCase, ground: Ground | None = None) -> tuple[Picture, ...]:
    """Draw an edge case: the incumbent's view, the candidate's view and the scene from above.

    Args:
        case: The instant; its first choice of an object is a label of the claim.
        ground: The road map to lay under the scene, where it is known.
    """
    subject, view = _subject(case)
    contestants = (
        ("Incumbent", case.incumbent, INCUMBENT_RGB),
        ("Candidate", case.candidate, CANDIDATE_RGB),
    )
    camera = case.rig.cameras[view.camera].name.replace("_", " ")
    shown = _of_class(case.labels, subject.category) if subject else []
    views = [
        Picture(
            title=f"{name}, {camera} camera",
            caption=_found(boxes, subject, case.labels),
            png=png_bytes(_crop(case, view, boxes, color, shown)),
            kind=PictureKind.EDGE_CASE,
            clip_id=case.clip_id,
            is_unseen=case.is_unseen,
        )
        for name, boxes, color in contestants
    ]
    return (*views, _from_above(case, subject, ground))


def mosaic_picture(case: EdgeCase) -> Picture:
    """Draw all eight cameras of an edge case with the labels and both models' boxes."""
    layers = [
        Layer("label", case.labels, TRUTH_RGB),
        Layer("incumbent", case.incumbent, INCUMBENT_RGB),
        Layer("candidate", case.candidate, CANDIDATE_RGB),
    ]
    return Picture(
        title="All eight cameras at one instant",
        caption=f"Clip {case.clip_id[:12]}… at the same instant, before any crop, with every label.",
        png=png_bytes(mosaic([f.image for f in case.frame_set.frames], case.rig, layers, scale=1)),
        kind=PictureKind.MOSAIC,
        clip_id=case.clip_id,
    )


def clarity_px(case: EdgeCase) -> float:
    """Measure how well the object of an instant shows: its height in pixels, less what is cut off.

    What any model said about it plays no part where it is labelled.
    """
    return _subject(case)[1].clarity_px


def _subject(case: EdgeCase) -> tuple[Box3D | None, _View]:
    """Find the object to show, and where; labels of the claim before anything else."""
    for boxes in (case.claimed, case.labels, case.candidate, case.incumbent):
        views = [(box, view) for box in boxes if (view := _best_view(box, case)) is not None]
        if views:
            return max(views, key=lambda found: found[1].clarity_px)
    k = case.rig.cameras[0].intrinsics
    return None, _View(0, np.zeros(2), np.array([k.width_px, k.height_px], np.float64), 0.0)


def _of_class(boxes: Sequence[Box3D], category: Category) -> list[Box3D]:
    return [box for box in boxes if box.category == category]


def _best_view(box: Box3D, case: EdgeCase) -> _View | None:
    usable = [k for k, is_usable in enumerate(case.frame_set.usable) if is_usable]
    views = [_view(box, k, case) for k in usable]
    return max(
        (view for view in views if view is not None), key=lambda v: v.clarity_px, default=None
    )


def _view(box: Box3D, index: int, case: EdgeCase) -> _View | None:
    """Project a box into one camera; None when it does not show there as a whole object."""
    camera = case.rig.cameras[index]
    corners = camera.ego_from_cam.inverse() @ box_corners(box)  # (8, 3)
    if corners[:, 2].min() < _NEAR_M:
        return None
    k = camera.intrinsics
    pixels = corners[:, :2] / corners[:, 2:] * (k.fx_px, k.fy_px) + (k.cx_px, k.cy_px)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    size = np.array([k.width_px, k.height_px])
    inside_low, inside_high = np.clip(low, 0.0, size), np.clip(high, 0.0, size)
    shown_ratio = float(np.prod(inside_high - inside_low) / np.prod(high - low))
    if shown_ratio <= 0.0:
        return None
    clarity_px = float(inside_high[1] - inside_low[1]) * shown_ratio**2
    return _View(index, inside_low, inside_high, clarity_px)


def _crop(
    case: EdgeCase,
    view: _View,
    boxes: Sequence[Box3D],
    color: tuple[int, int, int],
    shown: Sequence[Box3D],
) -> Image:
    """Cut a square around the object out of its camera's picture, enlarge it, draw boxes and labels."""
    camera = case.rig.cameras[view.camera]
    wanted_px = _MARGIN_RATIO * float((view.high_px - view.low_px).max())
    zoom = next((z for z in _ZOOMS if wanted_px * z <= _CROP_PX), _ZOOMS[-1])
    image = _image(case, view.camera)
    side_px = min(_CROP_PX // zoom, *image.shape[:2])
    size = np.array([camera.intrinsics.width_px, camera.intrinsics.height_px])
    centre = 0.5 * (view.low_px + view.high_px)
    x, y = np.clip(np.rint(centre - 0.5 * side_px), 0, size - side_px).astype(int).tolist()
    part = image[y : y + side_px, x : x + side_px]
    large = np.repeat(np.repeat(part, zoom, axis=0), zoom, axis=1)
    narrow = _cropped(camera, x, y, side_px)
    draw_boxes(large, narrow, Layer("label", shown, TRUTH_RGB), weight=_WEIGHT)
    draw_boxes(large, narrow, Layer("model", boxes, color, has_labels=True), weight=_WEIGHT)
    return large


def _image(case: EdgeCase, camera: int) -> Image:
    """Return a camera's picture, black where it gave none."""
    image, k = case.frame_set.frames[camera].image, case.rig.cameras[camera].intrinsics
    return np.zeros((k.height_px, k.width_px, 3), np.uint8) if image is None else image


def _cropped(camera: Camera, x_px: int, y_px: int, side_px: int) -> Camera:
    """Return the camera that would have taken only a square part of the picture."""
    k = camera.intrinsics
    intrinsics = Intrinsics(
        fx_px=k.fx_px,
        fy_px=k.fy_px,
        cx_px=k.cx_px - x_px,
        cy_px=k.cy_px - y_px,
        width_px=side_px,
        height_px=side_px,
    )
    return Camera(name=camera.name, intrinsics=intrinsics, ego_from_cam=camera.ego_from_cam)


def _from_above(case: EdgeCase, subject: Box3D | None, ground: Ground | None) -> Picture:
    """Draw the scene from above, as far as the object and some way on."""
    reach_m = 0.0 if subject is None else max(abs(subject.x_m), abs(subject.y_m))
    range_m = 4.0 * math.ceil(min(max(1.4 * reach_m, 16.0), 40.0) / 4.0)
    layers = [
        Layer("label", case.labels, TRUTH_RGB),
        Layer("incumbent", case.incumbent, INCUMBENT_RGB),
        Layer("candidate", case.candidate, CANDIDATE_RGB),
    ]
    pose = case.frame_set.ego.world_from_ego
    picture = birds_eye(
        layers,
        radar=case.frame_set.radar,
        route=case.frame_set.route,
        ground=ground.drivable_raster(pose, _CHART_CELLS, range_m) if ground else None,
        ring=subject,
        body=case.rig.body,
        range_m=range_m,
        size_px=_CHART_PX,
        weight=_WEIGHT,
    )
    caught = ", ".join(rule.replace("_", " ") for rule in case.caught_by)
    where = "" if subject is None else f"The {_name(subject)}, ringed, is {_place(subject)}."
    return Picture(
        title="From above, forward is up",
        caption=" ".join(
            part for part in (where, f"Caught by: {caught}." if caught else "") if part
        ),
        # The page has a legend of its own, in text that grows with the reader's font.
        png=png_bytes(picture[-_CHART_PX:]),
        kind=PictureKind.BIRDS_EYE,
        clip_id=case.clip_id,
        is_unseen=case.is_unseen,
    )


def _found(boxes: Sequence[Box3D], subject: Box3D | None, labels: Sequence[Box3D]) -> str:
    """Describe a model's box about the object; a box about its neighbour does not count."""
    if subject is None:
        return f"{len(boxes)} boxes."
    near = [box for box in boxes if _distance_m(box, subject) <= HIT_M]
    named = [box for box in near if box.category == subject.category]
    if named:
        best = max(named, key=lambda box: box.score)
        return f"Sees the {_name(subject)}: score {best.score:.2f}, {_distance_m(best, subject):.1f} m off."
    mistaken = [box for box in near if not _is_another(box, subject, labels)]
    if mistaken:
        best = max(mistaken, key=lambda box: box.score)
        return f"Takes the {_name(subject)} for a {_name(best)} (score {best.score:.2f})."
    return f"Misses the {_name(subject)}: no box of its own within {HIT_M:.0f} m."


def _is_another(box: Box3D, subject: Box3D, labels: Sequence[Box3D]) -> bool:
    """Return whether a box is rightly about another labelled object of its own class."""
    return any(
        label.category == box.category and _distance_m(box, label) <= HIT_M
        for label in labels
        if label is not subject
    )


def _distance_m(a: Box3D, b: Box3D) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


def _name(box: Box3D) -> str:
    return str(box.category).replace("_", " ")


def _place(box: Box3D) -> str:
    """Describe where a box is, as seen by a passenger; less than half a metre is left out."""
    along = f"{abs(box.x_m):.0f} m {'ahead' if box.x_m >= 0 else 'behind'}"
    aside = f"{abs(box.y_m):.0f} m to the {'left' if box.y_m >= 0 else 'right'}"
    far = [words for words, m in ((along, box.x_m), (aside, box.y_m)) if abs(m) >= 0.5]
    return ", ".join(far or [along])
