"""The card of the shipped model: what it says, and how it is measured again without training."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.contracts.errors import OperatorError
from fleet.zoo import decode_card, read_card, zoo_folder
from sim.lap.baseline import app

MOVING = ("car", "truck", "bus", "pedestrian", "motorcycle", "bicycle")


def test_the_shipped_card_shows_velocity_and_attribute_and_says_what_is_dead() -> None:
    shown = CliRunner().invoke(app, ["show"])
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.output)
    assert {"mave_mps_radar", "maae_radar"} <= said["metrics"].keys()
    for name in MOVING:
        assert {"ave_mps", "aae"} <= said["per_class"][name].keys()
        is_dead = any(s.startswith(f"velocity of {name}: dead, error") for s in said["dead"])
        assert is_dead != (name in said["velocity_sigma_mps"])


def recipes(folder: Path) -> Path:
    for name, road_map in (("tune", "suburb"), ("gate", "suburb_gate")):
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nsplit: {name}\nseed: 9\nparts:\n"
            f"  - {{road_map: {road_map}, places: 5, instants_per_visit: 3, instant_gap_s: 0.5}}\n"
        )
    return folder


def test_a_model_is_measured_again_without_training_though_its_files_are_newer_than_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(zoo_folder("pico"), tmp_path / "pico")
    shutil.copy(out / "fp32.onnx", out / "int8.onnx")  # exported again in another way
    old = decode_card(out)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["card", str(out), "--recipes", str(recipes(tmp_path))])
    assert said.exit_code == 0, (said.output, said.exception)
    new = read_card(out)
    assert (new.run_id, new.dataset_id, new.instances) == (
        old.run_id,
        old.dataset_id,
        old.instances,
    )
    assert new.files["int8.onnx"] != old.files["int8.onnx"]
    assert new.metrics.keys() >= {"map_radar", "map_camera", "mave_mps_radar", "maae_radar"}
    assert new.per_class["pedestrian"]["instances"] < old.per_class["pedestrian"]["instances"]
    assert new.velocity_sigma_mps == {}
    assert all(sentence in said.output for sentence in new.dead)
    words = [
        "card",
        str(out),
        "min_found=1",
        "max_error_ratio=50",
        "--recipes",
        str(recipes(tmp_path)),
    ]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert set(read_card(out).dead) < set(new.dead)


def test_a_card_says_nothing_of_the_origin_of_other_weights(tmp_path: Path) -> None:
    out = shutil.copytree(zoo_folder("pico"), tmp_path / "pico")
    (out / "weights.bin").write_bytes(b"others")
    said = CliRunner().invoke(app, ["card", str(out)])
    assert isinstance(said.exception, OperatorError)
    assert "speaks of other weights" in str(said.exception)
