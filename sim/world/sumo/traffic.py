"""Traffic around one ego vehicle: SUMO inside this process, only as much of it as can be seen.

Vehicles and pedestrians live in a bubble round the ego. What the ego leaves behind is taken out and as
much is put in at the far rim of the bubble, out of sight; so density is the same everywhere, a world is
full from its first frame, and a step costs the same on a small map and on a large one.

SUMO counts whole milliseconds and cannot step at 36 Hz. It runs in whole steps of 50 ms, up to one step
ahead of the frame clock, and frames of any rate above 20 Hz are interpolated between its two newest states.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import libsumo
import numpy as np

from edge.contracts.errors import OperatorError
from edge.contracts.geometry import wrap_rad
from edge.contracts.rig import BODY, Body
from sim.place.maps import RoadMap
from sim.place.rectangles import Rectangle, ahead_of
from sim.world.braking import EMERGENCY_BRAKING_MPS2, RoundHazards, allowed_speeds_mps
from sim.world.ego import VehicleState
from sim.world.path import Motion, between
from sim.world.props import entity_at, moving_or_stopped
from sim.world.snapshot import SNAPSHOT_RANGE_M, Entity
from sim.world.sumo.crowd import EGO_TYPE, ROOM_M, STEP_MS, Crowd, start_sumo
from sim.world.sumo.settings import TrafficSettings

STEP_NS = STEP_MS * 1_000_000
BEAT_NS = 250_000_000
"""Five SUMO steps are nine frames at 36 Hz: at its multiples both clocks meet; at other rates a frame
lies up to one period before."""

_REFILL_EVERY = 10
_ANYWHERE = 2
"""SUMO's keepRoute flag for "exactly there, on whatever lane or beside all of them"."""
_PATIENCE_S = 12.0
"""How long a driver waits for something that does not move, before driving on through it."""

