"""Say where everything that could be hit will be over the next seconds.

Every confirmed agent and every radar track that no box explains becomes one or more *hazards*: an
oriented rectangle with a position per time step. Whoever drives along our path keeps to its lane
(constant speed along the path, sideways motion dying out); everybody else goes straight on, and who
stands stays. Futures from the network come on top, when they start like the motion that was tracked: a
future that contradicts the last second says more about the network than about the agent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.scene import Agent, RadarTrack
from edge.plan.path import Path
from edge.plan.vehicle import VehicleShape

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass
class PredictSettings:
    """What is believed about the motion of others."""

    step_s: float = 0.25
    steps: int = 16
    max_range_m: float = 80.0
    max_hazards: int = 48
    """The nearest ones; bounds the work of a tick."""
    standing_mps: float = 0.5
    """Slower than this is noise."""
    lane_heading_rad: float = 0.45
    """Who moves along the path within this angle, either way, keeps to its lane."""
    lane_offset_m: float = 9.0
    sideways_s: float = 1.0
    """Within a lane, sideways motion dies out with this time constant."""
    min_mode_probability: float = 0.2
    mode_error_m: float = 0.5
    """How far a network future may be off the tracked motion after one second…"""
    mode_error_s: float = 0.25
    """…plus this many seconds of the agent's speed."""
    radar_half_size_m: float = 0.5
    """Half the side of the square that a radar track without a box stands for."""
    radar_match_m: float = 1.5
    """A radar track this close to a box is that box."""
    radar_trust_s: float = 1.0
    """At this age a radar track's sideways speed is fully believed."""


@dataclass(frozen=True, eq=False)
class Hazards:
    """Rectangles over time; time index 0 is now, k is k steps ahead."""

    position: Floats  # (A, K+1, 2) ego frame of this tick
    yaw_rad: Floats  # (A, K+1)
    half_length_m: Floats  # (A,)
    half_width_m: Floats  # (A,)
    station_m: Floats  # (A, K+1) along the drive path
    offset_m: Floats  # (A, K+1) to its left
    is_radar: Bools  # (A,) no box explains it

    def __len__(self) -> int:
        return len(self.half_length_m)

    def select(self, index: Bools | NDArray[np.int64]) -> Hazards:
        """Keep some rows."""
        return Hazards(
            position=self.position[index],
            yaw_rad=self.yaw_rad[index],
            half_length_m=self.half_length_m[index],
            half_width_m=self.half_width_m[index],
            station_m=self.station_m[index],
            offset_m=self.offset_m[index],
            is_radar=self.is_radar[index],
        )

    def extents_along(self, path: Path) -> tuple[Floats, Floats]:
        """Give the half extents along and across the path, (A, K+1) each."""
        _, path_yaw = path.at(self.station_m)
        turn = self.yaw_rad - path_yaw
        c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        length, width = self.half_length_m[:, None], self.half_width_m[:, None]
        return c * length + s * width, s * length + c * width


def predict(
    agents: Sequence[Agent],
    radar_tracks: Sequence[RadarTrack],
    path: Path,
    vehicle: VehicleShape,
    settings: PredictSettings,
) -> Hazards:
    """Predict what could be hit.

    What comes from behind is left out: it must keep its distance. So is what claims to be inside our
    own outline.
    """
    sure = [agent for agent in agents if agent.is_confirmed]
    rows = np.concatenate([_agent_rows(sure), _radar_rows(sure, radar_tracks, settings)])
    is_kept = _matters(rows, vehicle, settings)
    hazards = _from_motion(rows[is_kept], path, settings)
    speed = np.hypot(rows[: len(sure), _VX], rows[: len(sure), _VY])
    moving = np.flatnonzero(is_kept[: len(sure)] & (speed >= settings.standing_mps))
    modes, owner = _modes([sure[k] for k in moving], settings)
    is_credible = _is_credible(modes, rows[moving[owner]], settings)
    if not is_credible.any():
        return hazards
    owners = rows[moving[owner[is_credible]]]
    return _joined(hazards, _from_modes(modes[is_credible], owners, path))


_X, _Y, _VX, _VY, _YAW, _HALF_L, _HALF_W, _IS_RADAR = range(8)


