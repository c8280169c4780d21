"""Named slices of an evaluation set, as data: class, light, range, heading, state and place type.

Narrowing a match table to a slice does not match again: what is outside becomes *ignored*. A truth
belongs to a slice by its own values; a box that found nothing belongs to it by the values it claims.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from edge.contracts.classes import ANIMAL, CAR, CLASSES, PEDESTRIAN, TRUCK, UNKNOWN, Category
from edge.contracts.errors import OperatorError
from edge.contracts.rows import by_name, require
from edge.contracts.scene import Attribute, Box3D
from fleet.evaluate.matching import (
    Bools,
    BoxTable,
    Floats,
    FrameTable,
    Ints,
    Matches,
    attribute_index,
)


class Light(StrEnum):
    """Light of a frame."""

    DAY = "day"
    NIGHT = "night"


class HeadingBand(StrEnum):
    """Heading of a road user, seen from the ego: absolute yaw in degrees."""

    ALONG = "along"
    """0 to 20."""
    DIAGONAL = "diagonal"
    """20 to 70 and 110 to 160."""
    CROSSING = "crossing"
    """70 to 110."""
    ONCOMING = "oncoming"
    """160 to 180."""


_HEADING_EDGES_RAD = np.radians([20.0, 70.0, 110.0, 160.0])
_HEADING_OF_BIN = (
    HeadingBand.ALONG,
    HeadingBand.DIAGONAL,
    HeadingBand.CROSSING,
    HeadingBand.DIAGONAL,
    HeadingBand.ONCOMING,
)

RANGE_BANDS_M = ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0))


@dataclass(frozen=True)
class Slice:
    """A part of an evaluation set; every condition that is set must hold."""

    name: str
    categories: tuple[Category, ...] = ()
    """Empty: every class."""
    light: Light | None = None
    min_range_m: float = 0.0
    max_range_m: float = math.inf
    heading: HeadingBand | None = None
    attribute: Attribute | None = None
    tags: frozenset[str] = frozenset()
    """All of them must be on the frame: place type, scenario, weather."""


SLICES: dict[str, Slice] = by_name(
    (
        Slice("all"),
        Slice("day", light=Light.DAY),
        Slice("night", light=Light.NIGHT),
        Slice("near", max_range_m=10.0),
        Slice("middle", min_range_m=10.0, max_range_m=20.0),
        Slice("far", min_range_m=20.0),
        Slice("animal", (ANIMAL,)),
        Slice("animal_near", (ANIMAL,), max_range_m=15.0),
        Slice("animal_night", (ANIMAL,), light=Light.NIGHT),
        Slice("overturned_truck", (TRUCK,), attribute=Attribute.FALLEN),
        Slice("pedestrian_day", (PEDESTRIAN,), light=Light.DAY),
        Slice("pedestrian_night", (PEDESTRIAN,), light=Light.NIGHT),
        Slice("pedestrian_crossing", (PEDESTRIAN,), heading=HeadingBand.CROSSING),
        Slice("car_along", (CAR,), heading=HeadingBand.ALONG),
        Slice("car_diagonal", (CAR,), heading=HeadingBand.DIAGONAL),
        Slice("car_crossing", (CAR,), heading=HeadingBand.CROSSING),
        Slice("car_oncoming", (CAR,), heading=HeadingBand.ONCOMING),
        Slice("junction", tags=frozenset({"place:junction"})),
        Slice("street", tags=frozenset({"place:street"})),
    ),
    "fleet/evaluate/slices.py",
)
"""The slices that every report shows where they hold anything."""

require(
    (name for part in SLICES.values() for name in part.categories),
    CLASSES,
    "edge/contracts/classes.py",
)


def within(matches: Matches, part: Slice) -> Matches:
    """Narrow a match table to a slice: what is outside is ignored, frames outside do not count.

    Raises:
        OperatorError: The slice asks for things of unknown class.
    """
    is_frame = _frames_in(matches.frames, part) & matches.is_frame_counted
    truths, predictions = matches.truths, matches.predictions
    return replace(
        matches,
        is_frame_counted=is_frame,
        is_truth_counted=matches.is_truth_counted
        & _boxes_in(truths, part, matches)
        & is_frame[truths.frame],
        is_prediction_counted=(
            matches.is_prediction_counted
            & _boxes_in(predictions, part, matches)
            & is_frame[predictions.frame]
        ),
    )


def holds(part: Slice, box: Box3D, *, is_night: bool) -> bool:
    """Return whether one box, in the ego frame, is in a slice; the frame's tags are not looked at.

    Args:
        part: The slice.
        box: The box.
        is_night: Whether the frame was taken at night.
    """
    yaw_rad = np.array([box.yaw_rad])
    return (
        (not part.categories or box.category in part.categories)
        and (part.light is None or is_night == (part.light is Light.NIGHT))
        and part.min_range_m <= math.hypot(box.x_m, box.y_m) < part.max_range_m
        and (part.heading is None or bool(is_heading(yaw_rad, part.heading)[0]))
        and part.attribute in (None, box.attribute)
    )


def by_range(
    part: Slice, bands_m: Iterable[tuple[float, float]] = RANGE_BANDS_M
) -> tuple[Slice, ...]:
    """Cut a slice into range bands, named ``NAME 10-20 m``."""
    return tuple(
        replace(part, name=f"{part.name} {lo:g}-{hi:g} m", min_range_m=lo, max_range_m=hi)
        for lo, hi in bands_m
    )


def heading_bin(yaw_ego_rad: Floats) -> Ints:
    """Return the heading bin of each yaw: along, diagonal, crossing, diagonal, oncoming, (n,)."""
    wrapped = (yaw_ego_rad + np.pi) % (2.0 * np.pi) - np.pi
    return np.digitize(np.abs(wrapped), _HEADING_EDGES_RAD).astype(np.int64)


def is_heading(yaw_ego_rad: Floats, band: HeadingBand) -> Bools:
    """Return which yaws lie in a heading band, (n,)."""
    bins = [k for k, name in enumerate(_HEADING_OF_BIN) if name is band]
    return np.isin(heading_bin(yaw_ego_rad), bins)


def _frames_in(frames: FrameTable, part: Slice) -> Bools:
    is_inside = np.array([part.tags <= tags for tags in frames.tags], np.bool_)
    if part.light is not None:
        is_inside &= frames.is_night == (part.light is Light.NIGHT)
    return is_inside


def _boxes_in(boxes: BoxTable, part: Slice, matches: Matches) -> Bools:
    is_inside = (boxes.range_m >= part.min_range_m) & (boxes.range_m < part.max_range_m)
    if part.categories:
        if UNKNOWN in part.categories:
            raise OperatorError(
                f"slice {part.name} asks for category unknown, which nothing predicts"
            )
        is_inside &= np.isin(boxes.category, [matches.index_of(c) for c in part.categories])
    if part.heading is not None:
        is_inside &= is_heading(boxes.yaw_rad, part.heading)
    if part.attribute is not None:
        is_inside &= boxes.attribute == attribute_index(part.attribute)
    return is_inside
