"""What the first release recorded is still read: a clip and a dataset of schema 1, as they were written."""

from pathlib import Path

import msgspec
import numpy as np

from edge.clip_file import decode_instant, frame_without_status, read_clip
from edge.contracts.clip import Privacy
from edge.contracts.rig import BODY, RADARS
from edge.contracts.scene import PlanSource
from edge.contracts.sensors import FrameStatus
from edge.perceive.tensors import PICO
from fleet.dataset.frozen import Dataset, DatasetManifest, TrainingView

DATA = Path(__file__).parents[2] / "data" / "schema_1"


def test_a_clip_of_schema_1_reads_whole() -> None:
    clip = read_clip(DATA / "clip.mcap")
    manifest = clip.manifest
    assert (manifest.schema, manifest.recorded_hz, manifest.rate_hz) == (1, 12.0, 36.0)
    assert manifest.rig_id == manifest.rig.rig_id
    assert (manifest.rig.body, manifest.rig.radars) == (BODY, RADARS)
    assert manifest.privacy is Privacy.SYNTHETIC and manifest.asked is None
    assert [frame.index for frame in clip.frames] == [111, 114, 117, 120, 123]
    frame_set = decode_instant(clip.frames[0].sensed, manifest.rig)
    assert {f.status for f in frame_set.frames} == {FrameStatus.FRESH}
    assert {f.image.shape for f in frame_set.frames if f.image is not None} == {(64, 128, 3)}
    assert len(frame_set.radar.points_ego) > 0 and frame_set.ultrasonics.ranges_m.shape == (12,)
    assert len(clip.frames[0].perception.boxes) == 6
    assert clip.frames[0].plan.source is PlanSource.ROUTE


def test_a_dataset_of_schema_1_is_learnt_from(tmp_path: Path) -> None:
    manifest = msgspec.json.decode((DATA / "dataset.json").read_bytes(), type=DatasetManifest)
    dataset = Dataset(DATA / "dataset.parquet")
    assert manifest.schema == 1 and len(dataset) == manifest.samples == 2
    sample = dataset[0]
    assert len(sample.labels.boxes) == 6 and len(sample.now.frames) == 8
    example = TrainingView(dataset, PICO, tmp_path, "first")[1]
    assert example.senses.images.shape == (8, 3, 96, 192) and example.senses.absent == ()
    assert np.isfinite(example.senses.ego).all() and len(example.labels.boxes) > 0


def test_a_camera_that_schema_1_stored_no_image_of_is_missing() -> None:
    """What read clips and datasets of schema 1 ask."""
    assert frame_without_status(b"jpeg", 5).status is FrameStatus.FRESH
    lacking = frame_without_status(b"", 5)
    assert (lacking.status, lacking.stamp_ns) == (FrameStatus.MISSING, 5)
