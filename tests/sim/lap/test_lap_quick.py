"""One quick lap, for real: processes, sockets, signatures, training. Its gate may well be undecided.

Its blobs lie in a pretended S3, which every process of the lap reaches over loopback, and its runs in a
folder whose name no parser may see.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from moto import mock_aws
from moto.core.models import botocore_stubber

from edge.clip_file import read_clip
from fleet.catalog import Catalog, ClipRow, ReportRow
from fleet.store import BlobStore, S3Store
from sim.sense.truth import TRUTH_MAGIC

BUCKET = "lap-blobs"
PREFIX = "fleet a/"
RUNS = "Läufe (Kopie), a=b #1"
MCAP = b"\x89MCAP"

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


class S3Door(BaseHTTPRequestHandler):
    """Gives moto's S3 to other processes: moto's own server would need a web framework."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = f"https://s3.amazonaws.com{self.path}"
        request = AWSPreparedRequest(self.command, url, dict(self.headers), body, False)
        status, headers, content = botocore_stubber.process_request(request)
        content = content.encode() if isinstance(content, str) else content
        length = headers.get("content-length", headers.get("Content-Length", len(content)))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, str(value))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, Any]]:
    """The URL of a pretended S3 with one bucket, and a client of it."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        server = ThreadingHTTPServer(("127.0.0.1", 0), S3Door)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", client
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def store(s3: tuple[str, Any]) -> BlobStore:
    return S3Store(BUCKET, PREFIX, s3[1])


@pytest.fixture(scope="module")
def run(s3: tuple[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run ``ringroad lap --quick`` as a stranger would, in an empty folder."""
    folder = tmp_path_factory.mktemp("lap")
    command = [sys.executable, "-m", "edge", "lap", "--quick", "--seed", "1", "--runs", RUNS]
    words = ["store=s3", f"store.bucket={BUCKET}", f"store.prefix={PREFIX}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [*command, *words, f"store.endpoint_url={s3[0]}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / RUNS / "latest"


@pytest.fixture(scope="module")
def record(run: Path) -> dict[str, object]:
    return json.loads((run / "lap.json").read_text())


def test_every_stage_happened_and_was_timed(record: dict[str, object]) -> None:
    stages = {stage["name"]: stage for stage in record["stages"]}  # type: ignore[attr-defined]
    assert set(STAGES) <= set(stages)
    assert record["is_quick"]
    assert all(stages[name]["cpu_seconds"] >= 0.0 for name in STAGES)


def test_what_vehicles_recorded_is_what_the_fleet_has(
    run: Path, record: dict[str, object], store: BlobStore
) -> None:
    clips = record["clips"]
    catalog = Catalog(run / "fleet" / "catalog.sqlite")
    rows = [row for row in catalog.all(ClipRow) if row.drive_id.startswith("lap1-drive")]
    assert len(rows) == clips["admitted"] == clips["uploaded"] - clips["quarantined"]  # type: ignore[index]
    assert {row.vehicle_id for row in rows} <= {"v-01", "v-02", "v-03"}
    assert clips["bytes_uploaded"] == sum(row.blob_bytes for row in rows)  # type: ignore[index]
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


@pytest.mark.usefixtures("run")
def test_no_truth_is_in_any_byte_that_was_uploaded(store: BlobStore) -> None:
    blobs = [store.get(blob_id) for blob_id in store.list()]
    clips = [content for content in blobs if content.startswith(MCAP)]
    assert clips
    for content in clips:
        assert TRUTH_MAGIC not in content
        assert b"encounter" not in content
        assert b"animal_rare" not in content


def test_blobs_of_the_fleet_lie_in_its_bucket_and_in_no_folder(run: Path) -> None:
    folder = run.parents[1]
    assert not (run / "fleet" / "store").exists()
    assert not (folder / ".ringroad" / "cache" / "store").exists()
    files = (*(run / "fleet").rglob("*"), *(folder / ".ringroad").rglob("*"))
    assert not [p for p in files if p.is_file() and p.read_bytes()[:5] == MCAP]


def test_the_verdict_says_why(record: dict[str, object]) -> None:
    verdict = record["verdict"]
    assert verdict["decision"] in ("pass", "fail", "not_enough_evidence")  # type: ignore[index]
    assert all(": expected " in reason for reason in verdict["reasons"])  # type: ignore[index]
    guarded = {row["category"] for row in verdict["classes"]}  # type: ignore[index]
    assert {"car", "bicycle"} <= guarded, "every class that the incumbent knows, seen or not"


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
