"""Traffic around one ego vehicle: SUMO inside this process, only as much of it as can be seen.

Vehicles and pedestrians live in a bubble round the ego. What the ego leaves behind is taken out and as
much is put in at the far rim of the bubble, out of sight; so density is the same everywhere, a world is
full from its first frame, and a step costs the same on a small map and on a large one.

SUMO counts whole milliseconds and cannot step at 36 Hz. It runs in steps of 50 ms, up to one step ahead
of the frame clock, and frames are interpolated between its two newest states.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import libsumo
import numpy as np

from edge.contracts.errors import OperatorError
from edge.contracts.geometry import wrap_rad
from edge.contracts.scene import Attribute
from sim.boxes import Rectangle, ahead_of
from sim.braking import EMERGENCY_BRAKING_MPS2, Hazards, allowed_speeds_mps
from sim.maps import LaneKind, RoadMap, net_path
from sim.props import MESH_CATEGORIES, Look, drawn_look
from sim.snapshot import MESH_SIZES, SNAPSHOT_RANGE_M, Actor
from sim.spots import SPOT_SPACING_M, edges_after, pavements_at, spots_of
from sim.vehicle_model import EGO_SHAPE, VehicleState

STEP_MS = 50
STEP_NS = STEP_MS * 1_000_000
BEAT_NS = 250_000_000
"""Five SUMO steps are nine frames: at its multiples both clocks meet."""

STANDSTILL_MPS = 0.15
_REFILL_EVERY = 10
_ROOM_M = 14.0
"""No vehicle is put nearer than this to another."""
_PATIENCE_S = 12.0
"""How long a driver waits for something that does not move, before driving on through it."""
_VEHICLE_ROADS, _WALKER_ROADS = 12, 6

_SUMO_CLASSES = {
    "car": "passenger",
    "van": "delivery",
    "truck": "truck",
    "bus": "bus",
    "motorcycle": "motorcycle",
    "bicycle": "bicycle",
}
_TOP_SPEEDS_MPS = {"truck": 22.0, "bus": 20.0, "bicycle": 5.5}
_EGO_TYPE = "ego"
_MAY_BRAKE_HARD = 27
"""SUMO's speed mode with all its checks but the one that brakes comfortably at most."""
_ANYWHERE = 2
"""SUMO's keepRoute flag for "exactly there, on whatever lane or beside all of them"."""

_open: list[Traffic] = []
"""The one simulation of this process: a second start would silently replace it."""


@dataclass
class TrafficSettings:
    """How much moves around the ego, and how far from it."""

    vehicles_per_km: float = 20.0
    """Moving vehicles per kilometre of driving lane."""
    pedestrians_per_km: float = 22.0
    """Pedestrians per kilometre of pavement who go somewhere, over crossings too."""
    bubble_radius_m: float = 170.0
    """Nobody is put further than this from the ego."""
    hidden_radius_m: float = 95.0
    """Newcomers appear no nearer than this to the ego."""
    vehicle_shares: dict[str, float] = field(
        default_factory=lambda: {
            "car": 0.38,
            "van": 0.08,
            "truck": 0.16,
            "bus": 0.12,
            "motorcycle": 0.12,
            "bicycle": 0.14,
        }
    )


_Pose = tuple[float, float, float, float]
"""x, y, yaw, speed: of the middle of a box, or of the rear axle for the ego."""


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that moves at one SUMO step, by SUMO's ids."""

    vehicles: dict[str, _Pose] = field(default_factory=dict)
    persons: dict[str, _Pose] = field(default_factory=dict)
    ego: _Pose = (0.0, 0.0, 0.0, 0.0)
    crossing: tuple[str, ...] = ()
    """The persons on the road; SUMO's drivers do not always mind them."""


