"""Read a SUMO network file into lanes and the links between them.

The part of the format that is used here is small enough to be read with the standard library, so that a
renderer needs no SUMO at all. What the format leaves out is filled in as SUMO does.
"""

from __future__ import annotations

import enum
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import OperatorError
from sim.place.line import Line

_DEFAULT_WIDTH_M = 3.2
"""Width of a lane for which the file gives none."""
_INSIDE_JUNCTIONS = ("internal", "crossing", "walkingarea")
_WALKERS = frozenset({"pedestrian", "wheelchair"})
_EVERYBODY = "all"


class LaneKind(enum.StrEnum):
    """Use of a strip of ground."""

    DRIVING = "driving"
    PARKING = "parking"
    """Asphalt between the rightmost driving lane and the pavement where vehicles stand at the kerb."""
    PAVEMENT = "pavement"
    CROSSING = "crossing"
    JUNCTION = "junction"
    """A driving lane inside a junction."""
    WALKINGAREA = "walkingarea"
    """A polygon where pavements and crossings meet."""


@dataclass(frozen=True)
class Access:
    """Which of SUMO's vehicle classes may use a lane: ``allowed`` alone, or all but ``disallowed``."""

    allowed: frozenset[str] = frozenset()
    disallowed: frozenset[str] = frozenset()

    def permits(self, vehicle_class: str) -> bool:
        """Whether a vehicle class may use the lane."""
        if self.allowed:
            return bool(self.allowed & {vehicle_class, _EVERYBODY})
        return not self.disallowed & {vehicle_class, _EVERYBODY}


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
    access: Access = Access()

    @cached_property
    def line(self) -> Line:
        """The centre line, to be walked along."""
        return Line(self.line_world)


@dataclass(frozen=True)
class JunctionLink:
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


@dataclass(frozen=True, eq=False)
class Net:
    """Content of a network file.

    ``junction_areas``: outlines (N, 2) of the junctions, metres. ``ends_of_edge``: the junctions that each
    road leads from and to.
    """

    lanes: tuple[Lane, ...]
    links: tuple[JunctionLink, ...]
    junction_areas: tuple[NDArray[np.float64], ...]
    ends_of_edge: dict[str, tuple[str, str]]


def read_net(path: Path) -> Net:
    """Read a ``.net.xml`` or ``.net.xml.gz`` file.

    Links into roads that lead nowhere are left out: a drive has no end.

    Raises:
        OperatorError: The file is not a network, or has a lane of a kind that is not known here.
    """
    root = _root(path)
    roads = [edge for edge in root.iter("edge") if edge.get("function") not in _INSIDE_JUNCTIONS]
    try:
        return Net(
            lanes=tuple(lane for edge in root.iter("edge") for lane in _lanes(edge, path)),
            links=_links_that_lead_on(tuple(_links(root))),
            junction_areas=tuple(
                _points(junction.attrib["shape"])
                for junction in root.iter("junction")
                if junction.attrib["type"] != "internal" and junction.get("shape")
            ),
            ends_of_edge={e.attrib["id"]: (e.attrib["from"], e.attrib["to"]) for e in roads},
        )
    except (KeyError, ValueError) as error:
        raise OperatorError(
            f"network {path} refused: {error} is missing or is no number; "
            "expected the output of SUMO's netconvert"
        ) from error


def _root(path: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
        return ElementTree.fromstring(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, zlib.error, ElementTree.ParseError) as error:
        raise OperatorError(f"network {path} cannot be read: {error}") from error


def _points(shape: str) -> NDArray[np.float64]:
    return np.array([[float(v) for v in point.split(",")[:2]] for point in shape.split()])


def _lanes(edge: ElementTree.Element, path: Path) -> Iterator[Lane]:
    function = edge.get("function", "normal")
    has_rightmost = False
    for element in edge.iter("lane"):
        access = Access(
            *(frozenset(element.get(word, "").split()) for word in ("allow", "disallow"))
        )
        kind = _kind(function, access)
        if kind is None:
            raise OperatorError(
                f"network {path} refused: lane {element.attrib['id']} is neither for cars nor for "
                "pedestrians alone nor closed to all; "
                "remove such roads with netconvert --keep-edges.by-vclass passenger,pedestrian"
            )
        is_rightmost = kind is LaneKind.DRIVING and not has_rightmost
        has_rightmost |= is_rightmost
        yield Lane(
            lane_id=element.attrib["id"],
            edge_id=edge.attrib["id"],
            kind=kind,
            line_world=_points(element.attrib["shape"]),
            width_m=0.0
            if kind is LaneKind.WALKINGAREA
            else float(element.get("width", _DEFAULT_WIDTH_M)),
            speed_limit_mps=float(element.attrib["speed"]),
            is_rightmost=is_rightmost,
            access=access,
        )


def _kind(function: str, access: Access) -> LaneKind | None:
    inside = {
        "internal": LaneKind.JUNCTION,
        "crossing": LaneKind.CROSSING,
        "walkingarea": LaneKind.WALKINGAREA,
    }
    if function in inside:
        return inside[function]
    if access.permits("passenger"):
        return LaneKind.DRIVING
    if access.allowed and access.allowed <= _WALKERS:
        return LaneKind.PAVEMENT
    return LaneKind.PARKING if _EVERYBODY in access.disallowed else None


def _links(root: ElementTree.Element) -> Iterator[JunctionLink]:
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
        yield JunctionLink(
            from_lane=f"{connection.attrib['from']}_{connection.attrib['fromLane']}",
            to_lane=f"{connection.attrib['to']}_{connection.attrib['toLane']}",
            via=tuple(chain),
            turn=connection.attrib["dir"],
            light_id=connection.get("tl"),
            light_index=int(connection.get("linkIndex", "0")),
        )


def _links_that_lead_on(links: Sequence[JunctionLink]) -> tuple[JunctionLink, ...]:
    """Drop links into roads that no link leaves, until there is none."""
    while True:
        left = {_edge_of(link.from_lane) for link in links}
        kept = tuple(link for link in links if _edge_of(link.to_lane) in left)
        if len(kept) == len(links):
            return kept
        links = kept


def _edge_of(lane_id: str) -> str:
    return lane_id.rpartition("_")[0]
