import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from fleet.evaluate.order import AnswerCount
from fleet.work.process import JobError, Progress, Work, run_all, write_progress
from fleet.work.workspace import ProgressFeed


def test_every_child_is_heard_when_it_starts_and_when_it_is_done(tmp_path: Path) -> None:
    heard: list[str] = []
    run_all(
        [Work(name, "platform", ()) for name in ("a", "b", "c")],
        tmp_path,
        on_start=lambda name: heard.append(f"{name} starts"),
        on_done=lambda name: heard.append(f"{name} done"),
    )
    assert heard[:2] == ["a starts", "b starts"], "two work at once"
    assert sorted(heard) == sorted(
        f"{name} {word}" for name in "abc" for word in ("done", "starts")
    )
    assert heard.index("c starts") > min(heard.index("a done"), heard.index("b done"))


def test_models_tell_which_set_they_answer_and_how_many_they_have() -> None:
    heard: list[tuple[str, Progress]] = []
    advanced: list[int] = []
    count = AnswerCount(3, advanced.append, lambda name, said: heard.append((name, said)))
    count.answered("incumbent")  # kept from an earlier lap
    count.answers("candidate", "gate")
    count.answered("candidate")
    assert heard == [
        ("incumbent", Progress(done=1, total=3)),
        ("candidate", Progress(done=0, total=3, note="answers gate")),
        ("candidate", Progress(done=1, total=3)),
    ]
    assert advanced == [1, 1]


def test_each_child_is_heard_and_its_steps_are_counted_once(tmp_path: Path) -> None:
    logs = {name: tmp_path / f"{name}.progress" for name in ("v-01", "v-02", "v-03")}
    write_progress(logs["v-01"], Progress(done=36, total=2160, note="drives, clips kept: 0"))
    write_progress(logs["v-02"], Progress(done=72, total=2160))
    heard: list[tuple[str, int]] = []
    ticks: list[int] = []
    feed = ProgressFeed(logs, ticks.append, lambda name, said: heard.append((name, said.done)))

    feed()
    write_progress(logs["v-01"], Progress(done=108, total=2160))
    feed()

    assert ticks == [108, 72]
    assert heard == [("v-01", 36), ("v-02", 72), ("v-01", 108), ("v-02", 72)]


def test_the_first_that_fails_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "patient.py").write_text("import signal\nsignal.pause()\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    patient = Work("patient", "patient", (str(tmp_path),))
    with pytest.raises(JobError, match="no_such_module"):
        run_all([patient, Work("fails", "no_such_module", ())], tmp_path)
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # others end while we look
            lines.append((process / "cmdline").read_bytes())
    assert not any(b"patient" in line and str(tmp_path).encode() in line for line in lines)