class Traffic:
    """SUMO with an ego; a context manager, or closed by hand.

    Raises:
        OperatorError: Another one is still open in this process.
    """

    def __init__(
        self,
        road_map: RoadMap,
        seed: int,
        settings: TrafficSettings | None = None,
        *,
        next_actor_id: Callable[[], int] | None = None,
    ) -> None:
        if _open:
            raise OperatorError(
                f"traffic on map {road_map.name} refused: this process already simulates map "
                f"{_open[0].road_map.name}, and SUMO holds one simulation in a process; "
                "close that one or use another process"
            )
        self.road_map: RoadMap = road_map
        self.settings = settings or TrafficSettings()
        self.steps = 0
        self._next_actor_id = next_actor_id or itertools.count(1).__next__
        self._seed = seed
        self._rng = np.random.default_rng([seed, zlib.crc32(b"traffic")])
        self._driving = spots_of(road_map, LaneKind.DRIVING)
        self._pavement = spots_of(road_map, LaneKind.PAVEMENT)
        self._edges_after = edges_after(road_map)
        self._pavements_at = pavements_at(road_map)
        self._looks: dict[str, Look] = {}
        self._actor_ids: dict[str, int] = {}
        self._born = 0
        self._ego_id = ""
        self._outside: VehicleState | None = None
        self._hazards: Hazards | None = None
        self._held: set[str] = set()
        self._before = self._now = _State()
        _start(road_map.name, seed)
        _open.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation; closing twice is fine."""
        if self in _open:
            _open.remove(self)
            libsumo.close()

    @property
    def elapsed_ns(self) -> int:
        """Simulated time of the newest SUMO step."""
        return self.steps * STEP_NS

    def place_ego(
        self,
        lane_id: str,
        offset_m: float,
        edge_ids: Sequence[str],
        *,
        settle_s: float = 1.0,
        is_driven_outside: bool = False,
    ) -> None:
        """Start anew around a place: new traffic, a moment to settle, then the ego among it.

        Afterwards ``elapsed_ns`` is a multiple of ``BEAT_NS``.

        Args:
            lane_id: The driving lane to start on.
            offset_m: Where on it the rear axle is to be.
            edge_ids: The roads that the ego will follow, from the one of ``lane_id`` on.
            settle_s: How long traffic moves before the ego appears.
            is_driven_outside: The ego stands until ``drive_ego`` moves it.

        Raises:
            OperatorError: SUMO would not take the ego at that place.
        """
        x, y, yaw = self.road_map.lane[lane_id].line.at(offset_m)
        self._clear()
        self._put_vehicles(x, y, inner_m=0.0)
        self._put_persons(x, y, inner_m=0.0)
        for _ in range(round(settle_s * 1000 / STEP_MS)):
            self._advance_sumo()
        self._insert_ego(lane_id, offset_m, edge_ids)
        self._outside = VehicleState(x, y, yaw) if is_driven_outside else None
        self._now = self._read()
        self.step()
        while self.elapsed_ns % BEAT_NS:
            self.step()

    def drive_ego(self, state: VehicleState) -> None:
        """Say where the ego is when something else than SUMO drives it; call it before each step."""
        self._outside = state

    def follow(self, edge_ids: Sequence[str]) -> None:
        """Give the ego that SUMO drives a new way, which begins with the road that it is on."""
        libsumo.vehicle.setRoute(self._ego_id, list(edge_ids))

    @property
    def ego_lane_id(self) -> str:
        """The lane that SUMO has the ego on."""
        return str(libsumo.vehicle.getLaneID(self._ego_id))

    def warn_of(self, hazards: Hazards | None) -> None:
        """Tell all drivers, and SUMO's ego, what else is on the road."""
        self._hazards = hazards

    def advance_to(self, elapsed_ns: int) -> None:
        """Step until the newest state is not older than ``elapsed_ns``."""
        while self.elapsed_ns < elapsed_ns:
            self.step()

    def step(self) -> None:
        """Simulate 50 ms."""
        self._brake_for_hazards()
        self._move_ego()
        self._advance_sumo()
        self._before, self._now = self._now, self._read()
        if self.steps % _REFILL_EVERY == 0:
            self._refill()

    def ego_at(self, elapsed_ns: int) -> VehicleState:
        """Interpolate the ego that SUMO drives; acceleration and yaw rate are those of the step."""
        ratio, step_s = self._ratio(elapsed_ns), STEP_MS / 1000.0
        x, y, yaw, speed = between(self._before.ego, self._now.ego, ratio)
        return VehicleState(
            x_m=x,
            y_m=y,
            yaw_rad=yaw,
            speed_mps=speed,
            acceleration_mps2=(self._now.ego[3] - self._before.ego[3]) / step_s,
            yaw_rate_radps=wrap_rad(self._now.ego[2] - self._before.ego[2]) / step_s,
        )

    def actors_at(self, elapsed_ns: int, x_m: float, y_m: float) -> list[Actor]:
        """Interpolate everybody near a point, vehicles first."""
        ratio, actors = self._ratio(elapsed_ns), []
        pairs = (
            (self._before.vehicles, self._now.vehicles),
            (self._before.persons, self._now.persons),
        )
        for before, now in pairs:
            for name, newest in now.items():
                if name not in before or math.dist((x_m, y_m), newest[:2]) > SNAPSHOT_RANGE_M:
                    continue
                actors.append(self._actor(name, between(before[name], newest, ratio)))
        return actors

    def vehicle_rectangles(self, ahead_s: float = 0.0) -> list[Rectangle]:
        """Give the ground that each vehicle but the ego covers, or will have after ``ahead_s``."""
        return [
            ahead_of(x, y, yaw, look.length_m, look.width_m, speed * ahead_s)
            for look, (x, y, yaw, speed) in (
                (self._looks[name], pose) for name, pose in self._now.vehicles.items()
            )
        ]

    def light_of(self, light_id: str, index: int) -> str:
        """Give SUMO's letter of one signal: G and g go, y yellow, r red."""
        return str(libsumo.trafficlight.getRedYellowGreenState(light_id)[index])

    # -- from here on: how it is done

    def _ratio(self, elapsed_ns: int) -> float:
        return 1.0 - (self.elapsed_ns - elapsed_ns) / STEP_NS

    def _actor(self, name: str, pose: _Pose) -> Actor:
        x, y, yaw, speed = pose
        look = self._looks[name]
        return Actor(
            actor_id=self._actor_ids[name],
            category=look.category,
            mesh=look.mesh,
            x_m=x,
            y_m=y,
            yaw_rad=yaw,
            length_m=look.length_m,
            width_m=look.width_m,
            height_m=look.height_m,
            color_rgb=look.color_rgb,
            vx_mps=speed * math.cos(yaw),
            vy_mps=speed * math.sin(yaw),
            attribute=Attribute.MOVING if speed > STANDSTILL_MPS else Attribute.STOPPED,
        )

    def _advance_sumo(self) -> None:
        libsumo.simulationStep()
        self.steps += 1

    def _read(self) -> _State:
        vehicles: dict[str, _Pose] = {}
        ego = self._now.ego
        for name in libsumo.vehicle.getIDList():
            x, y = libsumo.vehicle.getPosition(name)
            yaw = wrap_rad(math.radians(90.0 - libsumo.vehicle.getAngle(name)))
            speed = libsumo.vehicle.getSpeed(name)
            if name == self._ego_id:
                ego = _backed((x, y, yaw, speed), EGO_SHAPE.front_m)
            elif name in self._looks:
                vehicles[name] = _backed((x, y, yaw, speed), 0.5 * self._looks[name].length_m)
        persons: dict[str, _Pose] = {}
        crossing = []
        for name in libsumo.person.getIDList():
            if "_c" in libsumo.person.getRoadID(name):
                crossing.append(name)
            x, y = libsumo.person.getPosition(name)
            yaw = wrap_rad(math.radians(90.0 - libsumo.person.getAngle(name)))
            persons[name] = (x, y, yaw, libsumo.person.getSpeed(name))
        return _State(vehicles, persons, ego, tuple(crossing))

    def _clear(self) -> None:
        """Take everybody out, those too who were added but have not set out yet."""
        self._advance_sumo()
        for name in libsumo.vehicle.getIDList():
            libsumo.vehicle.remove(name)
        for name in libsumo.person.getIDList():
            libsumo.person.remove(name)
        self._ego_id = ""
        self._held.clear()
        self._looks.clear()
        self._actor_ids.clear()
        self._before = self._now = _State()
        self._advance_sumo()

    def _insert_ego(self, lane_id: str, offset_m: float, edge_ids: Sequence[str]) -> None:
        x, y, _ = self.road_map.lane[lane_id].line.at(offset_m)
        for room_m, speed in ((_ROOM_M, "avg"), (2.0 * _ROOM_M, "avg"), (4.0 * _ROOM_M, "0")):
            for name, (u, v, _, _) in self._read().vehicles.items():
                if math.dist((x, y), (u, v)) < room_m + 0.5 * self._looks[name].length_m:
                    libsumo.vehicle.remove(name)
            front_m = offset_m + EGO_SHAPE.front_m
            name = self._add_vehicle(_EGO_TYPE, lane_id, front_m, edge_ids, speed=speed)
            self._advance_sumo()
            if name in libsumo.vehicle.getIDList():
                self._ego_id = name
                libsumo.vehicle.setLaneChangeMode(name, 0)
                return
        raise OperatorError(
            f"the ego cannot start on lane {lane_id} at {offset_m:.1f} m of map "
            f"{self.road_map.name}: SUMO found no room; choose another place"
        )

    def _add_vehicle(
        self, type_id: str, lane_id: str, front_m: float, edge_ids: Sequence[str], *, speed: str
    ) -> str:
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

    def _move_ego(self) -> None:
        """Put the ego that is driven outside where it is now."""
        if self._outside is None:
            return
        state, ahead_m = self._outside, EGO_SHAPE.front_m
        libsumo.vehicle.moveToXY(
            self._ego_id,
            "",
            -1,
            state.x_m + ahead_m * math.cos(state.yaw_rad),
            state.y_m + ahead_m * math.sin(state.yaw_rad),
            90.0 - math.degrees(state.yaw_rad),
            _ANYWHERE,
        )

    def _brake_for_hazards(self) -> None:
        """Cap the speed of whoever drives towards something that SUMO does not make it brake for."""
        hazards = self._all_hazards()
        allowed = self._allowed_speeds(hazards) if hazards.x_m.size else {}
        for name in sorted(self._held - allowed.keys()):
            if name in self._now.vehicles or name == self._ego_id:
                libsumo.vehicle.setSpeed(name, -1.0)
        for name, speed in allowed.items():
            now_mps = self._now.ego[3] if name == self._ego_id else self._now.vehicles[name][3]
            slowest_mps = now_mps - EMERGENCY_BRAKING_MPS2 * STEP_MS / 1000.0
            libsumo.vehicle.setSpeed(name, max(speed, slowest_mps, 0.0))
        self._held = set(allowed)

    def _all_hazards(self) -> Hazards:
        """Add those who are on a crossing to the hazards that the world warned of."""
        persons = self._now.persons
        crossing = [persons[name] for name in self._now.crossing if name in persons]
        own = np.array([(x, y, 0.4, max(speed, 0.1)) for x, y, _, speed in crossing]).reshape(-1, 4)
        given = self._hazards
        if given is None:
            return Hazards(*own.T)
        return Hazards(
            x_m=np.concatenate([own[:, 0], given.x_m]),
            y_m=np.concatenate([own[:, 1], given.y_m]),
            radius_m=np.concatenate([own[:, 2], given.radius_m]),
            speed_mps=np.concatenate([own[:, 3], given.speed_mps]),
        )

    def _fronts(self) -> dict[str, tuple[float, float, float, float]]:
        """Give the front bumper, heading and half width of everyone that SUMO drives."""
        fronts = {}
        for name, (x, y, yaw, _) in self._now.vehicles.items():
            look = self._looks[name]
            u, v, _, _ = _backed((x, y, yaw, 0.0), -0.5 * look.length_m)
            fronts[name] = (u, v, yaw, 0.5 * look.width_m)
        if self._ego_id and self._outside is None:
            u, v, yaw, _ = _backed(self._now.ego, -EGO_SHAPE.front_m)
            fronts[self._ego_id] = (u, v, yaw, 0.5 * EGO_SHAPE.width_m)
        return fronts

    def _allowed_speeds(self, hazards: Hazards) -> dict[str, float]:
        fronts = self._fronts()
        if not fronts:
            return {}
        array = np.array(list(fronts.values()))
        patient, impatient = (
            allowed_speeds_mps(array, some).tolist() for some in (hazards, hazards.moving())
        )
        allowed = {}
        for name, speed, late_speed in zip(fronts, patient, impatient, strict=True):
            if speed < math.inf and libsumo.vehicle.getWaitingTime(name) > _PATIENCE_S:
                speed = late_speed
            if speed < math.inf:
                allowed[name] = speed
        return allowed

    def _refill(self) -> None:
        x, y, _, _ = self._now.ego
        far_m = self.settings.bubble_radius_m + 20.0
        groups = (
            (self._now.vehicles, libsumo.vehicle.remove),
            (self._now.persons, libsumo.person.remove),
        )
        for group, remove in groups:
            gone = [name for name, at in group.items() if math.dist((x, y), at[:2]) > far_m]
            for name in gone:
                remove(name)
                del group[name]
        self._put_vehicles(x, y, inner_m=self.settings.hidden_radius_m)
        self._put_persons(x, y, inner_m=self.settings.hidden_radius_m)

    def _missing(self, spots: int, per_km: float, present: int) -> int:
        return round(spots * SPOT_SPACING_M / 1000.0 * per_km) - present

    def _put_vehicles(self, x: float, y: float, *, inner_m: float) -> None:
        """Bring the bubble up to its number of vehicles, in the ring outside ``inner_m``."""
        radius_m = self.settings.bubble_radius_m
        taken = [pose[:2] for pose in self._now.vehicles.values()]
        around = len(self._driving.within(x, y, 0.0, radius_m))
        missing = self._missing(around, self.settings.vehicles_per_km, len(taken))
        ring = self._driving.within(x, y, inner_m, radius_m)
        meshes = list(self.settings.vehicle_shares)
        shares = np.array([self.settings.vehicle_shares[mesh] for mesh in meshes])
        for spot in self._rng.permutation(ring)[: max(0, 3 * missing)].tolist():
            u, v = self._driving.xy_world[spot].tolist()
            if missing <= 0:
                break
            if any(math.dist((u, v), other) < _ROOM_M for other in taken):
                continue
            taken.append((u, v))
            missing -= 1
            mesh = meshes[int(self._rng.choice(len(meshes), p=shares / shares.sum()))]
            lane_id = self._driving.lane_ids[spot]
            edge_ids = self._wandering(self.road_map.lane[lane_id].edge_id)
            name = self._add_vehicle(
                mesh, lane_id, self._driving.offsets_m[spot], edge_ids, speed="avg"
            )
            self._give_look(name, mesh)

    def _wandering(self, edge_id: str) -> list[str]:
        edge_ids = [edge_id]
        for _ in range(_VEHICLE_ROADS):
            after = self._edges_after[edge_ids[-1]]
            edge_ids.append(after[int(self._rng.integers(len(after)))])
        return edge_ids

    def _put_persons(self, x: float, y: float, *, inner_m: float) -> None:
        """Bring the bubble up to its number of pedestrians, in the ring outside ``inner_m``."""
        radius_m = self.settings.bubble_radius_m
        around = len(self._pavement.within(x, y, 0.0, radius_m))
        present = len(self._now.persons)
        missing = self._missing(around, self.settings.pedestrians_per_km, present)
        ring = self._pavement.within(x, y, inner_m, radius_m)
        for spot in self._rng.permutation(ring)[: max(0, missing)].tolist():
            self._born += 1
            name = f"pedestrian-{self._born:06d}"
            edge_ids = self._strolling(self._pavement.lane_ids[spot])
            libsumo.person.add(name, edge_ids[0], self._pavement.offsets_m[spot])
            libsumo.person.appendWalkingStage(name, edge_ids, 5.0)
            self._give_look(name, "pedestrian")

    def _strolling(self, lane_id: str) -> list[str]:
        edge_ids = [self.road_map.lane[lane_id].edge_id]
        ends = edge_ids[0].split("-")
        junction = ends[int(self._rng.integers(2))]
        for _ in range(_WALKER_ROADS):
            choices = [e for e in self._pavements_at[junction] if e != edge_ids[-1]]
            edge_ids.append(choices[int(self._rng.integers(len(choices)))])
            start, end = edge_ids[-1].split("-")
            junction = end if junction == start else start
        return edge_ids

    def _give_look(self, name: str, mesh: str) -> None:
        rng = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        self._looks[name] = drawn_look(rng, MESH_CATEGORIES[mesh], mesh)
        self._actor_ids[name] = self._next_actor_id()


