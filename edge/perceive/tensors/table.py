"""Where each BEV cell looks: the camera geometry as a table of feature indices, one per cell and height.

Geometry enters as a table and not as weights, so a recalibrated vehicle gets a new table, never a new
network.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.sensors import CameraRig
from edge.perceive.tensors.spec import Floats, NetSpec


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Where in the eight feature maps each BEV cell looks.

    ``index``: int32 (Z * n * n,), height-major, into the flattened (8, h, w) feature maps, or
    ``spec.zero_row``. ``geometry``: float32 (1, 4Z + 3, n, n).
    """

    rig: CameraRig
    index: NDArray[np.int32]
    geometry: Floats


def cell_centres_m(spec: NetSpec) -> tuple[Floats, Floats]:
    """Give x and y of every BEV cell, each (n, n), in the ego frame."""
    centres = -spec.bev_range_m + (np.arange(spec.bev_cells, dtype=np.float32) + 0.5) * spec.cell_m
    x, y = np.meshgrid(centres, centres, indexing="ij")
    return x, y


@functools.lru_cache(maxsize=64)
def calibration_table(
    rig: CameraRig,
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
        missing: Indices of cameras that give nothing; their cells go to the next sharpest, if any.
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
    rig: CameraRig, spec: NetSpec, points_ego: NDArray[np.float64], missing: tuple[int, ...]
) -> tuple[NDArray[np.int32], Floats]:
    """Choose, per point, the camera with most pixels per metre; (P, 3) -> index (P,), channels (4, P)."""
    h, w = spec.feature_height, spec.feature_width
    sharpest = np.zeros(len(points_ego))
    index = np.full(len(points_ego), spec.zero_row, np.int32)
    channels = np.zeros((4, len(points_ego)), np.float32)  # du, dv, sharpness, valid
    for number, camera in enumerate(rig.cameras):
        if number in missing:
            continue
        view = camera.intrinsics.scaled(w, h)
        points_cam = camera.ego_from_cam.inverse() @ points_ego
        depth = np.maximum(points_cam[:, 2], 1e-3)
        u = view.cx_px + view.fx_px * points_cam[:, 0] / depth
        v = view.cy_px + view.fy_px * points_cam[:, 1] / depth
        sharpness = view.fx_px / depth
        is_seen = (points_cam[:, 2] > 0.3) & (u >= 0.5) & (u < w - 0.5) & (v >= 0) & (v < h)
        is_best = is_seen & (sharpness > sharpest)
        column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        values = np.stack(
            [u - column - 0.5, v - row - 0.5, np.log1p(sharpness) / 3.0, np.ones_like(u)]
        )
        index[is_best] = (number * h * w + row * w + column)[is_best].astype(np.int32)
        channels[:, is_best] = values[:, is_best].astype(np.float32)
        sharpest[is_best] = sharpness[is_best]
    return index, channels


def table_without(
    table: CalibrationTable, is_present: NDArray[np.bool_], spec: NetSpec
) -> CalibrationTable:
    """Give the table of a rig's own grid for the cameras that are there, by ``is_present`` (8,).

    What no camera that is there can see points at the zero row.
    """
    if is_present.all():
        return table
    missing = tuple(np.flatnonzero(~is_present).tolist())
    return calibration_table(table.rig, spec, missing=missing)
