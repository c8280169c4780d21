"""A rig that is only a file drives, is recorded, read back, replayed, labelled and learnt from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from conf.named import load
from edge.board.profile import device_profile
from edge.board.rig import RigFile, VehicleRig, load_rig, rig_of
from edge.clip_file import Clip, decode_instant, read_clip
from edge.contracts.classes import ANIMAL, SHIPPED_CLASSES
from edge.contracts.errors import OperatorError
from edge.contracts.rig import Rig
from edge.contracts.sensors import FrameStatus
from edge.perceive.tensors import PICO, absent_slots, cameras_of_slots
from edge.vehicle import VehicleSettings
from edge.vehicle.replay import replay_clip
from fleet.dataset.frozen import Dataset, TrainingView, freeze
from fleet.label.job import MODEL, LabelJob, label_clips
from fleet.labeler import LabelCost
from fleet.work.task import JobInputs
from fleet.zoo import zoo_folder
from models.fit import fit
from models.settings import FitSettings
from models.weights import load_weights
from sim.bench.bundles import write_bench_bundle
from sim.show.record import record_drive
from sim.vehicle import DriveOrder, identity_of, open_road
from sim.world.encounters import load_scenario
from sim.world.trip import Trip

TRIP = Trip(road_map="suburb", place_id=None, scenario=load_scenario("none"), seed=1)
RIGS = ("nuscenes_six", "dashcam")
TWO_SIZES = """
name: two_sizes
rate_hz: 12
cameras:
  front: {x_m: 1.5, z_m: 1.4, fov_deg: 90, width_px: 640, height_px: 480}
  rear: {x_m: -0.8, z_m: 1.1, yaw_deg: 180, fov_deg: 120, width_px: 320, height_px: 180}
"""


class Nobody:
    """A labeler that cannot be asked anything."""

    cost = LabelCost()


def nobody(folder: Path) -> Nobody:
    return Nobody()


@pytest.fixture(scope="module", params=(*RIGS, "two_sizes"))
def mounted(request: Any, tmp_path_factory: pytest.TempPathFactory) -> VehicleRig:
    if request.param in RIGS:
        return load_rig(request.param)
    path = tmp_path_factory.mktemp("rig") / "two sizes.yaml"
    path.write_text(TWO_SIZES)
    return load_rig(str(path))


@pytest.fixture(scope="module")
def clip(mounted: VehicleRig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, Path]:
    path = tmp_path_factory.mktemp("drive") / "clip.mcap"
    record_drive(path, TRIP, mounted=mounted, seconds=1.5)
    return read_clip(path), path


@pytest.fixture(scope="module")
def bundle(clip: tuple[Clip, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network as a vehicle installs it."""
    folder, rig = tmp_path_factory.mktemp("bundle"), clip[0].manifest.rig
    frames = [decode_instant(clip[0].frames[0].sensed, rig)]
    write_bench_bundle("pico", frames, rig, profile="laptop", out=folder)
    return folder


def test_a_drive_is_recorded_as_the_rig_file_says(
    clip: tuple[Clip, Path], mounted: VehicleRig
) -> None:
    recorded, _ = clip
    rig, manifest = recorded.manifest.rig, recorded.manifest
    assert manifest.rate_hz == mounted.rate_hz
    assert rig.rig_id == manifest.rig_id == mounted.rig.rig_id
    assert {status for c in manifest.coverage for status in c.statuses} == {FrameStatus.FRESH}
    frame_set = decode_instant(recorded.frames[0].sensed, rig)
    for camera, frame in zip(rig.cameras, frame_set.frames, strict=True):
        size = (camera.intrinsics.height_px, camera.intrinsics.width_px, 3)
        assert frame.image is not None and frame.image.shape == size
    gaps_ns = np.diff([f.stamp_ns for f in recorded.frames])
    assert 1e9 / gaps_ns == pytest.approx(manifest.recorded_hz, rel=1e-6)


@pytest.mark.parametrize("rate_hz", [10.0, 12.0, 15.0, 29.97, 30.0, 36.0])
def test_stamps_are_as_far_apart_as_the_manifest_says_at_every_rate(
    rate_hz: float, tmp_path: Path
) -> None:
    camera = replace(file_of().cameras["front"], width_px=64, height_px=36)
    rig = rig_of(replace(file_of(), cameras={"front": camera}))
    path = record_drive(tmp_path / "clip.mcap", TRIP, mounted=VehicleRig(rig, rate_hz), seconds=2.0)
    clip = read_clip(path)
    assert clip.manifest.rate_hz == rate_hz
    gaps_ns = np.diff([f.stamp_ns for f in clip.frames])
    assert 1e9 / gaps_ns == pytest.approx(clip.manifest.recorded_hz, rel=1e-6)
    assert len(clip.frames) == pytest.approx(2.0 * clip.manifest.recorded_hz, abs=1.0)
    if clip.manifest.recorded_hz == rate_hz:
        assert set(np.diff([f.index for f in clip.frames])) == {1}


