"""Turn what was sensed at one instant into the inputs of a network, in numpy and OpenCV."""

from __future__ import annotations

import itertools
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Rig
from edge.contracts.sensors import ULTRASONIC_MAX_RANGE_M, EgoState, FrameSet, Route
from edge.perceive.tensors.memory import Memory, memory_inputs
from edge.perceive.tensors.slots import IMAGE_SLOTS, absent_slots, cameras_of_slots
from edge.perceive.tensors.spec import (
    RADAR_CHANNELS,
    RADAR_TOKEN_WIDTH,
    RADAR_TOKENS,
    ROUTE_SAMPLES_M,
    ULTRASONIC_TOKEN_WIDTH,
    ULTRASONIC_TOKENS,
    Floats,
    NetSpec,
)
from edge.perceive.tensors.table import CalibrationTable, table_without


def network_inputs(
    frame_set: FrameSet, table: CalibrationTable, memory: Memory, spec: NetSpec
) -> dict[str, NDArray[np.generic]]:
    """Build every network input for one tick, by the names of ``input_specs``.

    Cells of a camera that cannot be used are read from the next sharpest one that can.
    """
    table = table_without(table, frame_set.usable, spec)
    recollection = memory.at(frame_set.stamp_ns)
    features, pose = memory_inputs(
        recollection, frame_set.stamp_ns, frame_set.ego.world_from_ego, spec
    )
    return {
        "images": slot_images(frame_set, table.rig, spec),
        "table": table.index,
        "geometry": table.geometry,
        "radar": radar_raster(frame_set.radar.points_ego, spec),
        "radar_tokens": radar_tokens(frame_set.radar.points_ego, spec),
        "ultrasonics": ultrasonic_tokens(frame_set.ultrasonics.ranges_m, table.rig),
        "ego": ego_token(frame_set.ego, frame_set.route),
        "memory": features,
        "memory_pose": pose,
    }


def slot_images(frame_set: FrameSet, rig: Rig, spec: NetSpec) -> NDArray[np.uint8]:
    """Resize each slot's image by area averaging: uint8 (8, 3, h, w), RGB; an absent one is black."""
    size = (spec.image_width_px, spec.image_height_px)
    images = np.zeros((len(IMAGE_SLOTS), 3, size[1], size[0]), np.uint8)
    absent = absent_slots(frame_set.usable, rig)
    for slot, number in enumerate(cameras_of_slots(rig)):
        if number is None or slot in absent:
            continue
        image: NDArray[Any] | None = frame_set.frames[number].image
        assert image is not None
        if image.shape[:2] != size[::-1]:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        images[slot] = image.transpose(2, 0, 1)
    return images


def radar_raster(points_ego: Floats, spec: NetSpec) -> Floats:
    """Paint radar points (N, 4) on the BEV grid: count, radial speed, cross-section, presence.

    Returns:
        float32 (1, 4, n, n).
    """
    raster = np.zeros((1, RADAR_CHANNELS, spec.bev_cells, spec.bev_cells), np.float32)
    cell = np.floor((points_ego[:, :2] + spec.bev_range_m) / spec.cell_m).astype(np.int64)
    is_inside = ((cell >= 0) & (cell < spec.bev_cells)).all(axis=1)
    row, column = cell[is_inside].T
    inside = points_ego[is_inside]
    np.add.at(raster[0, 0], (row, column), 0.5)
    raster[0, 1, row, column] = inside[:, 2] / 5.0
    raster[0, 2, row, column] = inside[:, 3] / 10.0
    raster[0, 3, row, column] = 1.0
    return raster


def radar_tokens(points_ego: Floats, spec: NetSpec) -> Floats:
    """List the nearest radar points as tokens, float32 (1, RADAR_TOKENS, 7); empty slots are zero."""
    tokens = np.zeros((1, RADAR_TOKENS, RADAR_TOKEN_WIDTH), np.float32)
    distance = np.hypot(points_ego[:, 0], points_ego[:, 1])
    nearest = np.argsort(distance, kind="stable")[:RADAR_TOKENS]
    near, reach = points_ego[nearest], distance[nearest]
    unit = near[:, :2] / np.maximum(reach, 0.1)[:, None]
    columns = [near[:, :2] / spec.bev_range_m, near[:, 2:3] / 5.0, near[:, 3:4] / 10.0]
    columns += [np.ones((len(near), 1)), unit]
    tokens[0, : len(near)] = np.concatenate(columns, axis=1)
    return tokens


def ultrasonic_tokens(ranges_m: Floats, rig: Rig) -> Floats:
    """Place the ultrasonic echoes: float32 (1, 12, 4) of x, y, range, has_echo, scaled by the range.

    A vehicle with more sensors than tokens shows the network the first ones; the planner sees all.
    """
    tokens = np.zeros((1, ULTRASONIC_TOKENS, ULTRASONIC_TOKEN_WIDTH), np.float32)
    pairs = zip(rig.ultrasonics, ranges_m.tolist(), strict=False)
    for k, (mount, reach) in enumerate(itertools.islice(pairs, ULTRASONIC_TOKENS)):
        x = mount.x_m + reach * math.cos(mount.yaw_rad)
        y = mount.y_m + reach * math.sin(mount.yaw_rad)
        has_echo = reach < ULTRASONIC_MAX_RANGE_M
        tokens[0, k] = (x / 10.0, y / 10.0, reach / ULTRASONIC_MAX_RANGE_M, float(has_echo))
    return tokens


def ego_token(ego: EgoState, route: Route) -> Floats:
    """Describe own motion and where navigation goes: float32 (1, 1, EGO_WIDTH)."""
    ahead = route_points_at(route, ROUTE_SAMPLES_M) / 30.0  # (4, 2)
    stop_m = 60.0 if route.stop_distance_m is None else min(route.stop_distance_m, 60.0)
    motion = (
        ego.speed_mps / 15.0,
        ego.acceleration_mps2 / 5.0,
        ego.yaw_rate_radps,
        ego.steering_rad,
    )
    values = (*motion, *ahead.ravel(), route.speed_limit_mps / 15.0, stop_m / 60.0)
    return np.array(values, np.float32)[None, None]


def route_points_at(route: Route, distances_m: tuple[float, ...]) -> NDArray[np.float64]:
    """Walk along the route: points (len(distances_m), 2) in the ego frame; straight on where it ends."""
    straight = np.array([[d, 0.0] for d in distances_m])
    if len(route.points_ego) < 2:
        return straight
    points = np.array(route.points_ego)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    return np.stack([np.interp(distances_m, along, points[:, k]) for k in (0, 1)], axis=1)
