"""A world of given paths: everything is where a script says, and no traffic simulation runs.

A script is written in the frame of the place where the trip starts (x along the lane, y to its left,
origin under the ego's rear axle), so that "20 m ahead" is a number on paper and one script can be played
at every place of every map. Recorded tracks are paths like any other. Scripted agents do not react.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from edge.contracts.errors import OperatorError
from edge.contracts.geometry import wrap_rad
from edge.contracts.rig import BODY, Body
from edge.contracts.scene import Attribute, Plan
from edge.contracts.sensors import Route
from edge.contracts.time import FRAME_RATE_HZ
from sim.place.maps import Place, RoadMap, load_map
from sim.world.ego import VehicleState, driven, with_steering
from sim.world.path import Motion, TimedPath
from sim.world.props import Look, entity_at, moving_or_stopped
from sim.world.route import RouteAhead
from sim.world.snapshot import SNAPSHOT_RANGE_M, Snapshot, snapshot_at
from sim.world.trip import EgoMode, Trip


@dataclass(frozen=True, eq=False)
class Scripted:
    """One thing of a script; ``path`` is that of the middle of its box, in the frame of the place."""

    look: Look
    path: TimedPath
    attribute: Attribute = Attribute.UNKNOWN
    """Unknown becomes moving or stopped, by its speed."""
    encounter: str = ""
    """Name of the encounter that it belongs to; empty for none."""


@dataclass(frozen=True, eq=False)
class Script:
    """The motions of all things after the start of a trip.

    ``ego``: path of the rear axle, in the frame of the place, of an ego that no plan drives. Without
    one it goes straight on at the trip's speed.
    """

    things: tuple[Scripted, ...] = ()
    ego: TimedPath | None = None


class ScriptedWorld:
    """A ``World`` that plays a script; a context manager, of which a process may hold many.

    Raises:
        OperatorError: The map or the place does not exist.
    """

    def __init__(
        self,
        trip: Trip,
        script: Script,
        *,
        road_map: RoadMap | None = None,
        body: Body = BODY,
        rate_hz: float = FRAME_RATE_HZ,
    ) -> None:
        """Open a world.

        Args:
            trip: Where it starts, and what drives the ego.
            script: What happens.
            road_map: The trip's map where it has been read already.
            body: Outline and limits of the ego.
            rate_hz: Frames per second.
        """
        self.trip = trip
        self.body = body
        self.rate_hz = rate_hz
        self._dt_s = 1.0 / rate_hz
        self.script = script
        self.road_map = road_map or load_map(trip.road_map)
        self.placed: Counter[str] = Counter()
        self.frame_index = 0
        self._next_id = itertools.count(1).__next__
        self._visits = 0
        self._encounter_of: dict[int, str] = {}
        self.visit(trip.place_id or self.road_map.places[0].place_id)

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
        """Do nothing: a script holds nothing open."""

    def visit(self, place_id: str) -> None:
        """Play the script from its beginning at a place of the map; things get new ids.

        Raises:
            OperatorError: The map has no such place.
        """
        self._place = place = self.road_map.place(place_id)
        self._visits += 1
        self._start_index = self.frame_index
        self._ids = [self._next_id() for _ in self.script.things]
        self._unseen = set(self._ids)
        seed = [self.trip.seed, zlib.crc32(place_id.encode())]
        self._route = RouteAhead(
            self.road_map, place.lane_id, np.random.default_rng(seed), -place.offset_m
        )
        self._command = (0.0, 0.0)
        self._ego = VehicleState(place.x_m, place.y_m, place.yaw_rad, self.trip.start_speed_mps)
        if self._follows_path:
            self._ego = self._on_path()
        self._odometer_m, _ = self._route.project(self._ego.x_m, self._ego.y_m, 0.0)
        self._snapshot = self._seen()

    def now(self) -> Snapshot:
        """Return the snapshot of the current frame."""
        return self._snapshot

    def step(self) -> Snapshot:
        """Advance exactly one frame and return its snapshot."""
        return self.skip(1)

    def skip(self, frames: int) -> Snapshot:
        """Advance so many frames and return the snapshot of the last."""
        for _ in range(frames):
            self.frame_index += 1
            if self._follows_path:
                self._ego = self._on_path()
            else:
                self._ego = driven(self._ego, *self._command, self._dt_s, self.body)
            x, y = self._ego.x_m, self._ego.y_m
            self._odometer_m, _ = self._route.project(x, y, self._odometer_m)
            self._snapshot = self._seen()
        return self._snapshot

    def apply(self, plan: Plan | None) -> None:
        """Drive the next frames by a plan where plans drive; None keeps the last plan's commands."""
        if plan is not None and self.trip.ego_mode is EgoMode.PLAN:
            self._command = (plan.acceleration_mps2, plan.steering_rad)

    def encounter_of(self, entity_id: int) -> str | None:
        """Return the encounter that an entity belongs to, for as long as the world lives."""
        return self._encounter_of.get(entity_id)

    def require_placed(self) -> None:
        """Refuse a script of which no encounter came near the ego.

        Raises:
            OperatorError: The script has encounters, but none of their things was ever in a snapshot.
        """
        expected = sum(bool(thing.encounter) for thing in self.script.things)
        if expected and not self.placed:
            raise OperatorError(
                f"script placed nothing: none of its {expected} things of encounters was within "
                f"{SNAPSHOT_RANGE_M:.0f} m of the ego; drive further, or change their paths"
            )

    @property
    def _elapsed_s(self) -> float:
        return (self.frame_index - self._start_index) / self.rate_hz

    @property
    def _follows_path(self) -> bool:
        return self.trip.ego_mode is EgoMode.WORLD and self.script.ego is not None

    def _on_path(self) -> VehicleState:
        """Return where the ego's own path has it now, and how that changes from frame to frame."""
        path, now_s = self.script.ego, self._elapsed_s
        assert path is not None
        x, y, yaw, speed = in_world(path.held_at(now_s), self._place)
        *_, speed_before = path.held_at(now_s - self._dt_s)
        _, _, yaw_after, _ = in_world(path.held_at(now_s + self._dt_s), self._place)
        state = VehicleState(
            x_m=x,
            y_m=y,
            yaw_rad=yaw,
            speed_mps=speed,
            acceleration_mps2=(speed - speed_before) / self._dt_s,
            yaw_rate_radps=wrap_rad(yaw_after - yaw) / self._dt_s,
        )
        return with_steering(state, self.body)

    def _seen(self) -> Snapshot:
        ego = self._ego
        entities = []
        for entity_id, thing in zip(self._ids, self.script.things, strict=True):
            motion = thing.path.at(self._elapsed_s)
            if motion is None:
                continue
            at = in_world(motion, self._place)
            if math.dist(at[:2], (ego.x_m, ego.y_m)) < SNAPSHOT_RANGE_M:
                attribute = thing.attribute
                if attribute is Attribute.UNKNOWN:
                    attribute = moving_or_stopped(at[3])
                entities.append(entity_at(entity_id, thing.look, at, attribute))
                self._count(entity_id, thing)
        return snapshot_at(
            self.frame_index, ego, self._route_seen(), entities, self.body, rate_hz=self.rate_hz
        )

    def _count(self, entity_id: int, thing: Scripted) -> None:
        """Count a thing of an encounter when it comes into sight."""
        if thing.encounter and entity_id in self._unseen:
            self._unseen.discard(entity_id)
            self._encounter_of[entity_id] = f"{thing.encounter}-v{self._visits}"
            self.placed[thing.look.category] += 1

    def _route_seen(self) -> Route:
        ego, front_m = self._ego, self._odometer_m + self.body.front_m
        return Route(
            points_ego=self._route.points_ego(self._odometer_m, ego.x_m, ego.y_m, ego.yaw_rad),
            speed_limit_mps=self._route.speed_limit_mps(front_m),
        )


def in_world(motion: Motion, place: Place) -> Motion:
    """Bring a motion from the frame of a place into the world frame."""
    x, y, yaw, speed = motion
    cos, sin = math.cos(place.yaw_rad), math.sin(place.yaw_rad)
    return (
        place.x_m + cos * x - sin * y,
        place.y_m + sin * x + cos * y,
        wrap_rad(place.yaw_rad + yaw),
        speed,
    )
