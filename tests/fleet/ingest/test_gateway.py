"""The gateway over real CURVE sockets on loopback: attacks and faults by name."""

import random
import resource
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
import zmq
from moto import mock_aws
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from edge.clip_file import EncodedFrame, decode_clip, encode_clip
from edge.contracts.errors import OperatorError, StoreUnavailableError
from edge.contracts.wire import (
    CHUNK_BYTES,
    Bye,
    ClipChunk,
    ClipCredit,
    ClipDone,
    HealthReport,
    Hello,
    InstallPhase,
    SignedReport,
    UpdateNotice,
    Welcome,
    decode,
    encode,
)
from edge.upload import Outbox, Spool, Uplink, UplinkSettings, VehicleKeys
from fleet.catalog import Catalog, ClipRow, QuarantineRow, ReportRow, StreamKind, VehicleRow
from fleet.ingest import Gateway, GatewaySettings, IngestSettings, Intake
from fleet.keys import Roster, revoke
from fleet.store import FolderStore, S3Store, blob_key

Keys = Callable[[str], VehicleKeys]
Seal = Callable[..., Any]

NOW_NS = 1_800_000_000 * 10**9
S = 10**9
PATIENCE_S = 10.0


def hello(vehicle_id: str = "v-01") -> Hello:
    return Hello(
        vehicle_id=vehicle_id, boot_id="b", profile="laptop", bundle_id="b-0", release_counter=0
    )


class Site:
    """A gateway with its clock."""

    def __init__(self, intake: Intake) -> None:
        self.now_ns = NOW_NS
        secret_key = z85.encode(secrets.token_bytes(32))
        self.gateway = Gateway(GatewaySettings(), secret_key, intake, Roster(intake.catalog))
        self.gateway.self_test()

    def step(self) -> None:
        self.now_ns += S // 50
        self.gateway.step(self.now_ns, timeout_s=0.001)

    def until(self, condition: Callable[[], bool], *others: Callable[[], object]) -> None:
        """Step everything until the condition holds; fail when it does not within some seconds."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, "it did not happen"
            self.step()
            for other in others:
                other()


@pytest.fixture
def site(intake: Intake) -> Iterator[Site]:
    site = Site(intake)
    yield site
    site.gateway.close()


class Car:
    """The vehicle's real uplink."""

    def __init__(self, root: Path, keys: VehicleKeys, site: Site) -> None:
        self.root = root
        self.spool, self.outbox = Spool(self.root), Outbox(self.root)
        settings = UplinkSettings(
            endpoint=site.gateway.endpoint,
            server_key=site.gateway.public_key,
            backoff_min_s=0.01,
            backoff_max_s=0.05,
        )
        self.uplink = Uplink(
            settings,
            keys,
            hello(),
            spool=self.spool,
            outbox=self.outbox,
            rng=random.Random(0),
        )

    def end(self) -> None:
        self.uplink.close()
        self.spool.close()
        self.outbox.close()

    def record(self, clip: Any) -> None:
        path = self.root / "sealed.mcap"
        path.write_bytes(clip.content)
        self.spool.add(path, clip.manifest_bytes, 0.5)

    def step(self) -> None:
        self.uplink.step(time.monotonic_ns())


@pytest.fixture
def car(tmp_path: Path, keys: Keys, site: Site) -> Iterator[Car]:
    (tmp_path / "vehicle").mkdir()
    car = Car(tmp_path / "vehicle", keys("v-01"), site)
    yield car
    car.end()


class Peer:
    """A bare socket that says whatever it likes."""

    def __init__(self, site: Site, keys: VehicleKeys, routing_id: bytes | None = None) -> None:
        self.site = site
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if routing_id is not None:
            self.socket.setsockopt(zmq.ROUTING_ID, routing_id)
        self.socket.curve_secretkey = keys.curve_secret
        self.socket.curve_publickey = keys.curve_key.encode()
        self.socket.curve_serverkey = site.gateway.public_key.encode()
        self.socket.connect(site.gateway.endpoint)

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def ask(self, *frames: bytes) -> Any:
        self.send(*frames)
        return self.hear()

    def hear(self) -> Any:
        self.site.until(lambda: bool(self.socket.poll(0)))
        return decode(self.socket.recv_multipart()[0])

    def close(self) -> None:
        self.context.destroy(linger=0)


