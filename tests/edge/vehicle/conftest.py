"""A vehicle on paper: a home whose fleet takes one clip a step, and an update agent that does as told."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import pytest

from edge.budget import VirtualClock
from edge.clip import CLIP_SUFFIX, SealedClip
from edge.contracts.bundle import (
    BundleManifest,
    EngineFile,
    EngineKind,
    GoldenSet,
    Precision,
)
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.clip import TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.rig import Rig
from edge.contracts.sensors import (
    EgoState,
    FrameSet,
    RadarScan,
    Route,
    UltrasonicScan,
    frames_of,
)
from edge.contracts.time import frame_stamp_ns
from edge.perceive.tensors import PICO, input_specs, output_specs
from edge.upload import Spool, SpoolSettings, UplinkCounts
from edge.vehicle import VehicleHome


def network(value: float) -> bytes:
    """An ONNX file with the tensors of pico that answers one number to everything."""
    make, types = onnx.helper, onnx.TensorProto
    kinds = {"uint8": types.UINT8, "int32": types.INT32, "float32": types.FLOAT}
    outputs = output_specs(PICO, len(SHIPPED_CLASSES))
    answer = onnx.numpy_helper.from_array(np.full(1, value, np.float32))
    graph = make.make_graph(
        [
            make.make_node("ConstantOfShape", [f"of_{s.name}"], [s.name], value=answer)
            for s in outputs
        ],
        "constant",
        [make.make_tensor_value_info(s.name, kinds[s.dtype], s.shape) for s in input_specs(PICO)],
        [make.make_tensor_value_info(s.name, types.FLOAT, s.shape) for s in outputs],
        [
            onnx.numpy_helper.from_array(np.array(s.shape, np.int64), f"of_{s.name}")
            for s in outputs
        ],
    )
    opset = make.make_opsetid("", 18)
    return make.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


def write_bundle(folder: Path, bundle_id: str, value: float = 0.0) -> tuple[BundleManifest, Path]:
    """Write a bundle whose network answers one number to everything."""
    content = network(value)
    sha256 = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / sha256).write_bytes(content)
    file = EngineFile(
        kind=EngineKind.ONNX, precision=Precision.FP32, sha256=sha256, size_bytes=len(content)
    )
    manifest = BundleManifest(
        bundle_id=bundle_id,
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
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return manifest, folder


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[BundleManifest, Path]:
    return write_bundle(tmp_path / "b-1", "b-1")


@dataclass
class Road:
    """A source of grey frame sets."""

    rig: Rig
    ticks: int
    radar: RadarScan = field(default_factory=RadarScan)
    index: int = 0

    def next_frame_set(self, _: object) -> FrameSet | None:
        if self.index == self.ticks:
            return None
        stamp_ns = frame_stamp_ns(self.index)
        self.index += 1
        return FrameSet(
            index=self.index - 1,
            stamp_ns=stamp_ns,
            frames=frames_of([np.full((128, 224, 3), 90, np.uint8)] * 8, stamp_ns),
            radar=self.radar,
            ultrasonics=UltrasonicScan(),
            ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose()),
            route=Route(),
        )


@pytest.fixture
def road(clip) -> Callable[..., Road]:
    return lambda ticks, **sensed: Road(clip().manifest.rig, ticks, **sensed)


@dataclass
class Fleet:
    """An uplink whose fleet takes one clip a step; ``happened`` is told everything in its order."""

    spool: Spool
    happened: list[str]
    clock: VirtualClock
    campaigns: tuple[Campaign, ...] | None = ()
    last_failure: str = ""
    counts: UplinkCounts = field(default_factory=UplinkCounts)
    is_willing: bool = True
    reports: list[object] = field(default_factory=list)

    @property
    def is_idle(self) -> bool:
        return not self.spool.pending()

    def step(self, _: int) -> None:
        if self.is_willing and not self.is_idle:
            self.spool.done(self.spool.pending()[0].clip_id)
            self.counts.clips_admitted += 1
            self.counts.bytes_sent += 1
            self.happened.append("sent")

    def wait(self, timeout_s: float) -> None:
        self.clock.stamp_ns += round(timeout_s * 1e9)

    def report(self, report: object) -> None:
        self.reports.append(report)


@dataclass
class Updates:
    """An update agent that reverts to ``fallback`` at the first fault."""

    installed: tuple[BundleManifest, Path]
    fallback: tuple[BundleManifest, Path] | None = None
    heard: list[tuple[int, int]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)

    @property
    def state(self) -> SimpleNamespace:
        return SimpleNamespace(
            phase="idle", driving=SimpleNamespace(bundle_id=self.installed[0].bundle_id)
        )

    def step(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(refusal=None)

    def active(self) -> tuple[BundleManifest, Path]:
        return self.installed

    def on_ticks(self, ticks: int, faults: int, _: int) -> None:
        self.heard.append((ticks, faults))
        if faults and self.fallback is not None:
            self.installed = self.fallback

    def reports(self, rungs: object, _: int) -> tuple[SimpleNamespace, ...]:
        return (SimpleNamespace(sequence=7, rungs=rungs),)

    def acknowledge(self, sequence: int) -> None:
        self.acknowledged.append(sequence)


class PaperHome(VehicleHome):
    """A home folder whose spool has room for one clip and a half."""

    def __init__(self, folder: Path, clip: Callable, bundle: tuple[BundleManifest, Path]) -> None:
        self.happened: list[str] = []
        self.clock = VirtualClock()
        room = SpoolSettings(capacity_bytes=len(clip(0).content) * 3 // 2)
        spool = Spool(folder / "spool", room)
        take = spool.take

        def watched(clips: Iterator[SealedClip]):
            taken = take(clips)
            self.happened.extend(["taken"] * len(taken))
            return taken

        spool.take = watched  # type: ignore[method-assign]
        fleet = Fleet(spool, self.happened, self.clock)
        super().__init__(folder, Updates(bundle), spool, fleet)
        self.clip = clip

    def seal(self, number: int, drive: str) -> SealedClip:
        clip = self.clip(number)
        path = self.clips_folder(drive) / (clip.manifest.clip_id + CLIP_SUFFIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.content)
        size_bytes = len(clip.content)
        return SealedClip(
            path, clip.manifest_bytes, clip.manifest.clip_id, clip.blob_id, size_bytes, 0.5
        )

    def left(self) -> int:
        return len(self.spool.pending()) + len(list(self.folder.rglob("clips/*/*" + CLIP_SUFFIX)))


@pytest.fixture
def home(tmp_path: Path, clip, bundle) -> PaperHome:
    """One clip waits in the spool and two lie sealed since earlier."""
    home = PaperHome(tmp_path / "home", clip, bundle)
    home.spool.take([home.seal(0, "old")])
    home.seal(1, "old")
    home.seal(2, "old")
    home.happened.clear()
    return home


@pytest.fixture
def other_bundle(tmp_path: Path) -> Callable[..., tuple[BundleManifest, Path]]:
    return lambda bundle_id, value=0.0: write_bundle(tmp_path / bundle_id, bundle_id, value)


@pytest.fixture
def often() -> Campaign:
    """Chance alone starts a clip in one tick of five."""
    return Campaign(
        campaign_id="c-1",
        rules=(ArmedRule(rule=TriggerRule.RANDOM, threshold=0.2),),
        before_s=0.1,
        after_s=0.1,
        until_ns=2**62,
    )
