"""A fleet is made once, by `fleet init`, whole or not at all; an older one is migrated when asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.cli.root import main
from edge.contracts.errors import OperatorError
from fleet.catalog import VehicleRow
from fleet.fleet import open_fleet
from fleet.init import create_fleet, migrate_fleet
from fleet.service import FleetService, ServiceSettings, StateFolder
from fleet.settings import kept_settings
from fleet.store import StoreSettings

NOW_NS = 1_800_000_000 * 10**9
UNVERSIONED = (Path(__file__).parent / "catalog" / "unversioned.sql").read_text()


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


@pytest.fixture
def settings(state: StateFolder) -> ServiceSettings:
    return ServiceSettings(state=str(state.root))


@pytest.fixture
def run(state: StateFolder, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--state", str(state.root)])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_fleet_that_was_made_can_be_served_read_and_released_from(
    run: Callable[..., Any], state: StateFolder
) -> None:
    code, out, err = run("fleet", "init", "gateway.bind=tcp://127.0.0.1:*", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert made["catalog"] == str(state.catalog) and len(made["keys"]) == 14
    with open_fleet(state, actor="ada") as fleet:
        assert fleet.actor == "ada" and fleet.catalog.all(VehicleRow) == []
        assert fleet.image.released() == () and fleet.director.vehicles() == ()
        FleetService(replace(fleet.settings, state=str(state.root)), now_ns=NOW_NS).close()


@pytest.mark.parametrize(
    "name",
    ["catalog.sqlite", "settings.json", "keys/gateway.curve", "release-keys/root-a.pub", "store/x"],
)
def test_no_fleet_is_made_where_one_is_or_was(
    run: Callable[..., Any], state: StateFolder, name: str
) -> None:
    path = state.root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"left")
    code, _, err = run("fleet", "init")
    assert code == 1 and "there is, or was, one at" in err and name.split("/", maxsplit=1)[0] in err
    assert files(state.root) == {name: b"left"}


def test_second_init_changes_nothing(settings: ServiceSettings, state: StateFolder) -> None:
    create_fleet(settings, now_ns=NOW_NS)
    before = files(state.root)
    with pytest.raises(OperatorError, match="there is, or was, one at"):
        create_fleet(settings, now_ns=NOW_NS)
    assert files(state.root) == before


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"catalog_url": "mysql://h/d"}, "no catalog in 'mysql'"),
        ({"store": StoreSettings(kind="s3")}, "store s3 has no bucket"),
    ],
)
def test_fleet_that_cannot_be_made_whole_is_not_made_at_all(
    state: StateFolder, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(OperatorError, match=complaint):
        create_fleet(ServiceSettings(state=str(state.root), **changes), now_ns=NOW_NS)
    assert not list(state.root.parent.iterdir())


def test_empty_folder_will_do(settings: ServiceSettings, state: StateFolder) -> None:
    state.root.mkdir()
    create_fleet(settings, now_ns=NOW_NS)
    assert state.catalog.exists()


def test_service_keeps_what_init_was_told_and_takes_over_what_it_is_told_later(
    run: Callable[..., Any], state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[ServiceSettings] = []
    monkeypatch.setattr("fleet.commands.fleet.serve_fleet", lambda told, _: served.append(told))
    assert run("fleet", "init", "updates_port=7", "gateway.bind=tcp://127.0.0.1:1")[0] == 0
    assert run("fleet", "serve")[0] == run("fleet", "serve", "updates_port=8")[0] == 0
    assert [told.updates_port for told in served] == [7, 8]
    assert {told.gateway.bind for told in served} == {"tcp://127.0.0.1:1"}


def without_catalog(state: StateFolder) -> None:
    state.catalog.unlink()


def without_repositories(state: StateFolder) -> None:
    for path in sorted(state.updates.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def without_gateway_key(state: StateFolder) -> None:
    state.gateway_key.unlink()


def of_a_newer_program(state: StateFolder) -> None:
    values = json.loads(state.settings.read_bytes())
    state.settings.write_text(json.dumps({**values, "schema": 9}))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (without_catalog, "which is not there; restore it from a backup"),
        (without_repositories, "has no update repository in"),
        (without_gateway_key, "holds no CURVE key; restore it"),
        (of_a_newer_program, "has schema 9, and this program knows none after 1"),
    ],
)
def test_fleet_that_lacks_a_part_is_not_served_and_not_completed(
    settings: ServiceSettings,
    state: StateFolder,
    spoil: Callable[[StateFolder], None],
    complaint: str,
) -> None:
    create_fleet(settings, now_ns=NOW_NS)
    spoil(state)
    before = set(files(state.root))
    with pytest.raises(OperatorError, match=complaint):
        FleetService(settings, now_ns=NOW_NS)
    assert set(files(state.root)) - {"service.lock"} == before


@pytest.fixture
def old(state: StateFolder) -> StateFolder:
    """A fleet of the first lap: a vehicle is enrolled, and no service ever ran."""
    state.root.mkdir()
    with closing(sqlite3.connect(state.catalog)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; {UNVERSIONED}")
    return state


def test_old_fleet_is_refused_until_it_is_migrated_and_keeps_its_vehicles(
    old: StateFolder, run: Callable[..., Any]
) -> None:
    before = files(old.root)
    assert [row["vehicle_id"] for row in json.loads(run("fleet", "vehicles", "--json")[1])] == [
        "v-01"
    ]
    code, _, err = run("fleet", "revoke", "v-01", "--cause", "sold", "--yes")
    assert code == 1 and "`ringroad fleet migrate`" in err
    assert files(old.root) == before
    code, out, err = run("fleet", "migrate", "--yes", "--json")
    assert code == 0, err
    assert json.loads(out) == {"revision": "0002", "before": "0001"}
    assert run("fleet", "revoke", "v-01", "--cause", "sold", "--yes")[0] == 0
    assert run("bundle", "list")[0] == run("rollout", "status", "r-1")[0] == 0


def test_migration_makes_no_key_in_the_place_of_a_lost_one(
    settings: ServiceSettings, state: StateFolder
) -> None:
    create_fleet(settings, now_ns=NOW_NS)
    without_gateway_key(state)
    before = {name: content for name, content in files(state.root).items() if "keys" in name}
    migrate_fleet(state, now_ns=NOW_NS)
    assert {k: v for k, v in files(state.root).items() if "keys" in k} == before


def test_fleet_is_not_migrated_under_its_running_service(
    settings: ServiceSettings, state: StateFolder
) -> None:
    create_fleet(settings, now_ns=NOW_NS)
    with (
        closing(FleetService(settings, now_ns=NOW_NS)),
        pytest.raises(OperatorError, match="serves"),
    ):
        migrate_fleet(state, now_ns=NOW_NS)


def test_lost_settings_are_written_anew_with_the_catalog_that_is_named(
    settings: ServiceSettings, state: StateFolder, tmp_path: Path, run: Callable[..., Any]
) -> None:
    settings.catalog_url = str(tmp_path / "real.db")
    create_fleet(settings, now_ns=NOW_NS)
    state.settings.unlink()
    code, _, err = run("fleet", "migrate", "--yes")
    assert code == 1 and "there is no fleet at" in err
    assert run("fleet", "migrate", "--yes", "--catalog-url", settings.catalog_url)[0] == 0
    kept = kept_settings(state)
    assert kept is not None and kept.catalog_url == settings.catalog_url
    assert not state.catalog.exists()


def test_reading_needs_no_private_key_and_no_repository(
    settings: ServiceSettings, state: StateFolder
) -> None:
    create_fleet(settings, now_ns=NOW_NS)
    without_repositories(state)
    with open_fleet(state, is_read_only=True) as fleet:
        assert fleet.image.released() == ()


@pytest.mark.parametrize("verb", ["init", "serve"])
def test_a_folder_that_is_named_by_a_word_is_not_taken_for_another(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(["fleet", verb, "state=mine"])
    assert "say --state mine" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
