"""SUMO's world: its traffic, the scenario and the roadside, one ``step()`` per camera frame.

The trip says what drives the ego: SUMO (to make data) or the plans of a vehicle (closed loop). In both the
ego follows the same endless route, meets the same scenario and reports the same snapshot.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from edge.contracts.geometry import wrap_rad
from edge.contracts.rig import BODY, Body
from edge.contracts.scene import Plan
from edge.contracts.sensors import Route
from edge.contracts.time import FRAME_RATE_HZ, NS_PER_S, frame_stamp_ns
from sim.place.maps import LaneKind, Place, RoadMap, load_map
from sim.place.rectangles import Rectangle
from sim.place.spots import spots_of
from sim.world.braking import hazards_of
from sim.world.ego import VehicleState, driven, footprint_of, with_steering
from sim.world.encounters import require_placed
from sim.world.placing import Encounters
from sim.world.props import Prop
from sim.world.roadside import Roadside
from sim.world.route import ROUTE_LENGTH_M, RouteAhead
from sim.world.snapshot import SNAPSHOT_RANGE_M, Snapshot, snapshot_at
from sim.world.sumo.settings import SumoSettings
from sim.world.sumo.traffic import Traffic
from sim.world.trip import EgoMode, Trip
from sim.world.walkers import trigger, walk

_DRESS_RANGE_M = 110.0
_DRESS_EVERY_M = 5.0
_PLACE_AHEAD_M = 105.0
"""Encounters are put on the route this far ahead: beyond what can be seen."""
_FORGET_M = 140.0
_ROUTE_AHEAD_M = 900.0
"""SUMO's ego always has this much of its route before it."""
_OFF_ROUTE_M = 10.0
_SAME_WAY_RAD = 1.0
_YELLOW_BRAKING_MPS2 = 3.0


