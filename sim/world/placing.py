"""Put the encounters of a scenario along a route as the ego comes near, and count them.

A thing that finds no room is tried again a little further on, and one that never finds any is counted,
because a scenario that silently places nothing looks exactly like a model that detects nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.place.maps import LaneKind, RoadMap
from sim.place.rectangles import Rectangle, overlaps
from sim.world.encounters import Bounds, Datum, Heading, Placement, Scenario
from sim.world.props import MESH_CATEGORIES, Prop, drawn_look, straight_walk, to_and_fro
from sim.world.route import RouteAhead

_TRIES = 10
_STEP_ON_M = 2.5
"""How much further along the route an encounter is tried again."""
_DRAWS = 4
"""How often one thing is drawn again before it counts as without room."""
_CLEARANCE_M = 0.3


@dataclass(frozen=True, eq=False)
class _Placed:
    """A thing of an encounter, and the kerb or lane that it was measured from."""

    prop: Prop
    datum: Datum


class Encounters:
    """The encounters of one drive.

    Args:
        rng: Draws everything, in the order in which encounters come.
        next_id: Gives entity ids.
        prefix: Beginning of every encounter id; unique in the world.
    """

    def __init__(
        self,
        road_map: RoadMap,
        scenario: Scenario,
        *,
        rng: np.random.Generator,
        next_id: Callable[[], int],
        prefix: str,
    ) -> None:
        self.scenario = scenario
        self.props: list[Prop] = []
        self.placed: Counter[str] = Counter()
        """Things in the world so far, by category."""
        self.rejected: Counter[str] = Counter()
        """Things that found no room, by category."""
        self._road_map = road_map
        self._rng = rng
        self._next_id = next_id
        self._prefix = prefix
        self._count = 0
        self._next_m: float | None = None

    def extend(
        self,
        route: RouteAhead,
        *,
        from_m: float,
        to_m: float,
        taken: Callable[[], Iterable[Rectangle]],
    ) -> list[Prop]:
        """Place every encounter whose point lies before ``to_m`` on the route; give what is new.

        Args:
            route: Where the ego goes.
            from_m: Where the ego is on the route.
            to_m: How far ahead to place.
            taken: Gives the footprints that must stay free.
        """
        if not self.scenario.placements:
            return []
        if self._next_m is None:
            self._next_m = from_m + self._drawn(self.scenario.first_m)
        if self._next_m >= to_m:
            return []
        known, footprints = len(self.props), [*taken(), *_footprints(self.props)]
        while self._next_m < to_m:
            at_m = self._encounter(route, max(self._next_m, from_m), footprints)
            self._next_m = at_m + self._drawn(self.scenario.spacing_m)
        return self.props[known:]

    def forget(self, x_m: float, y_m: float, beyond_m: float) -> None:
        """Drop what the ego has left behind."""
        self.props = [p for p in self.props if math.dist((x_m, y_m), (p.x_m, p.y_m)) < beyond_m]

    def _drawn(self, bounds: Bounds) -> float:
        return float(self._rng.uniform(*bounds))

    def _encounter(self, route: RouteAhead, at_m: float, taken: list[Rectangle]) -> float:
        """Try an encounter at ``at_m`` and a little further on; give where it was tried last."""
        self._count += 1
        encounter_id = f"{self._prefix}-{self._count:03d}"
        placements = self.scenario.placements
        if self.scenario.is_one_of:
            placements = [placements[int(self._rng.integers(len(placements)))]]
        missing: Counter[str] = Counter()
        for _ in range(_TRIES):
            while not route.is_on_road(at_m, self.scenario.corner_m):
                at_m += 1.0
            props, missing = self._attempt(route, at_m, placements, taken)
            if props:
                for prop in props:
                    prop.encounter_id = encounter_id
                    self.placed[prop.look.category] += 1
                self.props.extend(props)
                taken.extend(prop.rectangle for prop in props)
                break
            at_m += _STEP_ON_M
        self.rejected.update(missing)
        return at_m

    def _attempt(
        self,
        route: RouteAhead,
        at_m: float,
        placements: Sequence[Placement],
        taken: Sequence[Rectangle],
    ) -> tuple[list[Prop], Counter[str]]:
        """Draw all things of one encounter; no things at all if one of the kinds is too few."""
        props: list[Prop] = []
        first: dict[str, _Placed] = {}
        missing: Counter[str] = Counter()
        is_complete = True
        for placement in placements:
            wanted = int(self._rng.integers(placement.count[0], placement.count[1] + 1))
            found = 0
            for _ in range(wanted):
                leader = first.get(placement.after.placement) if placement.after else None
                placed = self._drawn_prop(
                    route, at_m, placement, leader, [*taken, *_footprints(props)]
                )
                if placed is not None:
                    props.append(placed.prop)
                    first.setdefault(placement.name, placed)
                    found += 1
            missing[MESH_CATEGORIES[placement.mesh]] += wanted - found
            is_complete &= found >= placement.count[0]
        if is_complete:
            return props, +missing
        missing.update(prop.look.category for prop in props)
        return [], +missing

    def _drawn_prop(
        self,
        route: RouteAhead,
        at_m: float,
        placement: Placement,
        leader: _Placed | None,
        taken: Sequence[Rectangle],
    ) -> _Placed | None:
        look = drawn_look(
            self._rng,
            MESH_CATEGORIES[placement.mesh],
            placement.mesh,
            scale=placement.scale,
            roll_rad=placement.roll_rad,
        )
        for _ in range(_DRAWS):
            at_thing_m = at_m + self._drawn(placement.ahead_m)
            datum = self._drawn_datum(placement.datum, leader)
            pose, to_far_kerb_m = self._drawn_pose(route, at_thing_m, placement, datum)
            x, y, yaw = pose
            footprint = Rectangle(x, y, yaw, look.length_m, look.width_m)
            if any(overlaps(footprint, other, _CLEARANCE_M) for other in taken):
                continue
            travel_m = to_far_kerb_m + self._drawn(placement.travel_m)
            speed_mps = self._drawn(placement.speed_mps)
            walk = None
            if travel_m > 0.0:
                walk = straight_walk((x, y), yaw, travel_m, speed_mps)
                if placement.is_returning:
                    walk = to_and_fro(walk.line.points_world, speed_mps, pause_s=1.0)
            trigger_m = None if placement.trigger_m is None else self._drawn(placement.trigger_m)
            delay_s = self._drawn(placement.after.delay_s) if placement.after else 0.0
            prop = Prop(
                self._next_id(),
                look,
                x,
                y,
                yaw,
                attribute=placement.attribute,
                walk=walk,
                trigger_m=trigger_m,
                leader=leader.prop if leader else None,
                delay_s=delay_s,
                stops_traffic=placement.stops_traffic,
            )
            return _Placed(prop, datum)
        return None

    def _drawn_datum(self, datum: Datum, leader: _Placed | None) -> Datum:
        """Choose a kerb where the placement leaves it open."""
        if datum is Datum.SAME_KERB and leader is not None:
            return leader.datum
        if datum is Datum.EITHER_KERB:
            return Datum.RIGHT_KERB if self._rng.random() < 0.5 else Datum.LEFT_KERB
        return datum

    def _drawn_pose(
        self, route: RouteAhead, at_m: float, placement: Placement, datum: Datum
    ) -> tuple[tuple[float, float, float], float]:
        """Draw x, y and yaw, and the distance to the far kerb for a thing that goes across, else 0."""
        right_m, left_m = self._kerbs_m(route.lane_at(at_m))
        aside_m = self._drawn(placement.aside_m)
        if datum is Datum.RIGHT_KERB:
            aside_m = -right_m - aside_m
        elif datum is Datum.LEFT_KERB:
            aside_m = left_m + aside_m
        x, y, yaw = route.beside(at_m, aside_m)
        is_left = aside_m > 0.0
        turned_rad = self._drawn(placement.turned_rad)
        heading_rad = {
            Heading.ALONG: 0.0,
            Heading.AGAINST: math.pi,
            Heading.ACROSS: -0.5 * math.pi if is_left else 0.5 * math.pi,
            Heading.ANY: float(self._rng.uniform(-math.pi, math.pi)),
        }[placement.heading]
        to_far_kerb_m = 0.0
        if placement.heading is Heading.ACROSS:
            straight_m = aside_m + right_m if is_left else left_m - aside_m
            to_far_kerb_m = straight_m / max(math.cos(turned_rad), 0.1)
        return (x, y, yaw + heading_rad + turned_rad), to_far_kerb_m

    def _kerbs_m(self, lane_id: str) -> tuple[float, float]:
        """Return how far right and left of a lane's middle the driving lanes of its road end.

        The oncoming side of a road is as wide as this one.
        """
        here = self._road_map.lane[lane_id]
        edge = self._road_map.lanes_of_edge[here.edge_id]
        lanes = [lane for lane in edge if lane.kind is LaneKind.DRIVING]
        if here not in lanes:
            return 0.5 * here.width_m, 1.5 * here.width_m
        k, width_m = lanes.index(here), sum(lane.width_m for lane in lanes)
        right_m = sum(lane.width_m for lane in lanes[:k]) + 0.5 * here.width_m
        return right_m, 2.0 * width_m - right_m


def _footprints(props: Iterable[Prop]) -> list[Rectangle]:
    return [prop.rectangle for prop in props]
