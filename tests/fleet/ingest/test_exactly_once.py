"""Whatever is lost, repeated, reordered or killed: every clip comes in once and none is lost.

Both halves of the protocol run on real disks with a link made of two lists between them. A *fuse* ends
one side at its n-th durable operation, just before or just after it, as a power cut would.
"""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from edge.contracts.wire import Bye, ClipChunk, Hello, Message, decode, encode
from edge.upload import Outbox, Spool, SpoolItem, UplinkSettings, UplinkState, load_or_make_keys
from fleet.catalog import Catalog, ClipRow, QuarantineRow, StreamKind, Transaction, create_catalog
from fleet.ingest import IngestSettings, Intake, SessionState
from fleet.keys import Enrolment, enrol
from fleet.store import FolderStore

Seal = Callable[[int], Any]

NOW_NS = 1_800_000_000 * 10**9
S = 10**9
HELLO = Hello(vehicle_id="v-01", boot_id="b", profile="laptop", bundle_id="b-0", release_counter=0)


class KilledError(BaseException):
    """The process ends here; nothing after this line of it runs."""


class Fuse:
    """Ends a process at one of its durable operations."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.passed = 0

    def burn(self) -> None:
        self.passed += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise KilledError


class FusedSpool(Spool):
    fuse = Fuse()  # for the sweep of a start, which is not killed

    def done(self, clip_id: str) -> None:
        self.fuse.burn()
        super().done(clip_id)

    def _delete_rows(self) -> None:
        super()._delete_rows()
        self.fuse.burn()

    def _store(self, sealed: Path, clip_id: str, manifest: bytes, worth: float) -> SpoolItem:
        self.fuse.burn()
        item = super()._store(sealed, clip_id, manifest, worth)
        self.fuse.burn()
        return item


class FusedStore(FolderStore):
    fuse: Fuse

    def put_if_absent(self, blob_id: str, source: Path | bytes) -> bool:
        self.fuse.burn()
        is_new = super().put_if_absent(blob_id, source)
        self.fuse.burn()
        return is_new


class FusedCatalog(Catalog):
    fuse: Fuse | None = None

    @contextmanager
    def write(self, *, at_ns: int, actor: str) -> Iterator[Transaction]:
        with super().write(at_ns=at_ns, actor=actor) as tx:
            yield tx
            if self.fuse:
                self.fuse.burn()
        if self.fuse:
            self.fuse.burn()


class Vehicle:
    """The vehicle's process; ``root`` outlives it."""

    def __init__(self, root: Path, fuse: Fuse, seed: int = 0) -> None:
        self.spool = FusedSpool(root)
        self.spool.fuse = fuse
        self.outbox = Outbox(root)
        self.state = UplinkState(
            HELLO, self.spool, self.outbox, random.Random(seed), UplinkSettings()
        )

    def end(self) -> None:
        """What the kernel does when the process is gone."""
        self.spool.close()
        self.outbox.close()


class Fleet:
    """The fleet's process; ``root`` outlives it."""

    def __init__(self, root: Path, fuse: Fuse) -> None:
        store = FusedStore(root / "store")
        store.fuse = fuse
        self.store = store
        self.catalog = FusedCatalog(root / "catalog.sqlite")
        self.catalog.fuse = fuse
        self.intake = Intake(self.catalog, store, root / "incoming", IngestSettings())
        self.session = SessionState("v-01", self.intake)

    def end(self) -> None:
        self.session.close()
        self.catalog.close()