class SumoWorld:
    """A ``World`` with SUMO's traffic. One per process; a context manager.

    ``placed`` and ``rejected`` count, by category, what the scenario put into the world so far and what
    found no room.

    Raises:
        OperatorError: Another world is open in this process, or the map or place does not exist.
    """

    def __init__(
        self,
        trip: Trip,
        settings: SumoSettings | None = None,
        *,
        road_map: RoadMap | None = None,
        body: Body = BODY,
        rate_hz: float = FRAME_RATE_HZ,
    ) -> None:
        """Open a world.

        Args:
            trip: Where it starts, what it meets, and what drives the ego.
            settings: Numbers of the traffic and of the roadside.
            road_map: The trip's map where it has been read already.
            body: Outline and limits of the ego.
            rate_hz: Frames per second, more than SUMO's 20 steps.
        """
        self.trip = trip
        self.body = body
        self.rate_hz = rate_hz
        self.settings = settings or SumoSettings()
        self.road_map = road_map = road_map or load_map(trip.road_map)
        self.placed: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._next_id = itertools.count(1).__next__
        self._visits: Counter[str] = Counter()
        self._encounter_of: dict[int, str] = {}
        self._driving_lanes = [lane for lane in road_map.lanes if lane.kind is LaneKind.DRIVING]
        self._pavement = spots_of(road_map, LaneKind.PAVEMENT)
        first = road_map.places[0].place_id if trip.place_id is None else trip.place_id
        road_map.place(first)
        traffic = self.settings.traffic
        if trip.vehicles_per_km is not None:
            traffic = replace(traffic, vehicles_per_km=trip.vehicles_per_km)
        self._traffic = Traffic(
            road_map, trip.seed, traffic, body=body, next_entity_id=self._next_id
        )
        try:
            self.visit(first)
        except BaseException:
            self.close()
            raise

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
        """End the simulation, so that another world can be opened in this process."""
        self._traffic.close()

    def visit(self, place_id: str) -> None:
        """Start anew at a place of the same map: new traffic, extras and encounters around it.

        The frame index goes on. The same sequence of calls gives the same world; a second visit to a
        place dresses it differently.

        Raises:
            OperatorError: The map has no such place.
        """
        place = self.road_map.place(place_id)
        self._visits[place_id] += 1
        seed = self._seed_of(place)
        self._route = RouteAhead(
            self.road_map, place.lane_id, np.random.default_rng([*seed, 1]), -place.offset_m
        )
        self._route.extend_to(2.0 * _ROUTE_AHEAD_M)
        is_driven_outside = self.trip.ego_mode is EgoMode.PLAN
        self._traffic.warn_of(None)
        self._traffic.place_ego(
            place.lane_id,
            place.offset_m,
            self._route.edge_ids(),
            settle_s=self.settings.settle_s,
            is_driven_outside=is_driven_outside,
        )
        self.frame_index = int(self._traffic.elapsed_ns * self.rate_hz // NS_PER_S)
        self._ego = with_steering(self._traffic.ego_at(self._elapsed_ns), self.body)
        self._command = (0.0, 0.0)
        if is_driven_outside:
            speed_mps = self.trip.start_speed_mps
            self._ego = VehicleState(place.x_m, place.y_m, place.yaw_rad, speed_mps)
        self._odometer_m, _ = self._route.project(self._ego.x_m, self._ego.y_m, 0.0)
        self._roadside = Roadside(
            self.road_map,
            self.settings.roadside,
            seed=[*seed, 2],
            spots=self._pavement,
            free=self._room_of_ego(),
            next_id=self._next_id,
        )
        self._dressed_at = (math.inf, math.inf)
        self._extras: list[Prop] = []
        scenario = self.trip.scenario
        self._encounters = Encounters(
            self.road_map,
            scenario,
            rng=np.random.default_rng([*seed, 3]),
            next_id=self._next_id,
            prefix=f"{scenario.name}-s{self.trip.seed}-{place_id}-v{self._visits[place_id]}",
        )
        self._dress()
        self._snapshot = self._seen()

    def now(self) -> Snapshot:
        """Return the snapshot of the current frame."""
        return self._snapshot

    def step(self) -> Snapshot:
        """Advance exactly one frame."""
        return self.skip(1)

    def skip(self, frames: int) -> Snapshot:
        """Advance so many frames, and give the snapshot of the last."""
        for _ in range(frames):
            self._advance()
        self._snapshot = self._seen()
        return self._snapshot

    def _advance(self) -> None:
        dt_s = 1.0 / self.rate_hz
        self.frame_index += 1
        self._warn_drivers()
        if self.trip.ego_mode is EgoMode.PLAN:
            self._ego = driven(self._ego, *self._command, dt_s, self.body)
            self._advance_traffic_around(self._ego)
        else:
            self._traffic.advance_to(self._elapsed_ns)
            self._ego = with_steering(self._traffic.ego_at(self._elapsed_ns), self.body)
        self._follow_route()
        self._dress()
        self._walk(dt_s)

    def apply(self, plan: Plan | None) -> None:
        """Drive the next frames by a plan; None keeps the last plan's commands."""
        if plan is not None:
            self._command = (plan.acceleration_mps2, plan.steering_rad)

    def encounter_of(self, entity_id: int) -> str | None:
        """Return the encounter that an entity belongs to, for as long as the world lives."""
        return self._encounter_of.get(entity_id)

    def require_placed(self) -> None:
        """Refuse a world whose scenario placed nothing.

        Raises:
            OperatorError: The scenario has placements, but none of its things was ever in the world.
        """
        require_placed(self.trip.scenario, self.placed, self.rejected)

    @property
    def _elapsed_ns(self) -> int:
        return frame_stamp_ns(self.frame_index, 0, self.rate_hz)

    def _seed_of(self, place: Place) -> list[int]:
        visit = self._visits[place.place_id]
        return [self.trip.seed, zlib.crc32(place.place_id.encode()), visit]

    def _advance_traffic_around(self, ego: VehicleState) -> None:
        """Step SUMO up to this frame with the ego where it is at this frame."""
        while self._traffic.elapsed_ns < self._elapsed_ns:
            self._traffic.drive_ego(ego)
            self._traffic.step()

    def _props(self) -> list[Prop]:
        return [*self._extras, *self._encounters.props]

    def _warn_drivers(self) -> None:
        hazards = [(p.rectangle, p.speed_mps) for p in self._props() if p.is_hazard]
        self._traffic.warn_of(hazards_of(hazards) if hazards else None)

    def _follow_route(self) -> None:
        """Move the odometer on, and the route too when the ego has left it."""
        self._odometer_m, off_m = self._route.project(
            self._ego.x_m, self._ego.y_m, self._odometer_m
        )
        if self.trip.ego_mode is EgoMode.WORLD:
            self._keep_sumo_on_route()
        elif off_m > _OFF_ROUTE_M:
            self._reroute()

    def _keep_sumo_on_route(self) -> None:
        """Follow the lane that SUMO chose, and extend its route before it ends."""
        lane = self.road_map.lane[self._traffic.ego_lane_id]
        front_m = self._odometer_m + self.body.front_m
        if lane.kind is not LaneKind.DRIVING or not self._route.is_on_road(front_m, 1.0):
            return
        if lane.lane_id != self._route.lane_at(front_m):
            along_m, _ = lane.line.project(*self._front())
            self._route = self._route.restarted(lane.lane_id, front_m - along_m)
        elif self._route.end_m - self._odometer_m > _ROUTE_AHEAD_M:
            return
        self._route.extend_to(self._odometer_m + 2.0 * _ROUTE_AHEAD_M)
        self._traffic.follow(self._route.edge_ids(front_m))

    def _reroute(self) -> None:
        """Go on from the nearest lane that leads the way the ego faces, if there is one."""
        x, y = self._ego.x_m, self._ego.y_m
        for lane in self._driving_lanes:
            along_m, left_m = lane.line.project(x, y)
            turned = wrap_rad(lane.line.at(along_m)[2] - self._ego.yaw_rad)
            if abs(left_m) < lane.width_m and abs(turned) < _SAME_WAY_RAD:
                self._route = self._route.restarted(lane.lane_id, self._odometer_m - along_m)
                return

    def _dress(self) -> None:
        """Add the roadside and the encounters that the ego comes near to."""
        x, y = self._ego.x_m, self._ego.y_m
        if math.dist((x, y), self._dressed_at) > _DRESS_EVERY_M:
            self._extras = self._roadside.around(x, y, _DRESS_RANGE_M)
            self._encounters.forget(x, y, _FORGET_M)
            self._dressed_at = (x, y)
        new = self._encounters.extend(
            self._route,
            from_m=self._odometer_m,
            to_m=self._odometer_m + _PLACE_AHEAD_M,
            taken=self._footprints,
        )
        self._encounter_of |= {p.entity_id: p.encounter_id for p in new if p.encounter_id}
        self.placed += self._encounters.placed
        self.rejected += self._encounters.rejected
        self._encounters.placed.clear()
        self._encounters.rejected.clear()

    def _footprints(self) -> list[Rectangle]:
        props = (prop.rectangle for prop in self._extras)
        return [*props, *self._traffic.vehicle_rectangles(), self._room_of_ego()]

    def _room_of_ego(self) -> Rectangle:
        """Return the ground under the ego and a little around it, more in front than behind."""
        under = footprint_of(self._ego, self.body, ahead_s=0.5)
        return replace(under, length_m=under.length_m + 2.0, width_m=under.width_m + 1.0)

    def _walk(self, dt_s: float) -> None:
        front = self._front()
        near = [p for p in self._props() if math.dist(front, (p.x_m, p.y_m)) < SNAPSHOT_RANGE_M]
        trigger(near, front, dt_s)
        walk(near, dt_s, self._vehicles_ahead)

    def _vehicles_ahead(self, ahead_s: float) -> list[Rectangle]:
        return [
            *self._traffic.vehicle_rectangles(ahead_s),
            footprint_of(self._ego, self.body, ahead_s),
        ]

    def _seen(self) -> Snapshot:
        ego = self._ego
        entities = self._traffic.entities_at(self._elapsed_ns, ego.x_m, ego.y_m)
        entities.extend(
            prop.entity
            for prop in self._props()
            if math.dist((ego.x_m, ego.y_m), (prop.x_m, prop.y_m)) < SNAPSHOT_RANGE_M
        )
        return snapshot_at(
            self.frame_index, ego, self._route_seen(), entities, self.body, rate_hz=self.rate_hz
        )

    def _route_seen(self) -> Route:
        ego = self._ego
        front_m = self._odometer_m + self.body.front_m
        return Route(
            points_ego=self._route.points_ego(self._odometer_m, ego.x_m, ego.y_m, ego.yaw_rad),
            speed_limit_mps=self._route.speed_limit_mps(front_m),
            stop_distance_m=self._stop_distance_m(front_m),
        )

    def _stop_distance_m(self, front_m: float) -> float | None:
        """Return the way from the rear axle to the first stop line that is closed."""
        braking_m = self._ego.speed_mps**2 / (2.0 * _YELLOW_BRAKING_MPS2)
        for line_m, link in self._route.junctions(front_m - 1.0, front_m + ROUTE_LENGTH_M):
            if link.light_id is None:
                continue
            letter = self._traffic.light_of(link.light_id, link.light_index)
            if letter in "rRu" or (letter in "yY" and line_m - front_m > braking_m):
                return max(0.0, line_m - self._odometer_m)
        return None

    def _front(self) -> tuple[float, float]:
        """Return the middle of the front bumper."""
        ego, ahead_m = self._ego, self.body.front_m
        return ego.x_m + ahead_m * math.cos(ego.yaw_rad), ego.y_m + ahead_m * math.sin(ego.yaw_rad)
