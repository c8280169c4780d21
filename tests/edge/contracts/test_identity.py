"""Ids come from content: what changes them, what must not, and what may not be left out."""

from typing import Any

import msgspec
import pytest

from edge.contracts.bundle import (
    BundleManifest,
    EngineFile,
    EngineKind,
    GoldenSet,
    Precision,
    Provenance,
    TensorSpec,
)
from edge.contracts.classes import ANIMAL, CAR
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.errors import SchemaError
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig
from edge.contracts.time import ClockKind, NamedClock
from edge.contracts.wire import decode_record
from edge.perceive.tensors import IMAGE_SLOTS

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

EVENT = TriggerEvent(
    rule=TriggerRule.LOW_TTC,
    rule_version=1,
    campaign_id="c1",
    stamp_ns=1_000,
    value=1.2,
    threshold=1.5,
    worth=0.5,
)
RIG = Rig(
    name="rig",
    cameras=tuple(
        Camera(name=n, intrinsics=Intrinsics.from_fov(1.0, 64, 32), ego_from_cam=Pose())
        for n in CAMERAS
    ),
)
MANIFEST: dict[str, Any] = {
    "clip_id": "0" * 64,
    "vehicle_id": "v1",
    "drive_id": "d1",
    "clock": NamedClock(kind=ClockKind.VIRTUAL),
    "rig": RIG,
    "rig_id": RIG.rig_id,
    "bundle_id": "b-0",
    "events": (EVENT,),
    "start_ns": 10,
    "end_ns": 20,
    "frame_count": 36,
    "privacy": Privacy.SYNTHETIC,
}
ENGINE = EngineFile(
    kind=EngineKind.ONNX, precision=Precision.INT8, sha256="a" * 64, size_bytes=1_000
)
BUNDLE = BundleManifest(
    bundle_id="b-1",
    model="pico",
    profile="laptop",
    release_counter=1,
    engines=(ENGINE,),
    inputs=(TensorSpec(name="images", dtype="uint8", shape=(8, 3, 128, 256)),),
    outputs=(TensorSpec(name="boxes", dtype="float32", shape=(100, 10)),),
    categories=(CAR, ANIMAL),
    thresholds={CAR: 0.3, ANIMAL: 0.5},
    golden=GoldenSet(sha256="b" * 64, size_bytes=10, frames=2, tolerance=0.01),
)


def refusal(record: type[Any], fields: dict[str, Any]) -> str:
    with pytest.raises(SchemaError) as caught:
        decode_record(msgspec.msgpack.encode(fields), record, "manifest")
    return str(caught.value)


def test_clip_id_is_the_same_on_every_machine_and_in_every_release() -> None:
    expected = "68cd054f5fdb4c99ec4d5967acedc29a8678e61c873e9c1b952c9c534559a349"
    assert ClipManifest.make_id("v1", "d1", EVENT) == expected


def test_clip_id_depends_on_what_caused_the_clip_and_on_nothing_measured() -> None:
    def made(vehicle_id: str = "v1", drive_id: str = "d1", **changes: Any) -> str:
        event = msgspec.structs.replace(EVENT, **changes)
        return ClipManifest.make_id(vehicle_id, drive_id, event)

    same = [made(), made(value=0.1), made(threshold=9.0), made(worth=1.0), made(campaign_id="c2")]
    others = [
        made(vehicle_id="v2"),
        made(drive_id="d2"),
        made(stamp_ns=1_001),
        made(rule=TriggerRule.RANDOM),
        made(rule_version=2),
    ]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 6


def test_neighbouring_names_do_not_share_a_clip_id() -> None:
    assert ClipManifest.make_id("v1", "2d", EVENT) != ClipManifest.make_id("v12", "d", EVENT)


def test_clip_manifest_without_events_is_refused() -> None:
    assert "at least one trigger event" in refusal(ClipManifest, MANIFEST | {"events": ()})


def test_clip_manifest_that_ends_before_it_starts_is_refused() -> None:
    assert "ends before it starts: 9 < 10" in refusal(ClipManifest, MANIFEST | {"end_ns": 9})


def test_clip_manifest_of_unknown_privacy_does_not_read_as_safe() -> None:
    sent = msgspec.msgpack.encode(MANIFEST | {"privacy": "trust_me"})
    assert decode_record(sent, ClipManifest, "manifest").privacy is Privacy.UNKNOWN


@pytest.mark.parametrize(
    "change",
    [
        {"engines": (msgspec.structs.replace(ENGINE, sha256="c" * 64),)},
        {"inputs": (TensorSpec(name="images", dtype="uint8", shape=(8, 3, 64, 128)),)},
        {"outputs": ()},
        {"categories": (ANIMAL, CAR)},
        {"thresholds": {CAR: 0.3, ANIMAL: 0.4}},
        {"velocity_sigma_mps": {CAR: 0.5}},
        {"model": "nano"},
        {"calibration_table_version": 2},
        {"golden": msgspec.structs.replace(BUNDLE.golden, tolerance=0.5)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_content_id_changes_with_what_the_model_is(change: dict[str, Any]) -> None:
    assert msgspec.structs.replace(BUNDLE, **change).content_id() != BUNDLE.content_id()


@pytest.mark.parametrize(
    "change",
    [
        {"release_counter": 7},
        {"provenance": Provenance(dataset_id="d-1", recipe="fine-tune")},
        {"bundle_id": "b-2"},
        {"thresholds": {ANIMAL: 0.5, CAR: 0.3}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_content_id_does_not_change_with_who_released_it(change: dict[str, Any]) -> None:
    assert msgspec.structs.replace(BUNDLE, **change).content_id() == BUNDLE.content_id()


def test_bundle_that_vouches_for_no_velocity_has_the_id_and_the_fields_of_yesterday() -> None:
    assert BUNDLE.content_id() == "b-1a344116de5c95bc"
    sent = msgspec.structs.asdict(BUNDLE)
    del sent["velocity_sigma_mps"]
    read = decode_record(msgspec.msgpack.encode(sent), BundleManifest, "manifest")
    assert read == BUNDLE and read.velocity_sigma_mps == {}


@pytest.mark.parametrize("sigma_mps", [0.0, -1.0, float("nan"), float("inf")])
def test_bundle_whose_velocity_error_makes_no_sense_is_refused(sigma_mps: float) -> None:
    sent = msgspec.structs.asdict(BUNDLE) | {"velocity_sigma_mps": {"car": sigma_mps}}
    assert "velocity_sigma_mps" in refusal(BundleManifest, sent)


def test_bundle_without_a_threshold_for_a_class_is_refused() -> None:
    sent = msgspec.structs.asdict(BUNDLE) | {"thresholds": {CAR: 0.3}}
    assert "has no threshold for animal" in refusal(BundleManifest, sent)


def test_bundle_without_an_engine_is_refused() -> None:
    sent = msgspec.structs.asdict(BUNDLE) | {"engines": ()}
    assert "lists no engine file" in refusal(BundleManifest, sent)
