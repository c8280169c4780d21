"""The line that the vehicle is to drive, from where it stands back onto its route.

A path is a polyline with a station (distance along it) for every point; points off it have a station and an
offset to the left. All planning along the road computes with these two numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Body
from edge.contracts.sensors import EgoState, Route

Floats = NDArray[np.float64]

STEP_M = 2.0
"""Spacing of a path's points: a chord this long leaves an 8 m bend by 6 cm."""


@dataclass(frozen=True, eq=False)
class Path:
    """A polyline in the ego frame; straight on before its beginning and after its end."""

    points: Floats  # (S, 2)
    station_m: Floats  # (S,)
    yaw_rad: Floats  # (S,), unwrapped
    curvature_pm: Floats  # (S,), 1/m, positive to the left

    @property
    def length_m(self) -> float:
        """Station of the last point."""
        return float(self.station_m[-1])

    @cached_property
    def _segments(self) -> tuple[Floats, Floats]:
        """Directions (S - 1, 2) and lengths (S - 1,) of the segments."""
        length = np.diff(self.station_m)
        return np.diff(self.points, axis=0) / length[:, None], length

    @cached_property
    def _squares(self) -> Floats:
        """Squared distances (S,) of the points from the ego origin."""
        return np.asarray((self.points**2).sum(axis=1))

    def at(self, station_m: Floats) -> tuple[Floats, Floats]:
        """Return positions (..., 2) and headings (...) at stations (...)."""
        inside = np.clip(station_m, 0.0, self.length_m)
        yaw = np.interp(inside, self.station_m, self.yaw_rad)
        beyond = station_m - inside
        x_m = np.interp(inside, self.station_m, self.points[:, 0]) + beyond * np.cos(yaw)
        y_m = np.interp(inside, self.station_m, self.points[:, 1]) + beyond * np.sin(yaw)
        return _pairs(x_m, y_m), yaw

    def beside(self, station_m: Floats, offset_m: Floats) -> tuple[Floats, Floats]:
        """Return positions and headings at stations, moved to the left by offsets of the same shape."""
        position, yaw = self.at(station_m)
        return position + offset_m[..., None] * _pairs(-np.sin(yaw), np.cos(yaw)), yaw

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Find station and left offset (...) of the nearest place on the path, for points (..., 2)."""
        flat = points.reshape(-1, 2)
        corner = np.argmin(self._squares - 2.0 * flat @ self.points.T, axis=1)
        # The nearest place is on one of the two segments that meet at the nearest corner.
        before, after = np.maximum(corner - 1, 0), np.minimum(corner, len(self.points) - 2)
        station, offset, square = (
            values.reshape(2, len(flat))
            for values in self._on_segment(
                np.concatenate([flat, flat]), np.concatenate([before, after])
            )
        )
        is_after = square[1] < square[0]
        station, offset = (np.where(is_after, v[1], v[0]) for v in (station, offset))
        return station.reshape(points.shape[:-1]), offset.reshape(points.shape[:-1])

    def _on_segment(
        self, points: Floats, segment: NDArray[np.int64]
    ) -> tuple[Floats, Floats, Floats]:
        """Project points (K, 2) onto one segment each: station, left offset, squared distance (K,)."""
        directions, lengths = self._segments
        direction, length = directions[segment], lengths[segment]
        gap = points - self.points[segment]
        reach = gap[:, 0] * direction[:, 0] + gap[:, 1] * direction[:, 1]
        left = gap[:, 1] * direction[:, 0] - gap[:, 0] * direction[:, 1]
        inside = np.where(segment > 0, np.maximum(reach, 0.0), reach)
        is_last = segment == len(self.points) - 2
        inside = np.where(is_last, inside, np.minimum(inside, length))
        return self.station_m[segment] + inside, left, left**2 + (reach - inside) ** 2


def _pairs(x: Floats, y: Floats) -> Floats:
    """Join two arrays of one shape (...) to (..., 2); twice as fast as ``np.stack``."""
    joined = np.empty((*np.shape(x), 2))
    joined[..., 0], joined[..., 1] = x, y
    return joined


def path_from_points(points: Floats) -> Path | None:
    """Build a path from points (N, 2) in driving order; None when they make no line."""
    if len(points) < 2:
        return None
    step = np.hypot(*np.diff(points, axis=0).T)
    distinct = points[np.concatenate([[True], step > 1e-3])]
    if len(distinct) < 2:
        return None
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(distinct, axis=0).T))])
    count = max(math.ceil(along[-1] / STEP_M), 1) + 1
    where = np.linspace(0.0, along[-1], count)
    even = np.stack([np.interp(where, along, distinct[:, k]) for k in (0, 1)], axis=1)
    station = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(even, axis=0).T))])
    chord = np.diff(even, axis=0)
    turn = np.unwrap(np.arctan2(chord[:, 1], chord[:, 0]))  # (count - 1,)
    # At its ends the line is taken to bend on as it does beside them.
    beyond = (2.0 * turn[:1] - turn[1:2], 2.0 * turn[-1:] - turn[-2:-1])
    wider = np.concatenate([beyond[0], turn, beyond[1]]) if len(turn) > 1 else np.repeat(turn, 3)
    yaw = 0.5 * (wider[1:] + wider[:-1])
    curvature = np.gradient(yaw, station)
    return Path(points=even, station_m=station, yaw_rad=yaw, curvature_pm=curvature)


def route_line(route: Route) -> Path | None:
    """Return the line of a route; None when it has none to follow."""
    return path_from_points(np.array(route.points_ego, np.float64).reshape(-1, 2))


def drive_path(
    line: Path, speed_mps: float, *, aside_m: float, blend_s: float, blend_min_m: float
) -> Path:
    """Lead from the vehicle's place and heading onto its route, and along it.

    Offset and heading error are reduced along a cubic, so the path starts at the ego origin along ego x.

    Args:
        line: The route.
        speed_mps: Present speed: the faster, the longer the way back.
        aside_m: How far to the left of the route to drive.
        blend_s: Time that the way back takes.
        blend_min_m: Its shortest length.
    """
    station, offset = line.project(np.zeros(2))
    remaining_m = max(line.length_m - float(station), STEP_M)
    way = np.linspace(0.0, remaining_m, max(math.ceil(remaining_m / STEP_M), 1) + 1)
    _, yaw = line.at(station)
    slope = math.tan(min(max(-float(yaw), -1.0), 1.0))
    blend_m = max(blend_min_m, blend_s * speed_mps)
    share = np.minimum(way / blend_m, 1.0)
    bend = (float(offset) - aside_m) * (1.0 - 3.0 * share**2 + 2.0 * share**3)
    bend += slope * blend_m * (share - 2.0 * share**2 + share**3)
    path = path_from_points(line.beside(station + way, aside_m + bend)[0])
    assert path is not None
    return path


def coast_path(ego: EgoState, vehicle: Body, length_m: float = 60.0) -> Path:
    """Follow the arc of the present steering, as the vehicle does without a route."""
    curvature = math.tan(ego.steering_rad) / vehicle.wheelbase_m
    way = np.linspace(0.0, length_m, int(length_m / STEP_M) + 1)
    turned = np.clip(curvature * way, -0.5 * math.pi, 0.5 * math.pi)
    step = np.diff(way)
    middle = 0.5 * (turned[1:] + turned[:-1])
    x = np.concatenate([[0.0], np.cumsum(step * np.cos(middle))])
    y = np.concatenate([[0.0], np.cumsum(step * np.sin(middle))])
    path = path_from_points(np.stack([x, y], axis=1))
    assert path is not None
    return path


def steering_towards(target: Floats, vehicle: Body) -> float:
    """Steer the rear axle along the arc through a point ahead (pure pursuit; Coulter 1992).

    Args:
        target: (2,) in the ego frame.
        vehicle: For its wheelbase and steering stop.
    """
    distance_2 = float(target @ target)
    if distance_2 < 1e-3:
        return 0.0
    steering = math.atan(vehicle.wheelbase_m * 2.0 * float(target[1]) / distance_2)
    return min(max(steering, -vehicle.max_steering_rad), vehicle.max_steering_rad)
