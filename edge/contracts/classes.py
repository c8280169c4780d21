"""Classes of road users and things, one row a class: every number about a class stands here.

A class is identified by its name. Bundles, clips, labels and campaigns carry names, and any of them may name
a class that this software has no row for. ``row_of`` then returns ``UNKNOWN_ROW``, which is as careful as the
row of an animal: such a thing may be alive, may start to walk, and its heading predicts nothing.

To add a class, add a row to ``_ROWS`` and train a model that lists the name. A row has no defaults, so that a
forgotten column stops the program when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge.contracts.errors import OperatorError
from edge.contracts.fields import Name
from edge.contracts.rows import by_name, require

Category = Name
"""The name of a class."""

CAR = "car"
TRUCK = "truck"
BUS = "bus"
TRAILER = "trailer"
CONSTRUCTION_VEHICLE = "construction_vehicle"
PEDESTRIAN = "pedestrian"
MOTORCYCLE = "motorcycle"
BICYCLE = "bicycle"
TRAFFIC_CONE = "traffic_cone"
BARRIER = "barrier"
ANIMAL = "animal"
DEBRIS = "debris"
UNKNOWN = "unknown"
"""What a vehicle calls a thing whose class has no row."""

SHIPPED_CLASSES = (
    CAR, TRUCK, BUS, TRAILER, CONSTRUCTION_VEHICLE, PEDESTRIAN, MOTORCYCLE, BICYCLE, TRAFFIC_CONE,
    BARRIER, ANIMAL, DEBRIS,
)  # fmt: skip
"""Channel order of the models that ship; any other model brings its own list."""


class Kind(StrEnum):
    """How a road user moves and how much a collision would harm it; a track keeps its kind for life."""

    VEHICLE = "vehicle"
    VULNERABLE = "vulnerable"
    THING = "thing"


class HeadingPeriod(StrEnum):
    """After which turn a road user looks the same again."""

    FULL = "full"
    """A full turn: front and rear differ."""
    HALF = "half"
    """Half a turn: front and rear are alike."""
    NONE = "none"
    """Any turn: it has no heading."""


class Palette(StrEnum):
    """Colours of a class in simulated pictures."""

    ANY = "any"
    BROWN = "brown"
    OWN = "own"
    """The colours of its pattern alone."""


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """All numbers about one class."""

    name: Category
    plural: str
    kind: Kind
    family: str
    """Classes of one family are taken for each other more easily than others. Two boxes of one family in one
    place are one road user, unless both are things: a cone may stand at a barrier."""
    looks_like: Category
    """Class that a reviewer who is wrong about it names; its own name if reviewers are not wrong."""
    size_m: tuple[float, float, float]
    """Usual length, width and height, rider included, in metres."""
    heading: HeadingPeriod
    heading_weight: float
    """How much a labelled heading teaches, from 0 (nothing) to 1 (a vehicle's)."""
    moves: bool
    """Whether it has a velocity and a state (moving, stopped) of its own."""
    is_on_foot: bool
    """Whether it is slow, and may start to walk at any time: a small velocity of it counts."""
    suppression_m: float
    """Radius, in metres, within which a weaker box is the same road user."""
    color_rgb: tuple[float, float, float]
    """Of its boxes in a viewer, each 0 to 1."""
    paint: Palette
    radar_return_ratio: float
    """Share of radar scans in which it returns an echo while in plain view."""
    radar_rcs_dbsm: float
    """Mean radar cross-section in decibels relative to one square metre."""


_BLUE, _ORANGE, _YELLOW = (0.2, 0.6, 1.0), (1.0, 0.6, 0.1), (1.0, 0.8, 0.2)
_GREY, _MAGENTA = (0.6, 0.6, 0.6), (0.9, 0.2, 0.7)

_ROWS = (
    ClassRow(
        name=CAR, plural="cars", kind=Kind.VEHICLE, family="vehicle", looks_like=TRUCK,
        size_m=(4.5, 1.8, 1.5), heading=HeadingPeriod.FULL, heading_weight=1.0, moves=True,
        is_on_foot=False, suppression_m=1.8, color_rgb=_BLUE, paint=Palette.ANY,
        radar_return_ratio=0.92, radar_rcs_dbsm=10.0,
    ),
    ClassRow(
        name=TRUCK, plural="trucks", kind=Kind.VEHICLE, family="vehicle", looks_like=BUS,
        size_m=(8.0, 2.4, 3.2), heading=HeadingPeriod.FULL, heading_weight=1.0, moves=True,
        is_on_foot=False, suppression_m=2.5, color_rgb=_BLUE, paint=Palette.ANY,
        radar_return_ratio=0.95, radar_rcs_dbsm=20.0,
    ),
    ClassRow(
        name=BUS, plural="buses", kind=Kind.VEHICLE, family="vehicle", looks_like=TRUCK,
        size_m=(11.0, 2.5, 3.1), heading=HeadingPeriod.FULL, heading_weight=1.0, moves=True,
        is_on_foot=False, suppression_m=3.0, color_rgb=_BLUE, paint=Palette.ANY,
        radar_return_ratio=0.95, radar_rcs_dbsm=20.0,
    ),
    ClassRow(
        name=TRAILER, plural="trailers", kind=Kind.VEHICLE, family="vehicle", looks_like=TRAILER,
        size_m=(9.0, 2.5, 3.4), heading=HeadingPeriod.FULL, heading_weight=1.0, moves=True,
        is_on_foot=False, suppression_m=3.0, color_rgb=_BLUE, paint=Palette.ANY,
        radar_return_ratio=0.95, radar_rcs_dbsm=20.0,
    ),
    ClassRow(
        name=CONSTRUCTION_VEHICLE, plural="construction vehicles", kind=Kind.VEHICLE,
        family="vehicle", looks_like=CONSTRUCTION_VEHICLE,
        size_m=(6.5, 2.5, 3.0), heading=HeadingPeriod.FULL, heading_weight=1.0, moves=True,
        is_on_foot=False, suppression_m=2.5, color_rgb=_BLUE, paint=Palette.ANY,
        radar_return_ratio=0.95, radar_rcs_dbsm=16.0,
    ),
    ClassRow(
        name=PEDESTRIAN, plural="pedestrians", kind=Kind.VULNERABLE, family="pedestrian",
        looks_like=BICYCLE,
        size_m=(0.5, 0.6, 1.75), heading=HeadingPeriod.FULL, heading_weight=0.15, moves=True,
        is_on_foot=True, suppression_m=0.5, color_rgb=_ORANGE, paint=Palette.ANY,
        radar_return_ratio=0.55, radar_rcs_dbsm=-5.0,
    ),
    ClassRow(
        name=MOTORCYCLE, plural="motorcycles", kind=Kind.VULNERABLE, family="two_wheeler",
        looks_like=BICYCLE,
        size_m=(2.1, 0.8, 1.6), heading=HeadingPeriod.FULL, heading_weight=1.0, moves=True,
        is_on_foot=False, suppression_m=0.8, color_rgb=_YELLOW, paint=Palette.ANY,
        radar_return_ratio=0.75, radar_rcs_dbsm=4.0,
    ),
    ClassRow(
        name=BICYCLE, plural="bicycles", kind=Kind.VULNERABLE, family="two_wheeler",
        looks_like=MOTORCYCLE,
        size_m=(1.8, 0.65, 1.75), heading=HeadingPeriod.FULL, heading_weight=1.0, moves=True,
        is_on_foot=False, suppression_m=0.8, color_rgb=_YELLOW, paint=Palette.ANY,
        radar_return_ratio=0.75, radar_rcs_dbsm=0.0,
    ),
    ClassRow(
        name=TRAFFIC_CONE, plural="traffic cones", kind=Kind.THING, family="thing",
        looks_like=TRAFFIC_CONE,
        size_m=(0.45, 0.45, 0.75), heading=HeadingPeriod.NONE, heading_weight=0.0, moves=False,
        is_on_foot=False, suppression_m=0.5, color_rgb=_GREY, paint=Palette.OWN,
        radar_return_ratio=0.12, radar_rcs_dbsm=-15.0,
    ),
    ClassRow(
        name=BARRIER, plural="barriers", kind=Kind.THING, family="thing", looks_like=BARRIER,
        size_m=(0.5, 2.0, 1.0), heading=HeadingPeriod.HALF, heading_weight=0.15, moves=False,
        is_on_foot=False, suppression_m=0.8, color_rgb=_GREY, paint=Palette.OWN,
        radar_return_ratio=0.5, radar_rcs_dbsm=3.0,
    ),
    ClassRow(
        name=ANIMAL, plural="animals", kind=Kind.VULNERABLE, family="animal",
        looks_like=PEDESTRIAN,
        size_m=(1.7, 0.55, 1.5), heading=HeadingPeriod.FULL, heading_weight=0.15, moves=True,
        is_on_foot=True, suppression_m=0.7, color_rgb=_MAGENTA, paint=Palette.BROWN,
        radar_return_ratio=0.6, radar_rcs_dbsm=-4.0,
    ),
    ClassRow(
        name=DEBRIS, plural="debris", kind=Kind.THING, family="thing", looks_like=DEBRIS,
        size_m=(0.9, 0.7, 0.4), heading=HeadingPeriod.NONE, heading_weight=0.0, moves=False,
        is_on_foot=False, suppression_m=0.5, color_rgb=_MAGENTA, paint=Palette.ANY,
        radar_return_ratio=0.2, radar_rcs_dbsm=-9.0,
    ),
)  # fmt: skip

CLASSES: dict[Category, ClassRow] = by_name(_ROWS, "edge/contracts/classes.py")
"""Every class that this software knows, by name, in the order of reports."""

require(
    (*SHIPPED_CLASSES, *(row.looks_like for row in _ROWS)), CLASSES, "edge/contracts/classes.py"
)

UNKNOWN_ROW = ClassRow(
    name=UNKNOWN, plural="unknown things", kind=Kind.VULNERABLE, family=UNKNOWN, looks_like=UNKNOWN,
    size_m=(1.0, 1.0, 1.0), heading=HeadingPeriod.FULL, heading_weight=0.15, moves=True, is_on_foot=True,
    suppression_m=0.7, color_rgb=_ORANGE, paint=Palette.ANY, radar_return_ratio=0.5,
    radar_rcs_dbsm=0.0,
)  # fmt: skip
"""Stands for every class without a row."""


def row_of(name: Category) -> ClassRow:
    """Return the row of a class, ``UNKNOWN_ROW`` for a name without one."""
    return CLASSES.get(name, UNKNOWN_ROW)


def class_named(word: str) -> Category:
    """Return a class that an operator named.

    Raises:
        OperatorError: No row has this name.
    """
    if word not in CLASSES:
        raise OperatorError(
            f"there is no class {word!r}; there are {', '.join(CLASSES)}, "
            "and edge/contracts/classes.py holds the rows"
        )
    return word
