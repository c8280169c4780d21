"""Predict where everything that could be hit will be over the next seconds.

Every outline becomes one or more *hazards*: an oriented rectangle with a position per time step. A road user
that drives along the vehicle's path keeps to its lane (constant speed along the path, sideways motion that
decays); every other one goes straight on, and a standing one stays. Futures of the network are added when
they start like the motion that was tracked: a future that contradicts the last second is an error of the
network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.columns import Columns
from edge.contracts.scene import Agent, Trajectory
from edge.plan.outlines import Outlines
from edge.plan.path import Path

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_NOWHERE_M = 1e5
"""Position of a hazard beyond the end of its prediction."""


@dataclass
class PredictSettings:
    """Assumptions about the motion of others."""

    step_s: float = 0.25
    """Time between predicted positions."""
    steps: int = 16
    """Number of predicted positions."""
    lane_heading_rad: float = 0.45
    """Largest angle to the path, either way, of a road user that keeps to its lane."""
    lane_offset_m: float = 9.0
    """Largest distance from the path, to either side, of a road user that keeps to its lane."""
    sideways_s: float = 1.0
    """Time constant with which sideways motion within a lane decays."""
    sideways_mps: float = 1.0
    """Largest sideways speed within a lane."""
    min_mode_probability: float = 0.2
    """Futures of the network that are less probable are ignored."""
    mode_error_m: float = 0.5
    """Largest error of a network future against the tracked motion after one second, at standstill."""
    mode_error_s: float = 0.25
    """Time whose way at the agent's speed is added to ``mode_error_m``."""
    radar_horizon_s: float = 2.0
    """How far ahead a radar track without a box is predicted: its lane is not known."""


@dataclass(frozen=True, eq=False)
class Hazards(Columns):
    """Rectangles over time; time index 0 is now, k is k steps ahead."""

    position: Floats  # (A, K+1, 2) ego frame of this tick
    yaw_rad: Floats  # (A, K+1)
    half_length_m: Floats  # (A,)
    half_width_m: Floats  # (A,)
    station_m: Floats  # (A, K+1) along the drive path
    offset_m: Floats  # (A, K+1) to its left
    agent: Ints  # (A,) as in ``Outlines``
    radar: Ints  # (A,) as in ``Outlines``
    is_standing: Bools  # (A,)

    def __len__(self) -> int:
        return len(self.half_length_m)

    @property
    def is_radar(self) -> Bools:
        """Which are known to the radar alone, (A,)."""
        return np.asarray(self.agent < 0)

    @property
    def half(self) -> Floats:
        """Half length and half width, (A, 2)."""
        return np.stack([self.half_length_m, self.half_width_m], axis=1)

    def extents_along(self, path: Path) -> tuple[Floats, Floats]:
        """Return the half extents along and across the path, (A, K+1) each."""
        _, path_yaw = path.at(self.station_m)
        turn = self.yaw_rad - path_yaw
        c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        length, width = self.half_length_m[:, None], self.half_width_m[:, None]
        return c * length + s * width, s * length + c * width


def predict(
    seen: Outlines, agents: Sequence[Agent], path: Path, settings: PredictSettings
) -> Hazards:
    """Predict the places of everything that could be hit.

    Args:
        seen: Outlines now.
        agents: Those that ``seen.agent`` counts through, for their futures.
        path: The line to drive.
        settings: Assumptions.
    """
    hazards = _from_motion(seen, path, settings)
    moving = seen.select(~seen.is_standing & ~seen.is_radar)
    modes, row = _modes([agents[k].futures for k in moving.agent], moving.position, settings)
    owners = moving.select(row)
    is_credible = _is_credible(modes, owners, settings)
    if not is_credible.any():
        return hazards
    return hazards.followed_by(_from_modes(modes[is_credible], owners.select(is_credible), path))


def _from_motion(seen: Outlines, path: Path, settings: PredictSettings) -> Hazards:
    """Move every outline on by what is known of its motion."""
    time_s = np.arange(settings.steps + 1, dtype=np.float64) * settings.step_s  # (K+1,)
    position = seen.position[:, None] + seen.velocity[:, None] * time_s[:, None]  # (A, K+1, 2)
    yaw = np.tile(seen.yaw_rad[:, None], (1, len(time_s)))
    station_now, offset_now = path.project(seen.position)
    station = np.tile(station_now[:, None], (1, len(time_s)))
    offset = np.tile(offset_now[:, None], (1, len(time_s)))
    is_lane = ~seen.is_standing & _keeps_to_lane(seen, station_now, offset_now, path, settings)
    if is_lane.any():
        station[is_lane], offset[is_lane] = _along_lane(
            seen.select(is_lane), station_now[is_lane], offset_now[is_lane], path, settings
        )
        position[is_lane], yaw[is_lane] = path.beside(station[is_lane], offset[is_lane])
        is_oncoming = is_lane & (station[:, -1] < station[:, 0])
        yaw[is_oncoming] += math.pi
    is_free = ~seen.is_standing & ~is_lane
    if is_free.any():
        station[is_free], offset[is_free] = path.project(position[is_free])
    is_unknown = (seen.is_radar & ~seen.is_standing)[:, None] & (time_s > settings.radar_horizon_s)
    position[is_unknown] = offset[is_unknown] = _NOWHERE_M
    return _hazards(seen, position, yaw, station, offset)


