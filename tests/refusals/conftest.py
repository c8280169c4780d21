"""What the refusals are tried on: a real ``ringroad fleet serve`` on loopback, and the command line."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.catalog import Catalog, ClipRow, QuarantineRow
from fleet.init import create_fleet
from fleet.settings import ServiceSettings
from fleet.state import StateFolder, read_service_card
from fleet.store import FolderStore

PATIENCE_S = 30.0
RINGROAD = str(Path(sys.executable).with_name("ringroad"))


class Fleet:
    """``ringroad fleet serve`` on one folder, to be killed and started again on the same address."""

    def __init__(self, root: Path) -> None:
        self.state = StateFolder(root / "state")
        self.log = root / "service.log"
        self.gateway = "tcp://127.0.0.1:0"
        create_fleet(ServiceSettings(state=str(self.state.root)), now_ns=time.time_ns())
        self.start()
        self.catalog = Catalog(self.state.catalog)
        self.store = FolderStore(self.state.store)

    def start(self) -> None:
        words = ["updates_port=0", f"gateway.bind={self.gateway}", "roster_max_age_s=0.0", "--json"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [RINGROAD, "fleet", "serve", *words, "--state", str(self.state.root)],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "it does not come up"
        card = read_service_card(self.state)
        assert card is not None, self.log.read_text()
        self.gateway, self.gateway_key, self.updates = card.gateway, card.gateway_key, card.updates

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop, or do not ask."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def part(self, clip: Any) -> Path:
        """Where the bytes of a clip lie that came so far."""
        return self.state.incoming / clip.manifest.vehicle_id / f"{clip.blob_id}.part"

    def clips(self, vehicle_id: str) -> list[ClipRow]:
        return self.catalog.all(ClipRow, vehicle_id=vehicle_id)

    def quarantined(self, vehicle_id: str) -> list[QuarantineRow]:
        return self.catalog.all(QuarantineRow, vehicle_id=vehicle_id)

    def events(self, vehicle_id: str) -> list[str]:
        """What was written down about a vehicle, its hash chain verified."""
        stream = f"vehicle/{vehicle_id}"
        self.catalog.verify_chain(stream)
        return [event.schema for event in self.catalog.events(stream)]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One service for all tests that leave it running."""
    yield from running(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def own_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A service that the test may kill."""
    yield from running(tmp_path)


def running(root: Path) -> Iterator[Fleet]:
    fleet = Fleet(root)
    try:
        yield fleet
    finally:
        fleet.end()
        fleet.catalog.close()


@pytest.fixture(scope="session")
def ringroad() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Type a command line."""

    def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        line = [RINGROAD, *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, check=False, cwd=cwd)

    return run
