"""Commands that only read make and change nothing, so that evidence can be looked at where it lies."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from edge.cli.root import GROUPS, main
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import RingroadError, StoreUnavailableError
from edge.contracts.release import Release
from edge.upload import load_or_make_keys
from fleet.campaign import CampaignSettings, RuleSettings, campaign_from, propose
from fleet.catalog import (
    BundleRow,
    Catalog,
    ClipRow,
    LabelFacts,
    RunRow,
    VehicleRow,
    create_catalog,
)
from fleet.dataset.frozen import DatasetManifest
from fleet.dataset.shelf import shelve
from fleet.fleet import open_repositories
from fleet.init import create_fleet
from fleet.keys import Enrolment, enrol
from fleet.rollout import RolloutPlan
from fleet.rollout.conduct import report_keys, start_rollout
from fleet.service import FleetService, ServiceSettings, StateFolder
from fleet.store import FolderStore
from fleet.work.workspace import Workspace

NOW_NS = 1_800_000_000 * 10**9
CLIP_ID = "c" * 64
READS: dict[str, tuple[str, ...]] = {
    "fleet status": (),
    "fleet vehicles": (),
    "fleet campaigns": (),
    "fleet verify": (),
    "clips list": (),
    "clips show": (CLIP_ID[:8],),
    "clips fetch": (CLIP_ID[:8], "{out}"),
    "label list": (),
    "dataset list": (),
    "dataset show": ("edge",),
    "bundle list": (),
    "rollout status": ("r-1",),
}
WRITES = {
    *(
        "fleet init",
        "fleet migrate",
        "fleet serve",
        "fleet enrol",
        "fleet calibrate",
        "fleet revoke",
        "fleet propose",
        "fleet approve",
    ),
    *("label run", "dataset freeze", "dataset build", "train", "evaluate"),
    *("bundle build", "bundle sign", "bundle publish", "bundle renew"),
    *("rollout start", "rollout advance", "rollout halt"),
}


@pytest.fixture
def empty(tmp_path: Path) -> StateFolder:
    """A fleet that was made and never used."""
    return create_fleet(ServiceSettings(state=str(tmp_path / "state")), now_ns=NOW_NS)


@pytest.fixture
def state(empty: StateFolder, tmp_path: Path) -> StateFolder:
    """A fleet that has one of everything, and a service that has ended."""
    FleetService(ServiceSettings(state=str(empty.root)), now_ns=NOW_NS).close()
    catalog, store = Catalog(empty.catalog), FolderStore(empty.store)
    place = Workspace(catalog, store, tmp_path / "w", tmp_path / "c", "test", lambda: NOW_NS)
    keys = load_or_make_keys(tmp_path / "keys")
    enrol(catalog, Enrolment("v-01", keys.curve_key, keys.report_key), at_ns=NOW_NS)
    settings = CampaignSettings(rules={TriggerRule.HARD_BRAKE: RuleSettings()})
    propose(catalog, campaign_from("edge_cases", settings), at_ns=NOW_NS)
    with catalog.write(at_ns=NOW_NS, actor="test") as tx:
        for row in _rows(store):
            assert tx.add(row)
    shelve(place, _dataset())
    _, director = open_repositories(empty)
    director.enrol("v-01", NOW_NS)
    release = Release(bundle_id="b-2", profile="laptop", release_counter=2, unpacked_bytes=1)
    plan = RolloutPlan(
        rollout_id="r-1",
        candidate=release,
        heal=msgspec.structs.replace(release, release_counter=3),
        waves=(("v-01",),),
        report_keys=report_keys(catalog, ("v-01",)),
    )
    start_rollout(catalog, plan, actor="operator", at_ns=NOW_NS)
    catalog.close()
    return empty


def _rows(store: FolderStore) -> Iterator[msgspec.Struct]:
    blob_id = hashlib.sha256(b"clip").hexdigest()
    store.put_if_absent(blob_id, b"clip")
    yield ClipRow(
        clip_id=CLIP_ID,
        blob_id=blob_id,
        blob_bytes=4,
        vehicle_id="v-01",
        drive_id="d-1",
        bundle_id="b-2",
        campaign_ids=("edge_cases",),
        rules=("low_ttc",),
        worth=0.25,
        start_ns=1,
        end_ns=2,
        frame_count=1,
        manifest=msgspec.msgpack.encode({"events": []}),
        at_ns=NOW_NS,
    )
    facts = LabelFacts(
        labeler="sim.sense.annotator:over",
        budget_tracks=1,
        choice="value",
        seed=0,
        clips=1,
        auto=0,
        reviewed=0,
        masked=0,
        questions=0,
        asked=0,
        asked_by_reason={},
        answered_by_category={},
        reviewer_tracks=0,
        reviewer_seconds=0.0,
    )
    yield RunRow(run_id="l-1", stage="label", state="done", facts=facts, at_ns=NOW_NS)
    yield BundleRow(
        bundle_id="b-2",
        profile="laptop",
        release_counter=2,
        run_id=None,
        manifest=b"",
        at_ns=NOW_NS,
    )


def _dataset() -> DatasetManifest:
    return DatasetManifest(
        dataset_id="d-edge",
        name="edge",
        split="train",
        blob_id="a" * 64,
        size_bytes=1,
        samples=1,
        places=1,
        clips=(CLIP_ID,),
        instances={},
        encounters={},
        label_sources={},
    )


def tree(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every name below a folder: its mode, its last change and its bytes."""
    found = {}
    for path in sorted(root.rglob("*")):
        about = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (about.st_mode, about.st_mtime_ns, content)
    return found