_open: list[Traffic] = []
"""The one simulation of this process: a second start would silently replace it."""


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that moves at one SUMO step, by SUMO's ids."""

    vehicles: dict[str, Motion] = field(default_factory=dict)
    persons: dict[str, Motion] = field(default_factory=dict)
    ego: Motion = (0.0, 0.0, 0.0, 0.0)
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
        body: Body = BODY,
        next_entity_id: Callable[[], int] | None = None,
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
        self._body = body
        next_entity_id = next_entity_id or itertools.count(1).__next__
        self._crowd = Crowd(road_map, seed, self.settings, next_entity_id)
        self._ego_id = ""
        self._outside: VehicleState | None = None
        self._hazards: RoundHazards | None = None
        self._held: set[str] = set()
        self._before = self._now = _State()
        start_sumo(road_map.net, seed, body)
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
        self._crowd.fill(x, y, vehicles={}, person_count=0, inner_m=0.0)
        for _ in range(round(settle_s * 1000 / STEP_MS)):
            self._advance_sumo()
        self._insert_ego(lane_id, offset_m, edge_ids)
        self._outside = VehicleState(x, y, yaw) if is_driven_outside else None
        self._now = self._read()
        self.step()
        while self.elapsed_ns % BEAT_NS:
            self.step()

    def drive_ego(self, state: VehicleState) -> None:
        """Set where an ego is that SUMO does not drive; call it before each step."""
        self._outside = state

    def follow(self, edge_ids: Sequence[str]) -> None:
        """Set the route of an ego that SUMO drives; it begins with the road that the ego is on."""
        libsumo.vehicle.setRoute(self._ego_id, list(edge_ids))

    @property
    def ego_lane_id(self) -> str:
        """The lane that SUMO has the ego on."""
        return str(libsumo.vehicle.getLaneID(self._ego_id))

    def warn_of(self, hazards: RoundHazards | None) -> None:
        """Set the things for which all drivers, and SUMO's ego, brake besides traffic."""
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

    def entities_at(self, elapsed_ns: int, x_m: float, y_m: float) -> list[Entity]:
        """Interpolate the vehicles, then the persons, near a point."""
        ratio, entities = self._ratio(elapsed_ns), []
        pairs = (
            (self._before.vehicles, self._now.vehicles),
            (self._before.persons, self._now.persons),
        )
        for before, now in pairs:
            for name, newest in now.items():
                if name not in before or math.dist((x_m, y_m), newest[:2]) > SNAPSHOT_RANGE_M:
                    continue
                entities.append(self._entity(name, between(before[name], newest, ratio)))
        return entities

    def vehicle_rectangles(self, ahead_s: float = 0.0) -> list[Rectangle]:
        """Return the ground that each vehicle but the ego covers, or will have after ``ahead_s``."""
        return [
            ahead_of(x, y, yaw, look.length_m, look.width_m, speed * ahead_s)
            for look, (x, y, yaw, speed) in (
                (self._crowd.looks[name], pose) for name, pose in self._now.vehicles.items()
            )
        ]

    def light_of(self, light_id: str, index: int) -> str:
        """Return SUMO's letter of one signal: G and g go, y yellow, r red."""
        return str(libsumo.trafficlight.getRedYellowGreenState(light_id)[index])

    # -- from here on: how it is done

    def _ratio(self, elapsed_ns: int) -> float:
        return 1.0 - (self.elapsed_ns - elapsed_ns) / STEP_NS

    def _entity(self, name: str, motion: Motion) -> Entity:
        entity_id, look = self._crowd.entity_ids[name], self._crowd.looks[name]
        return entity_at(entity_id, look, motion, moving_or_stopped(motion[3]))

    def _advance_sumo(self) -> None:
        libsumo.simulationStep()
        self.steps += 1

    def _read(self) -> _State:
        vehicles: dict[str, Motion] = {}
        ego = self._now.ego
        for name in libsumo.vehicle.getIDList():
            x, y = libsumo.vehicle.getPosition(name)
            yaw = wrap_rad(math.radians(90.0 - libsumo.vehicle.getAngle(name)))
            speed = libsumo.vehicle.getSpeed(name)
            if name == self._ego_id:
                ego = _backed((x, y, yaw, speed), self._body.front_m)
            elif name in self._crowd.looks:
                vehicles[name] = _backed((x, y, yaw, speed), 0.5 * self._crowd.looks[name].length_m)
        persons: dict[str, Motion] = {}
        crossing = []
        for name in libsumo.person.getIDList():
            if name not in self._crowd.looks:
                continue
            if "_c" in libsumo.person.getRoadID(name):
                crossing.append(name)
            x, y = libsumo.person.getPosition(name)
            yaw = wrap_rad(math.radians(90.0 - libsumo.person.getAngle(name)))
            persons[name] = (x, y, yaw, libsumo.person.getSpeed(name))
        return _State(vehicles, persons, ego, tuple(crossing))

    def _clear(self) -> None:
        """Remove all vehicles and persons, also those that were added and have not set out yet."""
        self._advance_sumo()
        self._crowd.clear()
        self._ego_id = ""
        self._held.clear()
        self._before = self._now = _State()
        self._advance_sumo()

    def _insert_ego(self, lane_id: str, offset_m: float, edge_ids: Sequence[str]) -> None:
        x, y, _ = self.road_map.lane[lane_id].line.at(offset_m)
        for room_m, speed in ((ROOM_M, "avg"), (2.0 * ROOM_M, "avg"), (4.0 * ROOM_M, "0")):
            for name, (u, v, _, _) in self._read().vehicles.items():
                if math.dist((x, y), (u, v)) < room_m + 0.5 * self._crowd.looks[name].length_m:
                    libsumo.vehicle.remove(name)
            front_m = offset_m + self._body.front_m
            name = self._crowd.add_vehicle(EGO_TYPE, lane_id, front_m, edge_ids, speed=speed)
            self._advance_sumo()
            if name in libsumo.vehicle.getIDList():
                self._ego_id = name
                libsumo.vehicle.setLaneChangeMode(name, 0)
                return
        raise OperatorError(
            f"the ego cannot start on lane {lane_id} at {offset_m:.1f} m of map "
            f"{self.road_map.name}: SUMO found no room; choose another place"
        )

    def _move_ego(self) -> None:
        """Put the ego that is driven outside where it is now."""
        if self._outside is None:
            return
        state, ahead_m = self._outside, self._body.front_m
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
        """Cap the speed of vehicles that drive towards something for which SUMO does not brake."""
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

    def _all_hazards(self) -> RoundHazards:
        """Return the hazards of ``warn_of`` and the persons on crossings."""
        persons = self._now.persons
        crossing = [persons[name] for name in self._now.crossing if name in persons]
        own = np.array([(x, y, 0.4, max(speed, 0.1)) for x, y, _, speed in crossing]).reshape(-1, 4)
        given = self._hazards
        if given is None:
            return RoundHazards(*own.T)
        return RoundHazards(
            x_m=np.concatenate([own[:, 0], given.x_m]),
            y_m=np.concatenate([own[:, 1], given.y_m]),
            radius_m=np.concatenate([own[:, 2], given.radius_m]),
            speed_mps=np.concatenate([own[:, 3], given.speed_mps]),
        )

    def _fronts(self) -> dict[str, tuple[float, float, float, float]]:
        """Return the front bumper, heading and half width of every vehicle that SUMO drives."""
        fronts = {}
        for name, (x, y, yaw, _) in self._now.vehicles.items():
            look = self._crowd.looks[name]
            u, v, _, _ = _backed((x, y, yaw, 0.0), -0.5 * look.length_m)
            fronts[name] = (u, v, yaw, 0.5 * look.width_m)
        if self._ego_id and self._outside is None:
            u, v, yaw, _ = _backed(self._now.ego, -self._body.front_m)
            fronts[self._ego_id] = (u, v, yaw, 0.5 * self._body.width_m)
        return fronts

    def _allowed_speeds(self, hazards: RoundHazards) -> dict[str, float]:
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
        vehicles, persons = self._now.vehicles, self._now.persons
        self._crowd.trim(x, y, vehicles, persons)
        inner_m = self.settings.hidden_radius_m
        self._crowd.fill(x, y, vehicles=vehicles, person_count=len(persons), inner_m=inner_m)


def _backed(pose: Motion, back_m: float) -> Motion:
    """Move a pose back along its heading: SUMO gives the middle of the front bumper."""
    x, y, yaw, speed = pose
    return x - back_m * math.cos(yaw), y - back_m * math.sin(yaw), yaw, speed
