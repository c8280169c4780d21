"""One row adds a class: it is labelled, learnt, shipped, decoded, followed and braked for."""

from pathlib import Path

import numpy as np
import pytest

from edge.board.profile import device_profile
from edge.budget import VirtualClock
from edge.clip_file import encode_instant
from edge.contracts.bundle import Provenance
from edge.contracts.classes import CLASSES, SHIPPED_CLASSES, ClassRow
from edge.contracts.geometry import Pose
from edge.contracts.scene import Box3D
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import frame_stamp_ns
from edge.perceive.loaded import LoadedBundle
from edge.perceive.perceiver import load_perceivers
from edge.perceive.tensors import PICO
from edge.runtime import Runtime, RuntimeSettings
from edge.trigger import ControlStream
from fleet.bundle.assemble import assemble, export_weights
from fleet.bundle.bundle import Tuned, write_bundle
from fleet.dataset.frozen import Dataset, freeze
from fleet.disk import sha256_of
from fleet.sample.row import LabelSource, Sample, SampleBox, SampleLabels
from fleet.store import FolderStore
from fleet.train.job import PARENT, TrainJob, train_job
from fleet.train.order import with_classes
from fleet.work.task import JobInputs
from fleet.zoo import zoo_folder
from models.fit import FitSettings
from sim.sense.rig import default_rig

RIG = default_rig()
THIRTEEN = with_classes(SHIPPED_CLASSES, ["scooter"])
BY_HEART = FitSettings(
    steps=25, batch=1, learning_rate=0.03, warmup_ratio=0.0, ema_decay=0.0, shared_rate_ratio=0.0,
    is_batchnorm_frozen=True, positive_weights={"scooter": 4.0}, mirror_ratio=0.0, turn_ratio=0.0,
    night_ratio=0.0, memory_ratio=0.0, radar_drop_ratio=0.0, gain_min=1.0, gain_max=1.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def scooter(monkeypatch: pytest.MonkeyPatch) -> ClassRow:
    row = ClassRow(**{**vars(CLASSES["bicycle"]), "name": "scooter", "plural": "scooters"})
    monkeypatch.setitem(CLASSES, "scooter", row)
    return row


def seen(k: int) -> FrameSet:
    """At 8 m/s on a straight road; half of every image is bright."""
    images = np.full((8, 128, 256, 3), 90, np.uint8)
    images[:, :, :128] = 200
    stamp_ns = frame_stamp_ns(k)
    return FrameSet(
        index=k,
        stamp_ns=stamp_ns,
        frames=frames_of(images, stamp_ns),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose(), speed_mps=8.0),
        route=Route(points_ego=tuple((2.0 * x, 0.0) for x in range(40)), speed_limit_mps=10.0),
    )


def labelled() -> Sample:
    """A scooter stands 12 m ahead."""
    box = Box3D(category="scooter", x_m=12.0, y_m=0.0, z_m=0.8, length_m=1.8, width_m=0.7,
                height_m=1.6, yaw_rad=0.0)  # fmt: skip
    told = SampleBox(box=box, track="t1", source=LabelSource.ANNOTATED)
    return Sample(
        sample_id="a" * 64,
        clip_id="clip",
        place_id="place",
        rig_id=RIG.rig_id,
        now=encode_instant(seen(0)),
        earlier=None,
        labels=SampleLabels(boxes=(told,)),
    )


def test_a_thirteenth_class_is_learnt_shipped_and_driven_by_one_row(tmp_path: Path) -> None:
    store, zoo = FolderStore(tmp_path / "store"), zoo_folder("pico")
    manifest = freeze([labelled()], [RIG], store, name="scooters", split="train")
    rows = tmp_path / "rows.parquet"
    rows.write_bytes(store.get(manifest.blob_id))
    job = TrainJob(
        size="pico",
        fresh=(manifest.dataset_id,),
        parent_sha256=sha256_of(zoo / "weights.bin"),
        categories=THIRTEEN,
        fit=BY_HEART,
    )
    paths = {manifest.dataset_id: rows, PARENT: zoo / "weights.bin"}
    train_job(job, JobInputs(paths, tmp_path / "cache", {}), tmp_path / "run")
    files = export_weights(
        tmp_path / "run" / "weights.bin", PICO, zoo / "fp32.onnx", Dataset(rows), tmp_path,
        categories=THIRTEEN,
    )  # fmt: skip
    bundle = assemble(
        files, PICO, Tuned({"scooter": 0.2}), Dataset(rows), profile="laptop", release_counter=1,
        provenance=Provenance(), categories=THIRTEEN,
    )  # fmt: skip
    write_bundle(bundle, tmp_path / "bundle")

    profile = device_profile("laptop")
    runtime = Runtime(
        RuntimeSettings(),
        rig=RIG,
        bundle=LoadedBundle.of(
            bundle.manifest, load_perceivers(bundle.manifest, tmp_path / "bundle", RIG, profile)
        ),
        profile=profile,
        control=ControlStream(seed=0, vehicle_id="v-1", drive_id="d-1"),
        clock=VirtualClock(),
        rate_hz=36.0,
    )
    last = [runtime.tick(seen(k), frame_stamp_ns(k)) for k in range(4)][-1]
    assert bundle.manifest.categories == (*SHIPPED_CLASSES, "scooter")
    assert [box.category for box in last.perception.boxes] == ["scooter"]
    (agent,) = last.perception.agents
    assert (agent.box.category, agent.is_confirmed) == ("scooter", True)
    assert abs(agent.box.x_m - 12.0) < 1.0
    assert last.plan.acceleration_mps2 < -1.0
    assert runtime.health.unknown_boxes == 0