def test_a_vehicle_of_a_lap_drives_as_long_and_as_far_at_the_rate_of_its_rig(
    tmp_path: Path,
) -> None:
    path = tmp_path / "two sizes.yaml"
    path.write_text(TWO_SIZES)
    order = DriveOrder(
        vehicle_id="v-01",
        drive_id="d",
        road_map="suburb",
        place_id="suburb-020",
        scenario="none",
        seconds=1.0,
        vehicle=VehicleSettings(rig=str(path)),
    )
    with open_road(order, tmp_path) as road:
        stamps = [s.stamp_ns for s in iter(lambda: road.next_frame_set(None), None)]
    assert len(stamps) == order.ticks == 12 and identity_of(order).rate_hz == 12.0
    assert np.diff(stamps) == pytest.approx(1e9 / 12.0, abs=1)
    assert road.progress_m == pytest.approx(5.0, abs=0.5), "one second from 5 m/s on"


def test_a_clip_of_any_rig_is_replayed_through_the_shipped_bundle(
    clip: tuple[Clip, Path], bundle: Path
) -> None:
    recorded, _ = clip
    replayed = replay_clip(recorded, device_profile("laptop"), bundle_folder=bundle)
    assert len(replayed.ticks) == len(recorded.frames)
    assert replayed.health.faults == 0 and not replayed.health.sensor_faults


def test_a_clip_of_any_rig_is_labelled_and_learnt_from(
    clip: tuple[Clip, Path], tmp_path: Path
) -> None:
    recorded, path = clip
    clip_id = recorded.manifest.clip_id
    job = LabelJob(
        size="pico",
        known=tuple(c for c in SHIPPED_CLASSES if c != ANIMAL),
        categories=SHIPPED_CLASSES,
        labeler=f"{__name__}:nobody",
        labeler_folder=str(tmp_path),
        budget_tracks=0,
    )
    model = zoo_folder("pico") / "int8.onnx"
    labelled = label_clips(job, JobInputs({MODEL: model, clip_id: path}, tmp_path, {}))
    assert not labelled.run.skipped and labelled.samples

    class Memory:
        content = b""

        def put(self, content: bytes) -> str:
            self.content = content
            return "a" * 64

    memory: Any = Memory()
    freeze(labelled.samples, labelled.rigs, memory, name="own", split="train")
    view = TrainingView(Dataset(memory.content), PICO, tmp_path, "own", SHIPPED_CLASSES)
    rig = recorded.manifest.rig
    assert view[0].senses.absent == absent_slots((True,) * len(rig.cameras), rig)
    torch.set_num_threads(1)
    net = load_weights(zoo_folder("pico") / "weights.bin", PICO)
    trained = fit(net, view, FitSettings(steps=2, batch=2))
    assert all(torch.isfinite(p).all() for p in trained.parameters())


def test_clips_of_two_drives_are_two_clips_and_of_the_same_drive_one(tmp_path: Path) -> None:
    def clip_id(name: str, rig: str, seed: int) -> str:
        trip = replace(TRIP, seed=seed)
        path = record_drive(tmp_path / name, trip, mounted=load_rig(rig), seconds=0.2)
        return read_clip(path).manifest.clip_id

    first = clip_id("a.mcap", "dashcam", 1)
    assert clip_id("b.mcap", "dashcam", 1) == first
    assert clip_id("c.mcap", "dashcam", 2) != first
    assert clip_id("d.mcap", "nuscenes_six", 1) != first


def test_every_shipped_rig_says_which_input_each_camera_feeds() -> None:
    used = {name: sum(n is not None for n in cameras_of_slots(load_rig(name).rig)) for name in RIGS}
    assert used == {"nuscenes_six": 6, "dashcam": 1}
    assert len(load_rig("nuscenes_six").rig.radars) == 5 and not load_rig("dashcam").rig.radars


def file_of(name: str = "dashcam", **changes: Any) -> RigFile:
    file = load("rig", name, RigFile)
    camera = replace(file.cameras["front"], **changes)
    return replace(file, cameras={"front": camera})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"focal_px": (900.0, 900.0)}, "either fov_deg or focal_px, and not both"),
        ({"fov_deg": None}, "either fov_deg or focal_px, and not both"),
        ({"projection": "fish"}, "no projection 'fish'; there are pinhole, brown_conrady, fisheye"),
        ({"projection": "fisheye"}, "a fisheye camera has 4 distortion coefficients, got 0"),
    ],
)
def test_a_camera_that_makes_no_sense_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        rig_of(file_of(**changes))


def test_a_rig_file_without_a_rate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no rate.yaml"
    path.write_text(TWO_SIZES.replace("rate_hz: 12\n", ""))
    with pytest.raises(OperatorError, match="missing required field `rate_hz`"):
        load_rig(str(path))


def test_a_rig_of_ones_own_is_a_path_and_a_misspelt_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own rig.yaml"
    front = "{x_m: 1.5, z_m: 1.4, fov_deg: 90, width_px: 640, height_px: 480}"
    text = f"name: own\nrate_hz: 10\ncameras:\n  front: {front}\n"
    path.write_text(text)
    mounted = load_rig(str(path))
    assert isinstance(mounted, VehicleRig) and mounted.rate_hz == 10.0
    assert isinstance(mounted.rig, Rig) and mounted.rig.cameras[0].intrinsics.width_px == 640
    path.write_text(text.replace("fov_deg", "fov_dge"))
    with pytest.raises(OperatorError, match=r"no key cameras.front.fov_dge; did you mean fov_deg"):
        load_rig(str(path))
    path.write_text(text.replace("640", "-640"))
    with pytest.raises(OperatorError, match=r"cameras.front.width_px is -640, expected at least 0"):
        load_rig(str(path))
    assert msgspec.to_builtins(mounted.rig)["name"] == "own"
