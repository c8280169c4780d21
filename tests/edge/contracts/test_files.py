import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.contracts.files import create_synced, sync_folder, sync_path, write_synced, write_whole


@pytest.mark.parametrize("write", [write_whole, write_synced])
def test_many_who_write_one_file_leave_it_whole_and_nothing_beside_it(write, tmp_path):
    path = tmp_path / "answers"
    contents = [bytes([k]) * 100_000 for k in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write(path, content), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_whole, write_synced])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(write, tmp_path, monkeypatch):
    path = tmp_path / "answers"
    write(path, b"old")
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_synced_write_syncs_the_file_and_then_the_folder_that_lists_it(tmp_path, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    write_synced(tmp_path / "answers", b"new")
    file, folder = synced
    assert file.startswith(str(tmp_path / ".answers.")) and folder == str(tmp_path)


def test_of_many_who_create_one_file_one_does_and_its_content_stays(tmp_path):
    path = tmp_path / "key"

    def is_made(content: bytes) -> bool:
        try:
            create_synced(path, content, mode=0o600)
        except FileExistsError:
            return False
        return True

    contents = [bytes([k]) * 32 for k in range(16)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(is_made, contents))
    assert made.count(True) == 1 and path.read_bytes() == contents[made.index(True)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("package", ["edge", "fleet", "sim"])
def test_files_are_synced_by_one_function(package):
    calls = {p for p in Path(package).rglob("*.py") if "os.fsync(" in p.read_text()}
    assert calls <= {Path("edge/contracts/files.py")}


def test_only_a_folder_is_synced_as_a_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    sync_path(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
