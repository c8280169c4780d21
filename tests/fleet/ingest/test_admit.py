"""Every rule of admission, one broken at a time: the clip is quarantined and the reason is named."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.clip import ClipManifest, Privacy
from edge.contracts.time import VIRTUAL_EPOCH_NS, ClockKind, NamedClock
from edge.contracts.wire import AdmissionAnswer, ClipOffer
from fleet.catalog import TrustState, VehicleRow
from fleet.ingest import Admission, AdmissionSettings, BlobFacts, Known, admit

NOW_NS = 1_800_000_000 * 10**9
S = 10**9


@pytest.fixture
def judge(clip: Callable[..., object]) -> Callable[..., Admission]:
    """Judge the honest clip, or one whose manifest, offer, blob or history was changed."""
    sealed = clip()

    def run(
        offer: dict[str, object] | None = None,
        blob: dict[str, object] | None = None,
        known: dict[str, object] | None = None,
        settings: AdmissionSettings | None = None,
        **manifest: object,
    ) -> Admission:
        changed = msgspec.structs.replace(sealed.manifest, **manifest)
        content = msgspec.msgpack.encode(changed)
        facts = BlobFacts(sealed.blob_id, len(sealed.content), sealed_manifest=content)
        vehicle = VehicleRow(
            vehicle_id="v-01", profile="laptop", rig_id=sealed.manifest.rig_id, at_ns=0
        )
        return admit(
            msgspec.structs.replace(sealed.offer, **(offer or {})),
            content,
            replace(facts, **(blob or {})),
            replace(Known(vehicle), **(known or {})),
            settings or AdmissionSettings(),
            now_ns=NOW_NS,
        )

    return run


def broken_rules(admission: Admission) -> list[str]:
    assert (admission.answer is AdmissionAnswer.ADMITTED) == (not admission.reasons)
    return [reason.partition(":")[0] for reason in admission.reasons]


def test_an_honest_clip_is_admitted(judge: Callable[..., Admission]) -> None:
    admission = judge()
    assert admission.answer is AdmissionAnswer.ADMITTED
    assert admission.reasons == ()


def test_a_clip_with_a_wrong_hash_is_quarantined(judge: Callable[..., Admission]) -> None:
    admission = judge(blob={"blob_id": "e" * 64})
    assert broken_rules(admission) == ["hash"]
    assert "received " + "e" * 64 in admission.reasons[0]


def test_a_clip_from_after_a_step_of_the_clock_is_named_by_its_time_base(
    judge: Callable[..., Admission], clip: Callable[..., object]
) -> None:
    event = clip().manifest.events[0]
    clip_id = ClipManifest.make_id("v-01", "drive-0", event, time_base=1)
    assert broken_rules(judge({"clip_id": clip_id}, clip_id=clip_id, time_base=1)) == []
    assert broken_rules(judge(time_base=1)) == ["identity"]


def test_a_clip_of_a_later_schema_is_quarantined(judge: Callable[..., Admission]) -> None:
    assert broken_rules(judge(schema=3)) == ["schema"]


def test_a_manifest_that_does_not_decode_is_quarantined(clip: Callable[..., object]) -> None:
    sealed = clip()
    vehicle = VehicleRow(vehicle_id="v-01", profile="laptop", rig_id=None, at_ns=0)
    facts = BlobFacts(sealed.blob_id, 1, sealed_manifest=sealed.manifest_bytes)
    admission = admit(
        sealed.offer, b"\xc1 nonsense", facts, Known(vehicle), AdmissionSettings(), now_ns=NOW_NS
    )
    assert broken_rules(admission) == ["schema"]
    assert admission.manifest is None


def test_a_clip_with_a_calibration_of_another_vehicle_is_quarantined(
    judge: Callable[..., Admission],
) -> None:
    registered = VehicleRow(vehicle_id="v-01", profile="laptop", rig_id="c" * 64, at_ns=0)
    assert broken_rules(judge(known={"vehicle": registered})) == ["calibration"]


def test_a_clip_whose_rig_is_not_what_its_id_says_is_quarantined(
    judge: Callable[..., Admission],
) -> None:
    assert broken_rules(judge(rig_id="c" * 64)) == ["calibration", "calibration"]


def test_a_clip_of_a_vehicle_without_registered_calibration_is_quarantined(
    judge: Callable[..., Admission],
) -> None:
    unregistered = VehicleRow(vehicle_id="v-01", profile="laptop", rig_id=None, at_ns=0)
    assert broken_rules(judge(known={"vehicle": unregistered})) == ["calibration"]


@pytest.mark.parametrize(
    "manifest",
    [
        {"start_ns": VIRTUAL_EPOCH_NS - S},  # before there was a virtual clock
        {"start_ns": 5, "end_ns": 10},  # seconds for nanoseconds, or a board without a clock
        {"end_ns": VIRTUAL_EPOCH_NS + 8 * 86_400 * S},  # a drive of eight days
        {
            "start_ns": VIRTUAL_EPOCH_NS + 60 * S,
            "end_ns": VIRTUAL_EPOCH_NS + 61 * S,
        },  # event before
        {"end_ns": VIRTUAL_EPOCH_NS + 121 * S},  # two minutes of clip
        {"clock": NamedClock(kind=ClockKind.MONOTONIC, boot_id="b")},
        {"clock": NamedClock(kind=ClockKind.UNKNOWN)},
    ],
)
def test_a_clip_with_a_wrong_clock_is_quarantined(
    judge: Callable[..., Admission], manifest: dict[str, object]
) -> None:
    assert set(broken_rules(judge(**manifest))) == {"clock"}


def test_a_utc_clock_may_be_a_little_ahead_and_not_more(
    judge: Callable[..., Admission], clip: Callable[..., object]
) -> None:
    event = clip().manifest.events[0]

    def at(stamp_ns: int) -> list[str]:
        moved = msgspec.structs.replace(event, stamp_ns=stamp_ns)
        clip_id = ClipManifest.make_id("v-01", "drive-0", moved)
        return broken_rules(
            judge(
                offer={"clip_id": clip_id},
                clip_id=clip_id,
                events=(moved,),
                start_ns=stamp_ns,
                end_ns=stamp_ns + S,
                clock=NamedClock(kind=ClockKind.UTC),
            )
        )

    assert at(NOW_NS) == []
    assert at(NOW_NS + 299 * S) == []
    assert at(NOW_NS + 300 * S) == ["clock"]


def test_events_out_of_order_are_a_wrong_clock(
    judge: Callable[..., Admission], clip: Callable[..., object]
) -> None:
    event = clip().manifest.events[0]
    earlier = msgspec.structs.replace(event, stamp_ns=event.stamp_ns - 1)
    assert broken_rules(judge(events=(event, earlier))) == ["clock"]


def test_a_clip_of_another_vehicle_is_quarantined(judge: Callable[..., Admission]) -> None:
    assert set(broken_rules(judge(vehicle_id="v-02"))) == {"vehicle", "identity"}


def test_a_clip_of_a_revoked_vehicle_is_quarantined(
    judge: Callable[..., Admission], clip: Callable[..., object]
) -> None:
    revoked = VehicleRow(
        vehicle_id="v-01",
        profile="laptop",
        state=TrustState.REVOKED,
        rig_id=clip().manifest.rig_id,
        at_ns=0,
    )
    assert broken_rules(judge(known={"vehicle": revoked})) == ["vehicle"]


def test_a_clip_whose_id_does_not_follow_from_its_event_is_quarantined(
    judge: Callable[..., Admission],
) -> None:
    assert broken_rules(judge(offer={"clip_id": "d" * 64}, clip_id="d" * 64)) == ["identity"]


def test_a_clip_offered_under_another_id_is_quarantined(judge: Callable[..., Admission]) -> None:
    assert broken_rules(judge(offer={"clip_id": "d" * 64})) == ["identity"]


def test_other_content_under_an_admitted_id_is_quarantined(
    judge: Callable[..., Admission], clip: Callable[..., object]
) -> None:
    assert broken_rules(judge(known={"admitted_blob_id": clip().blob_id})) == []
    assert broken_rules(judge(known={"admitted_blob_id": "f" * 64})) == ["identity"]


def test_a_file_that_does_not_open_is_quarantined(judge: Callable[..., Admission]) -> None:
    admission = judge(blob={"sealed_manifest": None, "fault": "not a whole MCAP file"})
    assert broken_rules(admission) == ["sealed"]
    assert "not a whole MCAP file" in admission.reasons[0]


def test_a_manifest_that_is_not_the_sealed_one_is_quarantined(
    judge: Callable[..., Admission],
) -> None:
    assert broken_rules(judge(blob={"sealed_manifest": b"another"})) == ["sealed"]


@pytest.mark.parametrize("privacy", [Privacy.UNKNOWN])
def test_images_of_people_that_should_have_stayed_home_are_quarantined(
    judge: Callable[..., Admission], privacy: Privacy
) -> None:
    assert broken_rules(judge(privacy=privacy)) == ["privacy"]


def test_a_vehicle_over_its_quota_is_quarantined(judge: Callable[..., Admission]) -> None:
    settings = AdmissionSettings(max_clips_per_window=3, max_bytes_per_window=10_000_000)
    assert broken_rules(judge(settings=settings, known={"used_clips": 2})) == []
    assert broken_rules(judge(settings=settings, known={"used_clips": 3})) == ["quota"]
    assert broken_rules(judge(settings=settings, known={"used_bytes": 9_999_999})) == ["quota"]


def test_every_broken_rule_is_named(judge: Callable[..., Admission]) -> None:
    admission = judge(privacy=Privacy.UNKNOWN, blob={"blob_id": "e" * 64})
    assert broken_rules(admission) == ["hash", "privacy"]


@given(st.binary(max_size=300))
def test_no_manifest_bytes_make_it_fall_over(content: bytes) -> None:
    vehicle = VehicleRow(vehicle_id="v-01", profile="laptop", rig_id=None, at_ns=0)
    offer = ClipOffer(clip_id="a" * 64, blob_id="b" * 64, blob_bytes=1)
    facts = BlobFacts("b" * 64, 1, sealed_manifest=content)
    admission = admit(offer, content, facts, Known(vehicle), AdmissionSettings(), now_ns=NOW_NS)
    assert admission.answer is AdmissionAnswer.QUARANTINED
