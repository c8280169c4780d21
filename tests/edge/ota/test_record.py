"""Records of two copies: any single damage is survived, the newest intact copy wins."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ota.disk import LocalDisk, hash_on_disk
from edge.ota.record import DurableRecord


class Note(msgspec.Struct, frozen=True):
    text: str


class Dictionary:
    """A disk of nothing but files, for speed."""

    def __init__(self):
        self.files = {}

    def read(self, path, offset=0, length=None):
        return self.files.get(path)

    def write(self, path, data):
        self.files[path] = data

    def sync(self, path):
        pass

    def replace(self, source, target):
        self.files[target] = self.files.pop(source)


@given(st.text(), st.integers(0, 10_000), st.sampled_from(["note", "note.backup"]))
def test_damage_to_either_copy_is_survived(text, at, damaged):
    disk = Dictionary()
    record = DurableRecord(disk, "note", Note)
    record.save(Note(text))
    data = disk.files[damaged]
    at %= len(data)
    disk.files[damaged] = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
    assert record.load() == Note(text)


@given(st.binary(max_size=100))
def test_junk_in_both_copies_reads_as_nothing(junk):
    disk = Dictionary()
    disk.files = {"note": junk, "note.backup": junk}
    assert DurableRecord(disk, "note", Note).load() is None


def test_newest_intact_copy_wins():
    disk = Dictionary()
    record = DurableRecord(disk, "note", Note)
    record.save(Note("old"))
    old = disk.files["note"]
    record.save(Note("new"))
    disk.files["note"] = old
    assert record.load() == Note("new")


def test_record_of_another_shape_reads_as_nothing():
    class Other(msgspec.Struct, frozen=True):
        number: int

    disk = Dictionary()
    DurableRecord(disk, "note", Other).save(Other(1))
    assert DurableRecord(disk, "note", Note).load() is None


def test_local_disk_keeps_what_was_written(tmp_path):
    disk = LocalDisk(tmp_path / "root")
    disk.make_folder("a/b")
    disk.write("a/b/file", b"12345")
    disk.append("a/b/file", b"67")
    disk.truncate("a/b/file", 6)
    disk.replace("a/b/file", "a/file")
    disk.sync("a/file")
    disk.sync("a")
    assert disk.read("a/file") == b"123456"
    assert disk.read("a/file", 2, 3) == b"345"
    assert (disk.size("a/file"), disk.size("nothing")) == (6, None)
    assert disk.names("a") == ("b", "file")
    disk.remove("a/file")
    disk.remove("a/file")
    assert disk.read("a/file") is None and disk.names("nowhere") == ()
    assert hash_on_disk(disk, "nothing") is None
    with pytest.raises(OSError, match="nowhere"):
        disk.write("nowhere/file", b"")