class World:
    """A vehicle, a fleet, and a link that loses what is on it whenever either end goes."""

    def __init__(self, root: Path, seal: Seal) -> None:
        root.mkdir()
        self.root = root
        self.seal = seal
        self.now_ns = NOW_NS
        self.fuses = {"vehicle": Fuse(), "fleet": Fuse()}
        self.up: list[tuple[bytes, bytes | None]] = []
        self.down: list[bytes] = []
        self.connection = 0
        self.expected: dict[str, Any] = {}
        self.sealed = root / "sealed"
        self.sealed.mkdir()
        self._enrol()
        self.vehicle = Vehicle(root / "vehicle", self.fuses["vehicle"])
        self.fleet = Fleet(root / "fleet", self.fuses["fleet"])

    def _enrol(self) -> None:
        keys = load_or_make_keys(self.root / "keys")
        catalog = create_catalog(self.root / "fleet" / "catalog.sqlite")
        enrolment = Enrolment(
            "v-01", keys.curve_key, keys.report_key, rig_id=self.seal(0).manifest.rig_id
        )
        enrol(catalog, enrolment, at_ns=NOW_NS)
        catalog.close()

    def record(self, drive: int) -> None:
        """The recorder seals a clip and hands it to the spool; killed, it does so again."""
        clip = self.seal(drive)
        self.expected[clip.manifest.clip_id] = clip
        path = self.sealed / f"{drive}.mcap"
        path.write_bytes(clip.content)
        self.guarded("vehicle", lambda: self._spool(path, clip))
        if path.exists():
            self._spool(path, clip)

    def _spool(self, path: Path, clip: Any) -> None:
        self.vehicle.spool.add(path, clip.manifest_bytes, 0.5)

    def guarded(self, side: str, action: Callable[[], None]) -> None:
        try:
            action()
        except KilledError:
            self.kill(side)

    def kill(self, side: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.fuses[side].left = None
        if side == "vehicle":
            self.vehicle.end()
            meanwhile()
            self.vehicle = Vehicle(self.root / "vehicle", self.fuses["vehicle"])
        else:
            self.fleet.end()
            self.fleet = Fleet(self.root / "fleet", self.fuses["fleet"])
            self.vehicle.state.on_hang_up(self.now_ns)
        self.cut()

    def lose_index(self) -> None:
        """Between two starts of the vehicle somebody deletes what its spool knows."""

        def delete() -> None:
            for file in (self.root / "vehicle").glob("spool.sqlite*"):
                file.unlink()

        self.kill("vehicle", delete)

    def cut(self) -> None:
        self.up.clear()
        self.down.clear()
        self.fleet.session.close()
        self.fleet.session = SessionState("v-01", self.fleet.intake)
        self.connection = self.vehicle.state.connection

    def vehicle_sends(self) -> None:
        outgoing = self.vehicle.state.poll(self.now_ns)
        if self.vehicle.state.connection != self.connection:
            self.cut()
        self.up += [(encode(message), payload) for message, payload in outgoing]

    def fleet_takes(self) -> None:
        if self.up:
            header, payload = self.up.pop(0)
            self.guarded("fleet", lambda: self._answer(decode(header), payload))

    def _answer(self, message: object, payload: bytes | None) -> None:
        assert isinstance(message, Message)
        answers = self.fleet.session.on_message(message, payload, self.now_ns)
        self.down += [encode(answer) for answer in answers]
        if any(isinstance(answer, Bye) for answer in answers):
            self.fleet.session.close()
            self.fleet.session = SessionState("v-01", self.fleet.intake)

    def vehicle_takes(self) -> None:
        if self.down:
            message = decode(self.down.pop(0))
            self.guarded("vehicle", lambda: self.vehicle.state.on_message(message, self.now_ns))

    def turn(self) -> None:
        self.vehicle_sends()
        self.fleet_takes()
        self.vehicle_takes()

    def finish(self) -> None:
        """Let the link work, without further faults, until everything is home."""
        for fuse in self.fuses.values():
            fuse.left = None
        for _ in range(300):
            if self.vehicle.state.is_idle and not self.up and not self.down:
                break
            self.turn()
            self.now_ns += S // 2
        self.check_everything_is_home()

    def check_nothing_is_lost_or_doubled(self) -> None:
        waiting = {item.clip_id for item in self.vehicle.spool.pending()}
        rows = {row.clip_id: row for row in self.fleet.catalog.all(ClipRow)}
        assert waiting | set(rows) == set(self.expected)
        for clip_id, row in rows.items():
            assert row.blob_id == self.expected[clip_id].blob_id
            assert self.fleet.store.head(row.blob_id) == row.blob_bytes
        assert self.fleet.catalog.all(QuarantineRow) == []

    def check_everything_is_home(self) -> None:
        self.check_nothing_is_lost_or_doubled()
        assert self.vehicle.spool.pending() == []
        assert list(self.fleet.store.list()) == sorted(c.blob_id for c in self.expected.values())
        for clip in self.expected.values():
            assert self.fleet.store.get(clip.blob_id) == clip.content
        events = [
            event.facts["clip_id"]
            for event in self.fleet.catalog.events("vehicle/v-01")
            if event.schema == "clip_admitted.1"
        ]
        assert sorted(map(str, events)) == sorted(self.expected)
        assert self.fleet.catalog.verify_chain(f"{StreamKind.VEHICLE}/v-01") == 1 + len(events)
        assert not list((self.root / "fleet" / "incoming").rglob("*.part"))
        assert not list((self.root / "vehicle" / "clips").iterdir())

    def end(self) -> None:
        self.vehicle.end()
        self.fleet.end()


def test_clips_come_home_over_a_link_that_works(tmp_path: Path, clip: Seal) -> None:
    world = World(tmp_path / "world", clip)
    for drive in range(3):
        world.record(drive)
    world.finish()
    assert world.vehicle.state.counts.clips_admitted == 3
    assert world.vehicle.state.counts.failures == 0


@pytest.mark.parametrize(("side", "operations"), [("vehicle", 5), ("fleet", 4)])
def test_killing_a_side_at_every_durable_step_loses_and_doubles_nothing(
    tmp_path: Path, clip: Seal, side: str, operations: int
) -> None:
    for step in range(operations + 1):
        world = World(tmp_path / str(step), clip)
        world.fuses[side].left = step
        world.record(0)
        for _ in range(12):
            world.turn()
        was_killed = world.fuses[side].left is None
        assert was_killed == (step < operations)
        world.finish()
        world.end()


@pytest.mark.parametrize("side", ["vehicle", "fleet"])
def test_killing_a_side_after_every_message_loses_and_doubles_nothing(
    tmp_path: Path, clip: Seal, side: str
) -> None:
    for turns in range(8):
        world = World(tmp_path / str(turns), clip)
        world.record(0)
        for _ in range(turns):
            world.turn()
        world.kill(side)
        world.finish()
        world.end()


def test_an_acknowledged_clip_that_is_found_again_is_known_to_the_fleet_and_sent_no_more(
    tmp_path: Path, clip: Seal
) -> None:
    world = World(tmp_path / "world", clip)
    world.record(0)
    world.finish()
    found = tmp_path / "world" / "vehicle" / "clips" / f"{clip(0).manifest.clip_id}.mcap"
    found.write_bytes(clip(0).content)
    world.kill("vehicle")
    assert len(world.vehicle.spool.pending()) == 1
    sent = []
    for _ in range(6):
        world.vehicle_sends()
        sent += [decode(header) for header, _ in world.up]
        world.fleet_takes()
        world.vehicle_takes()
    assert not any(isinstance(message, ClipChunk) for message in sent)
    assert world.vehicle.state.counts.clips_admitted == 1
    world.finish()


def test_a_lost_index_in_the_middle_of_an_upload_loses_and_doubles_nothing(
    tmp_path: Path, clip: Seal
) -> None:
    for turns in range(8):
        world = World(tmp_path / str(turns), clip)
        world.record(0)
        world.record(1)
        for _ in range(turns):
            world.turn()
        world.lose_index()
        world.finish()
        world.end()


def test_a_link_that_says_everything_twice_doubles_nothing(tmp_path: Path, clip: Seal) -> None:
    world = World(tmp_path / "world", clip)
    world.record(0)
    world.record(1)
    for _ in range(40):
        world.vehicle_sends()
        world.up = [message for message in world.up for _ in range(2)]
        while world.up:
            world.fleet_takes()
        world.down = [message for message in world.down for _ in range(2)]
        while world.down:
            world.vehicle_takes()
    assert world.vehicle.state.counts.clips_admitted == 2
    assert world.vehicle.state.counts.failures == 0
    world.finish()


def test_a_chunk_that_was_changed_on_the_way_is_sent_again(tmp_path: Path, clip: Seal) -> None:
    world = World(tmp_path / "world", clip)
    world.record(0)
    flipped = 0
    for _ in range(12):
        world.vehicle_sends()
        if world.up and len(world.up[0][1] or b"") == 256 * 1024 and not flipped:
            header, payload = world.up[0]
            world.up[0] = header, bytes([payload[0] ^ 1]) + payload[1:]
            flipped = 1
        world.fleet_takes()
        world.vehicle_takes()
    assert world.fleet.session.bad_chunks == flipped == 1
    world.finish()


def test_a_part_that_a_power_cut_spoiled_is_sent_again_and_not_quarantined(
    tmp_path: Path, clip: Seal
) -> None:
    world = World(tmp_path / "world", clip)
    world.record(0)
    for _ in range(4):
        world.turn()
    world.kill("fleet")
    (part,) = (tmp_path / "world" / "fleet" / "incoming").rglob("*.part")
    assert part.stat().st_size >= 256 * 1024
    part.write_bytes(bytes(part.stat().st_size))
    world.finish()


def test_a_whole_part_left_by_a_kill_before_its_commit_needs_no_byte_again(
    tmp_path: Path, clip: Seal
) -> None:
    world = World(tmp_path / "world", clip)
    world.record(0)
    sent = clip(0)
    folder = tmp_path / "world" / "fleet" / "incoming" / "v-01"
    folder.mkdir(parents=True)
    (folder / f"{sent.blob_id}.part").write_bytes(sent.content)
    world.vehicle_sends()
    world.fleet_takes()
    world.vehicle_takes()
    world.vehicle_sends()
    world.fleet_takes()
    world.vehicle_takes()
    assert world.vehicle.state.counts.clips_admitted == 1
    world.finish()


class Trouble(RuleBasedStateMachine):
    """Everything that can go wrong, in any order."""

    def __init__(self, seal: Seal, parent: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=parent))
        self.world = World(self.folder / "world", seal)

    @rule(drive=st.integers(0, 3))
    def record(self, drive: int) -> None:
        self.world.record(drive)

    @rule(count=st.integers(1, 8))
    def work(self, count: int) -> None:
        for _ in range(count):
            self.world.turn()

    @rule()
    def vehicle_sends(self) -> None:
        self.world.vehicle_sends()

    @rule()
    def fleet_takes(self) -> None:
        self.world.fleet_takes()

    @rule()
    def vehicle_takes(self) -> None:
        self.world.vehicle_takes()

    @rule(way=st.sampled_from(["up", "down"]), index=st.integers(0, 20))
    def lose(self, way: str, index: int) -> None:
        messages = getattr(self.world, way)
        if messages:
            messages.pop(index % len(messages))

    @rule(way=st.sampled_from(["up", "down"]), index=st.integers(0, 20))
    def repeat(self, way: str, index: int) -> None:
        messages = getattr(self.world, way)
        if messages:
            messages.append(messages[index % len(messages)])

    @rule(way=st.sampled_from(["up", "down"]))
    def turn_round(self, way: str) -> None:
        getattr(self.world, way).reverse()

    @rule(index=st.integers(0, 20))
    def flip_a_byte(self, index: int) -> None:
        chunks = [i for i, (_, payload) in enumerate(self.world.up) if len(payload or b"") > 9_999]
        if chunks:
            at = chunks[index % len(chunks)]
            header, payload = self.world.up[at]
            self.world.up[at] = header, bytes([payload[0] ^ 1]) + payload[1:]

    @rule()
    def spoil_what_was_not_synced(self) -> None:
        for part in (self.folder / "world" / "fleet" / "incoming").rglob("*.part"):
            content = part.read_bytes()
            part.write_bytes(bytes(len(content) // 2) + content[len(content) // 2 :])

    @rule(side=st.sampled_from(["vehicle", "fleet"]))
    def kill(self, side: str) -> None:
        self.world.kill(side)

    @rule()
    def lose_the_index(self) -> None:
        self.world.lose_index()

    @rule(side=st.sampled_from(["vehicle", "fleet"]), steps=st.integers(0, 5))
    def light_a_fuse(self, side: str, steps: int) -> None:
        self.world.fuses[side].left = steps

    @rule(seconds=st.integers(1, 70))
    def wait(self, seconds: int) -> None:
        self.world.now_ns += seconds * S

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        self.world.check_nothing_is_lost_or_doubled()

    def teardown(self) -> None:
        try:
            self.world.finish()
        finally:
            self.world.end()
            shutil.rmtree(self.folder)


def test_in_any_trouble_every_clip_comes_in_once(clip: Seal, tmp_path: Path) -> None:
    run_state_machine_as_test(
        lambda: Trouble(clip, tmp_path),
        settings=settings(max_examples=30, stateful_step_count=30, deadline=None),
    )
