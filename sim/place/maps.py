"""Read a committed SUMO network into lanes that can be driven, walked and painted.

The networks are made once by ``python -m sim.place.build`` and committed, so that a run needs none of
SUMO's tools; the part of the format that is used here is small enough to be read with the standard
library, so that a renderer needs no SUMO at all.
"""

from __future__ import annotations

import enum
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import OperatorError
from sim.place.line import Line

MAP_NAMES = ("grid", "suburb", "suburb_gate")
NETS = Path(__file__).parent / "nets"

PLACE_SPACING_M = 32.0
"""No two places of a map are nearer than this."""
SPLIT_MARGIN_M = 40.0
"""Half of the strip between the training and the tuning part of a map, in which no drive starts."""
_TUNE_FROM_RATIO = 0.62
"""Share of the suburb's width, from the west, after which places are for tuning."""


class LaneKind(enum.StrEnum):
    """What a strip of ground is for."""

    DRIVING = "driving"
    PARKING = "parking"
    """Asphalt between the rightmost driving lane and the pavement where vehicles stand at the kerb."""
    PAVEMENT = "pavement"
    CROSSING = "crossing"
    JUNCTION = "junction"
    """A driving lane inside a junction."""
    WALKINGAREA = "walkingarea"
    """A polygon where pavements and crossings meet."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One strip of ground.

    ``line_world``: float64 (N, 2), metres, world frame; the centre line in driving direction, or the
    closed outline (first point not repeated) of a walking area, whose width is 0.
    """

    lane_id: str
    edge_id: str
    kind: LaneKind
    line_world: NDArray[np.float64]
    width_m: float
    speed_limit_mps: float
    is_rightmost: bool = False
    """The driving lane nearest to the kerb."""

    @cached_property
    def line(self) -> Line:
        """The centre line, to be walked along."""
        return Line(self.line_world)


@dataclass(frozen=True)
class Link:
    """A way from one driving lane over a junction to another."""

    from_lane: str
    to_lane: str
    via: tuple[str, ...]
    """The junction lanes in between, in order."""
    turn: str
    """SUMO's letter: s straight, l left, r right, L and R slight."""
    light_id: str | None = None
    light_index: int = 0
    """Which letter of the light's state string is this link's."""


class Split(enum.StrEnum):
    """What frames of a place may be used for."""

    TRAIN = "train"
    TUNE = "tune"
    GATE = "gate"


@dataclass(frozen=True)
class Place:
    """Where a drive can start: on a driving lane, ``offset_m`` from its beginning."""

    place_id: str
    lane_id: str
    offset_m: float
    x_m: float
    y_m: float
    yaw_rad: float
    split: Split


