"""What goes into the network and what comes out of it: the one definition, for vehicle and fleet alike.

Training, labelling, calibration, golden answers and the vehicle all build their inputs and read their
outputs here, in numpy and OpenCV, so that a model is evaluated on exactly what it will drive on. The
camera geometry enters as a *table* (one feature index per BEV cell and height) and not as weights: a
recalibrated vehicle gets a new table, never a new network.

BEV grid: (n, n) over [-range, range) metres, row = x forward, column = y left.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts.bundle import TensorSpec
from edge.contracts.errors import RingroadError
from edge.contracts.geometry import Pose, wrap_rad
from edge.contracts.scene import CATEGORIES, Attribute, Box3D, BoxSource, Category, Trajectory
from edge.contracts.sensors import (
    ULTRASONIC_MAX_RANGE_M,
    CameraRig,
    EgoState,
    FrameSet,
    Route,
)

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
BOX_CHANNELS = 12
"""dx, dy (cells), z, log length, log width, log height, sin 2yaw, cos 2yaw, front x, front y, vx, vy."""
SEGMENTATION_CLASSES = 4
"""0 other, 1 drivable, 2 pavement, 3 crossing."""

_NMS_RADIUS_M: dict[Category, float] = {
    Category.CAR: 1.8,
    Category.TRUCK: 2.5,
    Category.BUS: 3.0,
    Category.TRAILER: 3.0,
    Category.CONSTRUCTION_VEHICLE: 2.5,
    Category.PEDESTRIAN: 0.5,
    Category.MOTORCYCLE: 0.8,
    Category.BICYCLE: 0.8,
    Category.TRAFFIC_CONE: 0.5,
    Category.BARRIER: 0.8,
    Category.ANIMAL: 0.7,
    Category.DEBRIS: 0.5,
}
_NMS_GROUPS: tuple[frozenset[Category], ...] = (
    frozenset({Category.CAR, Category.TRUCK, Category.BUS, Category.TRAILER,
               Category.CONSTRUCTION_VEHICLE}),
    frozenset({Category.MOTORCYCLE, Category.BICYCLE}),
)  # fmt: skip
_RADII_M = np.array([_NMS_RADIUS_M[c] for c in CATEGORIES])
_RIVALS = np.array(
    [[a is b or any({a, b} <= group for group in _NMS_GROUPS) for b in CATEGORIES]
     for a in CATEGORIES]
)  # fmt: skip
"""(C, C): which categories stand for the same thing when they stand in the same place."""
_STANDING_MPS = 0.5


class OutputFault(RingroadError):
    """The network's outputs cannot be used: one is missing, misshapen or not finite."""


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


def output_specs(spec: NetSpec) -> tuple[TensorSpec, ...]:
    """List the network's outputs in the order of its signature."""
    n, k = spec.bev_cells, spec.queries
    shapes: dict[str, tuple[int, ...]] = {
        "heatmap": (1, len(CATEGORIES), n, n),
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


# --- geometry ---------------------------------------------------------------------------------


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
def calibration_table(rig: CameraRig, spec: NetSpec, turn_rad: float = 0.0) -> CalibrationTable:
    """Project every BEV cell into the camera that sees it sharpest.

    Args:
        rig: Calibration of the vehicle.
        spec: The network that will read the table.
        turn_rad: Rotation of the BEV grid against the vehicle, for augmentation: a point at p in the
            turned grid is at R(turn) p in the ego frame.
    """
    n = spec.bev_cells
    x, y = cell_centres_m(spec)
    c, s = math.cos(turn_rad), math.sin(turn_rad)
    ego_x, ego_y = c * x - s * y, s * x + c * y
    index: list[NDArray[np.int32]] = []
    geometry: list[Floats] = []
    for height_m in spec.heights_m:
        points_ego = np.stack([ego_x, ego_y, np.full_like(ego_x, height_m)], axis=-1).reshape(-1, 3)
        cell_index, channels = _look_up(rig, spec, points_ego)
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
    rig: CameraRig, spec: NetSpec, points_ego: NDArray[np.float64]
) -> tuple[NDArray[np.int32], Floats]:
    """Choose, per point, the camera with most pixels per metre; (P, 3) -> index (P,), channels (4, P)."""
    h, w = spec.feature_height, spec.feature_width
    sharpest = np.zeros(len(points_ego))
    index = np.full(len(points_ego), spec.zero_row, np.int32)
    channels = np.zeros((4, len(points_ego)), np.float32)  # du, dv, sharpness, valid
    for number, camera in enumerate(rig.cameras):
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


