"""The state of every track and the boxes of one tick as arrays, one row each, in the world frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import Category, Kind, row_of
from edge.contracts.columns import Columns
from edge.contracts.geometry import Pose
from edge.contracts.scene import Box3D
from edge.perceive.track.settings import TrackerSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_KINDS = tuple(Kind)
VEHICLES, VULNERABLE, THINGS = map(_KINDS.index, (Kind.VEHICLE, Kind.VULNERABLE, Kind.THING))
_LEAST_VOTE = 1e-12
"""A box of score zero names its class, too."""


@dataclass(eq=False)
class Tracks(Columns):
    """One row per track, oldest first."""

    mean_world: Floats  # (N, 4) x, y, vx, vy
    covariance_world: Floats  # (N, 4, 4)
    shape_m: Floats  # (N, 4) length, width, height, z
    heading_world: Floats  # (N, 2), any length
    votes: Floats  # (N, C), see ``Tracker.numbers``
    score: Floats  # (N,)
    group: Ints  # (N,)
    track_id: Ints  # (N,)
    first_seen_ns: Ints  # (N,)
    last_seen_ns: Ints  # (N,)
    hits: Ints  # (N,)
    recent: NDArray[np.bool_]  # (N, confirm_ticks), newest first
    is_confirmed: NDArray[np.bool_]  # (N,)


@dataclass(eq=False)
class Measured(Columns):
    """This tick's boxes as arrays in the world frame."""

    position_world: Floats  # (B, 2)
    velocity_world: Floats  # (B, 2)
    velocity_sigma_mps: Floats  # (B,) infinite where the network's velocity is ignored
    heading_world: Floats  # (B, 2) unit
    shape_m: Floats  # (B, 4) length, width, height, z
    score: Floats  # (B,)
    category: Ints  # (B,) number of its class
    is_on_foot: NDArray[np.bool_]  # (B,)
    group: Ints  # (B,)


def planar(world_from_ego: Pose) -> tuple[Floats, Floats]:
    """Return rotation (2, 2) and origin (2,) of the ego frame on the ground plane."""
    c, s = math.cos(world_from_ego.yaw_rad), math.sin(world_from_ego.yaw_rad)
    return np.array([[c, -s], [s, c]]), np.array([world_from_ego.x_m, world_from_ego.y_m])


def measure(
    boxes: Sequence[Box3D],
    rotation: Floats,
    origin: Floats,
    velocity_sigma_mps: Mapping[Category, float],
    numbers: Mapping[Category, int],
) -> Measured:
    """Turn boxes in the ego frame into rows in the world frame.

    Args:
        boxes: In the ego frame.
        rotation: Of the ego frame, (2, 2); see ``planar``.
        origin: Of the ego frame, (2,).
        velocity_sigma_mps: Error per axis of the boxes' velocities; ignored for a class that it lacks.
        numbers: Number of every class that occurs.
    """
    rows = [
        (b.x_m, b.y_m, b.vx_mps, b.vy_mps, math.cos(b.yaw_rad), math.sin(b.yaw_rad),
         b.length_m, b.width_m, b.height_m, b.z_m, b.score)
        for b in boxes
    ]  # fmt: skip
    values = np.array(rows, np.float64).reshape(-1, 11)
    classes = [row_of(b.category) for b in boxes]
    return Measured(
        position_world=values[:, 0:2] @ rotation.T + origin,
        velocity_world=values[:, 2:4] @ rotation.T,
        velocity_sigma_mps=np.array([velocity_sigma_mps.get(b.category, np.inf) for b in boxes]),
        heading_world=values[:, 4:6] @ rotation.T,
        shape_m=values[:, 6:10],
        score=values[:, 10],
        category=np.array([numbers[b.category] for b in boxes], np.int64),
        is_on_foot=np.array([row.is_on_foot for row in classes], np.bool_),
        group=np.array([_KINDS.index(row.kind) for row in classes], np.int64),
    )


def born(
    measured: Measured, first_id: int, stamp_ns: int, class_count: int, settings: TrackerSettings
) -> Tracks:
    """Start one tentative track per measured box."""
    count = len(measured.score)
    is_slow = measured.is_on_foot | (measured.group == THINGS)
    prior = np.where(is_slow, settings.newborn_slow_speed_mps, settings.newborn_speed_mps)
    is_told = measured.velocity_sigma_mps < prior
    spread = np.full((count, 4), settings.position_sigma_m)
    spread[:, 2:] = np.where(is_told, measured.velocity_sigma_mps, prior)[:, None]
    velocity = np.where(is_told[:, None], measured.velocity_world, 0.0)
    votes = np.zeros((count, class_count))
    votes[np.arange(count), measured.category] = np.maximum(measured.score, _LEAST_VOTE)
    recent = np.zeros((count, settings.confirm_ticks), np.bool_)
    recent[:, 0] = True
    return Tracks(
        mean_world=np.concatenate([measured.position_world, velocity], axis=1),
        covariance_world=np.square(spread)[:, :, None] * np.eye(4),
        shape_m=measured.shape_m,
        heading_world=measured.heading_world,
        votes=votes,
        score=measured.score,
        group=measured.group,
        track_id=first_id + np.arange(count, dtype=np.int64),
        first_seen_ns=np.full(count, stamp_ns, np.int64),
        last_seen_ns=np.full(count, stamp_ns, np.int64),
        hits=np.ones(count, np.int64),
        recent=recent,
        is_confirmed=np.full(count, settings.confirm_hits <= 1),
    )


def surely_moves(tracks: Tracks, settings: TrackerSettings) -> NDArray[np.bool_]:
    """Return which speeds are more than ``sure_sigmas`` standard deviations from zero, (N,)."""
    velocity, spread = tracks.mean_world[:, 2:], tracks.covariance_world[:, 2:, 2:]
    square = (velocity**2).sum(axis=1)
    along = np.einsum("ni,nij,nj->n", velocity, spread, velocity)  # of the speed, times its square
    return np.asarray(square**2 > settings.sure_sigmas**2 * along)


def gap_m(tracks: Tracks, points_world: Floats) -> Floats:
    """Measure how far points (R, 2) lie outside the outlines of the tracks' boxes, (N, R)."""
    heading = tracks.heading_world
    heading = heading / np.maximum(np.hypot(heading[:, 0], heading[:, 1]), 1e-9)[:, None]
    offset = points_world[None] - tracks.mean_world[:, None, :2]  # (N, R, 2)
    along = np.abs((offset * heading[:, None]).sum(axis=2)) - 0.5 * tracks.shape_m[:, :1]
    across = (
        np.abs(offset[..., 1] * heading[:, :1] - offset[..., 0] * heading[:, 1:])
        - 0.5 * tracks.shape_m[:, 1:2]
    )
    return np.asarray(np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0)))
