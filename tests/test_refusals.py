"""What Ringroad must refuse, one test per refusal, each through its outermost parts.

Where the fleet refuses, a real ``ringroad fleet serve`` does, over CURVE on loopback, and the vehicle is a
process with a spool of its own. Where the vehicle refuses, its real update agent stands before signed
repositories that the same service gives out. What is killed is killed with SIGKILL. The tests come first;
below them stands what they are made of.
"""

from __future__ import annotations

import json
import math
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge.board.profile import device_profile
from edge.contracts.bundle import EngineKind, Precision, TensorSpec
from edge.contracts.geometry import Pose
from edge.contracts.golden import GoldenFrame
from edge.contracts.release import Assignment, Release, blob_path
from edge.contracts.scene import CATEGORIES, PlanSource
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import Clock, ClockKind, frame_stamp_ns
from edge.contracts.wire import CHUNK_BYTES, InstallPhase
from edge.ota import (
    Agent,
    AgentSettings,
    FetchSettings,
    Phase,
    Refusal,
    RefusalKind,
    TrialRule,
    TrustAnchors,
    active_bundle,
    golden_probe,
    install_factory_bundle,
    open_agent,
)
from edge.perceive.engine import OnnxEngine, open_engine
from edge.perceive.perceiver import load_perceivers
from edge.perceive.tensors import (
    PICO,
    calibration_table,
    empty_memory,
    input_specs,
    network_inputs,
    output_specs,
)
from edge.runtime import Runtime, RuntimeSettings
from edge.trigger import ControlStream
from edge.upload import Spool, load_or_make_keys
from fleet.bundle.bundle import Bundle, BundleSpec, EngineKey, answered, build_bundle, write_bundle
from fleet.catalog import Catalog, ClipRow, QuarantineRow
from fleet.keys import Enrolment, enrol
from fleet.repository import DirectorRepository, ImageRepository, KeyRing, create_keys
from fleet.service import StateFolder, read_card
from fleet.store import FolderStore
from fleet.zoo import zoo_folder

Seal = Callable[..., Any]

PATIENCE_S = 30.0
RINGROAD = str(Path(sys.executable).with_name("ringroad"))
NOW_NS = 1_800_000_000 * 10**9
DRIVER = "driver"
ASKED = np.array([1, 2, 3], np.float32)
CHUNK = 4096
TENSOR = (3,)
SPEC = BundleSpec(
    model="toy",
    inputs=(TensorSpec(name="asked", dtype="float32", shape=TENSOR),),
    outputs=(TensorSpec(name="answer", dtype="float32", shape=TENSOR),),
    thresholds=dict.fromkeys(CATEGORIES, 0.3),
)


# Unknown or revoked vehicle key


def test_an_unknown_vehicle_key_is_refused(
    fleet: Fleet, new_car: Callable[..., Car], clip: Seal
) -> None:
    car = new_car(fleet, "stranger", is_enrolled=False)
    sealed = clip(vehicle_id="stranger")
    car.record(sealed)
    said = car.send("failure")
    assert "the fleet refused this vehicle's key" in said["last_failure"]
    assert "stay in the spool" in said["last_failure"]
    assert f"handshake_refused key={car.keys.curve_key}" in fleet.log.read_text()
    assert "unknown or revoked" in fleet.log.read_text()
    assert said["clips_admitted"] == 0
    assert car.waiting() == [sealed.manifest.clip_id]
    assert not fleet.clips("stranger") and not (fleet.state.incoming / "stranger").exists()


def test_a_revoked_vehicle_key_is_refused_in_mid_upload_and_ever_after(
    fleet: Fleet, new_car: Callable[..., Car], clip: Seal
) -> None:
    car, sealed = new_car(fleet, "stolen"), clip(vehicle_id="stolen")
    car.record(sealed)
    car.send_half_of(sealed)
    ringroad("fleet", "revoke", "stolen", "--cause", "theft", "--yes", "--state", fleet.state.root)
    assert "the key of stolen is unknown or revoked" in car.send("failure")["last_failure"]
    assert fleet.part(sealed).stat().st_size == 2 * CHUNK_BYTES
    car.end()
    assert "the fleet refused this vehicle's key" in car.send("failure")["last_failure"]
    assert car.waiting() == [sealed.manifest.clip_id]
    assert not fleet.clips("stolen") and not fleet.quarantined("stolen")
    assert fleet.events("stolen") == ["vehicle_enrolled.1", "vehicle_revoked.1"]


