"""The vehicle's half: what waits on disk survives, what must not leave stays, what is said makes sense."""

import math
import random
import stat
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from edge.contracts.campaign import Campaign
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.errors import ContractError, OperatorError, SchemaError, SpoolFullError
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig
from edge.contracts.time import VIRTUAL_EPOCH_NS, ClockKind, NamedClock
from edge.contracts.wire import (
    CHUNK_BYTES,
    AdmissionAnswer,
    Bye,
    ClipChunk,
    ClipCredit,
    ClipDone,
    ClipOffer,
    Hello,
    Message,
    ReportAck,
    SignedReport,
    UnknownMessage,
    UpdateNotice,
    Welcome,
)
from edge.perceive.tensors import IMAGE_SLOTS
from edge.upload import (
    Outbox,
    Spool,
    SpoolSettings,
    Uplink,
    UplinkSettings,
    UplinkState,
    load_or_make_keys,
)

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

S = 10**9
HELLO = Hello(vehicle_id="v-01", boot_id="b", profile="laptop", bundle_id="b-0", release_counter=0)
SETTINGS = UplinkSettings(answer_timeout_s=10.0, backoff_min_s=1.0, backoff_max_s=8.0)


def manifest(name: str, privacy: Privacy = Privacy.SYNTHETIC) -> ClipManifest:
    intrinsics = Intrinsics.from_fov(math.radians(60.0), 16, 8)
    cameras = tuple(
        Camera(name=camera, intrinsics=intrinsics, ego_from_cam=Pose()) for camera in CAMERAS
    )
    rig = Rig(name="test-rig", cameras=cameras)
    event = TriggerEvent(
        rule=TriggerRule.LOW_TTC,
        rule_version=1,
        campaign_id="edge_cases",
        stamp_ns=VIRTUAL_EPOCH_NS,
        value=1.0,
        threshold=1.5,
        worth=0.5,
    )
    return ClipManifest(
        clip_id=ClipManifest.make_id("v-01", name, event),
        vehicle_id="v-01",
        drive_id=name,
        clock=NamedClock(kind=ClockKind.VIRTUAL),
        rig=rig,
        rig_id=rig.rig_id,
        bundle_id="b-0",
        events=(event,),
        start_ns=VIRTUAL_EPOCH_NS,
        end_ns=VIRTUAL_EPOCH_NS + S,
        frame_count=1,
        privacy=privacy,
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


Put = Callable[..., str]


@pytest.fixture
def put(tmp_path: Path, spool: Spool) -> Put:
    """Seal a clip of some length and hand it to the spool; gives its id."""

    def run(name: str, size: int = 100, worth: float = 0.5) -> str:
        path = tmp_path / f"{name}.mcap"
        path.write_bytes(name[:1].encode() * size)
        record = manifest(name)
        spool.add(path, msgspec.msgpack.encode(record), worth)
        return record.clip_id

    return run


@pytest.fixture
def uplink(tmp_path: Path, spool: Spool) -> UplinkState:
    return UplinkState(HELLO, spool, Outbox(tmp_path / "spool"), random.Random(0), SETTINGS)


def welcomed(uplink: UplinkState) -> UplinkState:
    assert uplink.poll(0) == [(HELLO, None)]
    uplink.on_message(Welcome(), 0)
    return uplink


def offer_of(uplink: UplinkState, now_ns: int = 0) -> ClipOffer:
    ((offer, payload),) = uplink.poll(now_ns)
    assert isinstance(offer, ClipOffer) and payload
    return offer


def grant(uplink: UplinkState, offer: ClipOffer, offset: int, credit: int, now_ns: int = 0) -> None:
    message = ClipCredit(blob_id=offer.blob_id, offset=offset, credit_bytes=credit)
    uplink.on_message(message, now_ns)


def ranges(uplink: UplinkState, now_ns: int = 0) -> list[tuple[int, int]]:
    """Poll and give where each chunk begins and how long it is."""
    chunks = []
    for message, payload in uplink.poll(now_ns):
        assert isinstance(message, ClipChunk) and payload is not None
        chunks.append((message.offset, len(payload)))
    return chunks


class TestSpool:
    def test_a_spooled_clip_is_there_after_a_restart(
        self, tmp_path: Path, spool: Spool, put: Put
    ) -> None:
        clip_id = put("a")
        spool.close()
        again = Spool(tmp_path / "spool")
        (item,) = again.pending()
        assert item.clip_id == clip_id
        assert again.read(item, 0, 1000) == b"a" * 100
        assert again.read(item, 98, 1000) == b"aa"

    def test_the_spool_takes_the_sealed_file_over(
        self, tmp_path: Path, spool: Spool, put: Put
    ) -> None:
        put("a")
        assert not (tmp_path / "a.mcap").exists()
        put("a")
        assert not (tmp_path / "a.mcap").exists()
        assert len(spool.pending()) == 1

    def test_worth_per_byte_goes_first_then_the_id(self, spool: Spool, put: Put) -> None:
        dear = put("dear", size=10, worth=0.5)
        bulky = put("bulk", size=100, worth=0.9)
        twins = [put("one", size=40, worth=0.3), put("two", size=40, worth=0.3)]
        assert [i.clip_id for i in spool.pending()] == [dear, bulky, *sorted(twins)]

    def test_done_frees_the_room_and_may_be_said_twice(
        self, tmp_path: Path, spool: Spool, put: Put
    ) -> None:
        clip_id = put("a")
        assert spool.used_bytes == 100
        spool.done(clip_id)
        spool.done(clip_id)
        assert spool.used_bytes == 0 and spool.pending() == []
        assert not list((tmp_path / "spool" / "clips").iterdir())

    def test_a_full_spool_refuses_and_leaves_the_sealed_file(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "spool", SpoolSettings(capacity_bytes=150))
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(b"x" * 100)
        spool.add(tmp_path / "a", msgspec.msgpack.encode(manifest("a")), 0.5)
        with pytest.raises(SpoolFullError, match="100 of 150 bytes"):
            spool.add(tmp_path / "b", msgspec.msgpack.encode(manifest("b")), 0.5)
        assert (tmp_path / "b").exists()
        assert len(spool.pending()) == 1

    def test_of_several_clips_the_best_that_fit_are_taken_and_the_rest_stays(
        self, tmp_path: Path
    ) -> None:
        spool = Spool(tmp_path / "spool", SpoolSettings(capacity_bytes=250))
        clips = []
        for name, worth in (("a", 0.1), ("b", 0.9), ("c", 0.5)):
            (tmp_path / name).write_bytes(b"x" * 100)
            manifest_bytes = msgspec.msgpack.encode(manifest(name))
            clips.append(
                SimpleNamespace(path=tmp_path / name, manifest_bytes=manifest_bytes, worth=worth)
            )
        assert [item.worth for item in spool.take(clips)] == [0.9, 0.5]
        assert [path.name for path in sorted(tmp_path.iterdir()) if path.is_file()] == ["a"]

    def test_what_a_power_cut_left_is_out_of_the_way_at_the_next_start(
        self, tmp_path: Path, spool: Spool, put: Put
    ) -> None:
        clip_id = put("a")
        spool.close()
        clips = tmp_path / "spool" / "clips"
        (clips / "half.part").write_bytes(b"half")
        (clips / f"{'e' * 64}.mcap").write_bytes(b"renamed, and then the power went")
        again = Spool(tmp_path / "spool")
        assert [path.name for path in clips.iterdir()] == [f"{clip_id}.mcap"]
        assert len(again.pending()) == 1
        (aside,) = (tmp_path / "spool" / "unreadable").iterdir()
        assert aside.read_bytes() == b"renamed, and then the power went"

    def test_a_row_whose_file_somebody_took_is_dropped_at_the_next_start(
        self, tmp_path: Path, spool: Spool, put: Put
    ) -> None:
        clip_id = put("a")
        spool.close()
        (tmp_path / "spool" / "clips" / f"{clip_id}.mcap").unlink()
        assert Spool(tmp_path / "spool").pending() == []

    def test_a_second_process_does_not_sweep_what_the_first_is_writing(
        self, tmp_path: Path, spool: Spool, put: Put
    ) -> None:
        put("a")
        writing = tmp_path / "spool" / "clips" / "being-written.part"
        writing.write_bytes(b"half")
        second = Spool(tmp_path / "spool")
        assert writing.exists()
        assert len(second.pending()) == 1

    @pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80", b"x" * 300_000])
    def test_what_is_no_manifest_is_not_spooled(
        self, tmp_path: Path, spool: Spool, content: bytes
    ) -> None:
        (tmp_path / "a").write_bytes(b"x")
        with pytest.raises(SchemaError):
            spool.add(tmp_path / "a", content, 0.5)
        assert spool.pending() == []

    def test_an_empty_file_is_not_spooled(self, tmp_path: Path, spool: Spool) -> None:
        (tmp_path / "a").write_bytes(b"")
        with pytest.raises(SchemaError, match="0 bytes"):
            spool.add(tmp_path / "a", msgspec.msgpack.encode(manifest("a")), 0.5)

    def test_images_that_are_not_blurred_never_enter_the_spool(
        self, tmp_path: Path, spool: Spool
    ) -> None:
        (tmp_path / "a").write_bytes(b"faces")
        with pytest.raises(ContractError, match="stays on the vehicle"):
            spool.add(tmp_path / "a", msgspec.msgpack.encode(manifest("a", Privacy.UNKNOWN)), 0.5)
        assert spool.pending() == []
        assert (tmp_path / "a").exists()


class TestOutbox:
    def test_reports_wait_in_order_and_survive_a_restart(self, tmp_path: Path) -> None:
        outbox = Outbox(tmp_path)
        outbox.add(1, b"first", b"s1")
        outbox.add(2, b"second", b"s2")
        outbox.close()
        again = Outbox(tmp_path)
        first = again.first()
        assert first is not None and (first.sequence, first.payload) == (1, b"first")
        again.done(first.number)
        second = again.first()
        assert second is not None and second.payload == b"second"

    def test_a_full_outbox_forgets_the_oldest(self, tmp_path: Path) -> None:
        outbox = Outbox(tmp_path, capacity=3)
        for n in range(5):
            outbox.add(n, bytes([n]), b"")
        left = []
        while (item := outbox.first()) is not None:
            left.append(item.sequence)
            outbox.done(item.number)
        assert left == [2, 3, 4]


class TestKeys:
    def test_keys_are_made_once_and_kept(self, tmp_path: Path) -> None:
        first, second = load_or_make_keys(tmp_path), load_or_make_keys(tmp_path)
        assert first.curve_key == second.curve_key
        assert first.report_key == second.report_key
        assert len(first.curve_key) == 40 and len(first.report_key) == 64

    def test_only_the_owner_may_read_a_secret_key(self, tmp_path: Path) -> None:
        load_or_make_keys(tmp_path)
        for name in ("curve.key", "report.key"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    def test_printing_keys_shows_no_secret(self, tmp_path: Path) -> None:
        keys = load_or_make_keys(tmp_path)
        assert keys.curve_secret.decode() not in repr(keys)
        assert "secret" not in repr(keys)

    def test_a_report_signature_verifies_with_the_public_key(self, tmp_path: Path) -> None:
        keys = load_or_make_keys(tmp_path)
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(keys.report_key))
        public.verify(keys.sign(b"report"), b"report")

    @pytest.mark.parametrize("content", ["", "not hex", "ab" * 31])
    def test_a_spoiled_key_file_is_named(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "curve.key").write_text(content)
        with pytest.raises(OperatorError, match=r"curve.key holds no key"):
            load_or_make_keys(tmp_path)


def test_an_uplink_that_does_not_know_its_fleet_is_refused(tmp_path: Path, spool: Spool) -> None:
    keys = load_or_make_keys(tmp_path / "keys")
    for unfit in (
        UplinkSettings(),
        UplinkSettings(endpoint="tcp://127.0.0.1:1", server_key="x"),
    ):
        with pytest.raises(OperatorError, match="expected an endpoint and 40 characters"):
            Uplink(unfit, keys, HELLO, spool=spool, outbox=Outbox(tmp_path), rng=random.Random(0))


class TestConversation:
    def test_hello_comes_before_everything(self, uplink: UplinkState, put: Put) -> None:
        put("a")
        assert uplink.poll(0) == [(HELLO, None)]
        assert uplink.poll(0) == []
        assert uplink.campaigns is None

    def test_a_welcome_brings_the_campaigns(self, uplink: UplinkState) -> None:
        campaign = Campaign(campaign_id="edge_cases", rules=(), until_ns=1)
        uplink.poll(0)
        assert uplink.campaigns is None
        uplink.on_message(Welcome(campaigns=(campaign,)), 0)
        assert uplink.campaigns == (campaign,)

    def test_nothing_is_sent_beyond_the_credit(self, uplink: UplinkState, put: Put) -> None:
        put("a", size=3 * CHUNK_BYTES)
        offer = offer_of(welcomed(uplink))
        assert ranges(uplink) == []
        grant(uplink, offer, 0, CHUNK_BYTES + 5)
        assert ranges(uplink) == [(0, CHUNK_BYTES), (CHUNK_BYTES, 5)]
        assert ranges(uplink) == []
        grant(uplink, offer, CHUNK_BYTES, CHUNK_BYTES)
        assert ranges(uplink) == [(CHUNK_BYTES + 5, CHUNK_BYTES - 5)]

    def test_a_clip_goes_on_where_the_fleet_says(self, uplink: UplinkState, put: Put) -> None:
        put("a", size=3 * CHUNK_BYTES)
        offer = offer_of(welcomed(uplink))
        grant(uplink, offer, 2 * CHUNK_BYTES, 10 * CHUNK_BYTES)
        assert ranges(uplink) == [(2 * CHUNK_BYTES, CHUNK_BYTES)]

    def test_a_credit_that_comes_late_does_not_send_bytes_again(
        self, uplink: UplinkState, put: Put
    ) -> None:
        put("a", size=4 * CHUNK_BYTES)
        offer = offer_of(welcomed(uplink))
        grant(uplink, offer, 0, 2 * CHUNK_BYTES)
        assert len(ranges(uplink)) == 2
        grant(uplink, offer, 2 * CHUNK_BYTES, CHUNK_BYTES)
        grant(uplink, offer, CHUNK_BYTES, 9 * CHUNK_BYTES)
        assert ranges(uplink) == [(2 * CHUNK_BYTES, CHUNK_BYTES)]

    def test_a_clip_is_forgotten_when_it_is_done_and_not_before(
        self, uplink: UplinkState, spool: Spool, put: Put
    ) -> None:
        put("a")
        offer = offer_of(welcomed(uplink))
        grant(uplink, offer, 0, CHUNK_BYTES)
        assert ranges(uplink) == [(0, 100)]
        grant(uplink, offer, 100, CHUNK_BYTES)
        assert len(spool.pending()) == 1
        done = ClipDone(
            clip_id=offer.clip_id, blob_id=offer.blob_id, answer=AdmissionAnswer.ADMITTED
        )
        uplink.on_message(done, 0)
        uplink.on_message(done, 0)
        assert spool.pending() == [] and uplink.is_idle
        assert uplink.counts.clips_admitted == 1

    def test_done_for_another_content_forgets_nothing(
        self, uplink: UplinkState, spool: Spool, put: Put
    ) -> None:
        put("a")
        offer = offer_of(welcomed(uplink))
        uplink.on_message(
            ClipDone(clip_id=offer.clip_id, blob_id="f" * 64, answer=AdmissionAnswer.ADMITTED), 0
        )
        assert len(spool.pending()) == 1

    def test_a_quarantined_clip_is_counted_and_forgotten_too(
        self, uplink: UplinkState, spool: Spool, put: Put
    ) -> None:
        put("a")
        offer = offer_of(welcomed(uplink))
        uplink.on_message(
            ClipDone(
                clip_id=offer.clip_id,
                blob_id=offer.blob_id,
                answer=AdmissionAnswer.QUARANTINED,
                reasons=("clock: wrong",),
            ),
            0,
        )
        assert uplink.counts.clips_quarantined == 1 and spool.pending() == []

    def test_a_clip_spooled_by_software_that_did_not_blur_is_not_offered(
        self, uplink: UplinkState, spool: Spool, put: Put
    ) -> None:
        bad, good = put("bad", worth=0.9), put("good", worth=0.1)
        unblurred = msgspec.msgpack.encode(manifest("bad", Privacy.UNKNOWN))
        spool._database.execute("UPDATE clips SET manifest = ? WHERE clip_id = ?", (unblurred, bad))
        assert offer_of(welcomed(uplink)).clip_id == good
        assert uplink.counts.clips_refused == 1
        assert len(spool.pending()) == 2

    def test_a_clip_whose_file_is_gone_does_not_hold_up_the_others(
        self, tmp_path: Path, uplink: UplinkState, put: Put
    ) -> None:
        gone, here = put("gone", worth=0.9), put("here", worth=0.1)
        offer = offer_of(welcomed(uplink))
        assert offer.clip_id == gone
        (tmp_path / "spool" / "clips" / f"{gone}.mcap").unlink()
        grant(uplink, offer, 0, CHUNK_BYTES)
        assert ranges(uplink) == []
        assert offer_of(uplink).clip_id == here
        assert uplink.counts.clips_refused == 1

    def test_a_clip_that_the_disk_cannot_read_does_not_hold_up_the_others(
        self, tmp_path: Path, uplink: UplinkState, put: Put
    ) -> None:
        bad, good = put("bad", worth=0.9), put("good", worth=0.1)
        offer = offer_of(welcomed(uplink))
        path = tmp_path / "spool" / "clips" / f"{bad}.mcap"
        path.unlink()
        path.mkdir()
        grant(uplink, offer, 0, CHUNK_BYTES)
        assert ranges(uplink) == []
        assert offer_of(uplink).clip_id == good

    def test_silence_ends_the_connection_and_a_new_one_begins_with_hello(
        self, uplink: UplinkState, put: Put
    ) -> None:
        put("a")
        offer = offer_of(welcomed(uplink))
        assert uplink.connection == 1
        assert uplink.poll(9 * S) == [] and not uplink.is_down
        assert uplink.poll(10 * S) == [] and uplink.is_down
        assert uplink.poll(11 * S) == [(HELLO, None)]
        assert uplink.connection == 2
        uplink.on_message(Welcome(), 11 * S)
        assert offer_of(uplink, 11 * S) == offer

    def test_progress_keeps_a_slow_connection(self, uplink: UplinkState, put: Put) -> None:
        put("a", size=5 * CHUNK_BYTES)
        offer = offer_of(welcomed(uplink))
        for k in range(5):
            grant(uplink, offer, k * CHUNK_BYTES, CHUNK_BYTES, now_ns=9 * k * S)
            assert len(ranges(uplink, 9 * k * S)) == 1
        assert uplink.counts.failures == 0

    def test_a_fleet_that_repeats_itself_makes_no_progress(
        self, uplink: UplinkState, put: Put
    ) -> None:
        put("a", size=5 * CHUNK_BYTES)
        offer = offer_of(welcomed(uplink))
        for second in range(10):
            grant(uplink, offer, 0, CHUNK_BYTES, now_ns=second * S)
        uplink.expire(10 * S)
        assert uplink.is_down

    def test_waits_grow_after_each_failure_up_to_their_bound(self, uplink: UplinkState) -> None:
        now_ns, waits_s = 0, []
        for _ in range(7):
            assert uplink.poll(now_ns) == [(HELLO, None)]
            uplink.on_message(Bye(reason="revoked"), now_ns)
            began_ns = now_ns
            while not uplink.poll(now_ns + S // 10):
                now_ns += S // 10
            waits_s.append((now_ns + S // 10 - began_ns) / S)
            uplink.on_hang_up(now_ns)
            now_ns += 60 * S
        assert uplink.last_failure == "the connection was closed"
        for wait_s, longest_s in zip(waits_s, [1, 4, 8, 8, 8, 8, 8], strict=True):
            assert 0.5 * longest_s <= wait_s <= longest_s + 0.11

    def test_a_fleet_that_grants_and_then_cannot_is_asked_ever_more_rarely_and_with_one_chunk(
        self, uplink: UplinkState, put: Put
    ) -> None:
        put("a", size=5 * CHUNK_BYTES)
        now_ns, waits_s, sent = 0, [], []
        for _ in range(7):
            began_ns = now_ns
            while not uplink.poll(now_ns):
                now_ns += S // 10
            waits_s.append((now_ns - began_ns) / S)
            uplink.on_message(Welcome(), now_ns)
            offer = offer_of(uplink, now_ns)
            grant(uplink, offer, 0, 8 * CHUNK_BYTES, now_ns)
            sent.append(len(ranges(uplink, now_ns)))
            grant(uplink, offer, CHUNK_BYTES, 8 * CHUNK_BYTES, now_ns)
            uplink.on_message(Bye(reason="the fleet cannot take this now"), now_ns)
        assert sent == [5, 1, 1, 1, 1, 1, 1]
        for wait_s, longest_s in zip(waits_s, [0, 1, 2, 4, 8, 8, 8], strict=True):
            assert 0.5 * longest_s <= wait_s <= longest_s + 0.11

    def test_a_clip_of_which_the_fleet_keeps_more_each_time_goes_on_without_growing_waits(
        self, uplink: UplinkState, put: Put
    ) -> None:
        put("a", size=9 * CHUNK_BYTES)
        now_ns = 0
        for have in range(1, 8):
            while not uplink.poll(now_ns):
                now_ns += S // 10
            uplink.on_message(Welcome(), now_ns)
            offer = offer_of(uplink, now_ns)
            grant(uplink, offer, have * CHUNK_BYTES, 8 * CHUNK_BYTES, now_ns)
            assert len(ranges(uplink, now_ns)) == min(8, 9 - have)
            uplink.on_hang_up(now_ns)
        assert now_ns <= 7 * 1.1 * S

    def test_reports_that_are_taken_do_not_hasten_a_clip_that_is_not(
        self, uplink: UplinkState, put: Put
    ) -> None:
        put("a")
        now_ns = 0
        for sequence in range(6):
            uplink.outbox.add(sequence, b"report", b"s")
            began_ns = now_ns
            while not uplink.poll(now_ns):
                now_ns += S // 10
            uplink.on_message(Welcome(), now_ns)
            assert [type(said) for said, _ in uplink.poll(now_ns)] == [SignedReport, ClipOffer]
            uplink.on_message(ReportAck(sequence=sequence), now_ns)
            uplink.on_message(Bye(reason="the fleet cannot take this now"), now_ns)
        assert uplink.counts.reports_sent == 6
        assert now_ns - began_ns >= 4 * S

    def test_what_comes_after_the_end_of_a_connection_is_ignored(
        self, uplink: UplinkState, spool: Spool, put: Put
    ) -> None:
        put("a")
        offer = offer_of(welcomed(uplink))
        uplink.on_message(Bye(reason="revoked"), 0)
        uplink.on_message(
            ClipDone(clip_id=offer.clip_id, blob_id=offer.blob_id, answer=AdmissionAnswer.ADMITTED),
            0,
        )
        assert len(spool.pending()) == 1 and uplink.counts.ignored == 1

    def test_an_idle_vehicle_says_hello_now_and_then(self, uplink: UplinkState) -> None:
        welcomed(uplink)
        assert uplink.poll(59 * S) == []
        assert uplink.poll(60 * S) == [(HELLO, None)]
        assert uplink.connection == 1
        assert uplink.poll(70 * S) == [] and uplink.is_down

    def test_unknown_kinds_and_a_vehicles_own_words_are_ignored(self, uplink: UplinkState) -> None:
        welcomed(uplink)
        uplink.on_message(UnknownMessage("clip_preview"), 0)
        uplink.on_message(HELLO, 0)
        assert uplink.counts.ignored == 2 and not uplink.is_down

    def test_a_notice_changes_nothing_and_is_no_unknown_kind(self, uplink: UplinkState) -> None:
        welcomed(uplink)
        uplink.on_message(UpdateNotice(), 0)
        assert uplink.counts.ignored == 0 and not uplink.is_down

    def test_reports_go_one_by_one_until_acknowledged(self, uplink: UplinkState) -> None:
        uplink.outbox.add(7, b"seven", b"s")
        uplink.outbox.add(8, b"eight", b"s")
        welcomed(uplink)
        seven = [(SignedReport(payload=b"seven", signature=b"s"), None)]
        assert uplink.poll(0) == seven
        assert uplink.poll(9 * S) == []
        uplink.on_message(ReportAck(sequence=8), 9 * S)
        assert uplink.poll(10 * S) == seven
        uplink.on_message(ReportAck(sequence=7), 10 * S)
        assert uplink.poll(10 * S) == [(SignedReport(payload=b"eight", signature=b"s"), None)]
        assert uplink.counts.reports_sent == 1

    def test_a_report_that_nobody_acknowledges_does_not_hold_up_clips(
        self, uplink: UplinkState, put: Put
    ) -> None:
        uplink.outbox.add(7, b"seven", b"s")
        put("a")
        welcomed(uplink)
        kinds = [type(message) for message, _ in uplink.poll(0)]
        assert kinds == [SignedReport, ClipOffer]


answers = st.one_of(
    st.just(Welcome()),
    st.just(Bye(reason="no")),
    st.just(UpdateNotice()),
    st.builds(
        ClipCredit,
        blob_id=st.sampled_from(["a" * 64, "b" * 64]),
        offset=st.integers(0, 2**53 - 1),
        credit_bytes=st.integers(0, 2**53 - 1),
    ),
    st.builds(ReportAck, sequence=st.integers(0, 9)),
    st.builds(
        ClipDone,
        clip_id=st.sampled_from(["a" * 64, "b" * 64]),
        blob_id=st.just("b" * 64),
        answer=st.sampled_from(AdmissionAnswer),
    ),
)


class Backoff(RuleBasedStateMachine):
    """A vehicle whose fleet has less room than the clip needs, and a link that breaks, in any order."""

    SIZE_BYTES = 6 * CHUNK_BYTES + 5

    def __init__(self, parent: Path) -> None:
        super().__init__()
        root = Path(tempfile.mkdtemp(dir=parent))
        self.spool = Spool(root)
        sealed = root / "a.mcap"
        sealed.write_bytes(b"a" * self.SIZE_BYTES)
        self.spool.add(sealed, msgspec.msgpack.encode(manifest("a")), 0.5)
        self.outbox = Outbox(root)
        self.uplink = UplinkState(HELLO, self.spool, self.outbox, random.Random(0), SETTINGS)
        self.now_ns = 0
        self.room_bytes = 0
        self.kept_bytes = 0
        self.sequence = 0
        self.progress = (0, 0)
        self.failed_ns: list[int] = []
        self.chunk_bytes: list[int] = []
        self.messages: list[Message] = []

    @rule(room_bytes=st.integers(0, SIZE_BYTES + CHUNK_BYTES))
    def let_the_fleet_have_room(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    @rule()
    def lose_what_the_fleet_kept(self) -> None:
        self.kept_bytes = 0

    @rule()
    def break_the_link(self) -> None:
        self.messages.clear()
        self._fail(lambda: self.uplink.on_hang_up(self.now_ns))

    @rule()
    def report(self) -> None:
        self.sequence += 1
        self.outbox.add(self.sequence, b"report", b"s")

    @rule(steps=st.integers(1, 400))
    def work(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        self.now_ns += S // 10
        for message, payload in self.uplink.poll(self.now_ns):
            self._take(message, payload)
        for answer in self.messages:
            self._fail(lambda answer=answer: self.uplink.on_message(answer, self.now_ns))
        self.messages.clear()

    def _take(self, message: Message, payload: bytes | None) -> None:
        """Answer as a gateway does whose disk takes so many bytes and not one more."""
        if any(isinstance(answer, Bye) for answer in self.messages):
            return
        match message:
            case Hello():
                self.messages.append(Welcome())
            case SignedReport():
                waiting = self.outbox.first()
                assert waiting is not None
                self.messages.append(ReportAck(sequence=waiting.sequence))
            case ClipOffer():
                self.blob_id, self.clip_id = message.blob_id, message.clip_id
                self._grant()
            case ClipChunk():
                assert payload is not None
                self.chunk_bytes.append(len(payload))
                if message.offset == self.kept_bytes:
                    self._keep(len(payload))

    def _keep(self, size_bytes: int) -> None:
        if self.kept_bytes + size_bytes > self.room_bytes:
            self.messages.append(Bye(reason="the fleet cannot take this now; try again later"))
            return
        self.kept_bytes += size_bytes
        self._grant()

    def _grant(self) -> None:
        if self.kept_bytes < self.SIZE_BYTES:
            granted = ClipCredit(
                blob_id=self.blob_id, offset=self.kept_bytes, credit_bytes=8 * CHUNK_BYTES
            )
            self.messages.append(granted)
            return
        answer = AdmissionAnswer.ADMITTED
        done = ClipDone(clip_id=self.clip_id, blob_id=self.blob_id, answer=answer)
        self.messages.append(done)

    def _fail(self, action: Callable[[], None]) -> None:
        before = self.uplink.counts.failures
        action()
        if self.uplink.counts.failures > before:
            self.failed_ns.append(self.now_ns)
        progress = (max(self.progress[0], self.kept_bytes), self.uplink.counts.clips_admitted)
        if progress != self.progress:
            self.progress, self.failed_ns, self.chunk_bytes = progress, self.failed_ns[-1:], []

    @invariant()
    def waits_have_grown_since_the_fleet_last_kept_something_new(self) -> None:
        for number, (first_ns, second_ns) in enumerate(pairwise(self.failed_ns)):
            longest_s = min(
                SETTINGS.backoff_max_s, SETTINGS.backoff_min_s * 2 ** max(0, number - 1)
            )
            assert second_ns - first_ns >= 0.5 * longest_s * S

    @invariant()
    def few_bytes_are_sent_without_effect(self) -> None:
        allowed = 8 * CHUNK_BYTES + len(self.failed_ns) * CHUNK_BYTES
        assert sum(self.chunk_bytes) <= allowed

    def teardown(self) -> None:
        """With room again, and a link that holds, the clip is home within the longest wait."""
        self.room_bytes = self.SIZE_BYTES
        for _ in range(round((SETTINGS.backoff_max_s + 2 * SETTINGS.answer_timeout_s + 5) * 10)):
            self._step()
        assert self.spool.pending() == []
        self.spool.close()
        self.outbox.close()


def test_waits_grow_until_the_fleet_keeps_something_new_whatever_happens(tmp_path: Path) -> None:
    run_state_machine_as_test(
        lambda: Backoff(tmp_path), settings=settings(max_examples=40, deadline=None)
    )


def test_no_answer_of_a_strange_fleet_makes_the_vehicle_fall_over_or_forget(
    tmp_path: Path, spool: Spool
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    item = spool.add(tmp_path / "a", msgspec.msgpack.encode(manifest("a")), 0.5)
    outbox = Outbox(tmp_path)

    @given(st.lists(st.tuples(answers, st.integers(0, 30)), max_size=12))
    def whatever_it_says(said: list[tuple[Message, int]]) -> None:
        uplink = UplinkState(HELLO, spool, outbox, random.Random(0), SETTINGS)
        now_ns = 0
        for message, seconds in said:
            if isinstance(message, ClipCredit):
                message = msgspec.structs.replace(message, blob_id=item.blob_id)
            uplink.on_message(message, now_ns)
            for outgoing, payload in uplink.poll(now_ns):
                if isinstance(outgoing, ClipChunk):
                    assert payload and outgoing.offset + len(payload) <= item.blob_bytes
            now_ns += seconds * S
        assert spool.pending() == [item]

    whatever_it_says()
