"""Sizes of all inputs and outputs of the network family.

Everything that learns, exports, checks or answers takes its shapes from here, so a shape is stated once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.bundle import TensorSpec

Floats = NDArray[np.float32]

RADAR_CHANNELS = 4
RADAR_TOKENS = 48
RADAR_TOKEN_WIDTH = 7
ULTRASONIC_TOKENS = 12
ULTRASONIC_TOKEN_WIDTH = 4
ROUTE_SAMPLES_M = (5.0, 10.0, 20.0, 30.0)
EGO_WIDTH = 4 + 2 * len(ROUTE_SAMPLES_M) + 2
MEMORY_POSE_WIDTH = 6
MEMORY_AGE_S = 0.25
"""How far back the network looks: it was trained on pairs this far apart, whatever the tick rate."""
MODES = 6
FUTURE_STEPS = 12
FUTURE_STEP_S = 0.25
"""Time between two predicted positions of an agent, for three seconds."""
BOX_CHANNELS = 12
"""dx, dy (cells), z, log length, log width, log height, sin 2yaw, cos 2yaw, front x, front y, vx, vy."""


class GroundClass(enum.IntEnum):
    """Class ids of the bird's-eye segmentation: the channel of each, and the value of a cell."""

    OTHER = 0
    DRIVABLE = 1
    PAVEMENT = 2
    CROSSING = 3


SEGMENTATION_CLASSES = len(GroundClass)


def is_drivable(segmentation: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the cells that a vehicle may drive on: road and crossing, not pavement; same shape."""
    is_road = segmentation == GroundClass.DRIVABLE
    return np.asarray(is_road | (segmentation == GroundClass.CROSSING))


@dataclass(frozen=True)
class NetSpec:
    """Sizes of one member of the network family; every tensor shape follows from it."""

    name: str
    image_height_px: int
    image_width_px: int
    bev_cells: int
    heights_m: tuple[float, ...]
    backbone: tuple[int, int, int, int, int]
    """Channels at strides 2, 4, 8, 16, 32."""
    blocks: tuple[int, int, int]
    """Residual blocks at strides 8, 16, 32."""
    channels: int
    width: int
    """Token width of the transformer."""
    heads: int
    fusion_layers: int
    query_layers: int
    queries: int
    bev_range_m: float = 32.0
    stride_px: int = 4
    plan_count: int = 16
    plan_steps: int = 12
    plan_step_s: float = 0.25

    @property
    def memory_slots(self) -> int:
        """Queries of the past that the network sees."""
        return self.queries

    @property
    def cell_m(self) -> float:
        """Side of one BEV cell."""
        return 2.0 * self.bev_range_m / self.bev_cells

    @property
    def feature_height(self) -> int:
        """Rows of one camera's gathered feature map."""
        return self.image_height_px // self.stride_px

    @property
    def feature_width(self) -> int:
        """Columns of one camera's gathered feature map."""
        return self.image_width_px // self.stride_px

    @property
    def zero_row(self) -> int:
        """Table entry of a cell that no camera sees."""
        return 8 * self.feature_height * self.feature_width

    @property
    def geometry_channels(self) -> int:
        """Per height: sub-cell offsets, sharpness, validity; then range and bearing of the cell."""
        return 4 * len(self.heights_m) + 3


PICO = NetSpec(
    "pico", 96, 192, 48, (0.2, 1.2), (16, 24, 32, 64, 96), (1, 1, 1), 32, 64, 4, 1, 1, 48
)
NANO = NetSpec(
    "nano", 128, 256, 64, (0.2, 1.2), (16, 32, 48, 96, 128), (1, 1, 1), 48, 96, 4, 1, 2, 64
)
SMALL = NetSpec(
    "small", 128, 256, 64, (0.2, 0.8, 1.6), (24, 48, 72, 128, 192), (1, 2, 2), 64, 128, 8, 2, 3, 96
)
SPECS: dict[str, NetSpec] = {spec.name: spec for spec in (PICO, NANO, SMALL)}


def input_specs(spec: NetSpec) -> tuple[TensorSpec, ...]:
    """List the network's inputs in the order of its signature."""
    n, z = spec.bev_cells, len(spec.heights_m)
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "images": ("uint8", (8, 3, spec.image_height_px, spec.image_width_px)),
        "table": ("int32", (z * n * n,)),
        "geometry": ("float32", (1, spec.geometry_channels, n, n)),
        "radar": ("float32", (1, RADAR_CHANNELS, n, n)),
        "radar_tokens": ("float32", (1, RADAR_TOKENS, RADAR_TOKEN_WIDTH)),
        "ultrasonics": ("float32", (1, ULTRASONIC_TOKENS, ULTRASONIC_TOKEN_WIDTH)),
        "ego": ("float32", (1, 1, EGO_WIDTH)),
        "memory": ("float32", (1, spec.memory_slots, spec.width)),
        "memory_pose": ("float32", (1, spec.memory_slots, MEMORY_POSE_WIDTH)),
    }
    return tuple(TensorSpec(name=k, dtype=d, shape=s) for k, (d, s) in shapes.items())


def output_specs(spec: NetSpec, classes: int) -> tuple[TensorSpec, ...]:
    """List the outputs of a network of ``classes`` classes, in the order of its signature."""
    n, k = spec.bev_cells, spec.queries
    shapes: dict[str, tuple[int, ...]] = {
        "heatmap": (1, classes, n, n),
        "boxes": (1, BOX_CHANNELS, n, n),
        "segmentation": (1, SEGMENTATION_CLASSES, n, n),
        "queries": (1, k, spec.width),
        "query_cells": (1, k),
        "query_scores": (1, k),
        "futures": (1, k, MODES, FUTURE_STEPS, 2),
        "future_scores": (1, k, MODES),
        "plans": (1, spec.plan_count, spec.plan_steps, 3),
        "plan_scores": (1, spec.plan_count),
    }
    return tuple(TensorSpec(name=name, dtype="float32", shape=s) for name, s in shapes.items())
