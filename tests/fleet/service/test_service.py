"""The service as a whole: it starts once, can be found, stops cleanly, and stays light."""

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.contracts.errors import OperatorError
from edge.contracts.wire import Hello
from edge.upload import Outbox, Spool, Uplink, UplinkSettings, load_or_make_keys
from fleet.ingest import GatewaySettings
from fleet.init import create_fleet
from fleet.keys import Enrolment, enrol
from fleet.service import FleetService, ServiceSettings, StateFolder, read_service_card
from fleet.service.files import FileServerSettings

NOW_NS = 1_800_000_000 * 10**9
PATIENCE_S = 20.0
SERVE = "from edge.cli.root import main; main()"
ARGUMENTS = ("fleet", "serve", "updates_port=0", "gateway.bind=tcp://127.0.0.1:0", "--json")
LIGHT = """
import sys, time
from pathlib import Path
from fleet.init import create_fleet
from fleet.service import FleetService, ServiceSettings
settings = ServiceSettings(state=sys.argv[1])
create_fleet(settings, now_ns=time.time_ns())
service = FleetService(settings, now_ns=time.time_ns())
service.step(time.time_ns())
service.close()
import fleet.commands.fleet
print([name for name in ("torch", "onnxruntime", "scipy", "libsumo") if name in sys.modules])
"""


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    settings = ServiceSettings(state=str(tmp_path / "fleet"), gateway=GatewaySettings())
    create_fleet(settings, now_ns=NOW_NS)
    return settings


@pytest.fixture
def service(settings: ServiceSettings) -> Iterator[FleetService]:
    service = FleetService(settings, now_ns=NOW_NS)
    yield service
    service.close()


def test_a_running_service_can_be_found_and_a_stopped_one_not(settings: ServiceSettings) -> None:
    state = StateFolder(Path(settings.state))
    assert read_service_card(state) is None
    service = FleetService(settings, now_ns=NOW_NS)
    card = read_service_card(state)
    assert card == service.card
    assert card.gateway == service.gateway.endpoint and card.pid == os.getpid()
    service.close()
    assert read_service_card(state) is None
    assert not state.card.exists()


def test_a_card_that_a_killed_service_left_is_not_believed(settings: ServiceSettings) -> None:
    service = FleetService(settings, now_ns=NOW_NS)
    state = StateFolder(Path(settings.state))
    left_behind = state.card.read_bytes()
    service.close()
    state.card.write_bytes(left_behind)
    assert read_service_card(state) is None


def test_two_services_on_one_folder_are_refused(
    service: FleetService, settings: ServiceSettings
) -> None:
    with pytest.raises(OperatorError, match=f"process {os.getpid()} serves"):
        FleetService(settings, now_ns=NOW_NS)
    assert read_service_card(service.state) == service.card


def test_the_gateways_key_is_the_same_after_a_restart(settings: ServiceSettings) -> None:
    keys = set()
    for _ in range(2):
        service = FleetService(settings, now_ns=NOW_NS)
        keys.add(service.card.gateway_key)
        service.close()
    assert len(keys) == 1


def test_a_service_that_cannot_start_leaves_no_lock(
    settings: ServiceSettings, tmp_path: Path
) -> None:
    key = StateFolder(Path(settings.state)).gateway_key
    kept = key.read_bytes()
    key.write_bytes(b"spoiled")
    for _ in range(2):
        with pytest.raises(OperatorError, match="holds no CURVE key"):
            FleetService(settings, now_ns=NOW_NS)
    key.write_bytes(kept)
    FleetService(settings, now_ns=NOW_NS).close()


def test_an_address_that_is_taken_is_one_clear_line(service: FleetService, tmp_path: Path) -> None:
    create_fleet(ServiceSettings(state=str(tmp_path / "b")), now_ns=NOW_NS)
    gateway = GatewaySettings(bind=service.card.gateway)
    with pytest.raises(OperatorError, match="gateway cannot listen on"):
        FleetService(ServiceSettings(state=str(tmp_path / "b"), gateway=gateway), now_ns=NOW_NS)
    port = int(service.card.updates.rpartition(":")[2])
    with pytest.raises(OperatorError, match="update files cannot be served"):
        FleetService(ServiceSettings(state=str(tmp_path / "b"), updates_port=port), now_ns=NOW_NS)
    FleetService(ServiceSettings(state=str(tmp_path / "b")), now_ns=NOW_NS).close()


def test_patience_of_the_file_server_is_a_setting_of_the_service(settings: ServiceSettings) -> None:
    impatient = replace(settings, files=FileServerSettings(header_timeout_s=0.1))
    with closing(FleetService(impatient, now_ns=NOW_NS)) as service:
        host, port = service.card.updates.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=3.0) as silent:
            assert silent.recv(1) == b""


def test_update_files_are_served(service: FleetService) -> None:
    (service.state.updates / "timestamp.json").write_bytes(b"{}")
    with urllib.request.urlopen(f"{service.card.updates}/timestamp.json", timeout=10) as answer:
        assert answer.read() == b"{}"


def test_a_vehicle_that_is_enrolled_while_it_runs_is_welcomed(
    service: FleetService, tmp_path: Path
) -> None:
    keys = load_or_make_keys(tmp_path / "vehicle" / "keys")
    enrol(service.catalog, Enrolment("v-01", keys.curve_key, keys.report_key), at_ns=NOW_NS)
    uplink = Uplink(
        UplinkSettings(endpoint=service.card.gateway, server_key=service.card.gateway_key),
        keys,
        Hello(vehicle_id="v-01", boot_id="b", profile="laptop", bundle_id="b", release_counter=0),
        spool=Spool(tmp_path / "vehicle"),
        outbox=Outbox(tmp_path / "vehicle"),
        rng=random.Random(0),
    )
    deadline_s = time.monotonic() + PATIENCE_S
    while uplink.campaigns is None:
        assert time.monotonic() < deadline_s
        uplink.step(time.monotonic_ns())
        service.step(time.time_ns(), timeout_s=0.001)
    uplink.close()


def test_the_service_never_imports_torch(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", LIGHT, str(tmp_path / "fleet")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_asked_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    state = create_fleet(ServiceSettings(state=str(tmp_path / "fleet")), now_ns=NOW_NS)
    command = [sys.executable, "-c", SERVE, *ARGUMENTS, "--state", str(state.root)]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=buffered) as process:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        assert readable, "it did not say that it is ready"
        card = read_service_card(state)
        assert card is not None and card.pid == process.pid
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert json.loads(said)["gateway"] == card.gateway
    assert read_service_card(state) is None and not state.card.exists()