# A clip whose hash, schema, calibration or clock is wrong


def test_a_clip_with_a_wrong_hash_is_quarantined_and_what_came_is_kept(
    fleet: Fleet, new_car: Callable[..., Car], clip: Seal
) -> None:
    car, sealed = new_car(fleet, "hash"), clip(vehicle_id="hash")
    car.record(sealed)
    spoiled = bytearray(sealed.content)
    spoiled[1000] ^= 1
    (car.home / "clips" / f"{sealed.manifest.clip_id}.mcap").write_bytes(spoiled)
    row = refused_clip(fleet, car, sealed)
    assert row.reasons[0] == f"hash: promised blob {sealed.blob_id}, received {row.blob_id}"
    assert fleet.store.get(row.blob_id) == bytes(spoiled)


@pytest.mark.parametrize(
    ("rule", "changes", "reason"),
    [
        ("schema", {"schema": 99}, "schema: the manifest has version 99, this fleet reads 1"),
        (
            "calibration",
            {"rig_id": "c" * 64},
            f"calibration: recorded with rig {'c' * 64}, registered is ",
        ),
        (
            "clock",
            {"clock": Clock(kind=ClockKind.MONOTONIC, boot_id="b")},
            "clock: stamps of a monotonic clock cannot be placed in time, expected virtual or utc",
        ),
    ],
    ids=["schema", "calibration", "clock"],
)
def test_a_clip_with_a_wrong_schema_calibration_or_clock_is_quarantined_and_nothing_is_lost(
    fleet: Fleet,
    new_car: Callable[..., Car],
    clip: Seal,
    rule: str,
    changes: dict[str, Any],
    reason: str,
) -> None:
    car, sealed = new_car(fleet, rule), clip(vehicle_id=rule, **changes)
    car.record(sealed)
    row = refused_clip(fleet, car, sealed)
    assert {why.partition(":")[0] for why in row.reasons} == {rule}
    assert any(why.startswith(reason) for why in row.reasons), row.reasons
    assert fleet.store.get(row.blob_id) == sealed.content


# The same clip twice


def test_the_same_clip_twice_is_one_row_and_its_images_are_not_sent_again(
    fleet: Fleet, new_car: Callable[..., Car], clip: Seal
) -> None:
    car, sealed = new_car(fleet, "twice"), clip(vehicle_id="twice")
    car.record(sealed)
    assert car.send("all")["clips_admitted"] == 1
    car.end()
    car.record(sealed)
    said = car.send("all")
    assert said["clips_admitted"] == 1 and said["bytes_sent"] < CHUNK_BYTES
    (row,) = fleet.clips("twice")
    assert row.blob_id == sealed.blob_id
    assert fleet.events("twice") == ["vehicle_enrolled.1", "clip_admitted.1"]


# A tampered, older, wrong-profile or half-downloaded bundle, or one with a single signature


def test_an_honest_bundle_is_installed(updates: Updates) -> None:
    """Else everything below would be refused for nothing."""
    updates.offer(2.0, 2)
    updates.install()
    assert updates.answer() == [2.0, 4.0, 6.0]


def test_a_bundle_with_a_tampered_engine_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    served = updates.offer(2.0, 2)
    honest = served.read_bytes()
    served.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    refusal = updates.refusal(RefusalKind.HASH)
    assert f"expected {served.name[:12]}" in refusal.reason
    served.write_bytes(honest)
    updates.install()


def test_a_bundle_with_a_tampered_manifest_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    updates.offer(2.0, 2)
    (served,) = (updates.tree / "image/targets").glob("*/*.json")
    served.write_bytes(served.read_bytes().replace(b'"toy"', b'"tox"'))
    assert "expected" in updates.refusal(RefusalKind.HASH).reason


