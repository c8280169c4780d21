"""A fleet without room: it says so before bytes flow, and takes the clip when there is room again."""

import errno
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.contracts.errors import RingroadError, StoreUnavailableError
from edge.contracts.wire import Bye, ClipChunk, ClipOffer, Hello, Message
from edge.upload import Outbox, Spool, UplinkSettings, UplinkState
from fleet.catalog import Catalog, ClipRow
from fleet.ingest import Intake, SessionState
from fleet.ingest import room as room_module
from fleet.ingest.part import Part
from fleet.ingest.room import check_room

NOW_NS = 1_800_000_000 * 10**9
S = 10**9
HELLO = Hello(vehicle_id="v-01", boot_id="b", profile="laptop", bundle_id="b-0", release_counter=0)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Say how many bytes the disk has free."""

    def is_free(free_bytes: int) -> None:
        usage = SimpleNamespace(free=free_bytes)
        monkeypatch.setattr(room_module.shutil, "disk_usage", lambda _: usage)

    return is_free


@pytest.mark.parametrize(
    ("have_bytes", "has_store", "needed_bytes"),
    [(0, True, 200), (60, True, 140), (100, True, 100), (0, False, 100), (60, False, 40)],
)
def test_a_clip_needs_room_for_the_rest_of_its_part_and_for_its_blob(
    tmp_path: Path,
    free: Callable[[int], None],
    have_bytes: int,
    has_store: bool,
    needed_bytes: int,
) -> None:
    offer = ClipOffer(clip_id="a" * 64, blob_id="b" * 64, blob_bytes=100)
    part = tmp_path / "x.part"
    if have_bytes:
        part.write_bytes(bytes(have_bytes))
    store = tmp_path if has_store else None
    free(needed_bytes)
    check_room(offer, part, store)
    free(needed_bytes - 1)
    with pytest.raises(StoreUnavailableError, match=f"it needs {needed_bytes} bytes"):
        check_room(offer, part, store)


class Vehicle:
    """A vehicle with one clip, and its session with the fleet; time goes as one says."""

    def __init__(self, root: Path, intake: Intake, clip: Any) -> None:
        self.spool = Spool(root)
        sealed = root / "sealed.mcap"
        sealed.write_bytes(clip.content)
        self.spool.add(sealed, clip.manifest_bytes, 0.5)
        self.uplink = UplinkState(
            HELLO, self.spool, Outbox(root), random.Random(0), UplinkSettings()
        )
        self.intake = intake
        self.session = SessionState("v-01", intake)
        self.now_ns = NOW_NS
        self.sent_bytes = 0

    def drive(self, seconds: float) -> None:
        for _ in range(round(seconds * 5)):
            self.now_ns += S // 5
            for message, payload in self.uplink.poll(self.now_ns):
                if isinstance(message, ClipChunk):
                    self.sent_bytes += len(payload or b"")
                for answer in self.answers(message, payload):
                    self.uplink.on_message(answer, self.now_ns)

    def answers(self, message: Message, payload: bytes | None) -> list[Message]:
        """Answer as the gateway does."""
        try:
            return self.session.on_message(message, payload, self.now_ns)
        except (RingroadError, OSError):
            self.session.close()
            self.session = SessionState("v-01", self.intake)
            return [Bye(reason="the fleet cannot take this now; try again later")]


def test_no_byte_flows_while_the_disk_has_no_room_and_the_clip_comes_home_after_that(
    tmp_path: Path, intake: Intake, catalog: Catalog, clip: Any, free: Callable[[int], None]
) -> None:
    vehicle = Vehicle(tmp_path / "vehicle", intake, clip())
    free(len(clip().content))
    vehicle.drive(600)
    assert vehicle.sent_bytes == 0
    assert 10 <= vehicle.uplink.counts.failures <= 30
    assert len(vehicle.spool.pending()) == 1
    free(10**12)
    vehicle.drive(61)
    assert vehicle.spool.pending() == []
    assert len(catalog.all(ClipRow)) == 1


def test_a_disk_that_fills_while_bytes_flow_costs_few_bytes_and_the_clip_comes_home_after_that(
    tmp_path: Path, intake: Intake, catalog: Catalog, clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    size_bytes = len(clip().content)
    append = Part.append

    def refuse(part: Part, piece: bytes | memoryview) -> None:
        if part.have_bytes + len(piece) > size_bytes // 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(part, piece)

    vehicle = Vehicle(tmp_path / "vehicle", intake, clip())
    monkeypatch.setattr(Part, "append", refuse)
    vehicle.drive(600)
    assert 10 <= vehicle.uplink.counts.failures <= 30
    assert vehicle.sent_bytes <= size_bytes + 30 * 256 * 1024
    assert len(vehicle.spool.pending()) == 1
    monkeypatch.setattr(Part, "append", append)
    vehicle.drive(61)
    assert vehicle.spool.pending() == []
    assert len(catalog.all(ClipRow)) == 1
