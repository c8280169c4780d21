"""Vehicle keys and clips that a fleet must refuse, through a real service and a vehicle process with a spool.

What is killed is killed with SIGKILL. The tests come first; below them stands the vehicle that uploads.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.contracts import clip as clip_contract
from edge.contracts.time import ClockKind, NamedClock
from edge.contracts.wire import CHUNK_BYTES
from edge.upload import Spool, load_or_make_keys
from fleet.catalog import QuarantineRow
from fleet.keys import Enrolment, enrol
from fleet.service import read_service_card

Seal = Callable[..., Any]
Ringroad = Callable[..., subprocess.CompletedProcess[str]]
Fleet = Any
"""The service of the conftest."""

PATIENCE_S = 30.0


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
    fleet: Fleet, new_car: Callable[..., Car], clip: Seal, ringroad: Ringroad
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
        (
            "schema",
            {"schema": 99},
            "schema: the manifest is of schema 99; this software reads up to 2",
        ),
        (
            "calibration",
            {"rig_id": "c" * 64},
            f"calibration: recorded with rig {'c' * 64}, registered is ",
        ),
        (
            "clock",
            {"clock": NamedClock(kind=ClockKind.MONOTONIC, boot_id="b")},
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
    car.reads_schema = sealed.manifest.schema
    car.record(sealed)
    row = refused_clip(fleet, car, sealed)
    assert {why.partition(":")[0] for why in row.reasons} == {rule}
    assert any(why.startswith(reason) for why in row.reasons), row.reasons
    assert fleet.store.get(row.blob_id) == sealed.content


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


def test_a_fleet_service_killed_in_mid_upload_and_started_again_loses_and_doubles_nothing(
    own_fleet: Fleet, new_car: Callable[..., Car], clip: Seal
) -> None:
    fleet, car = own_fleet, new_car(own_fleet, "patient")
    clips = [clip(drive, vehicle_id="patient") for drive in range(3)]
    car.record(*clips)
    car.send_half_of(clips[1])
    assert len(fleet.clips("patient")) == 1 and len(car.waiting()) == 2
    fleet.end(signal.SIGKILL)
    assert read_service_card(fleet.state) is None
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


VEHICLE = """
import dataclasses, json, random, sys, time
from pathlib import Path
import edge.contracts.clip
from edge.contracts.wire import Hello
from edge.upload import Outbox, Spool, Uplink, UplinkSettings, load_or_make_keys

home, vehicle_id, endpoint, server_key, schema = Path(sys.argv[1]), *sys.argv[2:]
edge.contracts.clip.CLIP_SCHEMA = int(schema)
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
        self.reads_schema = clip_contract.CLIP_SCHEMA
        """Newest clip schema of the vehicle's software, which may be later than the fleet's."""

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
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clip_contract, "CLIP_SCHEMA", self.reads_schema)
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
        reach = (self.fleet.gateway, self.fleet.gateway_key)
        words = (str(self.home), self.vehicle_id, *reach, str(self.reads_schema))
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