# --- inputs -----------------------------------------------------------------------------------


def resize_images(images: NDArray[np.uint8], spec: NetSpec) -> NDArray[np.uint8]:
    """Bring (8, H, W, 3) RGB images to the network's (8, 3, h, w) by area averaging."""
    size = (spec.image_width_px, spec.image_height_px)
    if images.shape[1:3] != (size[1], size[0]):
        images = np.stack([cv2.resize(im, size, interpolation=cv2.INTER_AREA) for im in images])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


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


def ultrasonic_tokens(ranges_m: Floats, rig: CameraRig) -> Floats:
    """Place the ultrasonic echoes: float32 (1, 12, 4) of x, y, range, has_echo, scaled by the range."""
    tokens = np.zeros((1, ULTRASONIC_TOKENS, ULTRASONIC_TOKEN_WIDTH), np.float32)
    for k, mount in enumerate(rig.ultrasonics[:ULTRASONIC_TOKENS]):
        reach = float(ranges_m[k])
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


@dataclass(frozen=True, eq=False)
class Recollection:
    """The queries of one past tick, where they were and when.

    ``features``: float32 (K, d). ``points_ego``: float32 (K, 2) in the ego frame of that tick.
    """

    stamp_ns: int
    world_from_ego: Pose
    features: Floats
    points_ego: Floats
    scores: Floats


@dataclass(frozen=True, eq=False)
class Memory:
    """The last third of a second of recollections, oldest first."""

    recollections: tuple[Recollection, ...] = ()

    def at(self, stamp_ns: int) -> Recollection | None:
        """Give the recollection whose age is closest to what the network was trained on."""
        wanted_ns = stamp_ns - int(MEMORY_AGE_S * 1e9)
        usable = [r for r in self.recollections if abs(r.stamp_ns - wanted_ns) < 0.15e9]
        return min(usable, key=lambda r: abs(r.stamp_ns - wanted_ns), default=None)

    def with_(self, recollection: Recollection) -> Memory:
        """Add the newest recollection and forget what is too old to be used again."""
        oldest_ns = recollection.stamp_ns - int(1.2 * MEMORY_AGE_S * 1e9)
        kept = tuple(
            r for r in self.recollections if oldest_ns <= r.stamp_ns < recollection.stamp_ns
        )
        return Memory((*kept, recollection))


def empty_memory(spec: NetSpec) -> Memory:
    """Give the memory of a vehicle that has just woken up."""
    return Memory()


def memory_inputs(
    recollection: Recollection | None, stamp_ns: int, world_from_ego: Pose, spec: NetSpec
) -> tuple[Floats, Floats]:
    """Bring a recollection into today's ego frame: features (1, K, d) and poses (1, K, 6)."""
    features = np.zeros((1, spec.memory_slots, spec.width), np.float32)
    pose = np.zeros((1, spec.memory_slots, MEMORY_POSE_WIDTH), np.float32)
    if recollection is None:
        return features, pose
    now_from_then = world_from_ego.inverse() @ recollection.world_from_ego
    points = np.pad(recollection.points_ego.astype(np.float64), ((0, 0), (0, 1)))
    points_now = now_from_then @ points
    turn = now_from_then.yaw_rad
    age_s = (stamp_ns - recollection.stamp_ns) / 1e9
    features[0] = recollection.features
    pose[0, :, :2] = points_now[:, :2] / spec.bev_range_m
    pose[0, :, 2:5] = (math.sin(turn), math.cos(turn), age_s / MEMORY_AGE_S)
    pose[0, :, 5] = recollection.scores
    return features, pose


def network_inputs(
    frame_set: FrameSet, table: CalibrationTable, memory: Memory, spec: NetSpec
) -> dict[str, NDArray[np.generic]]:
    """Build every network input for one tick, by the names of ``input_specs``.

    Cells of a missing camera are pointed at the zero row, as if nobody saw them.
    """
    recollection = memory.at(frame_set.stamp_ns)
    features, pose = memory_inputs(
        recollection, frame_set.stamp_ns, frame_set.ego.world_from_ego, spec
    )
    return {
        "images": resize_images(frame_set.images, spec),
        "table": _without_missing(table.index, frame_set.is_present, spec),
        "geometry": table.geometry,
        "radar": radar_raster(frame_set.radar.points_ego, spec),
        "radar_tokens": radar_tokens(frame_set.radar.points_ego, spec),
        "ultrasonics": ultrasonic_tokens(frame_set.ultrasonics.ranges_m, table.rig),
        "ego": ego_token(frame_set.ego, frame_set.route),
        "memory": features,
        "memory_pose": pose,
    }


