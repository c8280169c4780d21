"""One fleet has one catalog: the one that its service serves, from every folder and for every command."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.cli.root import main
from edge.contracts.errors import OperatorError
from edge.upload import load_or_make_keys
from fleet.catalog import Catalog, VehicleRow, create_catalog
from fleet.catalog.address import address_of, shown
from fleet.fleet import open_fleet
from fleet.init import create_fleet
from fleet.service import FleetService, ServiceSettings, StateFolder
from fleet.store import FolderStore, StoreSettings

NOW_NS = 1_800_000_000 * 10**9
PASSWORD = "hunter2"
SERVER = f"postgresql+psycopg://fleet:{PASSWORD}@db.example:5433/ringroad?password={PASSWORD}"


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


@pytest.fixture
def run(state: StateFolder, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--state", str(state.root)])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def enrolment(tmp_path: Path) -> tuple[str, ...]:
    keys = load_or_make_keys(tmp_path / "keys")
    return (
        *("fleet", "enrol", "--vehicle", "v-01"),
        *("--curve-key", keys.curve_key, "--report-key", keys.report_key, "--json"),
    )


@pytest.fixture
def elsewhere(
    state: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A service whose catalog and blobs lie where a relative path of its own folder leads."""
    monkeypatch.chdir(tmp_path)
    settings = ServiceSettings(
        state=str(state.root),
        catalog_url="sqlite:///real.db",
        store=StoreSettings(root="blobs"),
    )
    create_fleet(settings, now_ns=NOW_NS)
    service = FleetService(settings, now_ns=NOW_NS)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    yield tmp_path / "real.db"
    service.close()


def vehicles_in(path: Path) -> list[str]:
    catalog = Catalog(path, is_read_only=True)
    found = [row.vehicle_id for row in catalog.all(VehicleRow)]
    catalog.close()
    return found


def test_commands_open_the_catalog_that_the_service_serves(
    elsewhere: Path, state: StateFolder, run: Callable[..., Any], enrolment: tuple[str, ...]
) -> None:
    assert run(*enrolment)[0] == 0
    assert vehicles_in(elsewhere) == ["v-01"]
    assert not state.catalog.exists()
    assert not list(Path.cwd().iterdir())
    assert [row["vehicle_id"] for row in json.loads(run("fleet", "vehicles", "--json")[1])] == [
        "v-01"
    ]
    assert run("dataset", "list", "--json")[1] == "[]\n"


def test_commands_open_the_blobs_that_the_service_serves(
    elsewhere: Path, state: StateFolder
) -> None:
    with open_fleet(state) as fleet:
        assert isinstance(fleet.store, FolderStore)
        assert fleet.store.root == elsewhere.parent / "blobs"


def test_catalog_that_went_away_is_not_replaced_by_an_empty_one(
    state: StateFolder, tmp_path: Path, run: Callable[..., Any], enrolment: tuple[str, ...]
) -> None:
    settings = ServiceSettings(state=str(state.root), catalog_url=str(tmp_path / "real.db"))
    create_fleet(settings, now_ns=NOW_NS)
    (tmp_path / "real.db").unlink()
    for words in (enrolment, ("fleet", "status"), ("bundle", "list")):
        code, _, err = run(*words)
        assert code == 1 and f"keeps its catalog in {tmp_path / 'real.db'}" in err
    assert not state.catalog.exists() and not (tmp_path / "real.db").exists()


def test_fleet_whose_settings_are_lost_gets_no_second_catalog(
    elsewhere: Path, state: StateFolder, run: Callable[..., Any], enrolment: tuple[str, ...]
) -> None:
    state.settings.unlink()
    code, _, said = run(*enrolment)
    assert code == 1 and "has no settings.json: `ringroad fleet migrate` writes it" in said
    assert not state.catalog.exists() and vehicles_in(elsewhere) == []


def test_folder_without_a_fleet_stays_empty(
    state: StateFolder, run: Callable[..., Any], enrolment: tuple[str, ...]
) -> None:
    for words in (
        *(("fleet", "status"), ("clips", "list"), ("fleet", "revoke", "v", "--cause", "c")),
        *(("fleet", "serve"), ("bundle", "list"), ("bundle", "sign", "release-a"), enrolment),
    ):
        code, _, err = run(*words)
        assert code == 1 and f"`ringroad fleet init --state {state.root}` makes one" in err
    assert not state.root.exists()


