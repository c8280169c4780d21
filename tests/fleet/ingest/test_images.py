"""Every image of a clip is decoded before the clip is admitted, within a bound."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edge.clip_file import Clip, EncodedFrame, decode_clip, encode_clip
from edge.contracts.wire import AdmissionAnswer, ClipDone
from edge.perceive.tensors import IMAGE_SLOTS
from fleet.catalog import Catalog, ClipRow, QuarantineRow
from fleet.ingest import Intake
from fleet.ingest.images import image_faults, undeclared_gaps

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

NOW_NS = 1_800_000_000 * 10**9
PIXELS = 3 * len(CAMERAS) * 224 * 128

Seal = Callable[..., Any]


def with_jpegs(sealed: Any, change: Callable[[bytes], bytes | None], *at: int) -> Any:
    """Change the image of one camera in the frames ``at``; the first camera of those there are."""
    read = decode_clip(sealed.content)
    frames = list(read.frames)
    for frame in at:
        sensed = frames[frame].sensed
        first, *others = sensed.frames
        changed = EncodedFrame(change(first.jpeg) or b"", first.stamp_ns)
        sensed = msgspec.structs.replace(sensed, frames=(changed, *others))
        frames[frame] = replace(frames[frame], sensed=sensed)
    return replace(sealed, content=encode_clip(read.manifest, frames))


def cut(jpeg: bytes) -> bytes:
    return jpeg[: len(jpeg) // 3]


def read(sealed: Any) -> Clip:
    return decode_clip(sealed.content)


def test_a_clip_of_whole_images_has_no_faults(clip: Seal) -> None:
    assert image_faults(read(clip()), PIXELS) == ()
    assert undeclared_gaps(read(clip())) == ()


def test_images_that_do_not_decode_are_named_by_camera_and_frame(
    clip: Seal,
) -> None:
    (fault,) = image_faults(read(with_jpegs(clip(), cut, 2)), PIXELS)
    assert fault.startswith("front_main of frame 2: ")
    assert "it has no end" in fault


def test_many_images_that_do_not_decode_are_counted(
    clip: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.ingest.images._NAMED", 1)
    named, others = image_faults(read(with_jpegs(clip(), cut, 0, 1, 2)), PIXELS)
    assert named.startswith("front_main of frame 0: ")
    assert others == "2 more images do not decode"


def test_more_pixels_than_the_bound_are_not_decoded(clip: Seal) -> None:
    damaged = read(with_jpegs(clip(), cut, 2))
    assert image_faults(damaged, PIXELS - 1) == (
        f"{PIXELS} pixels in all its images, at most {PIXELS - 1} are decoded",
    )


def test_an_absent_image_costs_nothing_and_must_be_declared(
    clip: Seal,
) -> None:
    sealed = with_jpegs(clip(), lambda jpeg: None, 0, 1)
    assert image_faults(read(sealed), PIXELS) == ()
    assert undeclared_gaps(read(sealed)) == (
        "2 images of front_main are absent, the manifest declares 0",
    )
    declared = clip(missing=(("front_main", 2), ("rear", 1)))
    assert undeclared_gaps(read(with_jpegs(declared, lambda jpeg: None, 0, 1))) == ()


def hand_in(intake: Intake, sealed: Any) -> ClipDone:
    part = intake.begin("v-01", sealed.offer)
    part.append(sealed.content)
    done = intake.finish("v-01", sealed.offer, sealed.manifest_bytes, part, now_ns=NOW_NS)
    assert done is not None
    return done


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut, "images: front_main of frame 1: an image of "),
        (
            lambda jpeg: jpeg[: jpeg.index(b"\xff\xda")],
            "images: front_main of frame 1: an image of ",
        ),
        (lambda jpeg: jpeg + jpeg, "images: front_main of frame 1: an image of "),
        (lambda jpeg: None, "complete: 1 images of front_main are absent"),
    ],
    ids=["truncated", "without its scan", "two in one", "absent"],
)
def test_a_clip_with_such_an_image_is_quarantined(
    intake: Intake,
    catalog: Catalog,
    clip: Seal,
    change: Callable[[bytes], bytes | None],
    reason: str,
) -> None:
    done = hand_in(intake, with_jpegs(clip(), change, 1))
    assert done.answer is AdmissionAnswer.QUARANTINED
    assert len(done.reasons) == 1 and done.reasons[0].startswith(reason)
    (row,) = catalog.all(QuarantineRow)
    assert row.reasons == done.reasons
    assert catalog.all(ClipRow) == []


def test_the_images_of_a_clip_that_is_refused_anyway_are_not_decoded(
    intake: Intake, clip: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any) -> tuple[str, ...]:
        raise AssertionError("decoded")

    monkeypatch.setattr("fleet.ingest.intake.image_faults", decode)
    assert hand_in(intake, clip(rig_id="c" * 64)).answer is AdmissionAnswer.QUARANTINED
    with pytest.raises(AssertionError, match="decoded"):
        hand_in(intake, clip())