@pytest.fixture
def peer(site: Site) -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def connect(keys: VehicleKeys, routing_id: bytes | None = None) -> Peer:
        peers.append(Peer(site, keys, routing_id))
        return peers[-1]

    yield connect
    for one in peers:
        one.close()


# Coming home


def test_clips_and_reports_come_home_over_curve(
    site: Site, car: Car, clip: Seal, catalog: Catalog, store: FolderStore
) -> None:
    for drive in range(3):
        car.record(clip(drive))
    report = HealthReport(
        vehicle_id="v-01",
        boot_id="b",
        sequence=1,
        bundle_id="b-0",
        phase=InstallPhase.TRIAL,
        ticks=36,
        faults=0,
        is_golden_passed=True,
        rungs={},
        stamp_ns=1,
    )
    car.uplink.report(report)
    site.until(lambda: car.uplink.is_idle, car.step)
    assert car.uplink.counts.clips_admitted == 3
    assert [row.blob_id for row in catalog.all(ClipRow)] == [
        c.blob_id for c in sorted(map(clip, range(3)), key=lambda c: c.manifest.clip_id)
    ]
    assert store.get(clip(1).blob_id) == clip(1).content
    assert car.uplink.counts.bytes_sent > sum(len(clip(n).content) for n in range(3))
    (row,) = catalog.all(ReportRow)
    assert msgspec.msgpack.decode(row.payload, type=HealthReport) == report
    assert site.gateway.notify() == ("v-01",)


def test_clips_come_home_into_a_bucket(
    tmp_path: Path, keys: Keys, clip: Seal, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="ringroad")
        store = S3Store("ringroad", "", client)
        site = Site(Intake(catalog, store, tmp_path / "incoming", IngestSettings()))
        (tmp_path / "vehicle").mkdir()
        car = Car(tmp_path / "vehicle", keys("v-01"), site)
        car.record(clip())
        site.until(lambda: car.uplink.is_idle, car.step)
        (row,) = catalog.all(ClipRow)
        assert store.get(row.blob_id) == clip().content
        car.end()
        site.gateway.close()


