"""A vehicle that sees perfectly, or not at all, in the real simulated world, without pictures.

What a network would say is taken from the truth, within the limits of one: so far, and only what is not
hidden. Everything behind that seam is the vehicle's own code, and everything around it the world's.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge.board.profile import device_profile
from edge.contracts.bundle import (
    BundleManifest,
    EngineFile,
    EngineKind,
    GoldenSet,
    Precision,
)
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.scene import Plan, Rung
from edge.contracts.sensors import FrameSet, frames_of
from edge.contracts.time import FRAME_RATE_HZ
from edge.perceive.engine import OnnxEngine
from edge.perceive.loaded import LoadedBundle
from edge.perceive.perceiver import StageWatch, unwatched
from edge.perceive.tensors import PICO, NetOutput, Recollection, input_specs, output_specs
from edge.runtime import Runtime, RuntimeSettings, drive
from edge.trigger import ControlStream
from fleet.bundle.bundle import BundleSpec, EngineKey, answered, build_bundle, write_bundle
from sim.place.maps import RoadMap
from sim.place.scenery import Scenery
from sim.sense.rig import default_rig
from sim.sense.sensors import (
    RadarSettings,
    UltrasonicSettings,
    radar_scan,
    ultrasonic_scan,
)
from sim.sense.sight import Surroundings, survey
from sim.sense.truth import truth_boxes
from sim.simulation.simulation import stream
from sim.world.encounters import load_scenario
from sim.world.sumo.world import SumoWorld
from sim.world.trip import EgoMode, Trip
from sim.world.world import World

BODY = default_rig().body


@dataclass(eq=False)
class Surround:
    """What the oracle and the sensors share of one instant."""

    around: Surroundings | None = None


@dataclass(eq=False)
class OraclePerceiver:
    """Sees what is near enough and not hidden, exactly as it is."""

    seen_of: Surround
    range_m: float = 32.0
    hidden_ratio: float = 0.6

    def perceive(self, frame_set: FrameSet, watch: StageWatch = unwatched) -> NetOutput:
        """Look once; proposes no plans of its own and calls everything drivable."""
        assert self.seen_of.around is not None
        boxes = tuple(
            t.box
            for t in truth_boxes(self.seen_of.around, {})
            if max(abs(t.box.x_m), abs(t.box.y_m)) < self.range_m
            and t.hidden_ratio <= self.hidden_ratio
        )
        nothing = np.zeros((0, PICO.width), np.float32)
        return NetOutput(
            boxes=boxes,
            futures=(),
            segmentation=np.ones((PICO.bev_cells, PICO.bev_cells), np.uint8),
            plans=np.zeros((0, PICO.plan_steps, 3), np.float32),
            plan_scores=np.zeros(0, np.float32),
            recollection=Recollection(
                frame_set.stamp_ns,
                frame_set.ego.world_from_ego,
                nothing,
                np.zeros((0, 2), np.float32),
                np.zeros(0, np.float32),
            ),
        )


@dataclass(frozen=True)
class Contact:
    """The first instant at which the ego touched something."""

    at_s: float
    category: str
    x_m: float
    """Of the other's middle, in the ego frame."""
    y_m: float
    ego_mps: float
    other_mps: float
    entity_id: int

    @property
    def is_ours(self) -> bool:
        """Whether we drove into it: we moved, and it was not behind us."""
        return self.ego_mps > 0.2 and self.x_m > -BODY.rear_overhang_m


