"""Put parked vehicles, pedestrians and road works along the roads, besides the traffic.

Each road is dressed on its own from a random generator of its own, so that the world around a place
does not depend on which way the ego came.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.contracts.classes import BARRIER, PEDESTRIAN, TRAFFIC_CONE
from edge.contracts.scene import Attribute
from sim.place.maps import Lane, LaneKind, RoadMap
from sim.place.rectangles import Rectangle, overlaps
from sim.place.spots import Spots
from sim.world.props import MESH_CATEGORIES, Look, Prop, Walk, drawn_look, to_and_fro

CORNER_M = 9.0
"""Nothing stands at the kerb this near to a junction: drivers must see the crossing."""


@dataclass
class RoadsideSettings:
    """Density of things along the roads."""

    parked_ratio: float = 0.42
    """Mean share of the kerb that is parked on; it differs from road to road."""
    strollers_per_km: float = 45.0
    """Pedestrians per kilometre of pavement that stand or stroll, besides those of the traffic."""
    crossers_per_km: float = 4.0
    """Pedestrians per kilometre of road that cross where there is no crossing."""
    works_per_km: float = 7.0
    """Road works per kilometre of kerb: a row of cones, often with barriers."""
    parked_shares: dict[str, float] = field(
        default_factory=lambda: {
            "car": 0.40,
            "van": 0.10,
            "truck": 0.12,
            "bus": 0.06,
            "trailer": 0.08,
            "construction_vehicle": 0.08,
            "motorcycle": 0.09,
            "bicycle": 0.07,
        }
    )
    """Share of each mesh among the parked vehicles."""


class Roadside:
    """The extras near the ego: roads are dressed when it comes near and stay so.

    Args:
        seed: Together with a road's id, all that its extras depend on.
        spots: Those of the map's pavements, which tell which roads are near.
        free: Ground that stays free, since the ego starts there.
        next_id: Gives entity ids.
    """

    def __init__(
        self,
        road_map: RoadMap,
        settings: RoadsideSettings,
        *,
        seed: Sequence[int],
        spots: Spots,
        free: Rectangle,
        next_id: Callable[[], int],
    ) -> None:
        self._road_map = road_map
        self._settings = settings
        self._seed = tuple(seed)
        self._free = free
        self._next_id = next_id
        self._spots = spots
        self._dressed: dict[str, tuple[Prop, ...]] = {}

    def around(self, x_m: float, y_m: float, radius_m: float) -> list[Prop]:
        """Return the extras of all roads that come within ``radius_m`` of a point."""
        spots = self._spots.within(x_m, y_m, 0.0, radius_m).tolist()
        lane_ids = sorted({self._spots.lane_ids[spot] for spot in spots})
        edge_ids = [self._road_map.lane[lane_id].edge_id for lane_id in lane_ids]
        return [prop for edge_id in edge_ids for prop in self._extras(edge_id)]

    def _extras(self, edge_id: str) -> tuple[Prop, ...]:
        if edge_id not in self._dressed:
            rng = np.random.default_rng([*self._seed, zlib.crc32(edge_id.encode())])
            extras = extras_of_edge(
                self._road_map, edge_id, self._settings, rng=rng, next_id=self._next_id
            )
            self._dressed[edge_id] = tuple(
                prop for prop in extras if not overlaps(prop.rectangle, self._free)
            )
        return self._dressed[edge_id]


def extras_of_edge(
    road_map: RoadMap,
    edge_id: str,
    settings: RoadsideSettings,
    *,
    rng: np.random.Generator,
    next_id: Callable[[], int],
) -> tuple[Prop, ...]:
    """Dress one road."""
    lanes = {lane.kind: lane for lane in reversed(road_map.lanes_of_edge[edge_id])}
    kerb, pavement = lanes.get(LaneKind.PARKING), lanes.get(LaneKind.PAVEMENT)
    if kerb is None or pavement is None:
        return ()
    props: list[Prop] = []
    for prop in itertools.chain(
        _works(kerb, settings, rng, next_id),
        _parked(kerb, settings, rng, next_id),
        _strollers(pavement, settings, rng, next_id),
        _crossers(road_map, pavement, settings, rng, next_id),
    ):
        if not any(overlaps(prop.rectangle, other.rectangle, 0.1) for other in props):
            props.append(prop)
    return tuple(props)


def _poisson(rng: np.random.Generator, per_km: float, length_m: float) -> int:
    return int(rng.poisson(max(0.0, per_km * length_m / 1000.0)))


def _parked(
    kerb: Lane, settings: RoadsideSettings, rng: np.random.Generator, next_id: Callable[[], int]
) -> Iterator[Prop]:
    """Park along the kerb from one corner to the other, denser on some roads than on others."""
    meshes, shares = list(settings.parked_shares), np.array(list(settings.parked_shares.values()))
    ratio = min(0.9, settings.parked_ratio * float(rng.uniform(0.1, 1.9)))
    offset_m = CORNER_M
    while offset_m < kerb.line.length_m - CORNER_M:
        mesh = meshes[int(rng.choice(len(meshes), p=shares / shares.sum()))]
        look = drawn_look(rng, MESH_CATEGORIES[mesh], mesh)
        middle_m = offset_m + 0.5 * look.length_m
        offset_m += look.length_m + float(rng.uniform(0.6, 2.5))
        if rng.random() > ratio or offset_m > kerb.line.length_m - CORNER_M:
            continue
        to_kerb_m = 0.5 * (kerb.width_m - look.width_m) - 0.1
        x, y, yaw = kerb.line.beside(middle_m, -max(to_kerb_m, 0.0) + float(rng.normal(0.0, 0.06)))
        turned = math.pi if rng.random() < 0.12 else 0.0
        yaw += turned + float(rng.normal(0.0, 0.03))
        yield Prop(next_id(), look, x, y, yaw, attribute=Attribute.PARKED)


def _strollers(
    pavement: Lane, settings: RoadsideSettings, rng: np.random.Generator, next_id: Callable[[], int]
) -> Iterator[Prop]:
    length_m = pavement.line.length_m
    for _ in range(_poisson(rng, settings.strollers_per_km, length_m)):
        look = drawn_look(rng, PEDESTRIAN, "pedestrian")
        left_m = float(rng.uniform(-0.8, 0.8))
        if rng.random() < 0.4:
            x, y, _ = pavement.line.beside(float(rng.uniform(0.0, length_m)), left_m)
            yield Prop(next_id(), look, x, y, float(rng.uniform(-math.pi, math.pi)))
            continue
        start_m = float(rng.uniform(0.0, max(0.0, length_m - 15.0)))
        end_m = min(length_m, start_m + float(rng.uniform(12.0, 50.0)))
        line = np.array(
            [pavement.line.beside(s, left_m)[:2] for s in np.linspace(start_m, end_m, 8).tolist()]
        )
        walk = to_and_fro(line, float(rng.uniform(0.5, 1.6)), float(rng.uniform(0.0, 4.0)))
        yield _walker(next_id(), look, walk, rng)


def _crossers(
    road_map: RoadMap,
    pavement: Lane,
    settings: RoadsideSettings,
    rng: np.random.Generator,
    next_id: Callable[[], int],
) -> Iterator[Prop]:
    """Walk across the whole road and back again, waiting on the pavements in between.

    A road is as wide on its other side as on this one.
    """
    lanes = road_map.lanes_of_edge[pavement.edge_id]
    half_m = 0.5 * pavement.width_m + sum(
        lane.width_m for lane in lanes if lane.kind is not LaneKind.PAVEMENT
    )
    span_m = pavement.line.length_m - 2.0 * CORNER_M
    if span_m <= 0.0:
        return
    for _ in range(_poisson(rng, settings.crossers_per_km, span_m)):
        look = drawn_look(rng, PEDESTRIAN, "pedestrian")
        offset_m = CORNER_M + float(rng.uniform(0.0, span_m))
        near, far = (
            pavement.line.beside(offset_m, 0.0),
            pavement.line.beside(offset_m, 2.0 * half_m),
        )
        walk = to_and_fro(
            np.array([near[:2], far[:2]]),
            float(rng.uniform(0.8, 1.7)),
            float(rng.uniform(3.0, 15.0)),
        )
        prop = _walker(next_id(), look, walk, rng)
        prop.stops_traffic = True
        yield prop


def _walker(entity_id: int, look: Look, walk: Walk, rng: np.random.Generator) -> Prop:
    """Put a pedestrian somewhere on its way."""
    clock_s = float(rng.uniform(0.0, 2.0 * (walk.line.length_m / walk.speed_mps + walk.pause_s)))
    return Prop(entity_id, look, 0.0, 0.0, 0.0, walk=walk, clock_s=clock_s)


def _works(
    kerb: Lane, settings: RoadsideSettings, rng: np.random.Generator, next_id: Callable[[], int]
) -> Iterator[Prop]:
    """Set up road works at the kerb: a row of cones beside the traffic, often barriers behind it."""
    span_m = kerb.line.length_m - 2.0 * CORNER_M - 12.0
    for _ in range(_poisson(rng, settings.works_per_km, max(span_m, 0.0))):
        start_m = CORNER_M + float(rng.uniform(0.0, span_m))
        cones, gap_m = int(rng.integers(2, 7)), float(rng.uniform(1.5, 3.5))
        for k in range(cones):
            look = drawn_look(rng, TRAFFIC_CONE, "traffic_cone")
            left_m = 0.5 * kerb.width_m - 0.3 + float(rng.normal(0.0, 0.08))
            x, y, _ = kerb.line.beside(start_m + k * gap_m, left_m)
            yield Prop(next_id(), look, x, y, float(rng.uniform(-math.pi, math.pi)))
        if rng.random() < 0.6:
            for k in range(int(rng.integers(1, 3))):
                look = drawn_look(rng, BARRIER, "barrier")
                along_m = start_m + float(rng.uniform(0.0, 0.6)) + k * (cones - 1) * gap_m
                x, y, yaw = kerb.line.beside(along_m, -0.45)
                yield Prop(next_id(), look, x, y, yaw)
