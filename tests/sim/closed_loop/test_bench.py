import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.bench.commands import app
from edge.cli import root
from edge.contracts.errors import OperatorError, RingroadError


def test_bench_counts_every_tick_of_a_real_vehicle(blind_bundle: Path) -> None:
    words = ["edge", "--bundle", str(blind_bundle), "--ticks", "6", "--frames", "3", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["ticks"] == sum(told["rungs"].values()) == 6
    assert told["rungs"]["full"] > 0
    assert told["whole_tick"]["count"] == told["bare_inference"]["count"] == 6
    assert told["sensor_to_plan"]["p99_ms"] is None and told["ratio_p99"] is None
    assert 0.0 < told["sensor_to_plan"]["p50_ms"] <= told["whole_tick"]["p50_ms"]
    assert {"wait", "preprocess", "infer", "plan", "record"} <= told["stages"].keys()
    assert told["faults"] == told["boxes_per_tick"] == 0
    assert told["ratio_p50"] > 1.0
    assert told["scheduling"].startswith("normal")
    assert told["weights"] == "of the bundle"


def test_bench_names_the_networks_that_there_are() -> None:
    result = CliRunner().invoke(app, ["edge", "--model", "giant"])
    assert isinstance(result.exception, OperatorError)
    assert "'giant'; there are pico, nano, small" in str(result.exception)


def test_bench_refuses_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["edge", "--bundle", str(tmp_path)])
    assert isinstance(result.exception, RingroadError)
    assert "holds no bundle" in str(result.exception)


ON_A_BOARD = """
import sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sim", "fleet", "models", "torch", "libsumo", "panda3d"):
            raise ModuleNotFoundError(f"no {name} here", name=name)
sys.meta_path.insert(0, Ban())
from edge.cli.root import main
main(sys.argv[1:])
"""


def on_a_board(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `ringroad` in a process that has the edge package alone."""
    command = [sys.executable, "-c", ON_A_BOARD, *words]
    root_folder = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root_folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_board_is_measured_with_a_clip_and_a_bundle_alone(
    blind_bundle: Path, clip, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mcap"
    path.write_bytes(clip().content)
    words = ["bench", "edge", "--clip", str(path), "--bundle", str(blind_bundle), "--ticks", "4"]
    done = on_a_board(*words, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ticks"] == 4 and told["frames"] == "3 of clip.mcap, cycled"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["edge", "--ticks", "4"], "give --clip, or install the extras fleet and sim"),
        (["gate"], "`ringroad bench` is not part of this installation: no sim"),
    ],
)
def test_a_board_without_the_simulator_says_what_is_lacking(words: list[str], match: str) -> None:
    done = on_a_board("bench", *words)
    assert done.returncode == 1
    assert re.search(match, done.stderr), done.stderr


def test_both_benchmarks_are_verbs_of_one_group() -> None:
    assert set(root.load_group("bench").commands) == {"edge", "gate"}
