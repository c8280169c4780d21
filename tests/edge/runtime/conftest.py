"""A vehicle on paper: a rig, a bundle, a board, and an engine that answers what a test wants."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from edge.contracts.bundle import (
    BundleManifest,
    DeviceProfile,
    EngineFile,
    EngineKind,
    GoldenSet,
    Precision,
)
from edge.contracts.classes import CAR, SHIPPED_CLASSES, Category
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig, UltrasonicMount
from edge.contracts.scene import Box3D
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import frame_stamp_ns
from edge.perceive.tensors import IMAGE_SLOTS, PICO, input_specs, output_specs

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

MODELLED_MS = {
    "sense": 2.0,
    "preprocess": 2.0,
    "infer_pico": 6.0,
    "infer_pico_small": 3.0,
    "decode": 0.5,
    "track": 0.5,
    "radar": 1.0,
    "plan": 2.0,
    "trigger": 0.5,
    "record": 0.5,
}
"""Sensor to plan: full 14, with a small graph 11, radar only 5.5."""


def make_box(x_m: float, y_m: float, category: Category = CAR, **changes) -> Box3D:
    fields = {
        "category": category,
        "x_m": x_m,
        "y_m": y_m,
        "z_m": 0.8,
        "length_m": 4.5,
        "width_m": 1.8,
        "height_m": 1.5,
        "yaw_rad": 0.0,
        "score": 0.9,
    }
    return Box3D(**(fields | changes))


def outputs_of(
    boxes: Sequence[Box3D], categories: tuple[Category, ...] = SHIPPED_CLASSES
) -> dict[str, np.ndarray]:
    """Write boxes into raw output tensors: what ``read_outputs`` reads back."""
    outputs = {s.name: np.zeros(s.shape, np.float32) for s in output_specs(PICO, len(categories))}
    outputs["segmentation"][0, 1] = 1.0  # all of it drivable
    for box in boxes:
        row, dx = divmod((box.x_m + PICO.bev_range_m) / PICO.cell_m, 1.0)
        column, dy = divmod((box.y_m + PICO.bev_range_m) / PICO.cell_m, 1.0)
        cell = (0, slice(None), int(row), int(column))
        outputs["heatmap"][cell][categories.index(box.category)] = box.score
        outputs["boxes"][cell] = (
            dx - 0.5, dy - 0.5, box.z_m,
            math.log(box.length_m), math.log(box.width_m), math.log(box.height_m),
            math.sin(2 * box.yaw_rad), math.cos(2 * box.yaw_rad),
            math.cos(box.yaw_rad), math.sin(box.yaw_rad), box.vx_mps, box.vy_mps,
        )  # fmt: skip
    return outputs


@dataclass
class ScriptedEngine:
    """An engine that answers with chosen boxes, or as ``spoil`` distorts them."""

    boxes: Callable[[int], Sequence[Box3D]] = lambda tick: ()
    spoil: Callable[[int, dict[str, np.ndarray]], None] = lambda tick, outputs: None
    kind: EngineKind = EngineKind.ONNX
    input_names: tuple[str, ...] = tuple(s.name for s in input_specs(PICO))
    output_names: tuple[str, ...] = tuple(s.name for s in output_specs(PICO, len(SHIPPED_CLASSES)))
    asked: list[dict[str, np.ndarray]] = field(default_factory=list)
    categories: tuple[Category, ...] = SHIPPED_CLASSES

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = outputs_of(self.boxes(len(self.asked)), self.categories)
        self.spoil(len(self.asked), outputs)
        self.asked.append(dict(inputs))
        return outputs


@pytest.fixture
def scripted_engine() -> type[ScriptedEngine]:
    return ScriptedEngine


@pytest.fixture
def box() -> Callable[..., Box3D]:
    return make_box


@pytest.fixture
def rig() -> Rig:
    intrinsics = Intrinsics.from_fov(1.2, 64, 32)
    pose = Pose(z_m=1.6, qw=0.5, qx=-0.5, qy=0.5, qz=-0.5)  # looks along ego x
    return Rig(
        name="paper",
        cameras=tuple(
            Camera(name=n, intrinsics=intrinsics, ego_from_cam=pose, slot=n) for n in CAMERAS
        ),
        ultrasonics=(UltrasonicMount(x_m=3.6, y_m=0.0, yaw_rad=0.0),),
    )


@pytest.fixture
def profile() -> DeviceProfile:
    return DeviceProfile(name="paper", engines=(EngineKind.ONNX,), modelled_ms=dict(MODELLED_MS))


@pytest.fixture
def manifest() -> BundleManifest:
    file = EngineFile(kind=EngineKind.ONNX, precision=Precision.FP32, sha256="a" * 64, size_bytes=1)
    return BundleManifest(
        bundle_id="b-1",
        model="pico",
        profile="paper",
        release_counter=1,
        engines=(file,),
        inputs=input_specs(PICO),
        outputs=output_specs(PICO, len(SHIPPED_CLASSES)),
        categories=SHIPPED_CLASSES,
        thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.3),
        golden=GoldenSet(sha256="b" * 64, size_bytes=0, frames=0, tolerance=0.01),
    )


ROAD = np.random.default_rng(0).integers(60, 200, (4, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
"""A picture of large squares, (32, 64, 3)."""


def make_frame_set(index: int, x_m: float = 0.0, speed_mps: float = 0.0, **changes) -> FrameSet:
    """Eight cameras past which something moves, on a straight road along world x."""
    stamp_ns = frame_stamp_ns(index)
    fields = {
        "index": index,
        "stamp_ns": stamp_ns,
        "frames": frames_of([np.roll(ROAD, 3 * index, axis=0)] * 8, stamp_ns),
        "radar": RadarScan(),
        "ultrasonics": UltrasonicScan(np.full(1, 5.0, np.float32)),
        "ego": EgoState(
            stamp_ns=stamp_ns, world_from_ego=Pose.from_xy_yaw(x_m, 0.0, 0.0), speed_mps=speed_mps
        ),
        "route": Route(points_ego=tuple((2.0 * k, 0.0) for k in range(40)), speed_limit_mps=10.0),
    }
    return FrameSet(**(fields | changes))


@pytest.fixture
def frame_set() -> Callable[..., FrameSet]:
    return make_frame_set