@dataclass
class Driven:
    """What a drive was like; see the properties for what is asked of it."""

    contacts: list[Contact] = field(default_factory=list)
    speed_mps: list[float] = field(default_factory=list)
    command_mps2: list[float] = field(default_factory=list)
    steering_rad: list[float] = field(default_factory=list)
    sideways_mps2: list[float] = field(default_factory=list)
    off_lane_m: list[float] = field(default_factory=list)
    red_lights_run: int = 0
    idle: list[bool] = field(default_factory=list)
    """Stood although there was neither a stop line nor anything near in front."""
    sources: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    touching: set[int] = field(default_factory=set)

    @property
    def own_contacts(self) -> list[Contact]:
        return [c for c in self.contacts if c.is_ours]

    @property
    def mean_mps(self) -> float:
        return float(np.mean(self.speed_mps))

    @property
    def hard_brakes(self) -> int:
        """How often a brake harder than 4 m/s2 began."""
        hard = np.array(self.command_mps2) < -4.0
        return int((hard[1:] & ~hard[:-1]).sum() + hard[0])

    @property
    def jolts(self) -> float:
        """Share of ticks in which the command jumped by more than 2 m/s2."""
        return float((np.abs(np.diff(self.command_mps2)) > 2.0).mean())

    @property
    def longest_idle_s(self) -> float:
        longest = run = 0
        for is_idle in self.idle:
            run = run + 1 if is_idle else 0
            longest = max(longest, run)
        return longest / FRAME_RATE_HZ


@dataclass(eq=False)
class Road:
    """The world as the runtime's source of frames, with black pictures."""

    world: World
    scenery: Scenery
    seed: int
    ticks_left: int
    shared: Surround
    driven: Driven = field(default_factory=Driven)

    def __post_init__(self) -> None:
        self.rig = default_rig()
        self._black = np.zeros((8, 128, 256, 3), np.uint8)

    def next_frame_set(self, plan: Plan | None) -> FrameSet | None:
        """Move the world by the last plan and sense without looking."""
        if self.ticks_left <= 0:
            return None
        self.ticks_left -= 1
        self.world.apply(plan)
        snapshot = self.world.step()
        around = self.shared.around = survey(snapshot, self.scenery)
        index = snapshot.frame_index
        self._note(plan)
        return FrameSet(
            index=index,
            stamp_ns=snapshot.stamp_ns,
            frames=frames_of(self._black, snapshot.stamp_ns),
            radar=radar_scan(around, self.rig, RadarSettings(), stream(self.seed, "radar", index)),
            ultrasonics=ultrasonic_scan(
                around, self.rig, UltrasonicSettings(), stream(self.seed, "ultrasonics", index)
            ),
            ego=snapshot.ego,
            route=snapshot.route,
        )

    def _note(self, plan: Plan | None) -> None:
        snapshot, around, driven = self.world.now(), self.shared.around, self.driven
        ego = snapshot.ego
        now = set(snapshot.touched_ids)
        for k, entity in enumerate(snapshot.entities):
            if entity.entity_id in now - driven.touching:
                x, y = around.boxes_ego[k, :2].tolist()
                speed = math.hypot(entity.vx_mps, entity.vy_mps)
                driven.contacts.append(
                    Contact(
                        len(driven.speed_mps) / FRAME_RATE_HZ, str(entity.category), x, y,
                        ego.speed_mps, speed, entity.entity_id,
                    )
                )  # fmt: skip
        driven.touching = now
        stop_m = snapshot.route.stop_distance_m
        line = np.array(snapshot.route.points_ego[:2])
        along = (line[1] - line[0]) / max(float(np.hypot(*(line[1] - line[0]))), 1e-6)
        driven.off_lane_m.append(abs(float(along[0] * line[0][1] - along[1] * line[0][0])))
        driven.speed_mps.append(ego.speed_mps)
        driven.sideways_mps2.append(ego.speed_mps * ego.yaw_rate_radps)
        boxes = around.boxes_ego
        is_near = (np.abs(boxes[:, 1]) < 3.5) & (boxes[:, 0] > 0.0) & (boxes[:, 0] < 18.0)
        is_free = (stop_m is None or stop_m > 12.0) and not is_near.any()
        driven.idle.append(ego.speed_mps < 0.3 and is_free)
        was_held = stop_m is not None and stop_m < BODY.front_m - 0.2
        if was_held and ego.speed_mps > 0.5 and not self._is_over_line:
            driven.red_lights_run += 1
        self._is_over_line = was_held
        if plan is not None:
            driven.command_mps2.append(plan.acceleration_mps2)
            driven.steering_rad.append(plan.steering_rad)
            driven.sources[str(plan.source)] += 1
            for name, count in plan.rejected:
                driven.rejected[name] += count

    _is_over_line = False


