"""Bring the entities around the ego into its frame, and compute how much of each is hidden.

Radar and truth need occlusion without the renderer. A fan of rays goes to each entity; a box that a ray meets
earlier throws a shadow, and the shadow's height where the entity stands gives how much of the entity it
covers. So a car hides a child and not a bus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import Pose
from sim.place.scenery import Scenery, SceneryKind
from sim.world.snapshot import Entity, Snapshot

EYE_HEIGHT_M = 1.5
"""Height of the eye: the middle of the vehicle, at the height of its cameras."""

STATIC_RANGE_M = 70.0
_RAYS = 5
_SEE_THROUGH = (SceneryKind.LAMP_POST, SceneryKind.BUSH)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The entities around the ego at one instant, in the ego frame; row i belongs to ``entities[i]``.

    ``boxes_ego``: float64 (N, 6): x, y, yaw (rad), length, width, height. ``velocities_ego``: float64 (N, 2),
    m/s over the ground. ``hidden_ratio``: float64 (N,), the share of each entity that something nearer
    covers. ``statics_ego``: float64 (M, 6), scenery near the ego; ``static_kinds``: uint8 (M,).
    """

    entities: tuple[Entity, ...]
    boxes_ego: NDArray[np.float64]
    velocities_ego: NDArray[np.float64]
    hidden_ratio: NDArray[np.float64]
    statics_ego: NDArray[np.float64]
    static_kinds: NDArray[np.uint8]


def survey(snapshot: Snapshot, scenery: Scenery | None = None) -> Surroundings:
    """Bring entities and the scenery near the ego into its frame, and compute what is hidden."""
    pose = snapshot.ego.world_from_ego
    world = np.array(
        [
            (a.x_m, a.y_m, a.yaw_rad, a.length_m, a.width_m, a.height_m, a.vx_mps, a.vy_mps)
            for a in snapshot.entities
        ]
    ).reshape(-1, 8)
    boxes = _boxes_in_frame(world[:, :6], pose)
    velocities = world[:, 6:] @ pose.rotation[:2, :2]
    statics, kinds = _near_statics(scenery, pose)
    blockers = np.concatenate([boxes, statics[~np.isin(kinds, _SEE_THROUGH)]])
    return Surroundings(
        entities=snapshot.entities,
        boxes_ego=boxes,
        velocities_ego=velocities,
        hidden_ratio=hidden_ratios(
            blockers, len(boxes), (snapshot.body.centre_m, 0.0, EYE_HEIGHT_M)
        ),
        statics_ego=statics,
        static_kinds=kinds,
    )


def hidden_ratios(
    boxes: NDArray[np.float64], count: int, eye: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Compute how much of each of the first ``count`` boxes the others hide from an eye.

    Args:
        boxes: (N, 6): x, y, yaw, length, width, height; all of them can hide.
        count: How many of them are wanted.
        eye: x, y and height of the eye, in the frame of the boxes.

    Returns:
        (count,), in [0, 1].
    """
    if count == 0:
        return np.zeros(0)
    eye_xy, eye_z = np.array(eye[:2]), eye[2]
    rays = _fans(boxes[:count], eye_xy)  # (count, R, 2)
    reach_m = ray_distances(eye_xy, rays.reshape(-1, 2), boxes).reshape(count, _RAYS, -1)
    own = np.arange(count)
    own_m = reach_m[own, :, own]  # (count, R); a ray along an edge may miss
    centre_m = np.hypot(*(boxes[:count, :2] - eye_xy).T)
    at_m = np.maximum(np.where(np.isfinite(own_m), own_m, centre_m[:, None]), 0.1)
    reach_m[own, :, own] = np.inf
    slope = (boxes[:, 5] - eye_z).astype(np.float32) / np.maximum(reach_m, 0.1)
    slope[reach_m >= at_m[..., None]] = -np.inf
    covered = (eye_z + slope.max(axis=2) * at_m) / boxes[:count, 5:6]
    ratios: NDArray[np.float64] = np.clip(covered, 0.0, 1.0).mean(axis=1)
    return ratios


def ray_distances(
    origin: NDArray[np.float64], directions: NDArray[np.float64], boxes: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return how far each ray goes until it enters each box; the slab method in each box's own axes.

    Args:
        origin: (2,) or (K, 2), metres.
        directions: (K, 2), unit vectors.
        boxes: (N, >= 5): x, y, yaw, length, width.

    Returns:
        (K, N), metres; infinity where the ray misses, 0 where it starts inside.
    """
    boxes, directions = boxes.astype(np.float32), directions.astype(np.float32)
    origin = np.atleast_2d(origin).astype(np.float32)
    cos, sin = np.cos(boxes[:, 2]), np.sin(boxes[:, 2])
    dx, dy = origin[:, :1] - boxes[:, 0], origin[:, 1:] - boxes[:, 1]  # (1 or K, N)
    ux, uy = directions[:, :1], directions[:, 1:]
    enter = np.zeros((len(directions), len(boxes)), dtype=np.float32)
    leave = np.full_like(enter, np.inf)
    for at, step, half in (
        (dx * cos + dy * sin, ux * cos + uy * sin, 0.5 * boxes[:, 3]),
        (dy * cos - dx * sin, uy * cos - ux * sin, 0.5 * boxes[:, 4]),
    ):
        inverse = 1.0 / (step + np.float32(1e-9))
        middle, spread = at * inverse, np.abs(half * inverse)
        np.maximum(enter, -middle - spread, out=enter)
        np.minimum(leave, spread - middle, out=leave)
    enter[enter > leave] = np.inf
    return enter


def _fans(boxes: NDArray[np.float64], eye_xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread unit vectors (N, R, 2) from the eye evenly over the width at which it sees each box."""
    to_centre = boxes[:, :2] - eye_xy
    middle_rad = np.arctan2(to_centre[:, 1], to_centre[:, 0])
    signs = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)]) * 0.5
    local = signs * boxes[:, None, 3:5]  # (N, 4, 2)
    cos, sin = np.cos(boxes[:, 2])[:, None], np.sin(boxes[:, 2])[:, None]
    x = to_centre[:, :1] + local[..., 0] * cos - local[..., 1] * sin
    y = to_centre[:, 1:] + local[..., 0] * sin + local[..., 1] * cos
    off_rad = np.arctan2(y, x) - middle_rad[:, None]
    off_rad = (off_rad + np.pi) % (2.0 * np.pi) - np.pi
    low, high = off_rad.min(axis=1, keepdims=True), off_rad.max(axis=1, keepdims=True)
    share = (np.arange(_RAYS) + 0.5) / _RAYS
    angle = middle_rad[:, None] + low + (high - low) * share
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _boxes_in_frame(boxes_world: NDArray[np.float64], pose: Pose) -> NDArray[np.float64]:
    out = boxes_world.copy()
    out[:, :2] = (boxes_world[:, :2] - (pose.x_m, pose.y_m)) @ pose.rotation[:2, :2]
    out[:, 2] = (boxes_world[:, 2] - pose.yaw_rad + np.pi) % (2.0 * np.pi) - np.pi
    return out


def _near_statics(
    scenery: Scenery | None, pose: Pose
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    if scenery is None:
        return np.zeros((0, 6)), np.zeros(0, np.uint8)
    offset = np.abs(scenery.solids[:, :2] - (pose.x_m, pose.y_m))
    near = np.flatnonzero((offset < STATIC_RANGE_M).all(axis=1))
    return _boxes_in_frame(scenery.solids[near], pose), scenery.kinds[near]
