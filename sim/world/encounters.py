"""Seeded trouble along the ego's way: a scenario is data, and this is the one engine that reads it.

An *encounter* is one point of the route where all placements of a scenario are put together, all or
none: a jaywalker without the van that hides it would be another scenario. What finds no room is tried
again a little further on, and what never finds any is counted, because a scenario that silently places
nothing looks exactly like a model that sees nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import yaml

import conf
from conf.compose import settings_from
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Attribute
from sim.place.maps import LaneKind, RoadMap
from sim.place.rectangles import Rectangle, overlaps
from sim.world.props import MESH_CATEGORIES, Prop, drawn_look, straight_walk, to_and_fro
from sim.world.route import RouteAhead

SCENARIOS = Path(next(iter(conf.__path__))) / "sim" / "scenario"

Bounds = tuple[float, float]
"""Smallest and largest value; each thing draws its own in between."""

_TRIES = 10
_STEP_ON_M = 2.5
"""How much further along the route an encounter is tried again."""
_DRAWS = 4
"""How often one thing is drawn again before it counts as without room."""
_CLEARANCE_M = 0.3


class Datum(StrEnum):
    """What ``aside_m`` is measured from."""

    LANE = "lane"
    """The middle of the ego's lane, positive to the left."""
    RIGHT_KERB = "right_kerb"
    """The right edge of the driving lanes, positive away from the road."""
    LEFT_KERB = "left_kerb"
    """The left edge of the oncoming driving lanes, positive away from the road."""
    EITHER_KERB = "either_kerb"
    """One of the two, by chance."""


class Heading(StrEnum):
    """Where something faces."""

    ALONG = "along"
    AGAINST = "against"
    ACROSS = "across"
    """Square to the road, from its own side of the route to the other."""
    ANY = "any"


@dataclass
class Placement:
    """Some things of one kind, relative to the point of their encounter."""

    mesh: str
    count: tuple[int, int] = (1, 1)
    ahead_m: Bounds = (0.0, 0.0)
    """Along the route, from the point of the encounter."""
    datum: Datum = Datum.LANE
    aside_m: Bounds = (0.0, 0.0)
    heading: Heading = Heading.ANY
    turned_rad: Bounds = (0.0, 0.0)
    """Added to the heading."""
    travel_m: Bounds = (0.0, 0.0)
    """How far it goes the way it faces; 0 stands still. Who goes across counts from the far kerb on,
    for nobody ends in the middle of a road."""
    is_returning: bool = False
    """Goes to and fro instead of once."""
    speed_mps: Bounds = (1.0, 1.0)
    trigger_m: Bounds | None = None
    """It waits until the ego is this near; without, it moves from the beginning."""
    attribute: Attribute = Attribute.UNKNOWN
    roll_rad: float = 0.0
    scale: Bounds = (0.9, 1.1)
    """Size relative to the nominal one."""
    stops_traffic: bool = True
    """Drivers brake when it is in front of them."""

    def __post_init__(self) -> None:
        if self.mesh not in MESH_CATEGORIES:
            raise ValueError(f"mesh {self.mesh!r} is none of {', '.join(MESH_CATEGORIES)}")
        bounds = (self.ahead_m, self.aside_m, self.turned_rad, self.travel_m, self.speed_mps)
        for low, high in (self.count, *bounds, self.scale, self.trigger_m or (0.0, 0.0)):
            if low > high:
                raise ValueError(f"placement of {self.mesh}: bounds ({low}, {high}) are reversed")
        if self.speed_mps[0] <= 0.0 or self.scale[0] <= 0.0 or self.count[0] < 0:
            raise ValueError(f"placement of {self.mesh}: speed, scale and count must be positive")


@dataclass
class Scenario:
    """What is placed, and how often along the way."""

    name: str = "none"
    first_m: Bounds = (15.0, 30.0)
    """From where a drive starts to its first encounter."""
    spacing_m: Bounds = (30.0, 60.0)
    """From one encounter to the next, along the route."""
    corner_m: float = 0.0
    """Encounters keep this far from junctions."""
    is_one_of: bool = False
    """Each encounter holds one of the placements, by chance, instead of all."""
    placements: list[Placement] = field(default_factory=list)


def scenario_path(name: str) -> Path:
    """Give the file of a scenario, ``conf/sim/scenario/<name>.yaml``.

    Raises:
        OperatorError: There is no such scenario.
    """
    path = SCENARIOS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SCENARIOS.glob("*.yaml")))
        raise OperatorError(f"there is no scenario {name!r}; there are {known}")
    return path


def load_scenario(name: str) -> Scenario:
    """Read a scenario.

    Raises:
        OperatorError: There is no such scenario, or a key or value in it makes no sense.
    """
    values = yaml.safe_load(scenario_path(name).read_text(encoding="utf-8"))
    return settings_from(values, Scenario, origin=f"scenario {name}")


def require_placed(scenario: Scenario, placed: Counter[str], rejected: Counter[str]) -> None:
    """Refuse a drive whose scenario placed nothing.

    Raises:
        OperatorError: The scenario has placements, but none of its things is in the world.
    """
    if scenario.placements and not placed:
        raise OperatorError(
            f"scenario {scenario.name} placed nothing; {sum(rejected.values())} things found no room. "
            "Start at another place, drive further, or widen its bounds"
        )


class Encounters:
    """The engine: puts encounters along a route as the ego comes near, and counts them.

    Args:
        rng: Draws everything, in the order in which encounters come.
        next_id: Gives actor ids.
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
                    self.placed[prop.look.category.value] += 1
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
        missing: Counter[str] = Counter()
        is_complete = True
        for placement in placements:
            wanted = int(self._rng.integers(placement.count[0], placement.count[1] + 1))
            found = 0
            for _ in range(wanted):
                prop = self._drawn_prop(route, at_m, placement, [*taken, *_footprints(props)])
                if prop is not None:
                    props.append(prop)
                    found += 1
            missing[MESH_CATEGORIES[placement.mesh].value] += wanted - found
            is_complete &= found >= placement.count[0]
        if is_complete:
            return props, +missing
        missing.update(prop.look.category.value for prop in props)
        return [], +missing

    def _drawn_prop(
        self, route: RouteAhead, at_m: float, placement: Placement, taken: Sequence[Rectangle]
    ) -> Prop | None:
        look = drawn_look(
            self._rng,
            MESH_CATEGORIES[placement.mesh],
            placement.mesh,
            scale=placement.scale,
            roll_rad=placement.roll_rad,
        )
        for _ in range(_DRAWS):
            pose, to_far_kerb_m = self._drawn_pose(
                route, at_m + self._drawn(placement.ahead_m), placement
            )
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
            return Prop(
                self._next_id(),
                look,
                x,
                y,
                yaw,
                attribute=placement.attribute,
                walk=walk,
                trigger_m=trigger_m,
                stops_traffic=placement.stops_traffic,
            )
        return None

    def _drawn_pose(
        self, route: RouteAhead, at_m: float, placement: Placement
    ) -> tuple[tuple[float, float, float], float]:
        """Draw x, y and yaw, and how far it is to the far kerb for who goes across, else 0."""
        datum = placement.datum
        if datum is Datum.EITHER_KERB:
            datum = Datum.RIGHT_KERB if self._rng.random() < 0.5 else Datum.LEFT_KERB
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
        """Give how far right and left of a lane's middle the driving lanes of its road end.

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
