"""Proposals: the network's plans, and plans that plain code makes along the route.

Route plans follow the drive path (pure pursuit) in order of preference: first with the traffic at the allowed
speed, then slower, then stopping, each with a stronger brake than the last. The first that passes the checker
is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Body
from edge.contracts.scene import PlanSource
from edge.contracts.sensors import EgoState
from edge.plan.path import Path, steering_towards
from edge.plan.predict import Hazards

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_CREEP_MPS = 0.3


@dataclass
class RouteSettings:
    """Speeds, distances and times of route plans."""

    speed_factors: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Factors on the allowed speed; each gives one following plan."""
    brakes_mps2: tuple[float, ...] = (2.0, 3.5, 5.5, 8.0)
    """Decelerations; each gives one stopping plan."""
    acceleration_mps2: float = 1.8
    """Largest acceleration of a route plan."""
    comfortable_brake_mps2: float = 2.0
    """Deceleration that a route plan uses when nothing demands more."""
    lateral_mps2: float = 2.0
    """Largest sideways acceleration in a bend."""
    headway_s: float = 1.4
    """Time that following keeps to the vehicle ahead."""
    standstill_gap_m: float = 2.0
    """Distance that following keeps to a standing vehicle ahead."""
    response_s: float = 0.5
    """Time constant with which the allowed speed is approached."""
    follow_excess_ratio: float = 1.3
    """Following brakes at most this factor harder than the gap demands, or comfortably."""
    anticipation_s: float = 2.5
    """A road user that will be on the path within this time is treated as being there."""
    side_margin_m: float = 0.2
    """Room to either side of the vehicle that belongs to its path."""
    stop_gap_m: float = 0.8
    """Between the front bumper and a stop line."""
    blend_s: float = 1.2
    """Time in which the vehicle returns to the middle of its lane."""
    blend_min_m: float = 5.0
    """Shortest way on which it returns."""
    lookahead_s: float = 0.5
    """Time ahead at which the steering aims at a point of the path."""
    lookahead_min_m: float = 2.5
    """Shortest distance of that point."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Plans to judge, one row each; point k is (k + 1) steps from now, in the ego frame."""

    source: PlanSource
    position: Floats  # (P, K, 2)
    yaw_rad: Floats  # (P, K)
    speed_mps: Floats  # (P, K)
    station_m: Floats  # (P, K) along the drive path
    offset_m: Floats  # (P, K) to its left
    acceleration_mps2: Floats  # (P,) commanded now
    steering_rad: Floats  # (P,)
    score: Floats  # (P,) the higher the better, within one source
    step_s: float

    def __len__(self) -> int:
        return len(self.score)

    @cached_property
    def step_m(self) -> Floats:
        """The steps from the vehicle's place to each plan's points, (P, K, 2)."""
        step = self.position.copy()
        step[:, 1:] -= self.position[:, :-1]
        return step

    @cached_property
    def progress_m(self) -> Floats:
        """How far each plan drives, (P,)."""
        return np.asarray(np.hypot(self.step_m[..., 0], self.step_m[..., 1]).sum(axis=1))

    def select(self, index: NDArray[np.int64] | Bools) -> Proposals:
        """Keep some rows."""
        return Proposals(
            source=self.source,
            position=self.position[index],
            yaw_rad=self.yaw_rad[index],
            speed_mps=self.speed_mps[index],
            station_m=self.station_m[index],
            offset_m=self.offset_m[index],
            acceleration_mps2=self.acceleration_mps2[index],
            steering_rad=self.steering_rad[index],
            score=self.score[index],
            step_s=self.step_s,
        )