def _hazards(
    outlines: Outlines, position: Floats, yaw_rad: Floats, station_m: Floats, offset_m: Floats
) -> Hazards:
    """Give outlines (A,) their positions over time; see ``Hazards`` for shapes."""
    return Hazards(
        position=position,
        yaw_rad=yaw_rad,
        half_length_m=outlines.half_length_m,
        half_width_m=outlines.half_width_m,
        station_m=station_m,
        offset_m=offset_m,
        agent=outlines.agent,
        radar=outlines.radar,
        is_standing=outlines.is_standing,
    )


def _keeps_to_lane(
    seen: Outlines, station: Floats, offset: Floats, path: Path, settings: PredictSettings
) -> Bools:
    _, path_yaw = path.at(station)
    turn = np.arctan2(seen.velocity[:, 1], seen.velocity[:, 0]) - path_yaw
    is_along = np.abs(np.sin(turn)) < math.sin(settings.lane_heading_rad)
    return np.asarray(is_along & (np.abs(offset) < settings.lane_offset_m))


def _along_lane(
    seen: Outlines, station: Floats, offset: Floats, path: Path, settings: PredictSettings
) -> tuple[Floats, Floats]:
    """Move along the path at constant speed: stations and offsets over time, (A, K+1) each."""
    time_s = np.arange(settings.steps + 1, dtype=np.float64) * settings.step_s
    _, path_yaw = path.at(station)
    c, s = np.cos(path_yaw), np.sin(path_yaw)
    along = seen.velocity[:, 0] * c + seen.velocity[:, 1] * s
    sideways = seen.trust * (seen.velocity[:, 1] * c - seen.velocity[:, 0] * s)
    sideways = np.clip(sideways, -settings.sideways_mps, settings.sideways_mps)
    fading_s = settings.sideways_s * (1.0 - np.exp(-time_s / settings.sideways_s))
    return station[:, None] + along[:, None] * time_s, offset[:, None] + sideways[
        :, None
    ] * fading_s


def _modes(
    futures: Sequence[Sequence[Trajectory]], position: Floats, settings: PredictSettings
) -> tuple[Floats, Ints]:
    """Resample the likelier futures at the planner's times: (M, K+1, 2), and the row of each, (M,)."""
    alike: dict[tuple[int, float], list[list[tuple[float, float]]]] = {}
    rows: dict[tuple[int, float], list[int]] = {}
    for row, (here, options) in enumerate(zip(position.tolist(), futures, strict=True)):
        for future in options:
            if future.probability >= settings.min_mode_probability and future.points_ego:
                kind = (len(future.points_ego), future.step_s)
                alike.setdefault(kind, []).append([here, *future.points_ego])
                rows.setdefault(kind, []).append(row)
    empty = np.zeros((0, settings.steps + 1, 2))
    found = [_resampled(np.array(points), kind[1], settings) for kind, points in alike.items()]
    return np.concatenate([empty, *found]), np.array([r for rs in rows.values() for r in rs], int)


def _resampled(trajectories: Floats, step_s: float, settings: PredictSettings) -> Floats:
    """Resample trajectories (M, N, 2) at the planner's times, (M, K+1, 2); straight on beyond their ends."""
    wanted = settings.step_s / max(step_s, 1e-3) * np.arange(settings.steps + 1)
    before = np.minimum(wanted.astype(np.int64), trajectories.shape[1] - 2)
    share = (wanted - before)[:, None]
    return np.asarray(trajectories[:, before] * (1.0 - share) + trajectories[:, before + 1] * share)


def _is_credible(modes: Floats, owners: Outlines, settings: PredictSettings) -> Bools:
    """Return which futures (M, K+1, 2) continue the tracked motion of their owners, (M,)."""
    second = min(round(1.0 / settings.step_s), settings.steps)
    expected = owners.position + owners.velocity * second * settings.step_s
    error = np.hypot(*(modes[:, second] - expected).T)
    speed = np.hypot(*owners.velocity.T)
    return np.asarray(error <= settings.mode_error_m + settings.mode_error_s * speed)


def _from_modes(position: Floats, owners: Outlines, path: Path) -> Hazards:
    station, offset = path.project(position)
    yaw = np.tile(owners.yaw_rad[:, None], (1, position.shape[1]))
    return _hazards(owners, position, yaw, station, offset)
