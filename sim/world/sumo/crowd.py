"""Add vehicles and persons to SUMO around the ego, and remove those that the ego has left behind."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import libsumo
import numpy as np

from edge.contracts.rig import Body
from sim.place.maps import LaneKind, RoadMap
from sim.place.spots import SPOT_SPACING_M, edges_after, pavements_at, spots_of
from sim.world.path import Motion
from sim.world.props import MESH_CATEGORIES, Look, drawn_look
from sim.world.snapshot import MESH_SIZES
from sim.world.sumo.settings import TrafficSettings

STEP_MS = 50
EGO_TYPE = "ego"
ROOM_M = 14.0
"""No vehicle is put nearer than this to another."""

_VEHICLE_ROADS, _WALKER_ROADS = 12, 6
_RIM_M = 20.0
"""A vehicle or person this far outside the bubble is removed."""

_SUMO_CLASSES = {
    "car": "passenger",
    "van": "delivery",
    "truck": "truck",
    "bus": "bus",
    "motorcycle": "motorcycle",
    "bicycle": "bicycle",
}
_TOP_SPEEDS_MPS = {"truck": 22.0, "bus": 20.0, "bicycle": 5.5}
_MAY_BRAKE_HARD = 27
"""SUMO's speed mode with all its checks but the one that brakes comfortably at most."""


class Crowd:
    """The vehicles and persons in SUMO by SUMO's names, with their looks and entity ids."""

    def __init__(
        self,
        road_map: RoadMap,
        seed: int,
        settings: TrafficSettings,
        next_entity_id: Callable[[], int],
    ) -> None:
        self.looks: dict[str, Look] = {}
        self.entity_ids: dict[str, int] = {}
        self._road_map = road_map
        self._seed = seed
        self._settings = settings
        self._next_entity_id = next_entity_id
        self._rng = np.random.default_rng([seed, zlib.crc32(b"traffic")])
        self._driving = spots_of(road_map, LaneKind.DRIVING)
        self._pavement = spots_of(road_map, LaneKind.PAVEMENT)
        self._edges_after = edges_after(road_map)
        self._pavements_at = pavements_at(road_map)
        self._born = 0

    def clear(self) -> None:
        """Remove every vehicle and person that has set out."""
        for name in libsumo.vehicle.getIDList():
            libsumo.vehicle.remove(name)
        for name in libsumo.person.getIDList():
            libsumo.person.remove(name)
        self.looks.clear()
        self.entity_ids.clear()

    def trim(
        self, x_m: float, y_m: float, vehicles: dict[str, Motion], persons: dict[str, Motion]
    ) -> None:
        """Remove what is too far from the ego, from SUMO and from both groups."""
        far_m = self._settings.bubble_radius_m + _RIM_M
        for group, remove in (
            (vehicles, libsumo.vehicle.remove),
            (persons, libsumo.person.remove),
        ):
            gone = [name for name, at in group.items() if math.dist((x_m, y_m), at[:2]) > far_m]
            for name in gone:
                remove(name)
                for known in (group, self.looks, self.entity_ids):
                    known.pop(name)

    def fill(
        self,
        x_m: float,
        y_m: float,
        *,
        vehicles: Mapping[str, Motion],
        person_count: int,
        inner_m: float,
    ) -> None:
        """Bring the bubble round a point up to its numbers, in the ring outside ``inner_m``."""
        self._put_vehicles(x_m, y_m, [pose[:2] for pose in vehicles.values()], inner_m)
        self._put_persons(x_m, y_m, person_count, inner_m)

    def add_vehicle(
        self, type_id: str, lane_id: str, front_m: float, edge_ids: Sequence[str], *, speed: str
    ) -> str:
        """Add a vehicle that sets out in the next step if there is room for it; return its name."""
        self._born += 1
        name = f"{type_id}-{self._born:06d}"
        libsumo.route.add(name, list(edge_ids))
        libsumo.vehicle.add(
            name,
            name,
            typeID=type_id,
            departLane=lane_id.rsplit("_", 1)[1],
            departPos=f"{front_m:.2f}",
            departSpeed=speed,
        )
        libsumo.vehicle.setSpeedMode(name, _MAY_BRAKE_HARD)
        return name

    def _missing(self, spots: int, per_km: float, present: int) -> int:
        return round(spots * SPOT_SPACING_M / 1000.0 * per_km) - present

    def _put_vehicles(
        self, x: float, y: float, taken: list[tuple[float, float]], inner_m: float
    ) -> None:
        radius_m = self._settings.bubble_radius_m
        around = len(self._driving.within(x, y, 0.0, radius_m))
        missing = self._missing(around, self._settings.vehicles_per_km, len(taken))
        ring = self._driving.within(x, y, inner_m, radius_m)
        meshes = list(self._settings.vehicle_shares)
        shares = np.array([self._settings.vehicle_shares[mesh] for mesh in meshes])
        for spot in self._rng.permutation(ring)[: max(0, 3 * missing)].tolist():
            u, v = self._driving.xy_world[spot].tolist()
            if missing <= 0:
                break
            if any(math.dist((u, v), other) < ROOM_M for other in taken):
                continue
            mesh = meshes[int(self._rng.choice(len(meshes), p=shares / shares.sum()))]
            lane_id = self._driving.lane_ids[spot]
            lane = self._road_map.lane[lane_id]
            if not lane.access.permits(_SUMO_CLASSES[mesh]):
                continue
            taken.append((u, v))
            missing -= 1
            edge_ids = self._wandering(lane.edge_id)
            name = self.add_vehicle(
                mesh, lane_id, self._driving.offsets_m[spot], edge_ids, speed="avg"
            )
            self._give_look(name, mesh)

    def _wandering(self, edge_id: str) -> list[str]:
        edge_ids = [edge_id]
        for _ in range(_VEHICLE_ROADS):
            after = self._edges_after[edge_ids[-1]]
            edge_ids.append(after[int(self._rng.integers(len(after)))])
        return edge_ids

    def _put_persons(self, x: float, y: float, present: int, inner_m: float) -> None:
        radius_m = self._settings.bubble_radius_m
        around = len(self._pavement.within(x, y, 0.0, radius_m))
        missing = self._missing(around, self._settings.pedestrians_per_km, present)
        ring = self._pavement.within(x, y, inner_m, radius_m)
        for spot in self._rng.permutation(ring)[: max(0, missing)].tolist():
            self._born += 1
            name = f"pedestrian-{self._born:06d}"
            edge_ids = self._strolling(self._pavement.lane_ids[spot])
            libsumo.person.add(name, edge_ids[0], self._pavement.offsets_m[spot])
            libsumo.person.appendWalkingStage(name, edge_ids, 5.0)
            self._give_look(name, "pedestrian")

    def _strolling(self, lane_id: str) -> list[str]:
        edge_ids = [self._road_map.lane[lane_id].edge_id]
        ends_of_edge = self._road_map.ends_of_edge
        junction = ends_of_edge[edge_ids[0]][int(self._rng.integers(2))]
        for _ in range(_WALKER_ROADS):
            choices = [e for e in self._pavements_at[junction] if e != edge_ids[-1]]
            if not choices:
                break
            edge_ids.append(choices[int(self._rng.integers(len(choices)))])
            start, end = ends_of_edge[edge_ids[-1]]
            junction = end if junction == start else start
        return edge_ids

    def _give_look(self, name: str, mesh: str) -> None:
        rng = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        self.looks[name] = drawn_look(rng, MESH_CATEGORIES[mesh], mesh)
        self.entity_ids[name] = self._next_entity_id()