@dataclass(frozen=True, eq=False)
class SpeedCeiling:
    """The speeds that are allowed along a path.

    ``bound`` is physics: the highest speed from which every bend and the stop ahead can still be met
    comfortably. The road's limit is a rule, and a speed above it where it begins is no emergency.
    """

    station_m: Floats  # (S,) ascending
    energy: (
        Floats  # (S + 1,) lowest v^2 + 2 b s of this and every later bend; nothing after the last
    )
    limit_mps: float
    brake_mps2: float

    def bound(self, station_m: Floats) -> Floats:
        """Return the highest speed that bends and stop allow at stations (...); zero after the stop."""
        lowest = self.energy[np.searchsorted(self.station_m, station_m - 1e-9)]
        return np.sqrt(np.maximum(lowest - 2.0 * self.brake_mps2 * station_m, 0.0))

    def at(self, station_m: Floats) -> Floats:
        """Return the allowed speed at stations (...)."""
        return np.minimum(self.bound(station_m), self.limit_mps)


def speed_ceiling(
    path: Path,
    limit_mps: float,
    stop_station_m: float,
    settings: RouteSettings,
    careful_mps: Floats | float = math.inf,
) -> SpeedCeiling:
    """Limit the speed by the road's limit, its bends, a stop, and the end of what is known of it.

    Args:
        path: The drive path.
        limit_mps: The road's limit.
        stop_station_m: Where the rear axle must have stopped; infinite when free.
        settings: Comfortable accelerations.
        careful_mps: The highest speed at each station of the path, (S,), for other reasons.
    """
    end_m = min(max(stop_station_m, 0.0), path.length_m)
    is_before = path.station_m < end_m
    bend = settings.lateral_mps2 / np.maximum(np.abs(path.curvature_pm), 1e-4)
    bend = np.minimum(bend, np.square(careful_mps))[is_before]
    station = np.append(path.station_m[is_before], end_m)
    squares = np.append(bend, 0.0)
    energy = squares + 2.0 * settings.comfortable_brake_mps2 * station
    return SpeedCeiling(
        station_m=station,
        energy=np.append(np.minimum.accumulate(energy[::-1])[::-1], -math.inf),
        limit_mps=limit_mps,
        brake_mps2=settings.comfortable_brake_mps2,
    )


def route_proposals(
    path: Path,
    ceiling: SpeedCeiling,
    hazards: Hazards,
    ego: EgoState,
    *,
    vehicle: Body,
    settings: RouteSettings,
    step_s: float,
    steps: int,
) -> Proposals:
    """Drive the path: following plans for each speed factor, then stopping plans for each brake.

    A plan's score falls along that order.
    """
    station, speed, first = _drive_along(
        ceiling, _leads(path, hazards, vehicle, settings, step_s), max(ego.speed_mps, 0.0),
        vehicle=vehicle, settings=settings, step_s=step_s, steps=steps,
    )  # fmt: skip
    position, yaw = path.at(station)
    lookahead_m = max(settings.lookahead_min_m, settings.lookahead_s * ego.speed_mps)
    steering = steering_towards(path.at(np.array(lookahead_m))[0], vehicle)
    return Proposals(
        source=PlanSource.ROUTE,
        position=position,
        yaw_rad=yaw,
        speed_mps=speed,
        station_m=station,
        offset_m=np.zeros_like(station),
        acceleration_mps2=first,
        steering_rad=np.full(len(station), steering),
        score=-np.arange(len(station), dtype=np.float64),
        step_s=step_s,
    )


@dataclass(frozen=True, eq=False)
class _Leads:
    """Road users on the vehicle's path over time: rear ends, infinite while off it, and speeds along it."""

    rear_m: Floats  # (A, K+1)
    speed_mps: Floats  # (A,)
    hazard: Ints  # (A,) row of each in the hazards