@dataclass(frozen=True, eq=False)
class RoadMap:
    """A map: its lanes, how they connect, and where drives can start."""

    name: str
    lanes: tuple[Lane, ...]
    links: tuple[Link, ...]
    junction_areas: tuple[NDArray[np.float64], ...]
    """Outlines (N, 2) of the junctions: asphalt under everything else that lies on them."""
    bounds_m: tuple[float, float, float, float]
    """x min, y min, x max, y max of everything."""

    @cached_property
    def lane(self) -> dict[str, Lane]:
        """Lanes by id."""
        return {lane.lane_id: lane for lane in self.lanes}

    @cached_property
    def lanes_of_edge(self) -> dict[str, tuple[Lane, ...]]:
        """Lanes of each edge, the kerb side first."""
        edges: dict[str, list[Lane]] = {}
        for lane in self.lanes:
            edges.setdefault(lane.edge_id, []).append(lane)
        return {edge_id: tuple(lanes) for edge_id, lanes in edges.items()}

    @cached_property
    def links_from(self) -> dict[str, tuple[Link, ...]]:
        """Links by the lane that they leave."""
        links: dict[str, list[Link]] = {}
        for link in self.links:
            links.setdefault(link.from_lane, []).append(link)
        return {lane_id: tuple(group) for lane_id, group in links.items()}

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where drives can start: the same ones, in the same order, every time."""
        return tuple(_places(self))

    @cached_property
    def _place_of(self) -> dict[str, Place]:
        return {place.place_id: place for place in self.places}

    def place(self, place_id: str) -> Place:
        """Give a place by its id.

        Raises:
            OperatorError: The map has no such place.
        """
        if place_id not in self._place_of:
            raise OperatorError(
                f"map {self.name} has no place {place_id!r}; it has {self.places[0].place_id} "
                f"to {self.places[-1].place_id}"
            )
        return self._place_of[place_id]

    def places_of(self, split: Split) -> tuple[Place, ...]:
        """Give the places whose frames may be used for ``split``."""
        return tuple(place for place in self.places if place.split is split)

    def split_at(self, x_m: float) -> Split | None:
        """Tell what a frame taken this far east may be used for; None in the strip between two parts."""
        if self.name == "suburb_gate":
            return Split.GATE
        if self.name == "grid":
            return Split.TRAIN
        west, _, east, _ = self.bounds_m
        border = west + _TUNE_FROM_RATIO * (east - west)
        if abs(x_m - border) < SPLIT_MARGIN_M:
            return None
        return Split.TRAIN if x_m < border else Split.TUNE


def net_path(name: str) -> Path:
    """Give the committed network file of a map.

    Raises:
        OperatorError: There is no such map.
    """
    if name not in MAP_NAMES:
        raise OperatorError(f"there is no map {name!r}; there are {', '.join(MAP_NAMES)}")
    return NETS / f"{name}.net.xml.gz"


def load_map(name: str) -> RoadMap:
    """Read one of ``MAP_NAMES``.

    Raises:
        OperatorError: There is no such map.
    """
    with gzip.open(net_path(name)) as file:
        root = ElementTree.parse(file).getroot()
    lanes = tuple(lane for edge in root.iter("edge") for lane in _lanes(edge))
    areas = tuple(
        _points(junction.attrib["shape"])
        for junction in root.iter("junction")
        if junction.attrib["type"] != "internal"
    )
    corners = np.concatenate([lane.line_world for lane in lanes])
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    return RoadMap(
        name=name,
        lanes=lanes,
        links=tuple(_links(root)),
        junction_areas=areas,
        bounds_m=(x0, y0, x1, y1),
    )


def _points(shape: str) -> NDArray[np.float64]:
    return np.array([[float(v) for v in point.split(",")[:2]] for point in shape.split()])


def _lanes(edge: ElementTree.Element) -> Iterator[Lane]:
    function = edge.get("function", "normal")
    has_rightmost = False
    for element in edge.iter("lane"):
        kind = _kind(function, element)
        is_rightmost = kind is LaneKind.DRIVING and not has_rightmost
        has_rightmost |= is_rightmost
        yield Lane(
            lane_id=element.attrib["id"],
            edge_id=edge.attrib["id"],
            kind=kind,
            line_world=_points(element.attrib["shape"]),
            width_m=0.0 if kind is LaneKind.WALKINGAREA else float(element.attrib["width"]),
            speed_limit_mps=float(element.attrib["speed"]),
            is_rightmost=is_rightmost,
        )


def _kind(function: str, lane: ElementTree.Element) -> LaneKind:
    inside = {
        "internal": LaneKind.JUNCTION,
        "crossing": LaneKind.CROSSING,
        "walkingarea": LaneKind.WALKINGAREA,
    }
    if function in inside:
        return inside[function]
    if lane.get("allow") == "pedestrian":
        return LaneKind.PAVEMENT
    return LaneKind.PARKING if lane.get("disallow") == "all" else LaneKind.DRIVING


def _links(root: ElementTree.Element) -> Iterator[Link]:
    next_via = {
        f"{c.attrib['from']}_{c.attrib['fromLane']}": c.get("via")
        for c in root.iter("connection")
        if c.attrib["from"].startswith(":")
    }
    for connection in root.iter("connection"):
        first_via = connection.get("via")
        if first_via is None or connection.attrib["from"].startswith(":"):
            continue
        chain = [first_via]
        while (following := next_via.get(chain[-1])) is not None:
            chain.append(following)
        yield Link(
            from_lane=f"{connection.attrib['from']}_{connection.attrib['fromLane']}",
            to_lane=f"{connection.attrib['to']}_{connection.attrib['toLane']}",
            via=tuple(chain),
            turn=connection.attrib["dir"],
            light_id=connection.get("tl"),
            light_index=int(connection.get("linkIndex", "0")),
        )


def _places(road_map: RoadMap) -> Iterator[Place]:
    """Spread places over the kerb-side driving lanes, none nearer than the spacing to another."""
    taken: list[tuple[float, float]] = []
    for lane in road_map.lanes:
        if not lane.is_rightmost:
            continue
        for offset_m in np.arange(15.0, lane.line.length_m - 8.0, 10.0).tolist():
            x, y, yaw = lane.line.at(offset_m)
            split = road_map.split_at(x)
            if split is None or any(math.hypot(x - u, y - v) < PLACE_SPACING_M for u, v in taken):
                continue
            taken.append((x, y))
            yield Place(
                place_id=f"{road_map.name}-{len(taken):03d}",
                lane_id=lane.lane_id,
                offset_m=offset_m,
                x_m=x,
                y_m=y,
                yaw_rad=yaw,
                split=split,
            )
