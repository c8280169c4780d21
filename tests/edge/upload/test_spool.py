"""What waits on the vehicle's disk outlives its index, and leaves a disk that is full."""

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.contracts.clip import Privacy
from edge.contracts.errors import SpoolFullError
from edge.upload import Outbox, Spool, SpoolItem
from edge.upload import disk as disk_module
from edge.upload import spool as spool_module

Seal = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def put(spool: Spool, folder: Path, clip: Any, worth: float = 0.25) -> SpoolItem:
    path = folder / "sealed.mcap"
    path.write_bytes(clip.content)
    return spool.add(path, clip.manifest_bytes, worth)


@pytest.fixture
def waiting(root: Path, tmp_path: Path, clip: Seal) -> list[SpoolItem]:
    """A spool of a vehicle that stands still, with three clips."""
    spool = Spool(root)
    for drive in range(3):
        put(spool, tmp_path, clip(drive))
    items = spool.pending()
    spool.close()
    return items


def swept(spool: Spool) -> dict[str, int]:
    return {name: count for name, count in asdict(spool.swept).items() if count}


def emptied(index: Path) -> None:
    index.write_bytes(b"")


def garbled(index: Path) -> None:
    index.write_bytes(b"no database, whatever its name says " * 100)


def cut(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


def torn(index: Path) -> None:
    content = bytearray(index.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    index.write_bytes(content)


def of_another_program(index: Path) -> None:
    index.unlink()
    with sqlite3.connect(index) as database:
        database.execute("CREATE TABLE clips (title TEXT, seconds REAL)")
        database.execute("INSERT INTO clips VALUES ('holiday', 9.5)")


def of_another_vehicle(index: Path) -> None:
    with sqlite3.connect(index) as database:
        database.execute("UPDATE clips SET clip_id = lower(hex(randomblob(32)))")


def of_a_newer_version(index: Path) -> None:
    """A row must say more than we can."""
    index.unlink()
    with sqlite3.connect(index) as database:
        database.execute(
            "CREATE TABLE clips (clip_id TEXT PRIMARY KEY, blob_id, blob_bytes, worth, manifest, "
            "region TEXT NOT NULL)"
        )


def without_a_key(index: Path) -> None:
    index.unlink()
    with sqlite3.connect(index) as database:
        database.execute("CREATE TABLE clips (clip_id, blob_id, blob_bytes, worth, manifest)")
        database.execute("INSERT INTO clips VALUES (NULL, NULL, NULL, NULL, NULL)")


def a_folder(index: Path) -> None:
    index.unlink()
    index.mkdir()
    (index / "spool.sqlite").write_bytes(b"restored into a folder of its own name")


def a_link_to_a_disk_that_is_not_there(index: Path) -> None:
    index.unlink()
    index.symlink_to("/not/mounted/spool.sqlite")


def a_link_to_itself(index: Path) -> None:
    index.unlink()
    index.symlink_to(index)


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        emptied,
        garbled,
        cut,
        torn,
        of_another_program,
        of_another_vehicle,
        of_a_newer_version,
        without_a_key,
        a_folder,
        a_link_to_a_disk_that_is_not_there,
        a_link_to_itself,
    ],
)
def test_every_clip_outlives_its_index(
    root: Path, waiting: list[SpoolItem], spoil: Callable[[Path], None]
) -> None:
    spoil(root / "spool.sqlite")
    spool = Spool(root)
    assert spool.pending() == waiting
    assert swept(spool)["adopted"] == 3
    assert b"".join(spool.read(waiting[0], 0, 10**9) for _ in "a")
    spool.close()
    again = Spool(root)
    assert again.pending() == waiting
    assert swept(again) == {}


def test_an_index_with_more_columns_than_a_row_must_have_stays(
    root: Path, waiting: list[SpoolItem]
) -> None:
    with sqlite3.connect(root / "spool.sqlite") as database:
        database.execute("ALTER TABLE clips ADD COLUMN region TEXT")
        database.execute("ALTER TABLE clips ADD COLUMN tries INTEGER NOT NULL DEFAULT 0")
    spool = Spool(root)
    assert spool.pending() == waiting
    assert swept(spool) == {}


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("/not/mounted/a.mcap"), os.mkfifo], ids=["link", "pipe"]
)
def test_what_is_no_file_in_the_place_of_a_clip_keeps_no_other_waiting(
    root: Path, waiting: list[SpoolItem], make: Callable[[Path], None]
) -> None:
    place = root / "clips" / f"{waiting[0].clip_id}.mcap"
    place.unlink()
    make(place)
    spool = Spool(root)
    assert spool.pending() == waiting[1:]
    assert swept(spool) == {"set_aside": 1, "lost": 1}