@pytest.mark.parametrize("is_default_first", [True, False])
def test_fleet_is_not_served_from_a_second_catalog(
    state: StateFolder, tmp_path: Path, is_default_first: bool
) -> None:
    words = ["", str(tmp_path / "real.db")]
    first, second = words if is_default_first else reversed(words)
    create_fleet(ServiceSettings(state=str(state.root), catalog_url=first), now_ns=NOW_NS)
    kept = state.settings.read_bytes()
    with pytest.raises(OperatorError, match="keeps its catalog in"):
        FleetService(ServiceSettings(state=str(state.root), catalog_url=second), now_ns=NOW_NS)
    assert state.settings.read_bytes() == kept
    FleetService(ServiceSettings(state=str(state.root), catalog_url=first), now_ns=NOW_NS).close()


def test_fleet_that_moved_takes_its_catalog_along(state: StateFolder, tmp_path: Path) -> None:
    create_fleet(ServiceSettings(state=str(state.root)), now_ns=NOW_NS)
    moved = StateFolder(state.root.rename(tmp_path / "moved"))
    with open_fleet(moved) as fleet:
        assert fleet.catalog.all(VehicleRow) == []
    assert not state.root.exists()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://u:hunter2@h/d", "no catalog in 'mysql'"),
        ("sqlite+aiosqlite:///a.db", "no catalog in 'sqlite+aiosqlite'"),
        ("sqlite://", "expected sqlite:///PATH"),
        ("sqlite:///:memory:", "expected sqlite:///PATH"),
        ("sqlite:///file:a.db?mode=ro&uri=true", "expected sqlite:///PATH"),
        ("postgresql://u:hunter2@h:port/d", "malformed"),
        ("://u:hunter2@h", "malformed"),
        ("postgresql+nosuch://u:hunter2@h/d", "there is no driver 'postgresql+nosuch'"),
        (SERVER, "needs the Python package psycopg"),
    ],
)
def test_url_that_cannot_be_honoured_is_one_sentence_without_the_password(
    state: StateFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., Any],
    url: str,
    complaint: str,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    words = (f"catalog_url={url}", "updates_port=0", "gateway.bind=tcp://127.0.0.1:*")
    code, out, err = run("fleet", "init", *words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert complaint in err and PASSWORD not in err
    assert not list(state.root.parent.glob("*state*"))

    state.root.mkdir()
    state.settings.write_bytes(msgspec.json.encode(ServiceSettings(catalog_url=url)))
    for command in (("fleet", "status"), ("dataset", "list"), ("fleet", "propose", __file__)):
        code, _, err = run(*command)
        assert code == 1 and PASSWORD not in err
    assert not state.catalog.exists()


def test_settings_with_a_password_are_read_by_their_owner_alone(state: StateFolder) -> None:
    create_fleet(ServiceSettings(state=str(state.root)), now_ns=NOW_NS)
    assert stat.S_IMODE(state.settings.stat().st_mode) == 0o600
    state.settings.chmod(0o644)
    FleetService(ServiceSettings(state=str(state.root)), now_ns=NOW_NS).close()
    assert stat.S_IMODE(state.settings.stat().st_mode) == 0o600


def test_server_is_shown_without_user_password_and_options() -> None:
    assert shown(address_of(SERVER)) == "postgresql://db.example:5433/ringroad"


def test_damaged_settings_are_one_sentence(state: StateFolder, run: Callable[..., Any]) -> None:
    state.root.mkdir()
    state.settings.write_text("{torn")
    code, _, err = run("fleet", "status")
    assert code == 1 and "holds no settings" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["pct%20", "build%2Fmain", "what?", "a#b", "a b", "jörg", "file:a", "a;b", ":memory:"]
)
@pytest.mark.parametrize("is_url", [False, True])
def test_catalog_lies_in_the_folder_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_url: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(name)
    where: Path | str = str(folder / "catalog.sqlite") if is_url else folder / "catalog.sqlite"
    create_catalog(where).close()
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted([name, "catalog.sqlite"])
    reader = Catalog(where, is_read_only=True)
    assert reader.all(VehicleRow) == []
    reader.close()
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted([name, "catalog.sqlite"])


@pytest.mark.parametrize("name", ["jörg", "a=b", "fleet (copy)", "a,b", "a#b", "what?", "pct%20"])
def test_service_runs_on_the_folder_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(settings: ServiceSettings, _: object) -> None:
        FleetService(settings, now_ns=NOW_NS).close()

    monkeypatch.setattr("fleet.commands.fleet.serve_fleet", look)
    words = ("updates_port=0", "gateway.bind=tcp://127.0.0.1:*", f"store.root={tmp_path / name}-s")
    for verb in (("init", *words), ("serve",)):
        with pytest.raises(SystemExit) as left:
            main(["fleet", *verb, "--state", str(tmp_path / name)])
        assert not left.value.code, capsys.readouterr().err
    state = StateFolder(tmp_path / name)
    assert state.catalog.exists() and state.settings.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"{name}-s"])
