"""A stage in a process of its own: it works, it fails with its last words, and it never outlives us."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.contracts.errors import SchemaError
from fleet.work.process import JobError, Progress, read_progress, start_child, write_progress

PATIENCE_S = 20.0

STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
fifo = open(sys.argv[1], "w")
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], pass_fds=[fifo.fileno()])
fifo.write("ready")
fifo.flush()
signal.pause()
"""
"""Ignores requests to end and has a child of its own; both hold the pipe open while they live."""

PARENT = """
import signal, sys
from pathlib import Path
from fleet.work.process import start_child
child = start_child("stubborn", [sys.argv[1]], Path(sys.argv[2]))
signal.pause()
"""


class Family:
    """Tells by a pipe when the child is up, and when child and grandchild are both gone."""

    def __init__(self, root: Path) -> None:
        self.fifo = root / "fifo"
        os.mkfifo(self.fifo)
        self.end = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)

    def is_up(self) -> bool:
        readable, _, _ = select.select([self.end], [], [], PATIENCE_S)
        return bool(readable) and os.read(self.end, 5) == b"ready"

    def is_gone(self) -> bool:
        readable, _, _ = select.select([self.end], [], [], PATIENCE_S)
        return bool(readable) and os.read(self.end, 1) == b""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    family = Family(tmp_path)
    yield family
    os.close(family.end)


def run_child(module: str, arguments: list[str], log_path: Path) -> None:
    with start_child(module, arguments, log_path) as child:
        child.wait()


def test_a_child_does_its_work_and_its_words_are_logged(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"b": 1}')
    run_child(
        "json.tool", ["--compact", str(tmp_path / "in.json")], tmp_path / "logs" / "child.log"
    )
    assert (tmp_path / "logs" / "child.log").read_text() == '{"b":1}\n'


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text("not json")
    with pytest.raises(JobError, match=r"json.tool failed with status 1: Expecting value"):
        run_child("json.tool", [str(tmp_path / "in.json")], tmp_path / "child.log")


def test_a_child_that_refuses_says_so_in_one_line_and_its_log_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picky.py").write_text(
        "from edge.contracts.errors import OperatorError\nraise OperatorError('nothing to learn')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(JobError) as failed:
        run_child("picky", [], tmp_path / "child.log")
    assert str(failed.value) == (
        f"picky failed with status 1: nothing to learn (log: {tmp_path / 'child.log'})"
    )
    assert "Traceback" in (tmp_path / "child.log").read_text()


@pytest.mark.parametrize("kind", ["OperatorError", "ValueError"])
def test_what_a_child_logs_is_shown_with_its_time_and_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "steering.py").write_text(
        "import logging\nfrom edge.contracts.errors import OperatorError\n"
        "said = 'ok\\x1b[2J\\x9b1m'\n"
        "logging.getLogger('x').warning('heard', extra={'reason': said})\n"
        f"raise {kind}(said)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(JobError, match=r"ok\\x1b\[2J\\x9b1m \(log: "):
        run_child("steering", [], tmp_path / "child.log")
    first, *rest = (tmp_path / "child.log").read_text().splitlines()
    assert re.fullmatch(r"\S+T\S+Z WARNING heard reason=ok\\x1b\[2J\\x9b1m", first)
    assert all(line.isprintable() for line in rest)


def test_a_module_that_does_not_exist_is_a_failed_child(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="No module named"):
        run_child("no_such_module", [], tmp_path / "child.log")


def test_stopping_ends_a_stubborn_child_and_what_it_started(tmp_path: Path, family: Family) -> None:
    child = start_child("stubborn", [str(family.fifo)], tmp_path / "child.log")
    assert family.is_up()
    assert child.poll() is None
    child.grace_s = 0.1
    child.stop()
    assert child.poll() == -signal.SIGKILL
    assert family.is_gone()
    child.stop()


def test_leaving_the_block_ends_the_child(tmp_path: Path, family: Family) -> None:
    with start_child("stubborn", [str(family.fifo)], tmp_path / "child.log") as child:
        child.grace_s = 0.1
        assert family.is_up()
        with pytest.raises(JobError, match="took longer than"):
            child.wait(timeout_s=0.01)
    assert family.is_gone()


def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path, family: Family) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(family.fifo), str(tmp_path / "child.log")]
    )
    assert family.is_up()
    parent.kill()
    parent.wait()
    assert family.is_gone()


def test_progress_is_what_the_child_said_last(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) is None
    write_progress(path, Progress(done=1, total=9))
    write_progress(path, Progress(done=2, total=9, note="step 2"))
    assert read_progress(path) == Progress(done=2, total=9, note="step 2")
    path.write_text("half a wo")
    with pytest.raises(SchemaError, match="no progress file"):
        read_progress(path)
