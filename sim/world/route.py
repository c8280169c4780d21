"""The route of the ego: a chain of lanes over junctions that is drawn further as it drives on.

Navigation works on lanes and not on roads, so that following it never needs a lane change. A route has no
end: it uses no dead ends, and a vehicle gets the next 60 m of it only.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from sim.place.maps import JunctionLink, RoadMap

ROUTE_LENGTH_M, ROUTE_STEP_M = 60.0, 2.0
"""Length and step of the part of the route that the ego gets."""

_TURN_WEIGHTS = {"s": 2.0, "l": 1.0, "r": 1.0, "L": 1.5, "R": 1.5}


@dataclass(frozen=True)
class _Leg:
    """One lane of the chain, and the odometer reading at its beginning and end."""

    lane_id: str
    start_m: float
    end_m: float
    link: JunctionLink | None
    """The link that leaves this lane, when it is a lane of a road."""


class RouteAhead:
    """A chain of lanes. Offsets are metres on an odometer.

    Args:
        lane_id: The first lane.
        rng: Draws the turns.
        start_m: Odometer reading at the beginning of the first lane.
    """

    def __init__(
        self, road_map: RoadMap, lane_id: str, rng: np.random.Generator, start_m: float = 0.0
    ) -> None:
        self._road_map = road_map
        self._rng = rng
        self._start_m = start_m
        self._legs: list[_Leg] = []
        self._ends_m: list[float] = []
        self._next_lane_id = lane_id
        self.extend_to(start_m + 1.0)

    def restarted(self, lane_id: str, start_m: float) -> RouteAhead:
        """Return another route, from another lane on, with the same generator."""
        return RouteAhead(self._road_map, lane_id, self._rng, start_m)

    @property
    def end_m(self) -> float:
        """How far the chain is drawn."""
        return self._ends_m[-1]

    def edge_ids(self, from_m: float = -math.inf) -> tuple[str, ...]:
        """List the roads of the chain from a reading on, without the junctions between them."""
        return tuple(
            self._road_map.lane[leg.lane_id].edge_id
            for leg in self._legs
            if leg.link is not None and leg.end_m >= from_m
        )

    def extend_to(self, offset_m: float) -> None:
        """Draw more lanes until the chain reaches ``offset_m``."""
        while not self._legs or self._legs[-1].end_m < offset_m:
            link = self._drawn_link(self._next_lane_id)
            self._append(link.from_lane, link)
            for lane_id in link.via:
                self._append(lane_id, None)
            self._next_lane_id = link.to_lane

    def _append(self, lane_id: str, link: JunctionLink | None) -> None:
        start_m = self._legs[-1].end_m if self._legs else self._start_m
        end_m = start_m + self._road_map.lane[lane_id].line.length_m
        self._legs.append(_Leg(lane_id, start_m, end_m, link))
        self._ends_m.append(end_m)

    def _drawn_link(self, lane_id: str) -> JunctionLink:
        """Choose where to go from a lane, staying in one part of the map's split where possible."""
        links = self._links_of(lane_id)
        here = self._split_of(lane_id)
        staying = [link for link in links if self._split_of(link.to_lane) is here]
        links = staying or links
        weights = np.array([_TURN_WEIGHTS.get(link.turn, 0.1) for link in links])
        return links[int(self._rng.choice(len(links), p=weights / weights.sum()))]

    def _links_of(self, lane_id: str) -> list[JunctionLink]:
        """List the links that can be taken, at best without a lane change soon afterwards."""
        links = list(self._road_map.links_from.get(lane_id, ()))
        if not links:
            lanes = self._road_map.lanes_of_edge[self._road_map.lane[lane_id].edge_id]
            links = [k for lane in lanes for k in self._road_map.links_from.get(lane.lane_id, ())]
        return [link for link in links if self._goes_on(link.to_lane)] or links

    def _goes_on(self, lane_id: str) -> bool:
        """Whether a lane leads anywhere without a lane change, and so does one after it."""
        links = self._road_map.links_from
        return any(link.to_lane in links for link in links.get(lane_id, ()))

    def _split_of(self, lane_id: str) -> object:
        return self._road_map.split_at(float(self._road_map.lane[lane_id].line_world[-1, 0]))

    def lane_at(self, offset_m: float) -> str:
        """Return the lane at an odometer reading."""
        return self._leg_at(offset_m).lane_id

    def is_on_road(self, offset_m: float, margin_m: float = 0.0) -> bool:
        """Whether a reading lies on a lane of a road, at least ``margin_m`` from a junction."""
        leg = self._leg_at(offset_m)
        return leg.link is not None and leg.start_m + margin_m <= offset_m <= leg.end_m - margin_m

    def _leg_at(self, offset_m: float) -> _Leg:
        self.extend_to(offset_m + 1.0)
        return self._legs[bisect.bisect_right(self._ends_m, offset_m)]

    def beside(self, offset_m: float, left_m: float = 0.0) -> tuple[float, float, float]:
        """Return x, y and the route's heading at a point ``left_m`` left of the route."""
        leg = self._leg_at(max(offset_m, self._start_m))
        return self._road_map.lane[leg.lane_id].line.beside(offset_m - leg.start_m, left_m)

    def points_ego(
        self, from_m: float, x_m: float, y_m: float, yaw_rad: float
    ) -> tuple[tuple[float, float], ...]:
        """Return the next ``ROUTE_LENGTH_M`` of the route in the ego frame of a pose.

        Returns:
            A point every ``ROUTE_STEP_M``, the first at the reading ``from_m``.
        """
        count = round(ROUTE_LENGTH_M / ROUTE_STEP_M) + 1
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        points = []
        for k in range(count):
            u, v, _ = self.beside(from_m + k * ROUTE_STEP_M)
            dx, dy = u - x_m, v - y_m
            points.append((cos * dx + sin * dy, cos * dy - sin * dx))
        return tuple(points)

    def project(self, x_m: float, y_m: float, near_m: float) -> tuple[float, float]:
        """Find the point of the route nearest to (x, y), searching about the reading ``near_m``.

        Returns:
            Its odometer reading, and how far (x, y) is from it.
        """
        best = (near_m, math.inf)
        self.extend_to(near_m + 31.0)
        first = max(0, bisect.bisect_right(self._ends_m, near_m - 10.0))
        for leg in self._legs[first:]:
            if leg.start_m > near_m + 30.0:
                break
            along_m, left_m = self._road_map.lane[leg.lane_id].line.project(x_m, y_m)
            if abs(left_m) < best[1] - 1e-6:
                best = (leg.start_m + along_m, abs(left_m))
        return best

    def speed_limit_mps(self, offset_m: float) -> float:
        """Return the limit of the road at or, inside a junction, after a reading."""
        k = bisect.bisect_right(self._ends_m, self._leg_at(offset_m).start_m)
        legs = (leg for leg in self._legs[k:] if leg.link is not None)
        lane_id = next((leg.lane_id for leg in legs), self._next_lane_id)
        return self._road_map.lane[lane_id].speed_limit_mps

    def junctions(self, from_m: float, to_m: float) -> list[tuple[float, JunctionLink]]:
        """List the ends of roads between two readings, each with the link that the route takes there."""
        self.extend_to(to_m)
        first = bisect.bisect_right(self._ends_m, from_m)
        return [
            (leg.end_m, leg.link)
            for leg in self._legs[first:]
            if leg.link is not None and from_m <= leg.end_m <= to_m
        ]
