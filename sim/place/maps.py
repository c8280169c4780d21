"""A road map: lanes that can be driven, walked and painted, and the places where drives can start.

A map is data: a network file, and a YAML file beside it that says what its parts may be used for. The
shipped networks are made once by ``python -m sim.place.build`` and committed, so that a run needs none of
SUMO's tools.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import OperatorError
from sim.place.description import (
    ListedPlace,
    MapDescription,
    MapFiles,
    Split,
    find_map,
    read_description,
)
from sim.place.net import JunctionLink, Lane, LaneKind, read_net

__all__ = ["JunctionLink", "Lane", "LaneKind", "Place", "RoadMap", "Split", "load_map", "read_map"]


@dataclass(frozen=True)
class Place:
    """A start of drives: on a driving lane, ``offset_m`` from its beginning."""

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
    links: tuple[JunctionLink, ...]
    junction_areas: tuple[NDArray[np.float64], ...]
    """Outlines (N, 2) of the junctions: asphalt under everything else that lies on them."""
    bounds_m: tuple[float, float, float, float]
    """x min, y min, x max, y max of everything."""
    description: MapDescription
    ends_of_edge: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The junctions that each road leads from and to."""
    net: Path = Path()
    """The network file that it was read from."""

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
    def links_from(self) -> dict[str, tuple[JunctionLink, ...]]:
        """Links by the lane that they leave."""
        links: dict[str, list[JunctionLink]] = {}
        for link in self.links:
            links.setdefault(link.from_lane, []).append(link)
        return {lane_id: tuple(group) for lane_id, group in links.items()}

    @cached_property
    def through_edges(self) -> frozenset[str]:
        """Roads that lead on to another one; nothing drives on the others."""
        return frozenset(self.lane[link.from_lane].edge_id for link in self.links)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where drives can start: the same ones, in the same order, every time."""
        listed = self.description.places.listed
        return tuple(_listed(self, listed) if listed else _spread(self))

    @cached_property
    def _place_of(self) -> dict[str, Place]:
        return {place.place_id: place for place in self.places}

    def place(self, place_id: str) -> Place:
        """Return a place by its id.

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
        """Return the places whose frames may be used for ``split``."""
        return tuple(place for place in self.places if place.split is split)

    def split_at(self, x_m: float) -> Split | None:
        """Return what a frame taken this far east may be used for; None between two parts."""
        west_m, _, east_m, _ = self.bounds_m
        return self.description.use_at(x_m, west_m, east_m)


def load_map(name_or_path: str) -> RoadMap:
    """Return a shipped map by its name, or a map of one's own by the path of one of its two files.

    Files that did not change since the last call are not read again: it takes 70 ms.

    Raises:
        OperatorError: There is no such map, a part of it is missing or makes no sense, or no drive can
            start on it.
    """
    files = find_map(name_or_path)
    return _kept(files, _version(files.net), _version(files.description))


def _version(file: Path) -> tuple[int, int]:
    """Tell one content of a file from the next: when it was written, and its size in bytes."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4)
def _kept(files: MapFiles, *versions: tuple[int, int]) -> RoadMap:
    return read_map(files)


def read_map(files: MapFiles) -> RoadMap:
    """Read a map from its two files; see ``load_map``."""
    description, net = read_description(files), read_net(files.net)
    if not net.links:
        raise OperatorError(f"map {files.net} refused: none of its roads leads on to another one")
    corners = np.concatenate([lane.line_world for lane in net.lanes])
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    road_map = RoadMap(
        name=files.name,
        net=files.net,
        description=description,
        lanes=net.lanes,
        links=net.links,
        junction_areas=net.junction_areas,
        ends_of_edge=net.ends_of_edge,
        bounds_m=(x0, y0, x1, y1),
    )
    if not road_map.places:
        raise OperatorError(
            f"map {files.description} refused: its rule for places finds none; "
            "shorten places.first_m and places.end_m, or list places"
        )
    return road_map


def _spread(road_map: RoadMap) -> Iterator[Place]:
    """Spread places over the kerb-side driving lanes, none nearer than the spacing to another."""
    rule = road_map.description.places
    taken: list[tuple[float, float]] = []
    for lane in road_map.lanes:
        if not lane.is_rightmost or lane.edge_id not in road_map.through_edges:
            continue
        stop_m = lane.line.length_m - rule.end_m
        for offset_m in np.arange(rule.first_m, stop_m, rule.step_m).tolist():
            x, y, _ = lane.line.at(offset_m)
            split = road_map.split_at(x)
            if split is None or any(math.hypot(x - u, y - v) < rule.spacing_m for u, v in taken):
                continue
            taken.append((x, y))
            yield _place(road_map, len(taken), lane, offset_m, split)


def _listed(road_map: RoadMap, listed: list[ListedPlace]) -> Iterator[Place]:
    """Find the places that the description names; each must be on a driving lane that leads on."""
    for number, told in enumerate(listed, start=1):
        lane = road_map.lane.get(told.lane_id)
        is_driven = lane is not None and lane.kind is LaneKind.DRIVING
        if lane is None or not is_driven or lane.edge_id not in road_map.through_edges:
            raise OperatorError(
                f"map {road_map.name} refused: place {number} is on lane {told.lane_id!r}, which is "
                "no driving lane of the network that leads on to another road"
            )
        split = road_map.split_at(lane.line.at(told.offset_m)[0])
        if split is None or not 0.0 <= told.offset_m < lane.line.length_m:
            raise OperatorError(
                f"map {road_map.name} refused: place {number} is at {told.offset_m} m of lane "
                f"{told.lane_id}, expected 0 to {lane.line.length_m:.1f} m and a point that is not "
                "between two parts of the split"
            )
        yield _place(road_map, number, lane, told.offset_m, split)


def _place(road_map: RoadMap, number: int, lane: Lane, offset_m: float, split: Split) -> Place:
    x, y, yaw = lane.line.at(offset_m)
    place_id = f"{road_map.name}-{number:03d}"
    return Place(place_id, lane.lane_id, offset_m, x, y, yaw, split)
