"""Update metadata stay alive while the service runs, whatever is in its way, and by its keys alone."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.cli.root import main
from edge.contracts.time import NS_PER_S
from edge.ota.disk import LocalDisk
from edge.ota.fetch import FetchSettings, HttpLink
from edge.ota.metadata import Identity, Repositories, TrustAnchors
from edge.ota.refusal import Refusal, RefusalKind
from fleet.fleet import open_repositories
from fleet.init import create_fleet
from fleet.repository import Lifetimes, warnings_of
from fleet.repository import metadata as repository_metadata
from fleet.repository.metadata import alone
from fleet.service import FleetService, ServiceSettings, StateFolder, expiries_of
from fleet.service.renew import Renewal
from fleet.work.workspace import Workspace

NOW_NS = 1_800_000_000 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """A fleet of two vehicles whose metadata were signed now."""
    state = create_fleet(ServiceSettings(state=str(tmp_path / "fleet")), now_ns=NOW_NS)
    _, director = open_repositories(state)
    for vehicle in ("car-1", "car-2"):
        director.enrol(vehicle, NOW_NS)
    return state


@pytest.fixture
def service(state: StateFolder) -> Iterator[FleetService]:
    service = FleetService(ServiceSettings(state=str(state.root)), now_ns=NOW_NS)
    yield service
    service.close()


def test_metadata_live_as_long_as_the_service_was_told(state: StateFolder) -> None:
    lifetimes = Lifetimes(timestamp_days=2.0)
    settings = ServiceSettings(state=str(state.root), lifetimes=lifetimes)
    with closing(FleetService(settings, now_ns=NOW_NS)) as service:
        service.step(NOW_NS + 13 * HOUR_NS)
        assert set(timestamps(state).values()) == {NOW_NS + 13 * HOUR_NS + 2 * DAY_NS}
    image, _ = open_repositories(state)
    image.renew(NOW_NS + 40 * HOUR_NS)
    assert max(timestamps(state).values()) == NOW_NS + 40 * HOUR_NS + 2 * DAY_NS


def vehicle_of(state: StateFolder, url: str, disk: Path) -> Repositories:
    image, director = open_repositories(state)
    return Repositories(
        base_url=url,
        identity=Identity("car-1", "laptop"),
        anchors=TrustAnchors(image.root_bytes(), director.root_bytes()),
        disk=LocalDisk(disk),
        link=HttpLink(FetchSettings()),
    )


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def timestamps(state: StateFolder) -> dict[str, int]:
    """When each timestamp expires, by its file."""
    ends, _ = expiries_of(*open_repositories(state))
    return {end.file: end.expires_ns for end in ends if end.role == "timestamp"}


def test_ten_days_pass_and_a_vehicle_that_looks_every_day_is_always_answered(
    service: FleetService, state: StateFolder, tmp_path: Path
) -> None:
    vehicle = vehicle_of(state, service.card.updates, tmp_path / "car")
    for hour in range(1, 10 * 24 + 1):
        now_ns = NOW_NS + hour * HOUR_NS
        service.step(now_ns)
        if hour % 24 == 0:
            assert vehicle.check(now_ns) is None, f"hour {hour}"


def test_without_the_service_nobody_answers_after_a_day(
    service: FleetService, state: StateFolder, tmp_path: Path
) -> None:
    vehicle = vehicle_of(state, service.card.updates, tmp_path / "car")
    assert vehicle.check(NOW_NS + 23 * HOUR_NS) is None
    late = vehicle.check(NOW_NS + 25 * HOUR_NS)
    assert isinstance(late, Refusal) and late.kind is RefusalKind.EXPIRED


def test_service_that_was_off_for_a_week_renews_at_its_first_step(
    service: FleetService, state: StateFolder, tmp_path: Path
) -> None:
    vehicle = vehicle_of(state, service.card.updates, tmp_path / "car")
    service.step(NOW_NS + 7 * DAY_NS)
    assert vehicle.check(NOW_NS + 7 * DAY_NS) is None


def test_nothing_is_written_before_half_of_its_life_is_over(state: StateFolder) -> None:
    before, renewal = tree(state.root), Renewal(*open_repositories(state))
    for hour in range(12):
        renewal.step(NOW_NS + hour * HOUR_NS)
    assert tree(state.root) == before
    renewal.step(NOW_NS + 13 * HOUR_NS)
    assert set(timestamps(state).values()) == {NOW_NS + 37 * HOUR_NS}


def test_fleet_that_never_released_anything_gets_nothing(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    Renewal(*open_repositories(state)).step(NOW_NS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("repository", ["image", "director"])
def test_publication_of_another_process_is_neither_disturbed_nor_waited_for(
    state: StateFolder, repository: str
) -> None:
    renewal, later_ns = Renewal(*open_repositories(state)), NOW_NS + 13 * HOUR_NS
    lock = {"image": state.drafts / "lock", "director": state.updates / "director" / ".lock"}
    before = {name: data for name, data in tree(state.updates).items() if repository in name}
    with alone(lock[repository]):
        renewal.step(later_ns)
        during = {name: data for name, data in tree(state.updates).items() if repository in name}
    assert during == before
    renewal.step(later_ns + 60 * NS_PER_S)
    assert min(timestamps(state).values()) > later_ns + 23 * HOUR_NS


def test_full_disk_is_logged_and_tried_again(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    renewal, later_ns = Renewal(*open_repositories(state)), NOW_NS + 13 * HOUR_NS
    with monkeypatch.context() as patch:
        patch.setattr(repository_metadata, "write_atomically", full)
        renewal.step(later_ns)
    (logged,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert logged.message == "metadata_not_renewed"
    assert logged.__dict__["count"] == 3 and "No space" in logged.__dict__["first"]
    renewal.step(later_ns + 59 * NS_PER_S)
    assert set(timestamps(state).values()) == {NOW_NS + DAY_NS}, "not in every step"
    renewal.step(later_ns + 60 * NS_PER_S)
    assert min(timestamps(state).values()) > later_ns


@pytest.mark.parametrize("lacking", ["*", "*-timestamp", "*-snapshot"])
def test_machine_without_the_private_keys_writes_nothing_and_goes_on(
    state: StateFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture, lacking: str
) -> None:
    away = tmp_path / "elsewhere"
    away.mkdir()
    for key in state.release_keys.glob(f"{lacking}.pem"):
        shutil.move(key, away / key.name)
    before, renewal = tree(state.updates), Renewal(*open_repositories(state))
    renewal.step(NOW_NS + 13 * HOUR_NS)
    assert tree(state.updates) == before | {"director/.lock": b""}
    assert "metadata_not_renewed" in caplog.messages
    for key in away.iterdir():
        shutil.move(key, state.release_keys / key.name)
    renewal.step(NOW_NS + 14 * HOUR_NS)
    assert min(timestamps(state).values()) == NOW_NS + 38 * HOUR_NS


@pytest.mark.parametrize("held", [b"", b'{"keyid": "a", "key": null}', b"[" * 10**5])
@pytest.mark.parametrize("half", ["pub", "pem"])
def test_damaged_key_file_does_not_end_the_service(
    state: StateFolder, caplog: pytest.LogCaptureFixture, half: str, held: bytes
) -> None:
    (state.release_keys / f"image-timestamp.{half}").write_bytes(held)
    Renewal(*open_repositories(state)).step(NOW_NS + 13 * HOUR_NS)
    assert "metadata_not_renewed" in caplog.messages
    assert timestamps(state)["image/metadata/timestamp.json"] == NOW_NS + DAY_NS


def test_director_without_its_targets_key_keeps_the_rest_alive(state: StateFolder) -> None:
    (state.release_keys / "director-targets.pem").unlink()
    renewal, later_ns = Renewal(*open_repositories(state)), NOW_NS + 100 * DAY_NS
    targets = [data for name, data in tree(state.updates).items() if "targets" in name]
    renewal.step(later_ns)
    assert [data for name, data in tree(state.updates).items() if "targets" in name] == targets
    assert min(timestamps(state).values()) == later_ns + DAY_NS


def test_one_vehicles_damaged_metadata_leave_the_others_alone(state: StateFolder) -> None:
    damaged = state.updates / "director/car-1/metadata/timestamp.json"
    damaged.write_bytes(b"{torn")
    Renewal(*open_repositories(state)).step(NOW_NS + 13 * HOUR_NS)
    ends, faults = expiries_of(*open_repositories(state))
    other = [e.expires_ns for e in ends if e.file == "director/car-2/metadata/timestamp.json"]
    assert other == [NOW_NS + 37 * HOUR_NS]
    assert len(faults) == 1 and "director/car-1" in faults[0]


def test_clock_that_was_a_year_ahead_does_not_stop_renewal(state: StateFolder) -> None:
    renewal = Renewal(*open_repositories(state))
    renewal.step(NOW_NS + 365 * DAY_NS)
    shutil.rmtree(state.updates)
    image, director = open_repositories(state)
    image.create(NOW_NS)
    director.create(NOW_NS)
    director.enrol("car-1", NOW_NS)
    renewal.step(NOW_NS + 13 * HOUR_NS)
    assert set(timestamps(state).values()) == {NOW_NS + 37 * HOUR_NS}


def test_many_vehicles_are_renewed_in_bounded_pieces(state: StateFolder) -> None:
    _, director = open_repositories(state)
    for number in range(3, 41):
        director.enrol(f"car-{number}", NOW_NS)
    renewal, later_ns = Renewal(*open_repositories(state)), NOW_NS + 13 * HOUR_NS
    renewal.step(later_ns)
    fresh = [end for end in timestamps(state).values() if end > later_ns + 12 * HOUR_NS]
    assert 0 < len(fresh) <= 16
    for second in range(1, 5):
        renewal.step(later_ns + second * NS_PER_S)
    assert min(timestamps(state).values()) >= later_ns + DAY_NS


@pytest.mark.parametrize(
    ("days", "named"),
    [
        (0.0, []),
        (0.9, ["timestamp.json"]),
        (1.1, ["timestamp.json"]),
        (150.0, ["timestamp.json", "1.targets.json"]),
        (300.0, ["timestamp.json", "1.targets.json", "1.root.json"]),
    ],
)
def test_what_is_near_its_end_is_named_with_its_remedy(
    state: StateFolder, days: float, named: list[str]
) -> None:
    ends, _ = expiries_of(*open_repositories(state))
    said = warnings_of(ends, NOW_NS + round(days * DAY_NS))
    assert len(said) == len(named)
    for name in named:
        (line,) = [line for line in said if f"/{name} " in line]
        assert ("expired" in line) == (days > Lifetimes().of(name.split(".")[-2]).days)


class Shell:
    """Runs `ringroad …` on one state folder."""

    def __init__(self, state: StateFolder, capsys: pytest.CaptureFixture[str]) -> None:
        self._state, self._capsys = state, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--state", str(self._state.root)])
        said = self._capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    def json(self, *words: str) -> Any:
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(state: StateFolder, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(state, capsys)


assert Workspace.now_ns is time.time_ns
"""Imported before any test sets the clock, which would stay its default."""


def at(monkeypatch: pytest.MonkeyPatch, now_ns: int) -> None:
    monkeypatch.setattr("time.time_ns", lambda: now_ns)


def test_status_shows_what_expires_next_and_what_people_must_sign(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, NOW_NS)
    status = shell.json("fleet", "status")
    assert status["next_expiry_file"].endswith("timestamp.json")
    assert status["next_expiry"] == "2027-01-16T08:00:00Z"
    assert status["targets_expire"] == "2027-07-14T08:00:00Z"
    assert status["roots_expire"] == "2028-01-15T08:00:00Z"
    assert status["warnings"] == []
    at(monkeypatch, NOW_NS + 20 * HOUR_NS)
    (warning,) = shell.json("fleet", "status")["warnings"]
    assert "expires 2027-01-16T08:00:00Z" in warning and "ringroad fleet serve" in warning


def test_status_of_damaged_metadata_is_a_warning(shell: Shell, state: StateFolder) -> None:
    (state.updates / "image/metadata/timestamp.json").write_bytes(b"{torn")
    assert "image cannot be read" in shell.json("fleet", "status")["warnings"][0]


def test_operator_renews_by_hand(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, NOW_NS + 2 * DAY_NS)
    renewed = shell.json("bundle", "renew")
    assert renewed["renewed"] == ["image", "car-1", "car-2"]
    assert renewed["next_expiry"] == "2027-01-18T08:00:00Z"
    assert shell.json("bundle", "renew")["renewed"] == []


def test_what_cannot_be_renewed_is_named_and_fails(
    shell: Shell, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, NOW_NS + 13 * HOUR_NS)
    (state.updates / "director/car-1/metadata/timestamp.json").write_bytes(b"{torn")
    code, out, err = shell("bundle", "renew", "--json")
    assert (code, json.loads(out)["renewed"]) == (1, ["image", "car-2"])
    assert "car-1" in err


def test_list_of_bundles_is_signed_afresh_by_two_people(
    shell: Shell, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_ns = NOW_NS + 170 * DAY_NS
    at(monkeypatch, later_ns)
    assert shell.json("bundle", "renew", "--targets")["is_drafted"]
    code, _, err = shell("bundle", "renew", "--targets")
    assert code == 1 and "there is a draft" in err
    for key in ("release-a", "release-b"):
        shell.json("bundle", "sign", key)
    shell.json("bundle", "publish", "--yes")
    image, _ = open_repositories(state)
    assert image.expiries_ns()["targets"] == later_ns + 180 * DAY_NS
    assert shell.json("fleet", "status")["targets_expire"] == "2027-12-31T08:00:00Z"
