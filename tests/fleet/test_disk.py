from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet.disk import write_synced, write_whole


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
