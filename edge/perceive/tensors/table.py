"""The camera geometry as a table: per BEV cell and height, the index of the image feature that shows it.

Geometry enters as a table and not as weights, so a recalibrated vehicle gets a new table, never a new
network.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.projection import is_visible, pixels_from_cam, sharpness_per_m
from edge.contracts.rig import Rig
from edge.perceive.tensors.slots import absent_slots, cameras_of_slots
from edge.perceive.tensors.spec import Floats, NetSpec


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Per BEV cell, the index of the feature in the eight maps that shows it.

    ``index``: int32 (Z * n * n,), height-major, into the flattened (8, h, w) feature maps, or
    ``spec.zero_row``. ``geometry``: float32 (1, 4Z + 3, n, n).
    """

    rig: Rig
    index: NDArray[np.int32]
    geometry: Floats


def cell_centres_m(spec: NetSpec) -> tuple[Floats, Floats]:
    """Return x and y of every BEV cell, each (n, n), in the ego frame."""
    centres = -spec.bev_range_m + (np.arange(spec.bev_cells, dtype=np.float32) + 0.5) * spec.cell_m
    x, y = np.meshgrid(centres, centres, indexing="ij")
    return x, y


@functools.lru_cache(maxsize=64)
def calibration_table(
    rig: Rig,
    spec: NetSpec,
    turn_rad: float = 0.0,
    missing: tuple[int, ...] = (),
) -> CalibrationTable:
    """Project every BEV cell into the camera that sees it sharpest.

    A table takes a few milliseconds to make and is kept, for a camera that fails tends to stay away.

    Args:
        rig: Calibration of the vehicle.
        spec: The network that will read the table.
        turn_rad: Rotation of the BEV grid against the vehicle, for augmentation: a point at p in the
            turned grid is at R(turn) p in the ego frame.
        missing: Slots whose cameras give nothing; their cells go to the next sharpest, if any.
    """
    n = spec.bev_cells
    x, y = cell_centres_m(spec)
    c, s = math.cos(turn_rad), math.sin(turn_rad)
    ego_x, ego_y = c * x - s * y, s * x + c * y
    index: list[NDArray[np.int32]] = []
    geometry: list[Floats] = []
    for height_m in spec.heights_m:
        points_ego = np.stack([ego_x, ego_y, np.full_like(ego_x, height_m)], axis=-1).reshape(-1, 3)
        cell_index, channels = _look_up(rig, spec, points_ego, missing)
        index.append(cell_index)
        geometry.append(channels.reshape(4, n, n))
    distance = np.hypot(x, y)
    bearing = [
        distance / spec.bev_range_m,
        x / np.maximum(distance, 0.1),
        y / np.maximum(distance, 0.1),
    ]
    geometry.append(np.stack(bearing))
    return CalibrationTable(
        rig=rig,
        index=np.concatenate(index),
        geometry=np.concatenate(geometry).astype(np.float32)[None],
    )


def _look_up(
    rig: Rig, spec: NetSpec, points_ego: NDArray[np.float64], missing: tuple[int, ...]
) -> tuple[NDArray[np.int32], Floats]:
    """Choose, per point, the camera with most pixels per metre; (P, 3) -> index (P,), channels (4, P)."""
    h, w = spec.feature_height, spec.feature_width
    sharpest = np.zeros(len(points_ego))
    index = np.full(len(points_ego), spec.zero_row, np.int32)
    channels = np.zeros((4, len(points_ego)), np.float32)  # du, dv, sharpness, valid
    for slot, number in enumerate(cameras_of_slots(rig)):
        if number is None or slot in missing:
            continue
        camera = rig.cameras[number]
        view = camera.intrinsics.scaled(w, h)
        points_cam = camera.ego_from_cam.inverse() @ points_ego
        u, v = np.moveaxis(pixels_from_cam(view, points_cam)[:, :2], -1, 0)
        sharpness = sharpness_per_m(view, points_cam)
        is_inside = (u >= 0.5) & (u < w - 0.5) & (v >= 0) & (v < h)
        is_best = is_visible(view, points_cam) & is_inside & (sharpness > sharpest)
        u, v, best = u[is_best], v[is_best], sharpness[is_best]
        column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        values = [u - column - 0.5, v - row - 0.5, np.log1p(best) / 3.0, np.ones_like(u)]
        index[is_best] = (slot * h * w + row * w + column).astype(np.int32)
        channels[:, is_best] = np.stack(values).astype(np.float32)
        sharpest[is_best] = best
    return index, channels


def table_without(
    table: CalibrationTable, is_usable: Sequence[bool], spec: NetSpec
) -> CalibrationTable:
    """Return the table of a rig's own grid for the cameras that can be used, one bool per camera.

    What no such camera can see points at the zero row.
    """
    if all(is_usable):
        return table
    return calibration_table(table.rig, spec, missing=absent_slots(is_usable, table.rig))