def _agent_rows(agents: Sequence[Agent]) -> Floats:
    boxes = [agent.box for agent in agents]
    rows = [
        (b.x_m, b.y_m, b.vx_mps, b.vy_mps, b.yaw_rad, b.length_m / 2, b.width_m / 2, 0.0)
        for b in boxes
    ]
    return np.array(rows, np.float64).reshape(-1, 8)


def _radar_rows(
    agents: Sequence[Agent], tracks: Sequence[RadarTrack], settings: PredictSettings
) -> Floats:
    """Turn radar tracks that no box explains into rows; a young one's sideways speed is doubted."""
    size = settings.radar_half_size_m
    rows = np.array(
        [(t.x_m, t.y_m, t.vx_mps, t.vy_mps, 0.0, size, size, 1.0) for t in tracks], np.float64
    ).reshape(-1, 8)
    trust = np.array([min(t.age_s / settings.radar_trust_s, 1.0) for t in tracks])
    sight = rows[:, :2] / np.maximum(np.hypot(rows[:, 0], rows[:, 1]), 0.1)[:, None]
    radial = (rows[:, _VX : _VY + 1] * sight).sum(axis=1, keepdims=True) * sight
    rows[:, _VX : _VY + 1] = radial + trust[:, None] * (rows[:, _VX : _VY + 1] - radial)
    boxes = _agent_rows(agents)
    dx = rows[:, None, _X] - boxes[None, :, _X]
    dy = rows[:, None, _Y] - boxes[None, :, _Y]
    c, s = np.cos(boxes[:, _YAW]), np.sin(boxes[:, _YAW])
    is_beside = np.abs(c * dx + s * dy) < boxes[:, _HALF_L] + settings.radar_match_m
    is_across = np.abs(c * dy - s * dx) < boxes[:, _HALF_W] + settings.radar_match_m
    return rows[~(is_beside & is_across).any(axis=1)]


def _matters(rows: Floats, vehicle: VehicleShape, settings: PredictSettings) -> Bools:
    x, y = rows[:, _X], rows[:, _Y]
    is_ahead = x > -vehicle.rear_m
    is_inside = is_ahead & (x < vehicle.front_m) & (np.abs(y) < vehicle.half_width_m)
    distance = np.hypot(x, y)
    is_kept = is_ahead & ~is_inside & (distance < settings.max_range_m)
    too_many = np.argsort(np.where(is_kept, distance, np.inf), kind="stable")
    is_kept[too_many[settings.max_hazards :]] = False
    return is_kept


def _from_motion(rows: Floats, path: Path, settings: PredictSettings) -> Hazards:
    """Move every row on by what is known of its motion."""
    time_s = np.arange(settings.steps + 1, dtype=np.float64) * settings.step_s  # (K+1,)
    velocity = rows[:, _VX : _VY + 1].copy()
    is_standing = np.hypot(velocity[:, 0], velocity[:, 1]) < settings.standing_mps
    velocity[is_standing] = 0.0
    position = rows[:, None, :2] + velocity[:, None] * time_s[:, None]  # (A, K+1, 2)
    yaw = np.tile(rows[:, _YAW, None], (1, len(time_s)))
    station, offset = path.project(position[:, 0])
    station, offset = (np.tile(v[:, None], (1, len(time_s))) for v in (station, offset))
    is_lane = ~is_standing & _keeps_to_lane(velocity, station[:, 0], offset[:, 0], path, settings)
    if is_lane.any():
        s, d, moved, turned = _along_lane(
            velocity[is_lane], station[is_lane, 0], offset[is_lane, 0], path, time_s, settings
        )
        station[is_lane], offset[is_lane] = s, d
        position[is_lane], yaw[is_lane] = moved, turned
    is_free = ~is_standing & ~is_lane
    if is_free.any():
        station[is_free], offset[is_free] = path.project(position[is_free])
    return Hazards(
        position=position,
        yaw_rad=yaw,
        half_length_m=rows[:, _HALF_L],
        half_width_m=rows[:, _HALF_W],
        station_m=station,
        offset_m=offset,
        is_radar=rows[:, _IS_RADAR] > 0.5,
    )


def _keeps_to_lane(
    velocity: Floats, station: Floats, offset: Floats, path: Path, settings: PredictSettings
) -> Bools:
    _, path_yaw = path.at(station)
    turn = np.arctan2(velocity[:, 1], velocity[:, 0]) - path_yaw
    is_along = np.abs(np.sin(turn)) < math.sin(settings.lane_heading_rad)
    return np.asarray(is_along & (np.abs(offset) < settings.lane_offset_m))