def _without_missing(
    index: NDArray[np.int32], is_present: NDArray[np.bool_], spec: NetSpec
) -> NDArray[np.int32]:
    if is_present.all():
        return index
    per_camera = spec.feature_height * spec.feature_width
    camera = np.minimum(index // per_camera, 7)
    return np.where(is_present[camera], index, np.int32(spec.zero_row)).astype(np.int32)


# --- outputs ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NetOutput:
    """What the network said about one tick, in the words of the contracts.

    ``boxes``: best score first. ``futures``: per box, up to six modes. ``segmentation``: uint8 (n, n).
    ``plans``: float32 (16, 12, 3) of x, y, yaw in the ego frame. ``plan_scores``: float32 (16,).
    """

    boxes: tuple[Box3D, ...]
    futures: tuple[tuple[Trajectory, ...], ...]
    segmentation: NDArray[np.uint8]
    plans: Floats
    plan_scores: Floats
    recollection: Recollection


def read_outputs(
    outputs: Mapping[str, NDArray[np.generic]],
    frame_set: FrameSet,
    spec: NetSpec,
    thresholds: Mapping[Category, float],
) -> NetOutput:
    """Turn raw tensors into boxes, futures, a segmentation and plan proposals.

    Args:
        outputs: Named tensors as ``output_specs`` lists them; heat map and scores already in [0, 1].
        frame_set: The tick they belong to.
        spec: The network they came from.
        thresholds: Lowest score that counts, per category; a category left out is not reported.

    Raises:
        OutputFault: An output is missing, has another shape, or holds a NaN or infinity.
    """
    checked = _checked(outputs, spec)
    cells, boxes = decode_boxes(checked["heatmap"][0], checked["boxes"][0], spec, thresholds)
    slot_of_cell = {int(c): k for k, c in enumerate(checked["query_cells"][0])}
    futures = tuple(
        _futures(checked, slot_of_cell.get(cell), box)
        for cell, box in zip(cells, boxes, strict=True)
    )
    return NetOutput(
        boxes=boxes,
        futures=futures,
        segmentation=checked["segmentation"][0].argmax(axis=0).astype(np.uint8),
        plans=checked["plans"][0],
        plan_scores=checked["plan_scores"][0],
        recollection=recollect(
            checked["queries"][0],
            checked["query_cells"][0],
            checked["query_scores"][0],
            stamp_ns=frame_set.stamp_ns,
            world_from_ego=frame_set.ego.world_from_ego,
            spec=spec,
        ),
    )


def recollect(
    features: Floats,
    cells: NDArray[np.generic],
    scores: Floats,
    *,
    stamp_ns: int,
    world_from_ego: Pose,
    spec: NetSpec,
) -> Recollection:
    """Keep one tick's queries (K, d), their BEV cells (K,) and scores (K,) for the next."""
    row, column = np.divmod(np.asarray(cells, np.float32), spec.bev_cells)
    points = (np.stack([row, column], axis=1) + 0.5) * spec.cell_m - spec.bev_range_m
    return Recollection(
        stamp_ns=stamp_ns,
        world_from_ego=world_from_ego,
        features=features,
        points_ego=points.astype(np.float32),
        scores=scores,
    )


def _checked(outputs: Mapping[str, NDArray[np.generic]], spec: NetSpec) -> dict[str, Floats]:
    checked: dict[str, Floats] = {}
    for wanted in output_specs(spec):
        if wanted.name not in outputs:
            raise OutputFault(
                f"network output {wanted.name} is missing; the tick goes on without it"
            )
        value = np.asarray(outputs[wanted.name], np.float32)
        if value.shape != wanted.shape:
            raise OutputFault(
                f"network output {wanted.name}: expected {wanted.shape}, got {value.shape}"
            )
        if not np.isfinite(value).all():
            raise OutputFault(f"network output {wanted.name} holds a NaN or infinity")
        checked[wanted.name] = value
    return checked


def decode_boxes(
    heatmap: Floats, regression: Floats, spec: NetSpec, thresholds: Mapping[Category, float]
) -> tuple[list[int], tuple[Box3D, ...]]:
    """Read boxes off the heat map's local maxima, best first, with per-class circle suppression.

    Args:
        heatmap: Scores (C, n, n) in [0, 1].
        regression: (BOX_CHANNELS, n, n).
        spec: The network's sizes.
        thresholds: Lowest score that counts, per category.

    Returns:
        The flat BEV cell of each box, and the boxes.
    """
    lowest = np.array([thresholds.get(c, 2.0) for c in CATEGORIES], np.float32)
    scores = np.ascontiguousarray(heatmap.transpose(1, 2, 0))  # (n, n, C)
    neighbourhood = cv2.dilate(scores, np.ones((3, 3), np.uint8)).reshape(scores.shape)
    row, column, channel = np.nonzero((scores == neighbourhood) & (scores >= lowest))
    score = scores[row, column, channel]
    order = np.argsort(-score, kind="stable")[:200]
    row, column, channel, score = row[order], column[order], channel[order], score[order]
    values = regression[:, row, column].astype(np.float64)  # (12, P)
    x = (row + 0.5 + values[0]) * spec.cell_m - spec.bev_range_m
    y = (column + 0.5 + values[1]) * spec.cell_m - spec.bev_range_m
    kept = _unrivalled(channel, x, y)
    cells = [int(row[k] * spec.bev_cells + column[k]) for k in kept]
    boxes = tuple(_box(CATEGORIES[channel[k]], x[k], y[k], values[2:, k], score[k]) for k in kept)
    return cells, boxes


def _unrivalled(
    channel: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> list[int]:
    """List the boxes, best first, that no stronger kept one claims to be something of its own kind."""
    distance_m = np.hypot(x[:, None] - x, y[:, None] - y)
    is_rival = _RIVALS[channel[:, None], channel] & (distance_m < _RADII_M[channel][:, None])
    is_open = np.ones(len(channel), np.bool_)
    kept: list[int] = []
    for k in range(len(channel)):
        if is_open[k]:
            kept.append(k)
            is_open &= ~is_rival[k]
    return kept


def _box(
    category: Category, x: float, y: float, values: NDArray[np.float64], score: float
) -> Box3D:
    """Build a box from the tail of its regression (``BOX_CHANNELS`` from z on)."""
    z, log_l, log_w, log_h, sin2, cos2, front_x, front_y, vx, vy = (float(v) for v in values)
    length, width, height = (math.exp(min(max(v, -2.5), 3.2)) for v in (log_l, log_w, log_h))
    vx, vy = (min(max(v, -60.0), 60.0) for v in (vx, vy))
    speed = math.hypot(vx, vy)
    return Box3D(
        category=category,
        x_m=float(x),
        y_m=float(y),
        z_m=min(max(z, -5.0), 10.0),
        length_m=length,
        width_m=width,
        height_m=height,
        yaw_rad=yaw_from_double(sin2, cos2, front_x, front_y),
        vx_mps=vx,
        vy_mps=vy,
        score=float(min(max(score, 0.0), 1.0)),
        attribute=Attribute.STOPPED if speed < _STANDING_MPS else Attribute.MOVING,
        source=BoxSource.NETWORK,
    )


def yaw_from_double(sin2: float, cos2: float, front_x: float, front_y: float) -> float:
    """Recover a heading from its double angle and a vote for the front.

    Seen from the side a vehicle is nearly symmetric, and the (sin, cos) of its two possible headings
    cancel to nothing. The double angle has one answer for both; which end is the front is then the
    side of the axis that the front vector points to. Unlike a single bit, that vote has no heading at
    which it jumps.
    """
    axis = 0.5 * math.atan2(sin2, cos2)
    is_forward = math.cos(axis) * front_x + math.sin(axis) * front_y >= 0.0
    return wrap_rad(axis if is_forward else axis + math.pi)


def _futures(outputs: Mapping[str, Floats], slot: int | None, box: Box3D) -> tuple[Trajectory, ...]:
    """Read the six futures of a box from its query; offsets are relative to the box centre."""
    if slot is None:
        return ()
    offsets, scores = outputs["futures"][0, slot], outputs["future_scores"][0, slot]
    centre = np.array([box.x_m, box.y_m])
    points = np.clip(offsets, -200.0, 200.0) + centre
    return tuple(
        Trajectory(
            points_ego=tuple(map(tuple, points[mode].tolist())),
            step_s=0.25,
            probability=float(min(max(scores[mode], 0.0), 1.0)),
        )
        for mode in np.argsort(-scores, kind="stable")
    )
