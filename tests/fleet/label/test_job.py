"""Many clips, one stage: a clip that cannot be read costs itself and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.clip_file import ClipFrame, EncodedFrame, decode_clip, encode_clip, encode_jpeg
from edge.contracts.classes import ANIMAL, SHIPPED_CLASSES
from fleet.label.job import MODEL, LabelJob, Labelled, label_clips, read_labelled, write_labelled
from fleet.labeler import LabelCost
from fleet.work.task import JobInputs
from fleet.zoo import zoo_folder
from sim.sense.rig import default_rig

Seal = Callable[..., Any]


class Nobody:
    """A reviewer who is never asked."""

    cost = LabelCost()


def nobody(folder: Path) -> Nobody:
    return Nobody()


def with_image(frame: ClipFrame, camera: int, jpeg: bytes) -> ClipFrame:
    """Give one camera of a frame another image."""
    frames = list(frame.sensed.frames)
    frames[camera] = EncodedFrame(jpeg, frame.stamp_ns)
    return replace(frame, sensed=msgspec.structs.replace(frame.sensed, frames=tuple(frames)))


def cut_image(sealed: Any) -> bytes:
    """Cut one image behind its header: the clip reads, the image does not."""
    read = decode_clip(sealed.content)
    first, *others = read.frames
    spoiled = with_image(first, 0, first.sensed.frames[0].jpeg[:4000])
    return encode_clip(read.manifest, [spoiled, *others])


def cameras_of_two_sizes(sealed: Any) -> bytes:
    """Give one camera half the pixels, as many vehicles have it."""
    read = decode_clip(sealed.content)
    first, second, *cameras = read.manifest.rig.cameras
    smaller = msgspec.structs.replace(second, intrinsics=second.intrinsics.scaled(112, 64))
    rig = msgspec.structs.replace(read.manifest.rig, cameras=(first, smaller, *cameras))
    jpeg = encode_jpeg(np.full((64, 112, 3), 90, np.uint8))
    return encode_clip(
        msgspec.structs.replace(read.manifest, rig=rig, rig_id=rig.rig_id),
        [with_image(frame, 1, jpeg) for frame in read.frames],
    )


BAD: dict[str, Callable[[Any], bytes]] = {
    "cut file": lambda sealed: sealed.content[:-10],
    "no clip": lambda sealed: b"no MCAP at all",
    "cut image": cut_image,
}


def labelled(tmp_path: Path, **contents: bytes) -> Labelled:
    paths = {MODEL: zoo_folder("pico") / "int8.onnx"}
    for name, content in contents.items():
        paths[name] = tmp_path / f"{name}.mcap"
        paths[name].write_bytes(content)
    job = LabelJob(
        size="pico",
        known=tuple(c for c in SHIPPED_CLASSES if c != ANIMAL),
        categories=SHIPPED_CLASSES,
        labeler=f"{__name__}:nobody",
        labeler_folder=str(tmp_path),
        budget_tracks=0,
    )
    return label_clips(job, JobInputs(paths, tmp_path, {"gone": "blob is not in the store"}))


def sealed_with_mounts(clip: Seal, drive: int) -> Any:
    rig = default_rig(224, 128)
    return clip(drive, rig=rig, rig_id=rig.rig_id)


@pytest.mark.parametrize("kind", BAD)
def test_a_clip_that_cannot_be_read_is_skipped_with_its_reason_and_the_others_go_on(
    tmp_path: Path, clip: Seal, kind: str
) -> None:
    good, other = sealed_with_mounts(clip, 0), sealed_with_mounts(clip, 1)
    rows = labelled(tmp_path, good=good.content, poor=BAD[kind](other))
    assert {sample.clip_id for sample in rows.samples} == {good.manifest.clip_id}
    assert rows.run.clips == 1
    assert set(rows.run.skipped) == {"poor", "gone"}
    assert all(rows.run.skipped.values())
    assert [rig.rig_id for rig in rows.rigs] == [good.manifest.rig_id]


def test_what_was_skipped_is_written_with_the_rows(tmp_path: Path, clip: Seal) -> None:
    rows = labelled(tmp_path, poor=b"no MCAP at all")
    write_labelled(rows, tmp_path / "rows")
    assert read_labelled(tmp_path / "rows").run == rows.run
    assert rows.run.skipped["poor"] == "14 bytes are not a whole MCAP file"
    assert rows.run.skipped["gone"] == "blob is not in the store"


def test_a_clip_of_cameras_of_two_sizes_is_labelled_like_any_other(
    tmp_path: Path, clip: Seal
) -> None:
    sealed = sealed_with_mounts(clip, 0)
    rows = labelled(tmp_path, mixed=cameras_of_two_sizes(sealed))
    assert {sample.clip_id for sample in rows.samples} == {sealed.manifest.clip_id}