def _along_lane(
    velocity: Floats,
    station: Floats,
    offset: Floats,
    path: Path,
    time_s: Floats,
    settings: PredictSettings,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Move along the path at constant speed: stations, offsets, positions and headings over time."""
    _, path_yaw = path.at(station)
    c, s = np.cos(path_yaw), np.sin(path_yaw)
    along = velocity[:, 0] * c + velocity[:, 1] * s
    sideways = velocity[:, 1] * c - velocity[:, 0] * s
    fading_s = settings.sideways_s * (1.0 - np.exp(-time_s / settings.sideways_s))
    moved_station = station[:, None] + along[:, None] * time_s
    moved_offset = offset[:, None] + sideways[:, None] * fading_s
    position, yaw = path.beside(moved_station, moved_offset)
    return moved_station, moved_offset, position, yaw + np.where(along < 0.0, math.pi, 0.0)[:, None]


def _modes(agents: Sequence[Agent], settings: PredictSettings) -> tuple[Floats, NDArray[np.int64]]:
    """Read the network's likelier futures at our times: (M, K+1, 2), and whose each is, (M,)."""
    alike: dict[tuple[int, float], list[list[tuple[float, float]]]] = {}
    owners: dict[tuple[int, float], list[int]] = {}
    for number, agent in enumerate(agents):
        here = (agent.box.x_m, agent.box.y_m)
        for future in agent.futures:
            if future.probability >= settings.min_mode_probability and future.points_ego:
                kind = (len(future.points_ego), future.step_s)
                alike.setdefault(kind, []).append([here, *future.points_ego])
                owners.setdefault(kind, []).append(number)
    empty = np.zeros((0, settings.steps + 1, 2))
    found = [_resampled(np.array(points), kind[1], settings) for kind, points in alike.items()]
    owner = [number for numbers in owners.values() for number in numbers]
    return np.concatenate([empty, *found]), np.array(owner, np.int64)


def _resampled(trajectories: Floats, step_s: float, settings: PredictSettings) -> Floats:
    """Read trajectories (M, N, 2) at our times, (M, K+1, 2); straight on where they end."""
    wanted = settings.step_s / max(step_s, 1e-3) * np.arange(settings.steps + 1)
    before = np.minimum(wanted.astype(np.int64), trajectories.shape[1] - 2)
    share = (wanted - before)[:, None]
    return np.asarray(trajectories[:, before] * (1.0 - share) + trajectories[:, before + 1] * share)


def _is_credible(modes: Floats, rows: Floats, settings: PredictSettings) -> Bools:
    """Say which futures (M, K+1, 2) go on with the tracked motion of their agents, rows (M, 8)."""
    second = min(round(1.0 / settings.step_s), settings.steps)
    velocity = rows[:, _VX : _VY + 1]
    expected = rows[:, :2] + velocity * second * settings.step_s
    error = np.hypot(*(modes[:, second] - expected).T)
    speed = np.hypot(*velocity.T)
    return np.asarray(error <= settings.mode_error_m + settings.mode_error_s * speed)


def _from_modes(position: Floats, rows: Floats, path: Path) -> Hazards:
    station, offset = path.project(position)
    return Hazards(
        position=position,
        yaw_rad=np.tile(rows[:, _YAW, None], (1, position.shape[1])),
        half_length_m=rows[:, _HALF_L],
        half_width_m=rows[:, _HALF_W],
        station_m=station,
        offset_m=offset,
        is_radar=np.zeros(len(rows), np.bool_),
    )


def _joined(one: Hazards, two: Hazards) -> Hazards:
    return Hazards(
        position=np.concatenate([one.position, two.position]),
        yaw_rad=np.concatenate([one.yaw_rad, two.yaw_rad]),
        half_length_m=np.concatenate([one.half_length_m, two.half_length_m]),
        half_width_m=np.concatenate([one.half_width_m, two.half_width_m]),
        station_m=np.concatenate([one.station_m, two.station_m]),
        offset_m=np.concatenate([one.offset_m, two.offset_m]),
        is_radar=np.concatenate([one.is_radar, two.is_radar]),
    )