def between(before: _Pose, now: _Pose, ratio: float) -> _Pose:
    """Interpolate two poses, the heading by the shorter way round."""
    return (
        before[0] + ratio * (now[0] - before[0]),
        before[1] + ratio * (now[1] - before[1]),
        wrap_rad(before[2] + ratio * wrap_rad(now[2] - before[2])),
        before[3] + ratio * (now[3] - before[3]),
    )


def _backed(pose: _Pose, back_m: float) -> _Pose:
    """Move a pose back along its heading: SUMO gives the middle of the front bumper."""
    x, y, yaw, speed = pose
    return x - back_m * math.cos(yaw), y - back_m * math.sin(yaw), yaw, speed


def _start(map_name: str, seed: int) -> None:
    libsumo.start(
        [
            *("sumo", "--net-file", str(net_path(map_name)), "--seed", str(seed % 2**31)),
            *("--step-length", str(STEP_MS / 1000.0), "--lanechange.duration", "2"),
            *("--collision.action", "none", "--time-to-teleport", "-1", "--max-depart-delay", "0"),
            *("--time-to-impatience", "12"),
            *("--no-step-log", "true", "--no-warnings", "true", "--xml-validation", "never"),
        ]
    )
    for mesh, sumo_class in _SUMO_CLASSES.items():
        _add_type(mesh, sumo_class, MESH_SIZES[mesh][0], MESH_SIZES[mesh][1])
    _add_type(_EGO_TYPE, "passenger", EGO_SHAPE.length_m, EGO_SHAPE.width_m)


def _add_type(type_id: str, sumo_class: str, length_m: float, width_m: float) -> None:
    libsumo.vehicletype.copy("DEFAULT_VEHTYPE", type_id)
    libsumo.vehicletype.setVehicleClass(type_id, sumo_class)
    libsumo.vehicletype.setLength(type_id, length_m)
    libsumo.vehicletype.setWidth(type_id, width_m)
    libsumo.vehicletype.setMaxSpeed(type_id, _TOP_SPEEDS_MPS.get(type_id, 30.0))
    if type_id in ("truck", "bus"):
        libsumo.vehicletype.setAccel(type_id, 1.4)
