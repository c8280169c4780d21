"""What every test stands on: repeatable examples, the arithmetic of a fresh process, real sealed clips."""

import ctypes
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import settings

from edge.clip_file import ClipFrame, encode_clip, encode_clip_manifest, encode_instant
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, UltrasonicScan, frames_of
from edge.contracts.time import ClockKind, NamedClock, frame_stamp_ns
from edge.contracts.wire import ClipOffer
from edge.perceive.tensors import IMAGE_SLOTS

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

# The same examples on every machine, and no deadline: two cores are shared.
settings.register_profile("ringroad", deadline=None, derandomize=True, database=None)
settings.load_profile("ringroad")

_LIBM = ctypes.CDLL("libm.so.6")
_DEFAULT_ENVIRONMENT = ctypes.c_void_p(-1)
"""glibc's FE_DFL_ENV."""


@pytest.fixture(autouse=True)
def _arithmetic_of_a_fresh_process() -> None:
    """Undo flush-to-zero, which the first ONNX session of a process leaves switched on for good."""
    _LIBM.fesetenv(_DEFAULT_ENVIRONMENT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the lap, the longest file, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_lap_quick.py")


SEALED_FRAMES = 3


@dataclass(frozen=True)
class SealedClip:
    """A clip of about a megabyte (four chunks), as the recorder leaves it."""

    manifest: ClipManifest
    manifest_bytes: bytes
    content: bytes

    @property
    def blob_id(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def offer(self) -> ClipOffer:
        return ClipOffer(
            clip_id=self.manifest.clip_id, blob_id=self.blob_id, blob_bytes=len(self.content)
        )


def rig() -> Rig:
    intrinsics = Intrinsics.from_fov(math.radians(60.0), 224, 128)
    pose = Pose(qw=0.5, qx=-0.5, qy=0.5, qz=-0.5)
    cameras = tuple(
        Camera(name=n, intrinsics=intrinsics, ego_from_cam=pose, slot=n) for n in CAMERAS
    )
    return Rig(name="test-rig", cameras=cameras)


def _frame_set(index: int, rng: np.random.Generator) -> FrameSet:
    stamp_ns = frame_stamp_ns(index)
    return FrameSet(
        index=index,
        stamp_ns=stamp_ns,
        frames=frames_of(rng.integers(0, 256, (8, 128, 224, 3), dtype=np.uint8), stamp_ns),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose()),
    )


@cache
def seal(drive: int = 0, vehicle_id: str = "v-01", **changes: object) -> SealedClip:
    """Seal a clip; ``changes`` go into its manifest."""
    rng = np.random.default_rng(drive)
    frames = tuple(ClipFrame(encode_instant(_frame_set(k, rng))) for k in range(SEALED_FRAMES))
    event = TriggerEvent(
        rule=TriggerRule.LOW_TTC,
        rule_version=1,
        campaign_id="edge_cases",
        stamp_ns=frame_stamp_ns(1),
        value=1.0,
        threshold=1.5,
        worth=0.25,
    )
    drive_id = f"drive-{drive}"
    manifest = ClipManifest(
        clip_id=ClipManifest.make_id(vehicle_id, drive_id, event),
        vehicle_id=vehicle_id,
        drive_id=drive_id,
        clock=NamedClock(kind=ClockKind.VIRTUAL),
        rig=rig(),
        rig_id=rig().rig_id,
        bundle_id="b-0",
        events=(event,),
        start_ns=frame_stamp_ns(0),
        end_ns=frame_stamp_ns(SEALED_FRAMES),
        frame_count=SEALED_FRAMES,
        privacy=Privacy.SYNTHETIC,
    )
    manifest = msgspec.structs.replace(manifest, **changes)
    return SealedClip(manifest, encode_clip_manifest(manifest), encode_clip(manifest, frames))


@pytest.fixture(scope="session")
def clip() -> Callable[..., SealedClip]:
    return seal


@pytest.fixture
def opencv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Let the metadata of this Python say that it holds these wheels of OpenCV and no other."""
    find = PathFinder.find_distributions

    def install(*names: str) -> None:
        for name in names:
            folder = tmp_path / "wheels" / f"{name.replace('-', '_')}-4.12.0.88.dist-info"
            folder.mkdir(parents=True)
            folder.joinpath("METADATA").write_text(f"Name: {name}\nVersion: 4.12.0.88\n")
            folder.joinpath("top_level.txt").write_text("cv2\n")

        def found(context: DistributionFinder.Context) -> list[Distribution]:
            wheels = DistributionFinder.Context(name=context.name, path=[str(tmp_path / "wheels")])
            others = (d for d in find(context) if not d.name.startswith("opencv"))
            return [*others, *find(wheels)]

        monkeypatch.setattr(PathFinder, "find_distributions", found)

    return install


@pytest.fixture(scope="session")
def health_campaign() -> Campaign:
    """A campaign that asks for everything that a vehicle notices about itself."""
    return Campaign(
        campaign_id="c-health",
        rules=tuple(
            ArmedRule(rule=rule, threshold=threshold)
            for rule, threshold in (
                (TriggerRule.IMAGE_HEALTH, 1.0),
                (TriggerRule.RADAR_SILENT, 1.0),
                (TriggerRule.NETWORK_FAULT, 0.0),
                (TriggerRule.RUNG_CHANGE, 1.0),
                (TriggerRule.CLOCK_STEP, 1.0),
            )
        ),
        until_ns=2**62,
    )