def start_sumo(net: Path, seed: int, ego: Body) -> None:
    """Start the process's simulation of a network file, with one type for each kind of vehicle."""
    libsumo.start(
        [
            *("sumo", "--net-file", str(net), "--seed", str(seed % 2**31)),
            *("--step-length", str(STEP_MS / 1000.0), "--lanechange.duration", "2"),
            *("--collision.action", "none", "--time-to-teleport", "-1", "--max-depart-delay", "0"),
            *("--time-to-impatience", "12"),
            *("--no-step-log", "true", "--no-warnings", "true", "--xml-validation", "never"),
        ]
    )
    for mesh, sumo_class in _SUMO_CLASSES.items():
        _add_type(mesh, sumo_class, MESH_SIZES[mesh][0], MESH_SIZES[mesh][1])
    _add_type(EGO_TYPE, "passenger", ego.length_m, ego.width_m)


def _add_type(type_id: str, sumo_class: str, length_m: float, width_m: float) -> None:
    libsumo.vehicletype.copy("DEFAULT_VEHTYPE", type_id)
    libsumo.vehicletype.setVehicleClass(type_id, sumo_class)
    libsumo.vehicletype.setLength(type_id, length_m)
    libsumo.vehicletype.setWidth(type_id, width_m)
    libsumo.vehicletype.setMaxSpeed(type_id, _TOP_SPEEDS_MPS.get(type_id, 30.0))
    if type_id in ("truck", "bus"):
        libsumo.vehicletype.setAccel(type_id, 1.4)
