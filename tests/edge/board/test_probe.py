import json
import os
from pathlib import Path

import pytest

from edge.board import probe
from edge.cli import root as cli


def test_probe_speaks_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["edge", "probe", "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    onnx = next(engine for engine in found["engines"] if engine["engine"] == "onnx")
    assert "CPUExecutionProvider" in onnx["providers"]


def test_asking_for_urgency_leaves_the_process_as_it_was() -> None:
    def state() -> tuple[int, int]:
        return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)

    before = state()
    assert probe.urgency() in probe.Urgency
    assert state() == before


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: EPYC 9\nprocessor\t: 1\nmodel name\t: EPYC 9\n", "EPYC 9"),
        ("processor\t: 0\nBogoMIPS\t: 108\n\nModel\t\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("", "unknown"),
    ],
)
def test_processor_is_named_on_x86_and_on_arm(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert probe.processor_name(tmp_path / "cpuinfo") == name


def test_board_without_cpuinfo_is_unknown(tmp_path: Path) -> None:
    assert probe.processor_name(tmp_path / "none") == "unknown"


def test_tflite_interpreter_that_is_not_installed_is_not_listed() -> None:
    assert probe.first_import(("tflite_of_2031",)) is None
    assert probe.first_import(("tflite_of_2031", "ai_edge_litert")) == "ai_edge_litert"
