"""Bundles that a vehicle must refuse: tampered, older, of another profile, cut off, signed once, or with NaN.

The vehicle's real update agent stands before signed repositories that a real service gives out. The tests
come first; below them stand the repositories and the vehicle that updates itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge.board.profile import device_profile
from edge.contracts.bundle import EngineKind, Precision, TensorSpec
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.geometry import Pose
from edge.contracts.golden import GoldenFrame
from edge.contracts.release import Assignment, Release, blob_path
from edge.contracts.scene import PlanSource
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import frame_stamp_ns
from edge.contracts.wire import InstallPhase
from edge.ota import (
    AgentSettings,
    BundlePhase,
    FetchSettings,
    Identity,
    Refusal,
    RefusalKind,
    TrialRule,
    TrustAnchors,
    UpdateAgent,
    active_bundle,
    golden_probe,
    install_factory_bundle,
    open_agent,
)
from edge.perceive.engine import OnnxEngine, open_engine
from edge.perceive.loaded import load_bundle
from edge.perceive.tensors import (
    PICO,
    calibration_table,
    empty_memory,
    input_specs,
    network_inputs,
    output_specs,
)
from edge.runtime import Runtime, RuntimeSettings
from edge.trigger import ControlStream
from fleet.bundle.bundle import Bundle, BundleSpec, EngineKey, answered, build_bundle, write_bundle
from fleet.repository import DirectorRepository, ImageRepository, KeyRing, create_keys
from fleet.zoo import zoo_folder

Seal = Callable[..., Any]
Fleet = Any
"""The service of the conftest."""

NOW_NS = 1_800_000_000 * 10**9
DRIVER = "driver"
ASKED = np.array([1, 2, 3], np.float32)
CHUNK = 4096
TENSOR = (3,)
SPEC = BundleSpec(
    model="toy",
    inputs=(TensorSpec(name="asked", dtype="float32", shape=TENSOR),),
    outputs=(TensorSpec(name="answer", dtype="float32", shape=TENSOR),),
    thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.3),
)


def test_an_honest_bundle_is_installed(updates: Updates) -> None:
    """Else everything below would be refused for nothing."""
    updates.offer(2.0, 2)
    updates.install()
    assert updates.answer() == [2.0, 4.0, 6.0]


def test_a_bundle_with_a_tampered_engine_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    served = updates.offer(2.0, 2)
    honest = served.read_bytes()
    served.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    refusal = updates.refusal(RefusalKind.HASH)
    assert f"expected {served.name[:12]}" in refusal.reason
    served.write_bytes(honest)
    updates.install()


def test_a_bundle_with_a_tampered_manifest_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    updates.offer(2.0, 2)
    (served,) = (updates.tree / "image/targets").glob("*/*.json")
    served.write_bytes(served.read_bytes().replace(b'"toy"', b'"tox"'))
    assert "expected" in updates.refusal(RefusalKind.HASH).reason


@pytest.mark.parametrize("repository", ["image", f"director/{DRIVER}"])
def test_tampered_metadata_of_a_bundle_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates, repository: str
) -> None:
    updates.offer(2.0, 2)
    served = updates.tree / repository / "metadata/timestamp.json"
    honest = served.read_bytes()
    served.write_bytes(honest.replace(b'"version":2', b'"version":3'))
    assert served.read_bytes() != honest
    assert "was signed by 0/1 keys" in updates.refusal(RefusalKind.SIGNATURE).reason


def test_a_bundle_older_than_installed_is_refused_and_the_new_slot_keeps_driving(
    updates: Updates,
) -> None:
    old = updates.release(updates.build(3.0, 2))
    updates.offer(2.0, 5)
    updates.install()
    updates.assign(old)
    refusal = updates.refusal(RefusalKind.ROLLBACK, slot="b", weight=2.0)
    assert "counter 2 is not newer than installed 5 (rollback)" in refusal.reason


def test_a_bundle_for_another_profile_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    updates.offer(2.0, 2, profile="orin")
    refusal = updates.refusal(RefusalKind.PROFILE)
    assert "is for profile orin, this vehicle is laptop" in refusal.reason


def test_a_half_downloaded_bundle_is_not_driven_on_and_its_download_goes_on_later(
    updates: Updates,
) -> None:
    served = updates.offer(2.0, 2, padding_bytes=20_000)
    whole = served.read_bytes()
    served.write_bytes(whole[: len(whole) // 2])
    refusal = updates.refusal(RefusalKind.LINK)
    assert f"ended after {len(whole) // 2} of {len(whole)} bytes" in refusal.reason
    (partial,) = (updates.root / "partial").iterdir()
    assert 0 < partial.stat().st_size <= len(whole) // 2 + CHUNK
    served.write_bytes(bytes(CHUNK) + whole[CHUNK:])  # the beginning is not asked for again
    updates.install()
    assert updates.answer() == [2.0, 4.0, 6.0]


def test_a_bundle_with_a_single_signature_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    updates.assign(updates.release(updates.build(2.0, 2), "release-a", minimum=1))
    assert "was signed by 1/2 keys" in updates.refusal(RefusalKind.SIGNATURE).reason


def test_a_model_that_emits_nan_is_refused_and_the_old_slot_keeps_driving(updates: Updates) -> None:
    updates.offer(math.nan, 2, golden=2.0)
    assert "output answer is not finite" in updates.refusal(RefusalKind.PROBE).reason
    with updates.agent() as agent:
        assert agent.step(NOW_NS).refusal.kind is RefusalKind.BAD_BUNDLE
        told = agent.reports({}, NOW_NS)
    assert told[0].phase is InstallPhase.REFUSED and "not finite" in told[0].reason
    assert told[-1].phase is InstallPhase.IDLE and told[-1].release_counter == 1


def test_a_model_that_emits_nan_only_on_the_road_does_not_steer_and_is_turned_out(
    updates: Updates, clip: Seal, tmp_path: Path
) -> None:
    rig, profile, path = clip().manifest.rig, device_profile("laptop"), tmp_path / "pico.onnx"
    spoilt = OnnxEngine(spoilt_by_light(path))
    dark = network_inputs(scene(0, 50), calibration_table(rig, PICO), empty_memory(PICO), PICO)
    bundle = build_bundle(
        {EngineKey(EngineKind.ONNX, Precision.FP32): path},
        BundleSpec(
            "pico", input_specs(PICO), output_specs(PICO, len(SHIPPED_CLASSES)), SPEC.thresholds
        ),
        answered(spoilt, [dark]),
        tolerance=0.01,
        profile=profile.name,
        release_counter=2,
    )
    updates.assign(updates.release(bundle))
    with updates.agent() as agent:
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL, "its golden frame was dark"
        manifest, folder = agent.active()
        runtime = Runtime(
            RuntimeSettings(),
            rig=rig,
            bundle=load_bundle(manifest, folder, rig, profile),
            profile=profile,
            control=ControlStream(0, DRIVER, "d"),
            rate_hz=36.0,
        )
        for frame_set, has_fault in ((scene(0, 50), False), (scene(1, 200), True)):
            result = runtime.tick(frame_set, frame_set.stamp_ns)
            assert result.perception.has_fault is has_fault
        assert result.perception.boxes == () and result.plan.source is not PlanSource.NETWORK
        assert math.isfinite(result.plan.acceleration_mps2 + result.plan.steering_rad)
        assert agent.on_ticks(2, runtime.health.faults, NOW_NS) is BundlePhase.REVERTED
        assert agent.active()[1].name == "a"
        assert InstallPhase.REVERTED in [report.phase for report in agent.reports({}, NOW_NS)]
    assert updates.answer() == [1.0, 2.0, 3.0]


def network(weight: float, padding_bytes: int) -> bytes:
    """An ONNX file that multiplies by a weight."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    noise = np.random.default_rng(0).bytes(padding_bytes).hex()
    graph = helper.make_graph(
        [helper.make_node("Mul", ["asked", "weight"], ["answer"])],
        "toy",
        [helper.make_tensor_value_info("asked", kind, TENSOR)],
        [helper.make_tensor_value_info("answer", kind, TENSOR)],
        [helper.make_tensor("weight", kind, (), [weight])],
        doc_string=noise,
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return bytes(model.SerializeToString())


@dataclass
class Updates:
    """Both repositories in the tree that the service gives out, and a vehicle born with weight 1."""

    url: str
    tree: Path
    drafts: Path
    image: ImageRepository
    director: DirectorRepository
    root: Path
    """The vehicle's installation."""

    def build(
        self,
        weight: float,
        counter: int,
        *,
        golden: float | None = None,
        profile: str = "laptop",
        padding_bytes: int = 0,
    ) -> Bundle:
        """Build a bundle whose golden answers are those of a network of weight ``golden``."""
        engine = self.drafts / "toy.onnx"
        engine.write_bytes(network(weight, padding_bytes))
        answer = ASKED * np.float32(weight if golden is None else golden)
        frames = (GoldenFrame({"asked": ASKED}, {"answer": answer}, "full"),)
        files = {EngineKey(EngineKind.ONNX, Precision.FP32): engine}
        return build_bundle(
            files, SPEC, frames, tolerance=0.01, profile=profile, release_counter=counter
        )

    def release(self, bundle: Bundle, *signers: str, minimum: int | None = None) -> Release:
        release = self.image.propose(bundle, NOW_NS)
        for signer in signers or ("release-a", "release-b"):
            self.image.sign(signer)
        self.image.publish(NOW_NS, minimum_signatures=minimum)
        return release

    def assign(self, release: Release) -> None:
        self.director.assign(Assignment(vehicle_id=DRIVER, release=release), NOW_NS)

    def offer(self, *args: Any, **kwargs: Any) -> Path:
        """Release a bundle, assign it, and give the engine file that the service gives out."""
        bundle = self.build(*args, **kwargs)
        self.assign(self.release(bundle))
        return self.tree / blob_path(bundle.manifest.engines[0].sha256)

    @contextmanager
    def agent(self) -> Iterator[UpdateAgent]:
        """Run the vehicle's update agent, as one process does from start to end."""
        settings = AgentSettings(
            base_url=self.url,
            trial=TrialRule(ticks=10),
            fetch=FetchSettings(chunk_bytes=CHUNK),
        )
        anchors = TrustAnchors(self.image.root_bytes(), self.director.root_bytes())
        with open_agent(
            self.root,
            identity=Identity(DRIVER, "laptop"),
            settings=settings,
            anchors=anchors,
            probe=golden_probe(open_engine),
            boot_id="b",
            now_ns=NOW_NS,
        ) as agent:
            yield agent

    def install(self) -> None:
        """Install what is offered and drive on it until it has proven itself."""
        with self.agent() as agent:
            assert agent.step(NOW_NS).phase is BundlePhase.TRIAL
            assert agent.on_ticks(10, 0, NOW_NS) is BundlePhase.COMMITTED

    def refusal(self, kind: RefusalKind, *, slot: str = "a", weight: float = 1.0) -> Refusal:
        """Look for an update; it must be refused, and the slot that drove drives and answers on."""
        with self.agent() as agent:
            refusal = agent.step(NOW_NS).refusal
            assert refusal is not None and refusal.kind is kind, refusal
            assert refusal.reason.endswith(f"; keeping slot {slot}")
            assert agent.active()[1].name == slot
        assert self.answer() == [weight, 2 * weight, 3 * weight]
        return refusal

    def answer(self) -> list[float]:
        """What the bundle that drives after the next start says when it is asked (1, 2, 3)."""
        manifest, folder = active_bundle(self.root)
        engine = open_engine(manifest.engines[0], folder / manifest.engines[0].sha256, manifest)
        return [float(value) for value in engine.run({"asked": ASKED})["answer"]]


@pytest.fixture(scope="module")
def release_keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    keys = KeyRing(tmp_path_factory.mktemp("keys"))
    create_keys(keys)
    return keys


@pytest.fixture
def updates(fleet: Fleet, tmp_path: Path, release_keys: KeyRing) -> Updates:
    tree = fleet.state.updates / tmp_path.name
    image = ImageRepository(tree, tmp_path / "drafts", release_keys)
    director = DirectorRepository(tree, release_keys)
    image.create(NOW_NS)
    director.create(NOW_NS)
    director.enrol(DRIVER, NOW_NS)
    url, root = f"{fleet.updates}/{tmp_path.name}", tmp_path / "vehicle"
    updates = Updates(url, tree, tmp_path, image, director, root)
    write_bundle(updates.build(1.0, 1), tmp_path / "factory")
    install_factory_bundle(root, tmp_path / "factory")
    return updates


def spoilt_by_light(path: Path) -> Path:
    """Write the shipped network again, so that any image brighter than 100 makes its heatmap NaN."""
    model = onnx.load(str(zoo_folder("pico") / "fp32.onnx"))
    graph, helper, floats = model.graph, onnx.helper, onnx.TensorProto.FLOAT
    for node in graph.node:
        node.input[:] = ["honest" if name == "heatmap" else name for name in node.input]
        node.output[:] = ["honest" if name == "heatmap" else name for name in node.output]
    graph.initializer.append(helper.make_tensor("brightest", floats, (), [100.0]))
    graph.initializer.append(helper.make_tensor("nothing", floats, (), [0.0]))
    graph.node.extend(
        [
            helper.make_node("Cast", ["images"], ["light"], to=floats),
            helper.make_node("ReduceMax", ["light"], ["glare"], keepdims=0),
            helper.make_node("Sub", ["brightest", "glare"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),  # of a negative number: NaN
            helper.make_node("Mul", ["root", "nothing"], ["spoil"]),
            helper.make_node("Add", ["honest", "spoil"], ["heatmap"]),
        ]
    )
    onnx.save(model, str(path))
    return path


def scene(index: int, brightness: int) -> FrameSet:
    """A straight road of one shade of grey."""
    stamp_ns = frame_stamp_ns(index)
    return FrameSet(
        index=index,
        stamp_ns=stamp_ns,
        frames=frames_of(np.full((8, 128, 224, 3), brightness, np.uint8), stamp_ns),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose(), speed_mps=5.0),
        route=Route(points_ego=tuple((2.0 * k, 0.0) for k in range(40)), speed_limit_mps=10.0),
    )