def _leads(
    path: Path, hazards: Hazards, vehicle: Body, settings: RouteSettings, step_s: float
) -> _Leads:
    """Find the road users to follow: those on the known part of the path, now or soon.

    An oncoming road user is no lead: the vehicle stops for it as for a standing thing.
    """
    along, across = hazards.extents_along(path)
    room = vehicle.half_width_m + settings.side_margin_m
    is_on_path = np.abs(hazards.offset_m) - across < room
    is_on_path &= hazards.station_m < path.length_m
    rear = hazards.station_m - along
    # A road user on the path now is ahead or behind; one that will be may also come in beside the vehicle.
    is_ahead = np.where(is_on_path[:, :1], hazards.station_m[:, :1] > 0.0, rear > vehicle.front_m)
    rear = np.where(is_on_path & is_ahead, rear, np.inf)
    for _ in range(round(settings.anticipation_s / step_s)):
        # Until then it is taken to stand where it will come onto the path.
        rear[:, :-1] = np.where(np.isinf(rear[:, :-1]), rear[:, 1:], rear[:, :-1])
    is_lead = np.isfinite(rear).any(axis=1)
    # Stations are no measure of speed: beside a bend they jump.
    _, yaw = path.at(hazards.station_m[is_lead, 0])
    step = hazards.position[is_lead, 1] - hazards.position[is_lead, 0]
    speed = (step[:, 0] * np.cos(yaw) + step[:, 1] * np.sin(yaw)) / step_s
    return _Leads(rear[is_lead], np.maximum(speed, 0.0), np.flatnonzero(is_lead))


def _drive_along(
    ceiling: SpeedCeiling,
    leads: _Leads,
    speed_mps: float,
    *,
    vehicle: Body,
    settings: RouteSettings,
    step_s: float,
    steps: int,
) -> tuple[Floats, Floats, Floats]:
    """Integrate every plan along the path: stations and speeds (P, K), first accelerations (P,)."""
    factor = np.array([*settings.speed_factors, *(0.0 for _ in settings.brakes_mps2)])
    brake = np.array([*(0.0 for _ in settings.speed_factors), *settings.brakes_mps2])
    station, speed = np.zeros(len(factor)), np.full(len(factor), speed_mps)
    stations, speeds = np.empty((len(factor), steps)), np.empty((len(factor), steps))
    first = np.empty(0)
    for k in range(steps):
        bound = ceiling.bound(station + speed * settings.response_s)
        must = (bound - speed) / settings.response_s
        # The last bit before a stop is braked away, or it would be crept to for ever.
        is_arriving = (bound == 0.0) & (speed < _CREEP_MPS)
        must = np.where(is_arriving, -settings.comfortable_brake_mps2, must)
        may = (factor * np.minimum(bound, ceiling.limit_mps) - speed) / settings.response_s
        # A bend or a stop may take a firm brake; a lower speed for any other reason a comfortable one.
        free = np.minimum(must, np.maximum(may, -settings.comfortable_brake_mps2))
        follow = _follow(station, speed, leads.rear_m[:, k], leads.speed_mps, vehicle, settings)
        wanted = np.minimum(np.minimum(free, settings.acceleration_mps2), follow)
        wanted = np.where(brake > 0.0, -brake, np.maximum(wanted, -vehicle.max_braking_mps2))
        first = wanted if k == 0 else first
        after = np.maximum(speed + wanted * step_s, 0.0)
        # A plan that stops within the step stops where its braking ends, not after half the step.
        stopped_m = np.where(wanted < 0.0, 0.5 * speed**2 / np.maximum(-wanted, 1e-6), np.inf)
        station = station + np.minimum(0.5 * (speed + after) * step_s, stopped_m)
        speed = after
        stations[:, k], speeds[:, k] = station, speed
    return stations, speeds, first


def _follow(
    station: Floats,
    speed: Floats,
    rear_m: Floats,
    lead_mps: Floats,
    vehicle: Body,
    settings: RouteSettings,
) -> Floats:
    """Return the lowest acceleration that any lead (A,) demands of each plan, (P,)."""
    asked = _asked(station, speed, rear_m, lead_mps, vehicle, settings)
    return np.asarray(asked.min(axis=1, initial=math.inf))


