"""Real sealed clips of about a megabyte (four chunks), and a vehicle that is enrolled."""

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.clip_file import ClipFrame, encode_clip, encode_jpegs, encode_manifest
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.sensors import (
    CAMERAS,
    Camera,
    CameraRig,
    EgoState,
    Intrinsics,
    RadarScan,
    Route,
    UltrasonicScan,
)
from edge.contracts.time import Clock, ClockKind, frame_stamp_ns
from edge.contracts.wire import ClipOffer
from edge.upload import VehicleKeys, load_or_make_keys
from fleet.catalog import Catalog
from fleet.ingest import Desk, IngestSettings
from fleet.keys import Enrolment, enrol
from fleet.store import FolderStore

NOW_NS = 1_800_000_000 * 10**9
FRAMES = 3


@dataclass(frozen=True)
class SealedClip:
    """A clip as the recorder leaves it."""

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


def rig() -> CameraRig:
    intrinsics = Intrinsics.from_fov(math.radians(60.0), 224, 128)
    pose = Pose(qw=0.5, qx=-0.5, qy=0.5, qz=-0.5)
    cameras = tuple(Camera(name=n, intrinsics=intrinsics, ego_from_cam=pose) for n in CAMERAS)
    return CameraRig(name="test-rig", cameras=cameras)


@cache
def seal(drive: int = 0, vehicle_id: str = "v-01", **changes: object) -> SealedClip:
    """Seal a clip; ``changes`` go into its manifest."""
    rng = np.random.default_rng(drive)
    frames = tuple(
        ClipFrame(
            index=k,
            stamp_ns=frame_stamp_ns(k),
            jpegs=encode_jpegs(rng.integers(0, 256, (8, 128, 224, 3), dtype=np.uint8)),
            radar=RadarScan(),
            ultrasonics=UltrasonicScan(),
            ego=EgoState(stamp_ns=frame_stamp_ns(k), world_from_ego=Pose()),
            route=Route(),
        )
        for k in range(FRAMES)
    )
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
        clock=Clock(kind=ClockKind.VIRTUAL),
        rig=rig(),
        rig_id=rig().rig_id,
        bundle_id="b-0",
        events=(event,),
        start_ns=frame_stamp_ns(0),
        end_ns=frame_stamp_ns(FRAMES),
        frame_count=FRAMES,
        privacy=Privacy.SYNTHETIC,
    )
    manifest = msgspec.structs.replace(manifest, **changes)
    return SealedClip(manifest, encode_manifest(manifest), encode_clip(manifest, frames))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: what is killed here are processes, not the power."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def clip() -> Callable[..., SealedClip]:
    return seal


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VehicleKeys]:
    folder = tmp_path_factory.mktemp("keys")
    return lambda vehicle_id: load_or_make_keys(folder / vehicle_id)


@pytest.fixture
def catalog(tmp_path: Path, keys: Callable[[str], VehicleKeys]) -> Catalog:
    """A catalog that knows the vehicles v-01 and v-02."""
    catalog = Catalog(tmp_path / "fleet" / "catalog.sqlite")
    for vehicle_id in ("v-01", "v-02"):
        own = keys(vehicle_id)
        enrolment = Enrolment(vehicle_id, own.curve_key, own.report_key, rig_id=rig().rig_id)
        enrol(catalog, enrolment, at_ns=NOW_NS)
    return catalog


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "fleet" / "store")


@pytest.fixture
def desk(tmp_path: Path, catalog: Catalog, store: FolderStore) -> Desk:
    return Desk(catalog, store, tmp_path / "fleet" / "incoming", IngestSettings())