def run(capsys: pytest.CaptureFixture[str], command: str, state: Path, out: Path) -> Any:
    words = [word.format(out=out) for word in READS[command]]
    as_json = [] if command == "clips fetch" else ["--json"]
    with pytest.raises(SystemExit) as left:
        main([*command.split(), *words, "--state", str(state), *as_json])
    said = capsys.readouterr()
    assert not left.value.code, said.err
    return out.read_bytes() if command == "clips fetch" else json.loads(said.out)


def test_every_command_of_the_fleet_either_reads_or_writes() -> None:
    found = set()
    for name, group in GROUPS.items():
        if group.module.startswith("fleet."):
            entry = getattr(importlib.import_module(group.module), group.attribute)
            if isinstance(entry, typer.Typer):
                found |= {f"{name} {verb}" for verb in typer.main.get_group(entry).commands}
            else:
                found.add(name)
    assert found == set(READS) | WRITES


READ_ALL = """
import sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "scipy", "onnx", "onnxruntime", "sim", "alembic"}:
            raise ModuleNotFoundError(f"no {name} here", name=name)
sys.meta_path.insert(0, Ban())
from edge.cli.root import main
for line in sys.stdin:
    try:
        main(line.split())
    except SystemExit as left:
        assert not left.code, line
"""


def test_no_command_that_prints_rows_loads_a_network_or_a_simulator(
    state: StateFolder, tmp_path: Path
) -> None:
    lines = [
        " ".join((name, *words, "--state", str(state.root))).format(out=tmp_path / "out")
        for name, words in READS.items()
    ]
    command = [sys.executable, "-c", READ_ALL]
    said = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("command", READS)
def test_reading_leaves_every_name_and_byte_as_it_was(
    command: str, state: StateFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(state.root)
    assert run(capsys, command, state.root, tmp_path / "out")
    assert tree(state.root) == before


@pytest.mark.parametrize(
    "command", [name for name in READS if not READS[name]] + ["rollout status"]
)
def test_reading_an_empty_fleet_makes_nothing(
    command: str,
    empty: StateFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(READS, "rollout status", ())
    before = tree(empty.root)
    run(capsys, command, empty.root, tmp_path / "out")
    assert tree(empty.root) == before


@pytest.fixture
def mounted(state: StateFolder, tmp_path: Path) -> Iterator[Path]:
    """The same fleet on a mount that nobody can write to."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    bind = ["mount", "--bind", state.root, folder]
    if subprocess.run(bind, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True, capture_output=True)
        with pytest.raises(OSError, match="Read-only"):
            (folder / "x").touch()
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("is_log_left", [False, True])
def test_fleet_on_a_read_only_mount_can_be_looked_at(
    state: StateFolder,
    mounted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    is_log_left: bool,
) -> None:
    writer = Catalog(state.catalog) if is_log_left else None
    for command in READS:
        run(capsys, command, mounted, tmp_path / "out")
    if writer:
        writer.close()


def test_command_that_writes_says_that_the_folder_cannot_be_written(
    mounted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fleet", "revoke", "v-01", "--cause", "stolen", "--yes", "--state", str(mounted)])
    assert f"{mounted} cannot be written" in capsys.readouterr().err


def vehicle(name: str) -> VehicleRow:
    return VehicleRow(vehicle_id=name, profile="laptop", rig_id=None, at_ns=5)


def add(catalog: Catalog, name: str) -> None:
    with catalog.write(at_ns=5, actor="test") as tx:
        tx.add(vehicle(name))


def test_reader_sees_what_a_running_writer_committed(tmp_path: Path) -> None:
    writer = create_catalog(tmp_path / "catalog.sqlite")
    add(writer, "v-01")
    reader = Catalog(tmp_path / "catalog.sqlite", is_read_only=True)
    assert reader.all(VehicleRow) == [vehicle("v-01")]
    add(writer, "v-02")
    assert len(reader.all(VehicleRow)) == 2
    reader.close()
    writer.close()


def test_reader_cannot_write(tmp_path: Path) -> None:
    create_catalog(tmp_path / "catalog.sqlite").close()
    reader = Catalog(tmp_path / "catalog.sqlite", is_read_only=True)
    with pytest.raises(StoreUnavailableError, match="readonly"):
        add(reader, "v-01")
    reader.close()


def test_reader_makes_no_catalog(tmp_path: Path) -> None:
    with pytest.raises(RingroadError):
        Catalog(tmp_path / "catalog.sqlite", is_read_only=True).all(VehicleRow)
    assert not list(tmp_path.iterdir())


def test_log_that_a_backup_took_without_its_index_is_read_all_the_same(tmp_path: Path) -> None:
    writer = create_catalog(tmp_path / "catalog.sqlite")
    add(writer, "v-01")
    backup = tmp_path / "backup"
    backup.mkdir()
    for name in ("catalog.sqlite", "catalog.sqlite-wal"):
        shutil.copy(tmp_path / name, backup / name)
    writer.close()
    before = tree(backup)
    reader = Catalog(backup / "catalog.sqlite", is_read_only=True)
    assert reader.all(VehicleRow) == [vehicle("v-01")]
    reader.close()
    assert tree(backup) == before