def manifest() -> BundleManifest:
    """Describe a bundle whose network nobody runs."""
    file = EngineFile(kind=EngineKind.ONNX, precision=Precision.FP32, sha256="a" * 64, size_bytes=1)
    return BundleManifest(
        bundle_id="b-oracle",
        model="pico",
        profile="laptop",
        release_counter=1,
        engines=(file,),
        inputs=input_specs(PICO),
        outputs=output_specs(PICO, len(SHIPPED_CLASSES)),
        categories=SHIPPED_CLASSES,
        thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.3),
        golden=GoldenSet(sha256="b" * 64, size_bytes=0, frames=0, tolerance=0.01),
    )


def drive_blind_or_seeing(
    road_map: RoadMap,
    scenery: Scenery,
    *,
    place_id: str,
    scenario: str = "none",
    seconds: float = 12.0,
    seed: int = 0,
    sees: bool = True,
    on_tick=lambda tick, road, result: None,
) -> Driven:
    """Drive from a place on the oracle's perception, or on radar and ultrasonics alone."""
    trip = Trip(
        place_id=place_id, scenario=load_scenario(scenario), seed=seed, ego_mode=EgoMode.PLAN
    )
    shared = Surround()
    with SumoWorld(trip, road_map=road_map, body=BODY) as world:
        road = Road(world, scenery, seed, round(seconds * FRAME_RATE_HZ), shared)
        runtime = Runtime(
            RuntimeSettings(),
            rig=road.rig,
            bundle=LoadedBundle.of(
                manifest(), {Rung.FULL: OraclePerceiver(shared)} if sees else {}
            ),
            profile=device_profile("laptop"),
            control=ControlStream(seed, "v-oracle", "d-1"),
            rate_hz=FRAME_RATE_HZ,
        )
        for tick, result in enumerate(drive(runtime, road)):
            on_tick(tick, road, result)
    return road.driven


def write_blind_network(path: Path) -> None:
    """Write a network of the right shapes that sees nothing and proposes nothing."""
    kinds = {"uint8": onnx.TensorProto.UINT8, "int32": onnx.TensorProto.INT32}
    inputs = [
        helper.make_tensor_value_info(t.name, kinds.get(t.dtype, onnx.TensorProto.FLOAT), t.shape)
        for t in input_specs(PICO)
    ]
    outputs = [
        helper.make_tensor_value_info(t.name, onnx.TensorProto.FLOAT, t.shape)
        for t in output_specs(PICO, len(SHIPPED_CLASSES))
    ]
    nodes = [
        helper.make_node(
            "Constant", [], [t.name],
            value=numpy_helper.from_array(np.zeros(t.shape, np.float32), t.name),
        )
        for t in output_specs(PICO, len(SHIPPED_CLASSES))
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "blind", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def blind_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle that sees nothing."""
    folder = tmp_path_factory.mktemp("bundle")
    file = folder / "blind.onnx"
    write_blind_network(file)
    inputs = {t.name: np.zeros(t.shape, t.dtype) for t in input_specs(PICO)}
    bundle = build_bundle(
        {EngineKey(EngineKind.ONNX, Precision.FP32): file},
        BundleSpec(
            "pico",
            input_specs(PICO),
            output_specs(PICO, len(SHIPPED_CLASSES)),
            dict.fromkeys(SHIPPED_CLASSES, 0.3),
        ),
        answered(OnnxEngine(file), [inputs]),
        tolerance=0.01,
        profile="laptop",
        release_counter=1,
    )
    write_bundle(bundle, folder)
    return folder