def asked_by_hazards(
    path: Path,
    hazards: Hazards,
    speed_mps: float,
    *,
    vehicle: Body,
    settings: RouteSettings,
    step_s: float,
) -> Floats:
    """Return the acceleration in m/s2 that each hazard demands now, (A,); infinite off the path."""
    leads = _leads(path, hazards, vehicle, settings, step_s)
    asked = np.full(len(hazards), np.inf)
    here, pace = np.zeros(1), np.array([speed_mps])
    asked[leads.hazard] = _asked(
        here, pace, leads.rear_m[:, 0], leads.speed_mps, vehicle, settings
    )[0]
    return asked


def _asked(
    station: Floats,
    speed: Floats,
    rear_m: Floats,
    lead_mps: Floats,
    vehicle: Body,
    settings: RouteSettings,
) -> Floats:
    """Keep distance (Treiber, Hennecke and Helbing 2000, the intelligent driver's interaction term).

    Returns:
        (P, A) the acceleration that each lead demands of each plan.
    """
    gap = np.maximum(rear_m[None] - (station[:, None] + vehicle.front_m), 0.1)
    pace = speed[:, None]
    closing = pace * (pace - lead_mps[None])
    comfort = 2.0 * math.sqrt(settings.acceleration_mps2 * settings.comfortable_brake_mps2)
    wanted = settings.standstill_gap_m + np.maximum(
        settings.headway_s * pace + closing / comfort, 0
    )
    asked = settings.acceleration_mps2 * (1.0 - (wanted / gap) ** 2)
    room = np.maximum(gap - 0.5 * settings.standstill_gap_m, 0.1)
    needed = 0.5 * np.maximum(pace - lead_mps[None], 0.0) ** 2 / room
    enough = np.maximum(settings.follow_excess_ratio * needed, settings.comfortable_brake_mps2)
    return np.asarray(np.maximum(asked, -enough))


def network_proposals(
    plans: NDArray[np.float32],
    scores: NDArray[np.float32],
    path: Path,
    ego: EgoState,
    *,
    vehicle: Body,
    settings: RouteSettings,
    step_s: float,
) -> Proposals:
    """Read the network's plans as proposals.

    Args:
        plans: (P, K, 3) x, y, yaw in the ego frame, every ``step_s``.
        scores: (P,).
        path: The drive path.
        ego: Own motion now.
        vehicle: For its wheelbase and steering stop.
        settings: For the lookahead.
        step_s: Time between points.
    """
    pose = plans.astype(np.float64)
    position, yaw = pose[..., :2], pose[..., 2]
    step = position.copy()
    step[:, 1:] -= position[:, :-1]
    station, offset = path.project(position)
    speed = (step[..., 0] * np.cos(yaw) + step[..., 1] * np.sin(yaw)) / step_s
    second = max(round(1.0 / step_s), 1)
    first = (speed[:, :second].mean(axis=1) - ego.speed_mps) / (0.5 * second * step_s)
    lookahead_m = max(settings.lookahead_min_m, settings.lookahead_s * ego.speed_mps)
    targets = _first_beyond(position, lookahead_m)
    return Proposals(
        source=PlanSource.NETWORK,
        position=position,
        yaw_rad=yaw,
        speed_mps=speed,
        station_m=station,
        offset_m=offset,
        acceleration_mps2=first,
        steering_rad=np.array([steering_towards(t, vehicle) for t in targets], np.float64),
        score=scores.astype(np.float64),
        step_s=step_s,
    )


def _first_beyond(position: Floats, distance_m: float) -> Floats:
    """Return each plan's first point at least so far away, or its last: (P, 2) from (P, K, 2)."""
    is_beyond = np.hypot(position[..., 0], position[..., 1]) >= distance_m
    is_beyond[:, -1] = True
    return np.asarray(position[np.arange(len(position)), is_beyond.argmax(axis=1)])


def no_faster_than_standstill(proposals: Proposals, speed_mps: float, tick_s: float) -> Proposals:
    """Limit the brake of proposals to the one that stops the vehicle within one tick."""
    floor_mps2 = -max(speed_mps, 0.0) / tick_s
    capped = np.maximum(proposals.acceleration_mps2, floor_mps2) + 0.0  # never -0.0
    return replace(proposals, acceleration_mps2=capped)
