"""The manoeuvre of last resort: stay on the line and brake, on radar and ultrasonics alone.

It needs no network and no camera, so it remains when they fail. It is never checked: stopping on the
vehicle's line is the least harm that is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Body
from edge.contracts.scene import PlanSource
from edge.contracts.sensors import EgoState
from edge.plan.path import Path, steering_towards
from edge.plan.predict import Hazards
from edge.plan.proposals import Proposals, RouteSettings

Floats = NDArray[np.float64]


@dataclass
class MinimumRiskSettings:
    """Deceleration and gaps of the manoeuvre."""

    brake_mps2: float = 3.0
    """Deceleration when nothing is near."""
    gap_m: float = 0.5
    """Distance left before a radar track."""
    contact_gap_m: float = 0.1
    """Distance left before an ultrasonic echo."""


def minimum_risk_manoeuvre(
    path: Path,
    radar_hazards: Hazards,
    free_ahead_m: float,
    ego: EgoState,
    *,
    is_imminent: bool,
    vehicle: Body,
    settings: MinimumRiskSettings,
    route: RouteSettings,
    step_s: float,
    steps: int,
) -> Proposals:
    """Brake along the path, as hard as what is ahead demands.

    Args:
        path: The line to stay on.
        radar_hazards: What the radar follows, with or without a box.
        free_ahead_m: From the front bumper to the nearest ultrasonic echo in the way.
        ego: Own motion.
        is_imminent: Every other plan was refused because it would hit something: brake fully.
        vehicle: Outline and limits.
        settings: How hard to stop.
        route: For the lookahead.
        step_s: Time between points.
        steps: How many.

    Returns:
        One proposal.
    """
    speed = max(ego.speed_mps, 0.0)
    room_m, closing_mps = _what_is_ahead(
        path, radar_hazards, free_ahead_m, speed, vehicle=vehicle, settings=settings, step_s=step_s
    )
    needed = float((0.5 * closing_mps**2 / np.maximum(room_m, 0.05)).max())
    brake = vehicle.max_braking_mps2 if is_imminent else max(needed, settings.brake_mps2)
    brake = min(brake, vehicle.max_braking_mps2)
    time_s = np.minimum(step_s * np.arange(1, steps + 1), speed / brake)
    station = speed * time_s - 0.5 * brake * time_s**2
    position, yaw = path.at(station)
    lookahead_m = max(route.lookahead_min_m, route.lookahead_s * speed)
    steering = steering_towards(path.at(np.array(lookahead_m))[0], vehicle)
    return Proposals(
        source=PlanSource.MINIMUM_RISK,
        position=position[None],
        yaw_rad=yaw[None],
        speed_mps=(speed - brake * time_s)[None],
        station_m=station[None],
        offset_m=np.zeros((1, steps)),
        acceleration_mps2=np.array([-brake]),
        steering_rad=np.array([steering]),
        score=np.zeros(1),
        step_s=step_s,
    )


def _what_is_ahead(
    path: Path,
    hazards: Hazards,
    free_ahead_m: float,
    speed_mps: float,
    *,
    vehicle: Body,
    settings: MinimumRiskSettings,
    step_s: float,
) -> tuple[Floats, Floats]:
    """List, for everything on the path, the room left before it and the closing speed."""
    along, across = hazards.extents_along(path)
    is_on_path = ((np.abs(hazards.offset_m) - across) < vehicle.half_width_m).any(axis=1)
    is_ahead = is_on_path & (hazards.station_m[:, 0] > 0.0)
    room = (hazards.station_m - along)[is_ahead, 0] - vehicle.front_m - settings.gap_m
    pace = np.diff(hazards.station_m[is_ahead, :2], axis=1)[:, 0] / step_s
    return (
        np.append(room, free_ahead_m - settings.contact_gap_m),
        np.append(np.maximum(speed_mps - pace, 0.0), speed_mps),
    )