def test_a_store_that_fails_acknowledges_nothing_and_the_clip_comes_later(
    site: Site, car: Car, clip: Seal, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise StoreUnavailableError("the disk is full")

    car.record(clip())
    with monkeypatch.context() as broken:
        broken.setattr(FolderStore, "put_if_absent", fail)
        site.until(lambda: car.uplink.counts.failures >= 2, car.step)
        assert len(car.spool.pending()) == 1 and catalog.all(ClipRow) == []
    site.until(lambda: car.uplink.is_idle, car.step)
    assert len(catalog.all(ClipRow)) == 1
    assert catalog.all(QuarantineRow) == []


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int | None], None]]:
    """Let no file of this process grow beyond so many bytes; None gives all the room back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size_bytes: int | None) -> None:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (soft if size_bytes is None else size_bytes, hard)
        )

    yield limit
    limit(None)


def with_tail(sealed: Any, tail_bytes: int) -> Any:
    """Pad an image of a clip until the clip ends so many bytes behind a whole number of chunks."""
    read = decode_clip(sealed.content)
    content, padding = sealed.content, 0
    while (short := (tail_bytes - len(content)) % CHUNK_BYTES) != 0:
        padding += short
        first, *others = read.frames
        image, *images = first.sensed.frames
        image = EncodedFrame(image.jpeg + bytes(padding), image.stamp_ns)
        sensed = msgspec.structs.replace(first.sensed, frames=(image, *images))
        padded = replace(first, sensed=sensed)
        content = encode_clip(read.manifest, [padded, *others])
    return replace(sealed, content=content)


@pytest.mark.parametrize("tail_bytes", [3_000, 100_000])
def test_a_disk_that_fills_before_the_last_piece_costs_its_vehicle_a_wait_and_nobody_else_anything(
    site: Site,
    car: Car,
    keys: Keys,
    peer: Callable[..., Peer],
    clip: Seal,
    catalog: Catalog,
    room: Callable[[int | None], None],
    tail_bytes: int,
) -> None:
    sealed = with_tail(clip(), tail_bytes)
    car.record(sealed)
    room(len(sealed.content) - tail_bytes)
    site.until(lambda: car.uplink.counts.failures >= 2, car.step)
    assert catalog.all(ClipRow) == [] and len(car.spool.pending()) == 1
    assert isinstance(peer(keys("v-02")).ask(encode(hello("v-02"))), Welcome)
    room(None)
    site.until(lambda: car.uplink.is_idle, car.step)
    assert [row.blob_id for row in catalog.all(ClipRow)] == [sealed.blob_id]


def test_a_full_catalog_acknowledges_nothing_and_the_clip_comes_later(
    site: Site, car: Car, clip: Seal, catalog: Catalog
) -> None:
    def pages(words: str) -> int:
        with catalog._engine.connect() as connection:
            return int(connection.exec_driver_sql(f"PRAGMA {words}").scalar_one())

    car.record(clip(9))
    pages(f"max_page_count = {pages('page_count')}")
    with suppress(StoreUnavailableError):
        for _ in range(200):  # take what is free in the last pages
            with catalog.write(at_ns=NOW_NS, actor="test") as tx:
                tx.append(StreamKind.VEHICLE, "v-02", "noise.1", cause="x" * 400)
    site.until(lambda: car.uplink.counts.failures >= 2, car.step)
    assert catalog.all(ClipRow) == [] and len(car.spool.pending()) == 1
    pages("max_page_count = 1000000")
    site.until(lambda: car.uplink.is_idle, car.step)
    assert len(catalog.all(ClipRow)) == 1


@pytest.mark.parametrize("left", [None, 1000])
def test_a_clip_whose_blob_was_lost_is_not_acknowledged_again_but_sent_again(
    site: Site, car: Car, clip: Seal, store: FolderStore, left: int | None
) -> None:
    car.record(clip())
    site.until(lambda: car.uplink.is_idle, car.step)
    blob = store.root / blob_key(clip().blob_id)
    blob.unlink()
    if left is not None:
        blob.write_bytes(clip().content[:left])
    car.record(clip())
    site.until(lambda: car.uplink.is_idle, car.step)
    assert store.get(clip().blob_id) == clip().content
    assert car.uplink.counts.clips_admitted == 2


# Clips that are not what they say


def quarantined(site: Site, car: Car, catalog: Catalog, clip: Any) -> QuarantineRow:
    car.record(clip)
    site.until(lambda: car.uplink.is_idle, car.step)
    assert catalog.all(ClipRow) == []
    assert car.uplink.counts.clips_quarantined == 1
    (row,) = catalog.all(QuarantineRow)
    assert row.manifest == clip.manifest_bytes and row.vehicle_id == "v-01"
    return row


def test_bytes_that_are_no_clip_are_quarantined(
    site: Site, car: Car, clip: Seal, catalog: Catalog
) -> None:
    path = car.root / "sealed.mcap"
    path.write_bytes(b"no MCAP at all")
    car.spool.add(path, clip().manifest_bytes, 0.5)
    site.until(lambda: car.uplink.is_idle, car.step)
    (row,) = catalog.all(QuarantineRow)
    assert row.reasons == ("sealed: the file does not open: 14 bytes are not a whole MCAP file",)


def test_the_same_quarantined_clip_twice_is_one_row(
    site: Site, car: Car, clip: Seal, catalog: Catalog
) -> None:
    bad = clip(0, rig_id="c" * 64)
    quarantined(site, car, catalog, bad)
    car.record(bad)
    site.until(lambda: car.uplink.is_idle, car.step)
    assert car.uplink.counts.clips_quarantined == 2
    assert len(catalog.all(QuarantineRow)) == 1


def test_a_bad_clip_under_a_good_clips_id_does_not_shut_the_good_one_out(
    site: Site, car: Car, clip: Seal, catalog: Catalog
) -> None:
    forged = clip(0, software="forged", rig_id="c" * 64)
    quarantined(site, car, catalog, forged)
    car.record(clip())
    site.until(lambda: car.uplink.is_idle, car.step)
    assert [row.blob_id for row in catalog.all(ClipRow)] == [clip().blob_id]


# Peers that are not who they say


def test_a_key_revoked_in_mid_session_is_told_bye_and_nothing_of_it_is_taken(
    site: Site, keys: Keys, peer: Callable[..., Peer], catalog: Catalog, clip: Seal
) -> None:
    thief = peer(keys("v-01"))
    assert isinstance(thief.ask(encode(hello())), Welcome)
    assert isinstance(thief.ask(encode(clip().offer), clip().manifest_bytes), ClipCredit)
    revoke(catalog, "v-01", cause="stolen", at_ns=NOW_NS)
    site.now_ns += S
    chunk = ClipChunk(blob_id=clip().blob_id, offset=0, crc32=0)
    answer = thief.ask(encode(chunk), b"x")
    assert isinstance(answer, Bye) and "the key of v-01 is unknown or revoked" in answer.reason
    assert site.gateway.notify() == ()


def test_a_peer_without_curve_is_refused(site: Site) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    socket.connect(site.gateway.endpoint)
    socket.send(encode(hello()))
    site.until(lambda: bool(monitor.poll(0)))
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_DISCONNECTED
    assert site.gateway.counts.messages == 0
    context.destroy(linger=0)


def test_the_name_in_a_hello_proves_nothing(
    site: Site, keys: Keys, peer: Callable[..., Peer], catalog: Catalog
) -> None:
    liar = peer(keys("v-02"))
    answer = liar.ask(encode(hello("v-01")))
    assert isinstance(answer, Bye) and "v-02" in answer.reason
    assert catalog.events("vehicle/v-02")[-1].schema == "peer_refused.1"


def test_a_routing_id_of_another_vehicle_gives_nothing_of_its_session(
    site: Site, keys: Keys, peer: Callable[..., Peer], catalog: Catalog, clip: Seal
) -> None:
    victim = peer(keys("v-01"), b"chosen")
    assert isinstance(victim.ask(encode(hello("v-01"))), Welcome)
    assert isinstance(victim.ask(encode(clip().offer), clip().manifest_bytes), ClipCredit)
    spoofer = peer(keys("v-02"), b"chosen")
    monitor = spoofer.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    spoofer.send(encode(hello("v-02")))
    site.until(lambda: bool(monitor.poll(0)))
    site.gateway.notify()  # while the victim is there, its name and its mail are its own
    assert isinstance(victim.hear(), UpdateNotice)
    assert not spoofer.socket.poll(0)

    victim.close()
    spoofer.close()
    chunk = ClipChunk(blob_id=clip().blob_id, offset=0, crc32=0)
    heard: list[object] = []

    def try_the_name() -> None:  # until the gateway's socket has let go of the victim's connection
        heir = peer(keys("v-02"), b"chosen")
        heir.send(encode(chunk), b"x")
        for _ in range(20):
            site.step()
            if heir.socket.poll(5):
                heard.append(decode(heir.socket.recv_multipart()[0]))
                return
        heir.close()

    site.until(lambda: bool(heard), try_the_name)
    assert heard[0] == Bye(reason="this connection began under another key")
    assert site.gateway.notify() == ()
    assert catalog.events("vehicle/v-02")[-1].facts == {}
    assert catalog.events("vehicle/v-02")[-1].cause == "routing id of another vehicle"


def test_a_second_connection_of_a_vehicle_ends_the_first(
    site: Site, keys: Keys, peer: Callable[..., Peer], clip: Seal
) -> None:
    first, second = peer(keys("v-01")), peer(keys("v-01"))
    assert isinstance(first.ask(encode(hello())), Welcome)
    assert isinstance(second.ask(encode(hello())), Welcome)
    assert first.ask(encode(clip().offer), b"manifest") == Bye(reason="say hello first")
    assert site.gateway.notify() == ("v-01",)


# Messages that make no sense


@pytest.mark.parametrize(
    "frames",
    [
        [b"\xc1 nonsense"],
        [encode(Welcome())],
        [encode(ClipDone(clip_id="a" * 64, blob_id="b" * 64, answer="admitted"))],  # type: ignore[arg-type]
        [encode(hello()), b"a payload that hello has not"],
        [encode(ClipChunk(blob_id="a" * 64, offset=0, crc32=0))],
        [encode(ClipChunk(blob_id="a" * 64, offset=0, crc32=0)), b"x", b"one frame more"],
    ],
)
def test_a_message_that_makes_no_sense_ends_the_session_and_harms_nobody(
    site: Site, keys: Keys, peer: Callable[..., Peer], frames: list[bytes]
) -> None:
    fool, other = peer(keys("v-01")), peer(keys("v-02"))
    assert isinstance(other.ask(encode(hello("v-02"))), Welcome)
    assert isinstance(fool.ask(encode(hello())), Welcome)
    assert isinstance(fool.ask(*frames), Bye)
    assert site.gateway.notify() == ("v-02",)
    assert isinstance(fool.ask(encode(hello())), Welcome)


def test_a_kind_that_this_fleet_does_not_know_is_counted_and_skipped(
    site: Site, keys: Keys, peer: Callable[..., Peer]
) -> None:
    newer = peer(keys("v-01"))
    assert isinstance(newer.ask(encode(hello())), Welcome)
    newer.send(msgspec.msgpack.encode({"kind": "clip_preview", "schema": 2}))
    assert isinstance(newer.ask(encode(hello())), Welcome)
    assert site.gateway.counts.unknown == 1


def test_nothing_is_served_before_hello(
    site: Site, keys: Keys, peer: Callable[..., Peer], clip: Seal
) -> None:
    hasty = peer(keys("v-01"))
    assert hasty.ask(encode(clip().offer), b"manifest") == Bye(reason="say hello first")


@pytest.mark.parametrize("blob_bytes", [0, 600 * 1024 * 1024])
def test_an_empty_or_enormous_clip_is_not_even_begun(
    site: Site, keys: Keys, peer: Callable[..., Peer], clip: Seal, tmp_path: Path, blob_bytes: int
) -> None:
    greedy = peer(keys("v-01"))
    greedy.ask(encode(hello()))
    offer = msgspec.structs.replace(clip().offer, blob_bytes=blob_bytes)
    assert isinstance(greedy.ask(encode(offer), b"manifest"), Bye)
    assert not list((tmp_path / "fleet").rglob("*.part"))


def test_a_clip_longer_than_its_offer_is_cut_off(
    site: Site, keys: Keys, peer: Callable[..., Peer], clip: Seal
) -> None:
    liar = peer(keys("v-01"))
    liar.ask(encode(hello()))
    offer = msgspec.structs.replace(clip().offer, blob_bytes=3)
    assert isinstance(liar.ask(encode(offer), b"manifest"), ClipCredit)
    chunk = ClipChunk(blob_id=offer.blob_id, offset=0, crc32=zlib.crc32(b"1234"))
    answer = liar.ask(encode(chunk), b"1234")
    assert isinstance(answer, Bye) and "longer than its offer" in answer.reason


def test_a_vehicle_cannot_fill_the_disk_with_beginnings(
    site: Site, keys: Keys, peer: Callable[..., Peer], clip: Seal, tmp_path: Path
) -> None:
    greedy = peer(keys("v-01"))
    greedy.ask(encode(hello()))
    for n in range(9):
        offer = msgspec.structs.replace(clip().offer, blob_id=f"{n}" * 64)
        assert isinstance(greedy.ask(encode(offer), b"manifest"), ClipCredit)
    assert len(list((tmp_path / "fleet" / "incoming").rglob("*.part"))) == 4


def test_a_forged_report_is_not_acknowledged_and_clips_go_on(
    site: Site, keys: Keys, peer: Callable[..., Peer], catalog: Catalog, clip: Seal
) -> None:
    forger = peer(keys("v-01"))
    forger.ask(encode(hello()))
    forger.send(encode(SignedReport(payload=b"all is well", signature=b"x" * 64)))
    assert isinstance(forger.ask(encode(clip().offer), clip().manifest_bytes), ClipCredit)
    assert catalog.all(ReportRow) == []


# The house itself


def test_a_gateway_that_lets_strangers_in_does_not_start(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Roster, "vehicle_of", lambda *_: "v-01")
    gateway = Gateway(
        GatewaySettings(), z85.encode(secrets.token_bytes(32)), intake, Roster(intake.catalog)
    )
    with pytest.raises(OperatorError, match="let an unknown key in"):
        gateway.self_test()
    gateway.close()


def test_a_gateway_whose_key_check_does_not_answer_does_not_start(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gateway, "_answer_zap", lambda _: None)
    gateway = Gateway(
        GatewaySettings(), z85.encode(secrets.token_bytes(32)), intake, Roster(intake.catalog)
    )
    with pytest.raises(OperatorError, match="did not refuse an unknown key"):
        gateway.self_test(timeout_s=0.3)
    gateway.close()


def test_without_its_key_check_the_gateways_socket_lets_nobody_in(
    intake: Intake, keys: Keys
) -> None:
    gateway = Gateway(
        GatewaySettings(), z85.encode(secrets.token_bytes(32)), intake, Roster(intake.catalog)
    )
    gateway._zap.close()  # as if the handler had died: libzmq's own default is to let everybody in
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.curve_secretkey = keys("v-01").curve_secret
    socket.curve_publickey = keys("v-01").curve_key.encode()
    socket.curve_serverkey = gateway.public_key.encode()
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    socket.connect(gateway.endpoint)
    assert monitor.poll(round(PATIENCE_S * 1000))
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_DISCONNECTED
    context.destroy(linger=0)
    gateway.close()


def test_what_happens_to_a_rollout_is_hinted_at(
    site: Site, keys: Keys, peer: Callable[..., Peer], catalog: Catalog
) -> None:
    one = peer(keys("v-01"))
    one.ask(encode(hello()))
    site.now_ns += 2 * S
    site.step()
    with catalog.write(at_ns=NOW_NS, actor="rollout") as tx:
        tx.append(StreamKind.ROLLOUT, "r-1", "wave_started.1", cause="test")
    site.now_ns += 2 * S
    assert isinstance(one.hear(), UpdateNotice)


def test_a_silent_session_is_forgotten(site: Site, keys: Keys, peer: Callable[..., Peer]) -> None:
    one = peer(keys("v-01"))
    one.ask(encode(hello()))
    assert site.gateway.notify() == ("v-01",)
    site.now_ns += 601 * S
    site.step()
    assert site.gateway.notify() == ()


def test_nothing_personal_stands_in_events(
    site: Site, car: Car, clip: Seal, catalog: Catalog
) -> None:
    car.record(clip())
    car.record(clip(1, rig_id="c" * 64))
    site.until(lambda: car.uplink.is_idle, car.step)
    for event in catalog.events("vehicle/v-01"):
        for value in event.facts.values():
            assert not isinstance(value, (float, dict))  # no places, no measurements
    assert catalog.get(VehicleRow, "v-01") is not None
    assert catalog.verify_chain("vehicle/v-01") == 3
