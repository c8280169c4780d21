"""Describe every track as an agent in the ego frame of the tick."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge.contracts.classes import Category, row_of
from edge.contracts.scene import Agent, Box3D, BoxSource, Trajectory, attribute_at
from edge.perceive.track.rows import VEHICLES, Floats, Tracks, surely_moves
from edge.perceive.track.settings import TrackerSettings

_HEADING_BY_MOTION_MPS = 2.0


def agents_of(
    tracks: Tracks,
    names: Sequence[Category],
    futures_of: dict[int, tuple[Trajectory, ...]],
    rotation: Floats,
    origin: Floats,
    settings: TrackerSettings,
) -> tuple[Agent, ...]:
    """Describe every track in the ego frame."""
    position = (tracks.mean_world[:, :2] - origin) @ rotation
    winners = tracks.votes.argmax(axis=1)
    is_on_foot = np.array([row_of(name).is_on_foot for name in names])[winners]
    is_still = ~is_on_foot & ~surely_moves(tracks, settings)
    velocity_world = np.where(is_still[:, None], 0.0, tracks.mean_world[:, 2:])
    velocity = velocity_world @ rotation
    heading = _driving_forwards(tracks, velocity_world) @ rotation
    yaw = np.arctan2(heading[:, 1], heading[:, 0])
    spread = rotation.T @ tracks.covariance_world[:, :2, :2] @ rotation
    columns = zip(
        position.tolist(), velocity.tolist(), yaw.tolist(), spread.reshape(-1, 4).tolist(),
        tracks.shape_m.tolist(), winners.tolist(), tracks.score.tolist(),
        tracks.track_id.tolist(), tracks.first_seen_ns.tolist(), tracks.hits.tolist(),
        tracks.is_confirmed.tolist(), strict=True,
    )  # fmt: skip
    agents = []
    for place, motion, yaw_rad, cov, shape, winner, score, track_id, first, hits, sure in columns:
        (x, y), (vx, vy), (length, width, height, z) = place, motion, shape
        box = Box3D(
            category=names[winner],
            x_m=x,
            y_m=y,
            z_m=z,
            length_m=length,
            width_m=width,
            height_m=height,
            yaw_rad=yaw_rad,
            vx_mps=vx,
            vy_mps=vy,
            score=score,
            attribute=attribute_at(math.hypot(vx, vy)),
            source=BoxSource.NETWORK if track_id in futures_of else BoxSource.TRACKER,
            track_id=track_id,
            covariance=(cov[0], cov[1], cov[3]),
        )
        agents.append(
            Agent(
                track_id=track_id,
                box=box,
                first_seen_ns=first,
                hits=hits,
                is_confirmed=sure,
                futures=futures_of.get(track_id, ()),
            )
        )
    return tuple(agents)


def _driving_forwards(tracks: Tracks, velocity: Floats) -> Floats:
    """Turn round the heading of vehicles that seem to drive backwards: front and rear look alike."""
    is_fast = np.hypot(velocity[:, 0], velocity[:, 1]) > _HEADING_BY_MOTION_MPS
    is_backwards = (velocity * tracks.heading_world).sum(axis=1) < 0.0
    is_flipped = is_fast & is_backwards & (tracks.group == VEHICLES)
    return np.where(is_flipped[:, None], -tracks.heading_world, tracks.heading_world)
