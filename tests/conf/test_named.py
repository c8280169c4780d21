"""The one loader of named files."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conf import named
from conf.named import load, load_file, names, path_of
from conf.text import read_yaml
from edge.contracts.bundle import DeviceProfile
from edge.contracts.errors import OperatorError


@dataclass
class Wind:
    speed_mps: float = 3.0
    gusts: list[str] = field(default_factory=list)


def test_name_means_the_file_of_its_group() -> None:
    assert load("device", "laptop", DeviceProfile).name == "laptop"


def test_path_means_the_file_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "a=b (ü) 50%.yaml"
    file.write_text("speed_mps: 8e-1\n", encoding="utf-8")
    assert load("device", str(file), Wind).speed_mps == 0.8


def test_unknown_name_is_refused_with_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(OperatorError) as caught:
        load("device", "labtop", DeviceProfile, what="device profile")
    assert str(caught.value) == (
        "there is no device profile 'labtop'; there are "
        "jetson_orin_nano, laptop, raspberry_pi_5; did you mean laptop?"
    )


@pytest.mark.parametrize("name", ["missing.yaml", "a/b", ".", "..", "", "../gate/default"])
def test_name_that_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(OperatorError, match="there is no device"):
        path_of("device", name)


def test_every_group_of_conf_is_listed_by_name() -> None:
    folder = Path(named.__file__).parent
    groups = {str(path.parent.relative_to(folder)) for path in folder.rglob("*.yaml")} - {"."}
    assert {"device", "episodes", "recipe", "sim/scenario"} <= groups
    assert all(names(group) for group in groups)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("speed: 3", "no key speed; did you mean speed_mps"),
        ("speed_mps: fast", "Expected `float`, got `str`"),
        ("speed_mps: 1\nspeed_mps: 2", "speed_mps stands twice"),
        ("speed_mps: [", "is no YAML"),
        ("[1]", "Expected `object`, got `array`"),
        ("&a [*a]", "refused"),
    ],
)
def test_file_that_makes_no_sense_is_refused_by_its_path(
    text: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "wind.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError) as caught:
        load_file(file, Wind)
    assert complaint in str(caught.value)
    assert str(file) in str(caught.value)


def test_what_only_looks_like_a_number_or_a_truth_is_text(tmp_path: Path) -> None:
    (tmp_path / "wind.yaml").write_text("gusts: [no, 12:30, 2020-01-01, 1_000]")
    assert load_file(tmp_path / "wind.yaml", Wind).gusts == ["no", "12:30", "2020-01-01", "1_000"]


def test_empty_file_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "wind.yaml").touch()
    assert load_file(tmp_path / "wind.yaml", Wind) == Wind()


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(OperatorError, match="wind is no YAML"):
        read_yaml(b"\xff\xfe\xff", "wind")


def test_board_reads_its_files_without_hydra(tmp_path: Path) -> None:
    program = """
import sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hydra", "omegaconf", "antlr4"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Ban())
from edge.board.profile import device_profile
from conf.named import load
from conf.words import with_words
from edge.vehicle.settings import VehicleSettings
vehicle = with_words(load("vehicle", sys.argv[1], VehicleSettings), ["spool.capacity_bytes=7"])
print(device_profile("laptop").name, vehicle.poll_s, vehicle.spool.capacity_bytes)
"""
    (tmp_path / "own.yaml").write_text("poll_s: 2e-1")
    command = [sys.executable, "-c", program, str(tmp_path / "own.yaml")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.stdout, said.stderr) == ("laptop 0.2 7\n", "")
