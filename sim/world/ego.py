"""Motion of a simulated vehicle: a kinematic bicycle whose reference point is the rear axle.

See Kong et al., "Kinematic and dynamic vehicle models for autonomous driving control design", 2015;
without side slip the rear axle drives a circle of radius wheelbase / tan(steering).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edge.contracts.geometry import wrap_rad
from edge.contracts.rig import Body
from sim.place.rectangles import Rectangle, ahead_of


@dataclass(frozen=True)
class VehicleState:
    """Where the rear axle is in the world frame, and how it moves."""

    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float = 0.0
    acceleration_mps2: float = 0.0
    yaw_rate_radps: float = 0.0
    steering_rad: float = 0.0


def driven(
    state: VehicleState,
    acceleration_mps2: float,
    steering_rad: float,
    dt_s: float,
    body: Body,
) -> VehicleState:
    """Drive for ``dt_s`` with constant acceleration and steering, both cut to what ``body`` can do.

    The arc is exact. A vehicle that brakes to a standstill stays there: it does not reverse.
    """
    asked = min(max(acceleration_mps2, -body.max_braking_mps2), body.max_acceleration_mps2)
    steering = min(max(steering_rad, -body.max_steering_rad), body.max_steering_rad)
    speed = max(0.0, state.speed_mps + asked * dt_s)
    moving_s = dt_s if speed > 0.0 or asked >= 0.0 else state.speed_mps / -asked
    travelled_m = 0.5 * (state.speed_mps + speed) * moving_s
    turned = travelled_m * math.tan(steering) / body.wheelbase_m
    chord_m = travelled_m * (math.sin(0.5 * turned) / (0.5 * turned) if turned else 1.0)
    return replace(
        state,
        x_m=state.x_m + chord_m * math.cos(state.yaw_rad + 0.5 * turned),
        y_m=state.y_m + chord_m * math.sin(state.yaw_rad + 0.5 * turned),
        yaw_rad=wrap_rad(state.yaw_rad + turned),
        speed_mps=speed,
        acceleration_mps2=(speed - state.speed_mps) / dt_s,
        yaw_rate_radps=speed * math.tan(steering) / body.wheelbase_m,
        steering_rad=steering,
    )


def footprint_of(state: VehicleState, body: Body, ahead_s: float = 0.0) -> Rectangle:
    """Return the ground that the ego covers, or will have covered after ``ahead_s``."""
    x = state.x_m + body.centre_m * math.cos(state.yaw_rad)
    y = state.y_m + body.centre_m * math.sin(state.yaw_rad)
    travel_m = state.speed_mps * ahead_s
    return ahead_of(x, y, state.yaw_rad, body.length_m, body.width_m, travel_m)


def with_steering(state: VehicleState, body: Body) -> VehicleState:
    """Work out the steering of an ego that follows given positions, no further than it can steer.

    Such an ego turns at the corners of its path at once.
    """
    if state.speed_mps < 1.0:
        return replace(state, yaw_rate_radps=0.0)
    steering = math.atan(body.wheelbase_m * state.yaw_rate_radps / state.speed_mps)
    limit = body.max_steering_rad
    steering = min(max(steering, -limit), limit)
    yaw_rate = state.speed_mps * math.tan(steering) / body.wheelbase_m
    return replace(state, steering_rad=steering, yaw_rate_radps=yaw_rate)
