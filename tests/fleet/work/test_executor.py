"""A task names what it reads by content, and the executor lays it out where the child can read it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from edge.contracts.errors import OperatorError
from fleet.store import FolderStore, blob_key
from fleet.work.executor import ProcessExecutor, blob_folder, lay_out
from fleet.work.process import JobError
from fleet.work.task import Task, read_assignment

COPY = """
import sys
from pathlib import Path
import msgspec
from fleet.work.task import read_assignment

class Told(msgspec.Struct):
    suffix: str

told, inputs = read_assignment(Path(sys.argv[1]), Told)
for name, path in inputs.paths.items():
    (Path(sys.argv[2]) / (name + told.suffix)).write_bytes(path.read_bytes())
(Path(sys.argv[2]) / "lacking").write_text(" ".join(sorted(inputs.lacking)))
"""
"""A job that copies what it reads."""


class Told(msgspec.Struct):
    suffix: str


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProcessExecutor:
    (tmp_path / "copying.py").write_text(COPY)
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *sys.path]))
    store = FolderStore(tmp_path / "store")
    return ProcessExecutor(store, tmp_path / "work", tmp_path / "cache")


def task(inputs: dict[str, str], name: str = "copy-1") -> Task:
    return Task(name=name, module="copying", inputs=inputs, parameters=Told(suffix=".out"))


def test_job_reads_its_inputs_by_name_and_its_results_are_found(executor: ProcessExecutor) -> None:
    blob_id = executor.store.put(b"clip")
    executor.run([task({"a": blob_id, "b": executor.store.put(b"model")})])
    results = executor.results("copy-1")
    assert (results / "a.out").read_bytes() == b"clip"
    assert (results / "b.out").read_bytes() == b"model"


def test_task_holds_no_path(executor: ProcessExecutor, tmp_path: Path) -> None:
    content = msgspec.json.encode(task({"a": executor.store.put(b"clip")}))
    assert str(tmp_path) not in content.decode()


def test_what_was_laid_out_for_a_run_is_gone_after_it_and_the_cache_stays(
    executor: ProcessExecutor,
) -> None:
    cached, passing = executor.store.put(b"dataset"), executor.store.put(b"clip")
    lay_out(executor.store, cached, blob_folder(executor.cache))
    executor.run([task({"a": cached, "b": passing})])
    assert [path.name for path in blob_folder(executor.cache).iterdir()] == [cached]
    assert sorted(path.name for path in executor.folder.iterdir()) == ["jobs", "logs", "results"]


def test_damaged_file_in_the_cache_is_laid_out_anew(executor: ProcessExecutor) -> None:
    blob_id = executor.store.put(b"dataset")
    lay_out(executor.store, blob_id, blob_folder(executor.cache)).write_bytes(b"data")
    executor.run([task({"a": blob_id})])
    assert (executor.results("copy-1") / "a.out").read_bytes() == b"dataset"


def test_input_that_the_store_cannot_give_is_named_and_the_job_decides(
    executor: ProcessExecutor,
) -> None:
    spoilt = executor.store.put(b"clip")
    assert isinstance(executor.store, FolderStore)
    (executor.store.root / blob_key(spoilt)).write_bytes(b"other")
    executor.run([task({"good": executor.store.put(b"x"), "spoilt": spoilt, "gone": "0" * 64})])
    results = executor.results("copy-1")
    assert (results / "lacking").read_text() == "gone spoilt"
    assert (results / "good.out").exists() and not (results / "spoilt.out").exists()
    _, inputs = read_assignment(executor.folder / "jobs" / "copy-1.json", Told)
    with pytest.raises(OperatorError, match=r"input spoilt: .* its bytes hash to"):
        inputs["spoilt"]


def test_results_of_an_earlier_run_are_not_taken_for_new_ones(executor: ProcessExecutor) -> None:
    executor.run([task({"a": executor.store.put(b"clip")})])
    executor.run([task({})])
    assert [path.name for path in executor.results("copy-1").iterdir()] == ["lacking"]


def test_two_tasks_of_one_name_are_refused(executor: ProcessExecutor) -> None:
    with pytest.raises(OperatorError, match="the same name: copy-1, copy-1"):
        executor.run([task({}), task({})])


def test_task_that_fails_is_named(executor: ProcessExecutor) -> None:
    lost = Task(name="lost", module="no_such_module", inputs={}, parameters=Told(suffix=""))
    with pytest.raises(JobError, match="no_such_module"):
        executor.run([lost])
