"""Compute how far the vehicle can drive before it touches an ultrasonic echo.

An echo has a distance and no direction: its source lies somewhere on an arc as wide as the sensor's cone.
Neighbouring sensors narrow that down, because a source within their cones would have been measured there as
well. An echo that may as well lie beside the way as on it is left to the other sensors: parked vehicles fill
these cones all the time. An echo without any possible place is one that a neighbour has missed; it is
ignored, because that lasts for one tick.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Body, UltrasonicMount
from edge.contracts.sensors import ULTRASONIC_MAX_RANGE_M, UltrasonicScan
from edge.plan.path import Path

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_POSE_STEP_M = 0.25


@dataclass
class EchoSettings:
    """How echoes are interpreted."""

    half_cone_rad: float = math.radians(30.0)
    """Half the opening angle of a sensor: an echo may come from anywhere within it."""
    bearings: int = 13
    """Places tried along an arc."""
    sure_cone_rad: float = math.radians(27.0)
    """Angle from its axis within which a sensor surely measures an object."""
    tolerance_m: float = 0.08
    """Noise of a reading."""
    range_m: float = 4.5
    """Further echoes are too coarse to be placed."""
    side_m: float = 0.0
    """Room to either side of the vehicle's outline that counts as touching."""


def free_travel_m(
    scan: UltrasonicScan,
    mounts: Sequence[UltrasonicMount],
    path: Path,
    vehicle: Body,
    settings: EchoSettings,
) -> float:
    """Measure how far along the path the vehicle's outline gets before it touches an echo.

    Sensors that look backwards are left out, and those without a range in the scan.

    Returns:
        Metres; infinite when no echo is certainly in the way.
    """
    front = [
        k for k, mount in enumerate(mounts[: len(scan.ranges_m)]) if math.cos(mount.yaw_rad) > 0.0
    ]
    if not front:
        return math.inf
    front.sort(key=lambda k: mounts[k].y_m)
    mount = np.array([(mounts[k].x_m, mounts[k].y_m, mounts[k].yaw_rad) for k in front])
    reach = scan.ranges_m[front].astype(np.float64)
    heard = np.flatnonzero((reach >= 0.0) & (reach < settings.range_m))
    if len(heard) == 0:
        return math.inf
    places = _arcs(mount[heard], reach[heard], settings)  # (H, B, 2)
    awake = ~_has_missed(reach)
    is_possible = ~_refuted(places, mount[awake], reach[awake], settings)
    travel = _travel(places, path, vehicle, settings)
    is_harmless = (is_possible & np.isinf(travel)).any(axis=1)
    nearest = np.where(is_possible, travel, np.inf).min(axis=1)  # infinite where no place is left
    return float(np.where(is_harmless, np.inf, nearest).min())


def _arcs(mount: Floats, reach: Floats, settings: EchoSettings) -> Floats:
    """Return the places (H, B, 2) at which each echo may have been reflected."""
    spread = np.linspace(-settings.half_cone_rad, settings.half_cone_rad, settings.bearings)
    bearing = mount[:, 2:] + spread
    way = reach[:, None, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=-1)
    return np.asarray(mount[:, None, :2] + way)


def _has_missed(reach: Floats) -> Bools:
    """Return which sensors of a row measure nothing although both neighbours do: they may have failed."""
    is_silent = np.isclose(reach, ULTRASONIC_MAX_RANGE_M)
    has_missed = np.zeros(len(reach), np.bool_)
    has_missed[1:-1] = is_silent[1:-1] & ~is_silent[:-2] & ~is_silent[2:]
    return has_missed


def _refuted(places: Floats, mount: Floats, reach: Floats, settings: EchoSettings) -> Bools:
    """Return which places (H, B) must be empty: some sensor (M, 3) would have measured a nearer echo."""
    offset = places[:, :, None] - mount[:, :2]  # (H, B, M, 2)
    distance = np.hypot(offset[..., 0], offset[..., 1])
    ahead = offset[..., 0] * np.cos(mount[:, 2]) + offset[..., 1] * np.sin(mount[:, 2])
    is_in_cone = ahead > distance * math.cos(settings.sure_cone_rad)
    is_silent = reach > distance + settings.tolerance_m
    return np.asarray((is_in_cone & is_silent).any(axis=-1))


def _travel(places: Floats, path: Path, vehicle: Body, settings: EchoSettings) -> Floats:
    """Return, for places (H, B, 2), how far the vehicle drives until it covers them; infinite if never."""
    station = np.arange(0.0, settings.range_m + 0.5 + _POSE_STEP_M, _POSE_STEP_M)
    position, yaw = path.at(station)
    offset = places[:, :, None] - position  # (H, B, S, 2)
    x = offset[..., 0] * np.cos(yaw) + offset[..., 1] * np.sin(yaw)
    y = offset[..., 1] * np.cos(yaw) - offset[..., 0] * np.sin(yaw)
    is_inside = (x > 0.0) & (x < vehicle.front_m)
    is_inside &= np.abs(y) < vehicle.half_width_m + settings.side_m
    first = is_inside.argmax(axis=-1)
    x_first = np.take_along_axis(x, first[..., None], axis=-1)[..., 0]
    met = np.maximum(station[first] - (vehicle.front_m - x_first), station[first] - _POSE_STEP_M)
    return np.where(is_inside.any(axis=-1), np.maximum(met, 0.0), np.inf)
