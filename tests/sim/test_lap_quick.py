"""One quick lap, for real: processes, sockets, signatures, training. Its gate may well be undecided."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.clip_file import read_clip
from fleet.catalog import Catalog, ClipRow, ReportRow
from fleet.store import FolderStore
from sim.truth import MAGIC

STAGES = (
    "sets",
    "fleet",
    "drive",
    "label",
    "freeze",
    "train",
    "evaluate",
    "gate",
    "rollout",
    "summary",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run ``ringroad lap --quick`` as a stranger would, in an empty folder."""
    folder = tmp_path_factory.mktemp("lap")
    command = [sys.executable, "-m", "edge", "lap", "--quick", "--seed", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "runs" / "latest"


@pytest.fixture(scope="module")
def record(run: Path) -> dict[str, object]:
    return json.loads((run / "lap.json").read_text())


def test_every_stage_happened_and_was_timed(record: dict[str, object]) -> None:
    stages = {stage["name"]: stage for stage in record["stages"]}  # type: ignore[attr-defined]
    assert set(STAGES) <= set(stages)
    assert record["is_quick"]
    assert all(stages[name]["cpu_seconds"] >= 0.0 for name in STAGES)


def test_what_vehicles_recorded_is_what_the_fleet_has(run: Path, record: dict[str, object]) -> None:
    clips = record["clips"]
    catalog = Catalog(run / "fleet" / "catalog.sqlite")
    rows = [row for row in catalog.all(ClipRow) if row.drive_id.startswith("lap1-drive")]
    assert len(rows) == clips["admitted"] == clips["uploaded"] - clips["quarantined"]  # type: ignore[index]
    assert {row.vehicle_id for row in rows} <= {"v-01", "v-02", "v-03"}
    assert clips["bytes_uploaded"] == sum(row.blob_bytes for row in rows)  # type: ignore[index]
    store = FolderStore(run / "fleet" / "store")
    for row in rows:
        assert read_clip(store.get(row.blob_id)).manifest.clip_id == row.clip_id
    catalog.close()


def test_every_vehicle_signed_a_report_and_runs_a_bundle(
    run: Path, record: dict[str, object]
) -> None:
    catalog = Catalog(run / "fleet" / "catalog.sqlite")
    assert {row.vehicle_id for row in catalog.all(ReportRow)} == {"v-01", "v-02", "v-03"}
    catalog.close()
    ends = record["vehicles"]
    bundles = {record["incumbent"]["bundle_id"], record["candidate"]["bundle_id"]}  # type: ignore[index]
    assert {end["bundle_id"] for end in ends} <= bundles  # type: ignore[attr-defined]


def test_no_truth_is_in_any_byte_that_was_uploaded(run: Path) -> None:
    blobs = [p for p in (run / "fleet" / "store").rglob("*") if p.is_file()]
    clips = [p.read_bytes() for p in blobs if p.read_bytes()[:5] == b"\x89MCAP"]
    assert clips
    for content in clips:
        assert MAGIC not in content
        assert b"encounter" not in content
        assert b"animal_rare" not in content


def test_the_verdict_says_why(record: dict[str, object]) -> None:
    verdict = record["verdict"]
    assert verdict["decision"] in ("pass", "fail", "not_enough_evidence")  # type: ignore[index]
    assert all(": expected " in reason for reason in verdict["reasons"])  # type: ignore[index]


def test_plan_error_before_and_after_stands_beside_driving_straight_on(
    record: dict[str, object],
) -> None:
    assert record["gate"]["futures"] == 24  # type: ignore[index]
    for model in ("incumbent", "candidate", "control"):
        assert 0.0 < record[model]["plan_l2_m"]["value"] < 50.0  # type: ignore[index]
        assert record[model]["forecast_ade_m"] is not None  # type: ignore[index]
    assert record["straight_l2_m"]["value"] > 0.0  # type: ignore[index]


def test_a_page_for_people_lies_beside_the_record(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