@pytest.mark.parametrize("spoil", [garbled, torn])
def test_an_index_that_is_none_is_set_aside_and_not_deleted(
    root: Path, waiting: list[SpoolItem], spoil: Callable[[Path], None]
) -> None:
    spoil(root / "spool.sqlite")
    spoilt = (root / "spool.sqlite").read_bytes()
    Spool(root).close()
    (aside,) = root.glob("spool.sqlite.damaged-*")
    assert aside.read_bytes() == spoilt


def test_a_database_of_another_program_is_set_aside_with_what_stands_in_it(
    root: Path, waiting: list[SpoolItem]
) -> None:
    of_another_program(root / "spool.sqlite")
    assert Spool(root).pending() == waiting
    (aside,) = root.glob("spool.sqlite.damaged-*")
    with sqlite3.connect(aside) as database:
        assert database.execute("SELECT title FROM clips").fetchone() == ("holiday",)


def test_of_what_the_index_does_not_know_only_parts_are_deleted(
    root: Path, waiting: list[SpoolItem], clip: Seal
) -> None:
    clips = root / "clips"
    stranger = clip(7)
    (clips / f"{'e' * 64}.9f.part").write_bytes(b"half")
    (clips / f"{'e' * 64}.mcap").write_bytes(b"renamed, and then the power went")
    (clips / "IMG_0001").write_bytes(b"somebody's picture")
    (clips / "brought from another vehicle.mcap").write_bytes(stranger.content)
    (clips / "a folder").mkdir()
    spool = Spool(root)
    assert swept(spool) == {"adopted": 1, "set_aside": 2, "parts": 1}
    adopted = spool.get(stranger.manifest.clip_id)
    assert adopted is not None
    assert (adopted.blob_id, adopted.worth) == (stranger.blob_id, 0.25)
    assert spool.read(adopted, 0, adopted.blob_bytes) == stranger.content
    assert len(spool.pending()) == 4
    aside = {path.read_bytes() for path in (root / "unreadable").iterdir()}
    assert aside == {b"renamed, and then the power went", b"somebody's picture"}


def test_a_second_copy_of_a_clip_is_set_aside(
    root: Path, waiting: list[SpoolItem], clip: Seal
) -> None:
    (root / "clips" / "copy.mcap").write_bytes(clip(0).content)
    spool = Spool(root)
    assert spool.pending() == waiting
    assert swept(spool) == {"set_aside": 1}


def test_a_clip_that_may_not_leave_is_set_aside_and_not_adopted(
    root: Path, waiting: list[SpoolItem], clip: Seal
) -> None:
    secret = clip(5, privacy=Privacy.UNKNOWN)
    (root / "clips" / f"{secret.manifest.clip_id}.mcap").write_bytes(secret.content)
    spool = Spool(root)
    assert spool.pending() == waiting
    assert [path.read_bytes() for path in (root / "unreadable").iterdir()] == [secret.content]


def test_a_row_that_is_not_of_its_file_is_made_anew_from_the_file(
    root: Path, waiting: list[SpoolItem]
) -> None:
    with sqlite3.connect(root / "spool.sqlite") as database:
        database.execute("UPDATE clips SET blob_bytes = 5, blob_id = ?, worth = 0.9", ("f" * 64,))
    spool = Spool(root)
    assert spool.pending() == waiting


def test_a_clip_whose_spooled_file_somebody_took_is_taken_anew(
    root: Path, waiting: list[SpoolItem], tmp_path: Path, clip: Seal
) -> None:
    spool = Spool(root)
    (root / "clips" / f"{clip(0).manifest.clip_id}.mcap").unlink()
    item = put(spool, tmp_path, clip(0))
    assert spool.read(item, 0, item.blob_bytes) == clip(0).content


def test_a_clip_is_taken_over_without_a_copy(root: Path, tmp_path: Path, clip: Seal) -> None:
    sealed = tmp_path / "sealed.mcap"
    sealed.write_bytes(clip(0).content)
    inode = sealed.stat().st_ino
    item = Spool(root).add(sealed, clip(0).manifest_bytes, 0.5)
    assert (root / "clips" / f"{item.clip_id}.mcap").stat().st_ino == inode
    assert not sealed.exists()
    assert item.blob_id == clip(0).blob_id


