"""What takes too long for the suite: ``make proof-lap``, about twenty-two minutes on two cores.

The default lap ends as its gate says: a candidate that passes drives every vehicle, one that does not drives
none. A second lap of the same run goes on from there; two runs of one seed tell the same story.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.contracts.classes import SHIPPED_CLASSES
from fleet.label.job import MODEL
from fleet.work.task import LocalTask

ROOT = Path(__file__).parents[1]
ORDINARY = {str(category) for category in SHIPPED_CLASSES} - {"animal", "debris"}
_MEASURED = {"stages", "deadline"}
"""Fields that hold what a clock said."""


def lap(folder: Path, name: str, *words: str) -> list[dict[str, Any]]:
    """Run laps in a folder of their own cache and give each lap's record."""
    command = [sys.executable, "-m", "edge", "lap", "--runs", name, *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    assert done.returncode == 0
    records = sorted((folder / name / "latest").glob("lap-*/lap.json"))
    return [json.loads(path.read_text()) for path in records]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proof")


@pytest.fixture(scope="module")
def two_laps(folder: Path) -> list[dict[str, Any]]:
    return lap(folder, "first", "--laps", "2")


def is_promoted(record: dict[str, Any]) -> bool:
    return bool(record["verdict"]["decision"] == "pass")


def test_the_default_lap_ends_as_its_gate_says(two_laps: list[dict[str, Any]]) -> None:
    first = two_laps[0]
    model = first["candidate" if is_promoted(first) else "incumbent"]
    assert {end["bundle_id"] for end in first["vehicles"]} == {model["bundle_id"]}
    outcomes = {rule["outcome"] for rule in first["verdict"]["rules"]}
    assert is_promoted(first) == (outcomes == {"pass"})


def test_every_class_is_guarded_and_a_lost_one_is_named(two_laps: list[dict[str, Any]]) -> None:
    for record in two_laps:
        verdict = record["verdict"]
        assert {row["category"] for row in verdict["classes"]} >= ORDINARY
        fallen = [row["category"] for row in verdict["classes"] if row["outcome"] == "fail"]
        said = "; ".join(r["got"] for r in verdict["rules"] if "every class" in r["rule"])
        assert all(f"{name} fell from" in said for name in fallen)
        assert not (fallen and is_promoted(record))


def test_a_second_lap_is_judged_beside_the_shipped_model_too(
    two_laps: list[dict[str, Any]],
) -> None:
    first, second = two_laps
    anchored = [row for row in second["verdict"]["classes"] if row["anchor"] is not None]
    assert {row["category"] for row in anchored} == (ORDINARY if is_promoted(first) else set())
    assert not any(row["anchor"] for row in first["verdict"]["classes"])


def test_a_second_lap_goes_on_where_the_first_ended(
    folder: Path, two_laps: list[dict[str, Any]]
) -> None:
    first, second = two_laps
    model = first["candidate" if is_promoted(first) else "incumbent"]
    assert second["incumbent"]["bundle_id"] == model["bundle_id"]
    assert not {d["drive_id"] for d in first["drives"]} & {d["drive_id"] for d in second["drives"]}
    run = folder / "first" / "latest"
    labelled = [clips_labelled(run / f"lap-{number}") for number in (1, 2)]
    assert labelled[0] and labelled[1]
    assert not labelled[0] & labelled[1]
    assert "Lap by lap" in (run / "report.html").read_text()


def clips_labelled(lap_folder: Path) -> set[str]:
    """Name the clips that a lap's labelling jobs were given."""
    files = (lap_folder / "jobs").glob("label-*.json")
    tasks = [msgspec.json.decode(file.read_bytes(), type=LocalTask) for file in files]
    return {name for task in tasks for name in task.paths} - {MODEL}


def test_two_runs_of_one_seed_tell_the_same_story(
    folder: Path, two_laps: list[dict[str, Any]]
) -> None:
    again = lap(folder, "again")[0]
    first = two_laps[0]
    assert {k: v for k, v in again.items() if k not in _MEASURED} == {
        k: v for k, v in first.items() if k not in _MEASURED
    }