@pytest.mark.parametrize("repository", ["image", f"director/{DRIVER}"])
def test_tampered_metadata_of_a_bundle_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates, repository: str
) -> None:
    updates.offer(2.0, 2)
    served = updates.tree / repository / "metadata/timestamp.json"
    honest = served.read_bytes()
    served.write_bytes(honest.replace(b'"version":2', b'"version":3'))
    assert served.read_bytes() != honest
    assert "was signed by 0/1 keys" in updates.refusal(RefusalKind.SIGNATURE).reason


def test_a_bundle_older_than_installed_is_refused_and_the_new_slot_keeps_driving(
    updates: Updates,
) -> None:
    old = updates.release(updates.build(3.0, 2))
    updates.offer(2.0, 5)
    updates.install()
    updates.assign(old)
    refusal = updates.refusal(RefusalKind.ROLLBACK, slot="b", weight=2.0)
    assert "counter 2 is not newer than installed 5 (rollback)" in refusal.reason


def test_a_bundle_for_another_profile_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    updates.offer(2.0, 2, profile="orin")
    refusal = updates.refusal(RefusalKind.PROFILE)
    assert "is for profile orin, this vehicle is laptop" in refusal.reason


def test_a_half_downloaded_bundle_is_not_driven_on_and_its_download_goes_on_later(
    updates: Updates,
) -> None:
    served = updates.offer(2.0, 2, padding_bytes=20_000)
    whole = served.read_bytes()
    served.write_bytes(whole[: len(whole) // 2])
    refusal = updates.refusal(RefusalKind.LINK)
    assert f"ended after {len(whole) // 2} of {len(whole)} bytes" in refusal.reason
    (partial,) = (updates.root / "partial").iterdir()
    assert 0 < partial.stat().st_size <= len(whole) // 2 + CHUNK
    served.write_bytes(bytes(CHUNK) + whole[CHUNK:])  # the beginning is not asked for again
    updates.install()
    assert updates.answer() == [2.0, 4.0, 6.0]


def test_a_bundle_with_a_single_signature_is_refused_and_the_old_slot_keeps_driving(
    updates: Updates,
) -> None:
    updates.assign(updates.release(updates.build(2.0, 2), "release-a", minimum=1))
    assert "was signed by 1/2 keys" in updates.refusal(RefusalKind.SIGNATURE).reason


# A model that emits NaN


def test_a_model_that_emits_nan_is_refused_and_the_old_slot_keeps_driving(updates: Updates) -> None:
    updates.offer(math.nan, 2, golden=2.0)
    assert "output answer is not finite" in updates.refusal(RefusalKind.PROBE).reason
    with updates.agent() as agent:
        assert agent.step(NOW_NS).refusal.kind is RefusalKind.BAD_BUNDLE
        told = agent.reports({}, NOW_NS)
    assert told[0].phase is InstallPhase.REFUSED and "not finite" in told[0].reason
    assert told[-1].phase is InstallPhase.IDLE and told[-1].release_counter == 1


def test_a_model_that_emits_nan_only_on_the_road_does_not_steer_and_is_turned_out(
    updates: Updates, clip: Seal, tmp_path: Path
) -> None:
    rig, profile, path = clip().manifest.rig, device_profile("laptop"), tmp_path / "pico.onnx"
    spoilt = OnnxEngine(spoilt_by_light(path))
    dark = network_inputs(scene(0, 50), calibration_table(rig, PICO), empty_memory(PICO), PICO)
    bundle = build_bundle(
        {EngineKey(EngineKind.ONNX, Precision.FP32): path},
        BundleSpec("pico", input_specs(PICO), output_specs(PICO), SPEC.thresholds),
        answered(spoilt, [dark]),
        tolerance=0.01,
        profile=profile.name,
        release_counter=2,
    )
    updates.assign(updates.release(bundle))
    with updates.agent() as agent:
        assert agent.step(NOW_NS).phase is Phase.TRIAL, "its golden frame was dark"
        manifest, folder = agent.active()
        runtime = Runtime(
            RuntimeSettings(),
            rig=rig,
            manifest=manifest,
            perceivers=load_perceivers(manifest, folder, rig, profile),
            profile=profile,
            control=ControlStream(0, DRIVER, "d"),
        )
        for frame_set, has_fault in ((scene(0, 50), False), (scene(1, 200), True)):
            result = runtime.tick(frame_set, frame_set.stamp_ns)
            assert result.perception.has_fault is has_fault
        assert result.perception.boxes == () and result.plan.source is not PlanSource.NETWORK
        assert math.isfinite(result.plan.acceleration_mps2 + result.plan.steering_rad)
        assert agent.on_ticks(2, runtime.health.faults, NOW_NS) is Phase.REVERTED
        assert agent.active()[1].name == "a"
        assert InstallPhase.REVERTED in [report.phase for report in agent.reports({}, NOW_NS)]
    assert updates.answer() == [1.0, 2.0, 3.0]


# A misspelt configuration key


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("lap", "vehicels=4"),
            "configuration lap refused: no key vehicels; did you mean vehicles?",
        ),
        (
            ("fleet", "serve", "gateway.bnid=tcp://127.0.0.1:0"),
            "configuration fleet refused: no key gateway.bnid; did you mean bind?",
        ),
    ],
    ids=["lap", "service"],
)
def test_a_misspelt_configuration_key_is_refused_before_anything_begins(
    tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    done = ringroad(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ringroad: {complaint}\n"
    assert not list(tmp_path.iterdir())


# Killed in mid-upload, and started again


def test_a_fleet_service_killed_in_mid_upload_and_started_again_loses_and_doubles_nothing(
    own_fleet: Fleet, new_car: Callable[..., Car], clip: Seal
) -> None:
    fleet, car = own_fleet, new_car(own_fleet, "patient")
    clips = [clip(drive, vehicle_id="patient") for drive in range(3)]
    car.record(*clips)
    car.send_half_of(clips[1])
    assert len(fleet.clips("patient")) == 1 and len(car.waiting()) == 2
    fleet.end(signal.SIGKILL)
    assert read_card(fleet.state) is None
    fleet.start()
    said = car.send("all")
    check_everything_is_home(fleet, car, clips)
    assert said["failures"] > 0
    assert said["bytes_sent"] < sum(len(c.content) for c in clips) + CHUNK_BYTES


def test_a_vehicle_killed_in_mid_upload_and_started_again_loses_and_doubles_nothing(
    fleet: Fleet, new_car: Callable[..., Car], clip: Seal
) -> None:
    car, clips = new_car(fleet, "killed"), [clip(drive, vehicle_id="killed") for drive in range(3)]
    car.record(*clips)
    car.send_half_of(clips[1])
    assert len(fleet.clips("killed")) == 1 and len(car.waiting()) == 2
    car.end()
    said = car.send("all")
    check_everything_is_home(fleet, car, clips)
    assert said["clips_admitted"] == 2
    assert said["bytes_sent"] < len(clips[1].content) + len(clips[2].content) - CHUNK_BYTES


# What the tests above are made of: the fleet, and the vehicle that uploads


class Fleet:
    """``ringroad fleet serve`` on one folder, to be killed and started again on the same address."""

    def __init__(self, root: Path) -> None:
        self.state = StateFolder(root / "state")
        self.log = root / "service.log"
        self.gateway = "tcp://127.0.0.1:0"
        self.start()
        self.catalog = Catalog(self.state.catalog)
        self.store = FolderStore(self.state.store)

    def start(self) -> None:
        words = ["updates_port=0", f"gateway.bind={self.gateway}", "roster_max_age_s=0.0", "--json"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [RINGROAD, "fleet", "serve", *words, "--state", str(self.state.root)],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "it does not come up"
        card = read_card(self.state)
        assert card is not None, self.log.read_text()
        self.gateway, self.gateway_key, self.updates = card.gateway, card.gateway_key, card.updates

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop, or do not ask."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def part(self, clip: Any) -> Path:
        """Where the bytes of a clip lie that came so far."""
        return self.state.incoming / clip.manifest.vehicle_id / f"{clip.blob_id}.part"

    def clips(self, vehicle_id: str) -> list[ClipRow]:
        return self.catalog.all(ClipRow, vehicle_id=vehicle_id)

    def quarantined(self, vehicle_id: str) -> list[QuarantineRow]:
        return self.catalog.all(QuarantineRow, vehicle_id=vehicle_id)

    def events(self, vehicle_id: str) -> list[str]:
        """What was written down about a vehicle, its hash chain verified."""
        stream = f"vehicle/{vehicle_id}"
        self.catalog.verify_chain(stream)
        return [event.schema for event in self.catalog.events(stream)]


VEHICLE = """
import dataclasses, json, random, sys, time
from pathlib import Path
from edge.contracts.wire import Hello
from edge.upload import Outbox, Spool, Uplink, UplinkSettings, load_or_make_keys

home, vehicle_id, endpoint, server_key = Path(sys.argv[1]), *sys.argv[2:]
hello = Hello(
    vehicle_id=vehicle_id, boot_id="b", profile="laptop", bundle_id="b-0", release_counter=0
)
settings = UplinkSettings(
    endpoint=endpoint, server_key=server_key, chunks_per_step=1,
    backoff_min_s=0.01, backoff_max_s=0.05,
)
uplink = Uplink(
    settings, load_or_make_keys(home / "keys"), hello,
    spool=Spool(home), outbox=Outbox(home), rng=random.Random(0),
)
def step(wait_s):
    uplink.step(time.monotonic_ns())
    uplink.wait(wait_s)

for order in sys.stdin:
    if order == "one message\\n":
        sent = uplink.counts.bytes_sent
        while uplink.counts.bytes_sent == sent:
            step(0.02)
        uplink.wait(30.0)
    else:
        is_done = {
            "all\\n": lambda: uplink.is_idle,
            "failure\\n": lambda: uplink.counts.failures > 0,
        }[order]
        while not is_done():
            step(0.02)
    said = dataclasses.asdict(uplink.counts) | {"last_failure": uplink.last_failure}
    print(json.dumps(said), flush=True)
"""
"""A vehicle at the end of its drive, that sends only as far as it is told to."""


class Car:
    """A vehicle's disk, and the process on it that uploads."""

    def __init__(self, home: Path, fleet: Fleet, vehicle_id: str) -> None:
        self.home, self.fleet, self.vehicle_id = home, fleet, vehicle_id
        self.keys = load_or_make_keys(home / "keys")
        self.process: subprocess.Popen[str] | None = None

    def enrol(self, clip: Seal) -> None:
        enrolment = Enrolment(
            self.vehicle_id,
            self.keys.curve_key,
            self.keys.report_key,
            rig_id=clip().manifest.rig_id,
        )
        enrol(self.fleet.catalog, enrolment, at_ns=time.time_ns())

    def record(self, *clips: Any) -> None:
        """Put sealed clips into the spool, the first most worth sending."""
        spool = Spool(self.home)
        for number, clip in enumerate(clips):
            path = self.home / "sealed.mcap"
            path.write_bytes(clip.content)
            spool.add(path, clip.manifest_bytes, 1.0 / (1 + number))
        spool.close()

    def waiting(self) -> list[str]:
        """The clips that the vehicle has still to send."""
        spool = Spool(self.home)
        clip_ids = [item.clip_id for item in spool.pending()]
        spool.close()
        return clip_ids

    def start(self) -> None:
        words = (str(self.home), self.vehicle_id, self.fleet.gateway, self.fleet.gateway_key)
        self.process = subprocess.Popen(
            [sys.executable, "-c", VEHICLE, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, order: str) -> dict[str, Any]:
        """Let it send one message and hear the answer, all there is, or until a connection failed."""
        if self.process is None:
            self.start()
        assert self.process and self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "it hangs"
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def send_half_of(self, clip: Any) -> None:
        """Stop when the fleet has taken two of a clip's four chunks."""
        part = self.fleet.part(clip)
        while not part.exists() or part.stat().st_size < 2 * CHUNK_BYTES:
            self.send("one message")
        assert part.stat().st_size == 2 * CHUNK_BYTES < len(clip.content)

    def end(self) -> None:
        """Kill it, wherever it is."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One service for all tests that leave it running."""
    yield from running(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def own_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A service that the test may kill."""
    yield from running(tmp_path)


def running(root: Path) -> Iterator[Fleet]:
    fleet = Fleet(root)
    try:
        yield fleet
    finally:
        fleet.end()
        fleet.catalog.close()


@pytest.fixture
def new_car(tmp_path: Path, clip: Seal) -> Iterator[Callable[..., Car]]:
    cars: list[Car] = []

    def make(fleet: Fleet, vehicle_id: str, *, is_enrolled: bool = True) -> Car:
        car = Car(tmp_path / vehicle_id, fleet, vehicle_id)
        cars.append(car)
        if is_enrolled:
            car.enrol(clip)
        return car

    yield make
    for car in cars:
        car.end()


def refused_clip(fleet: Fleet, car: Car, sealed: Any) -> QuarantineRow:
    """Upload everything; the one clip of this vehicle must be in quarantine, its manifest with it."""
    said = car.send("all")
    assert (said["clips_admitted"], said["clips_quarantined"]) == (0, 1)
    assert not fleet.clips(car.vehicle_id) and not car.waiting()
    (row,) = fleet.quarantined(car.vehicle_id)
    assert row.manifest == sealed.manifest_bytes
    assert fleet.events(car.vehicle_id) == ["vehicle_enrolled.1", "clip_quarantined.1"]
    return row


def check_everything_is_home(fleet: Fleet, car: Car, clips: Sequence[Any]) -> None:
    """Every clip is there once, whole, and is waited for nowhere any more."""
    rows = {row.clip_id: row.blob_id for row in fleet.clips(car.vehicle_id)}
    assert rows == {clip.manifest.clip_id: clip.blob_id for clip in clips}
    for clip in clips:
        assert fleet.store.get(clip.blob_id) == clip.content
        assert not fleet.part(clip).exists()
    assert not fleet.quarantined(car.vehicle_id) and not car.waiting()
    assert fleet.events(car.vehicle_id) == ["vehicle_enrolled.1"] + ["clip_admitted.1"] * len(clips)


# The repositories, and the vehicle that updates itself


def network(weight: float, padding_bytes: int) -> bytes:
    """An ONNX file that multiplies by a weight."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    noise = np.random.default_rng(0).bytes(padding_bytes).hex()
    graph = helper.make_graph(
        [helper.make_node("Mul", ["asked", "weight"], ["answer"])],
        "toy",
        [helper.make_tensor_value_info("asked", kind, TENSOR)],
        [helper.make_tensor_value_info("answer", kind, TENSOR)],
        [helper.make_tensor("weight", kind, (), [weight])],
        doc_string=noise,
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return bytes(model.SerializeToString())


@dataclass
class Updates:
    """Both repositories in the tree that the service gives out, and a vehicle born with weight 1."""

    url: str
    tree: Path
    drafts: Path
    image: ImageRepository
    director: DirectorRepository
    root: Path
    """The vehicle's installation."""

    def build(
        self,
        weight: float,
        counter: int,
        *,
        golden: float | None = None,
        profile: str = "laptop",
        padding_bytes: int = 0,
    ) -> Bundle:
        """Build a bundle whose golden answers are those of a network of weight ``golden``."""
        engine = self.drafts / "toy.onnx"
        engine.write_bytes(network(weight, padding_bytes))
        answer = ASKED * np.float32(weight if golden is None else golden)
        frames = (GoldenFrame({"asked": ASKED}, {"answer": answer}, "full"),)
        files = {EngineKey(EngineKind.ONNX, Precision.FP32): engine}
        return build_bundle(
            files, SPEC, frames, tolerance=0.01, profile=profile, release_counter=counter
        )

    def release(self, bundle: Bundle, *signers: str, minimum: int | None = None) -> Release:
        release = self.image.propose(bundle, NOW_NS)
        for signer in signers or ("release-a", "release-b"):
            self.image.sign(signer)
        self.image.publish(NOW_NS, minimum_signatures=minimum)
        return release

    def assign(self, release: Release) -> None:
        self.director.assign(Assignment(vehicle_id=DRIVER, release=release), NOW_NS)

    def offer(self, *args: Any, **kwargs: Any) -> Path:
        """Release a bundle, assign it, and give the engine file that the service gives out."""
        bundle = self.build(*args, **kwargs)
        self.assign(self.release(bundle))
        return self.tree / blob_path(bundle.manifest.engines[0].sha256)

    @contextmanager
    def agent(self) -> Iterator[Agent]:
        """Run the vehicle's update agent, as one process does from start to end."""
        settings = AgentSettings(
            vehicle_id=DRIVER,
            base_url=self.url,
            trial=TrialRule(ticks=10),
            fetch=FetchSettings(chunk_bytes=CHUNK),
        )
        anchors = TrustAnchors(self.image.root_bytes(), self.director.root_bytes())
        with open_agent(
            self.root,
            settings=settings,
            anchors=anchors,
            probe=golden_probe(open_engine),
            boot_id="b",
            now_ns=NOW_NS,
        ) as agent:
            yield agent

    def install(self) -> None:
        """Install what is offered and drive on it until it has proven itself."""
        with self.agent() as agent:
            assert agent.step(NOW_NS).phase is Phase.TRIAL
            assert agent.on_ticks(10, 0, NOW_NS) is Phase.COMMITTED

    def refusal(self, kind: RefusalKind, *, slot: str = "a", weight: float = 1.0) -> Refusal:
        """Look for an update; it must be refused, and the slot that drove drives and answers on."""
        with self.agent() as agent:
            refusal = agent.step(NOW_NS).refusal
            assert refusal is not None and refusal.kind is kind, refusal
            assert refusal.reason.endswith(f"; keeping slot {slot}")
            assert agent.active()[1].name == slot
        assert self.answer() == [weight, 2 * weight, 3 * weight]
        return refusal

    def answer(self) -> list[float]:
        """What the bundle that drives after the next start says when it is asked (1, 2, 3)."""
        manifest, folder = active_bundle(self.root)
        engine = open_engine(manifest.engines[0], folder / manifest.engines[0].sha256, manifest)
        return [float(value) for value in engine.run({"asked": ASKED})["answer"]]


@pytest.fixture(scope="module")
def release_keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    keys = KeyRing(tmp_path_factory.mktemp("keys"))
    create_keys(keys)
    return keys


@pytest.fixture
def updates(fleet: Fleet, tmp_path: Path, release_keys: KeyRing) -> Updates:
    tree = fleet.state.updates / tmp_path.name
    image = ImageRepository(tree, tmp_path / "drafts", release_keys)
    director = DirectorRepository(tree, release_keys)
    image.create(NOW_NS)
    director.create(NOW_NS)
    director.enrol(DRIVER, NOW_NS)
    url, root = f"{fleet.updates}/{tmp_path.name}", tmp_path / "vehicle"
    updates = Updates(url, tree, tmp_path, image, director, root)
    write_bundle(updates.build(1.0, 1), tmp_path / "factory")
    install_factory_bundle(root, tmp_path / "factory")
    return updates


def spoilt_by_light(path: Path) -> Path:
    """Write the shipped network again, so that any image brighter than 100 makes its heatmap NaN."""
    model = onnx.load(str(zoo_folder("pico") / "fp32.onnx"))
    graph, helper, floats = model.graph, onnx.helper, onnx.TensorProto.FLOAT
    for node in graph.node:
        node.input[:] = ["honest" if name == "heatmap" else name for name in node.input]
        node.output[:] = ["honest" if name == "heatmap" else name for name in node.output]
    graph.initializer.append(helper.make_tensor("brightest", floats, (), [100.0]))
    graph.initializer.append(helper.make_tensor("nothing", floats, (), [0.0]))
    graph.node.extend(
        [
            helper.make_node("Cast", ["images"], ["light"], to=floats),
            helper.make_node("ReduceMax", ["light"], ["glare"], keepdims=0),
            helper.make_node("Sub", ["brightest", "glare"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),  # of a negative number: NaN
            helper.make_node("Mul", ["root", "nothing"], ["spoil"]),
            helper.make_node("Add", ["honest", "spoil"], ["heatmap"]),
        ]
    )
    onnx.save(model, str(path))
    return path


def scene(index: int, brightness: int) -> FrameSet:
    """A straight road of one shade of grey."""
    stamp_ns = frame_stamp_ns(index)
    return FrameSet(
        index=index,
        stamp_ns=stamp_ns,
        frames=frames_of(np.full((8, 128, 256, 3), brightness, np.uint8), stamp_ns),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose(), speed_mps=5.0),
        route=Route(points_ego=tuple((2.0 * k, 0.0) for k in range(40)), speed_limit_mps=10.0),
    )


# The command line


def ringroad(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Type a command line."""
    line = [RINGROAD, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=cwd)