def test_a_clip_of_another_file_system_is_copied(
    root: Path, tmp_path: Path, clip: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(disk_module.os, "link", refuse)
    spool = Spool(root)
    item = put(spool, tmp_path, clip(0))
    assert spool.read(item, 0, item.blob_bytes) == clip(0).content
    assert item.blob_id == clip(0).blob_id
    assert not (tmp_path / "sealed.mcap").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("step", ["link_synced", "copy_synced", "sync_folder"])
def test_a_clip_for_which_the_disk_has_no_room_stays_where_it_is(
    root: Path,
    waiting: list[SpoolItem],
    tmp_path: Path,
    clip: Seal,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: int,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    spool = Spool(root)
    if step == "copy_synced":
        monkeypatch.setattr(spool_module, "link_synced", lambda *_: False)
    monkeypatch.setattr(spool_module, step, refuse)
    with pytest.raises(SpoolFullError, match="does not fit on the disk"):
        put(spool, tmp_path, clip(3))
    assert (tmp_path / "sealed.mcap").read_bytes() == clip(3).content
    sealed = SimpleNamespace(
        path=tmp_path / "sealed.mcap", manifest_bytes=clip(3).manifest_bytes, worth=0.5
    )
    assert spool.take([sealed]) == []
    assert spool.pending() == waiting
    assert len(list((root / "clips").iterdir())) == 3
    monkeypatch.undo()
    assert [item.clip_id for item in spool.take([sealed])] == [clip(3).manifest.clip_id]


def test_a_clip_for_whose_row_there_is_no_room_stays_where_it_is(
    root: Path, waiting: list[SpoolItem], tmp_path: Path, clip: Seal
) -> None:
    spool = Spool(root)
    (pages,) = spool._database.execute("PRAGMA page_count").fetchone()
    spool._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolFullError, match="database or disk is full"):
        put(spool, tmp_path, clip(3))
    assert (tmp_path / "sealed.mcap").exists()
    assert spool.pending() == waiting
    assert len(list((root / "clips").iterdir())) == 3


class RowsStayWhile:
    """A database whose disk has no room for a deletion while some file is there."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self.database = database
        self.path = path

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if statement.startswith("DELETE") and self.path.exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self.database.execute(statement, values)


def test_on_a_full_disk_the_file_of_a_clip_makes_room_for_the_deletion_of_its_row(
    root: Path, waiting: list[SpoolItem]
) -> None:
    spool = Spool(root)
    first = waiting[0]
    path = root / "clips" / f"{first.clip_id}.mcap"
    spool._database = RowsStayWhile(spool._database, path)  # type: ignore[assignment]
    spool.done(first.clip_id)
    assert not path.exists()
    with sqlite3.connect(root / "spool.sqlite") as database:
        assert database.execute("SELECT COUNT(*) FROM clips").fetchone() == (2,)


FULL_DISK = """
import logging, resource, sys
from pathlib import Path
from types import SimpleNamespace
logging.disable(logging.CRITICAL)
from edge.upload import Outbox, Spool
root, sealed, manifest = map(Path, sys.argv[1:])
item = SimpleNamespace(path=sealed, manifest_bytes=manifest.read_bytes(), worth=0.5)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
spool, outbox = Spool(root), Outbox(root)
taken = spool.take([item])
assert sealed.exists() == (not taken)
sent = 0
for clip in spool.pending():
    assert spool.read(clip, 0, 1), "it cannot be sent"
    spool.done(clip.clip_id)
    assert spool.get(clip.clip_id) is None
    sent += 1
assert (spool.pending(), spool.used_bytes) == ([], 0)
outbox.add(7, b"seven", b"s")
outbox.add(8, b"eight", b"s")
said = []
while (report := outbox.first()) is not None:
    said.append(report.sequence)
    outbox.done(report.number)
print(len(taken), sent, said)
"""


@pytest.mark.parametrize(
    ("spoil", "taken"),
    [(None, 0), (Path.unlink, 1), (emptied, 1), (garbled, 1)],
    ids=["index", "no index", "empty index", "garbled index"],
)
def test_on_a_disk_on_which_nothing_can_be_written_every_clip_and_report_leaves(
    root: Path,
    waiting: list[SpoolItem],
    tmp_path: Path,
    clip: Seal,
    spoil: Callable[[Path], None] | None,
    taken: int,
) -> None:
    """No write succeeds in the vehicle's process, for its files may have 0 bytes.

    Without an index on disk one in memory takes its place; then a clip needs no room to be taken.
    """
    outbox = Outbox(root)
    outbox.add(1, b"one", b"s")
    outbox.close()
    if spoil:
        spoil(root / "spool.sqlite")
    sealed, manifest = tmp_path / "sealed.mcap", tmp_path / "manifest"
    sealed.write_bytes(clip(3).content)
    manifest.write_bytes(clip(3).manifest_bytes)
    words = [sys.executable, "-c", FULL_DISK, str(root), str(sealed), str(manifest)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    expected = f"{taken} {3 + taken} [1, 7, 8]\n"
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr

    after = Spool(root)
    assert after.pending() == []
    assert put(after, tmp_path, clip(3)).clip_id == clip(3).manifest.clip_id


def test_an_outbox_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    garbled(tmp_path / "outbox.sqlite")
    outbox = Outbox(tmp_path)
    outbox.add(1, b"one", b"s")
    first = outbox.first()
    assert first is not None and first.sequence == 1
    assert len(list(tmp_path.glob("outbox.sqlite.damaged-*"))) == 1
