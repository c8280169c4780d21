"""Assemble the parts of the service, run them, and stop them cleanly."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from fleet.fleet import open_fleet
from fleet.ingest import Gateway, Intake
from fleet.keys import Roster, load_gateway_key
from fleet.service.files import FileServer
from fleet.service.renew import Renewal
from fleet.settings import ServiceSettings, keep_settings
from fleet.state import ServiceCard, StateFolder, take_lock, write_service_card
from fleet.store import FolderStore

_log = logging.getLogger(__name__)

_STEP_S = 0.2
"""Longest wait for a message, and so the longest delay of a request to stop."""
_OLD_WRITE_S = 3600.0
"""Age of a write to the store, in seconds, from which it counts as abandoned."""


class FleetService:
    """The running service on one state folder."""

    def __init__(self, settings: ServiceSettings, *, now_ns: int) -> None:
        """Open everything, prove that unregistered keys are refused, and publish the card.

        Raises:
            OperatorError: There is no fleet in this folder, another service runs on it, it keeps its catalog
                elsewhere, a setting makes no sense, or the gateway would let unregistered keys in.
            StoreUnavailableError: Catalog or store cannot be opened.
        """
        self.state = StateFolder(Path(settings.state))
        with ExitStack() as stack:
            lock = take_lock(self.state)
            stack.callback(os.close, lock)
            fleet = stack.enter_context(open_fleet(self.state, actor="service", settings=settings))
            self.catalog, self.store = fleet.catalog, fleet.store
            if isinstance(self.store, FolderStore):
                self.store.sweep(now_ns / 1e9 - _OLD_WRITE_S)
            self.gateway = self._open_gateway(settings)
            stack.callback(self.gateway.close)
            self.gateway.self_test()
            self._renewal = Renewal(fleet.image, fleet.director)
            files = FileServer(
                self.state.updates, settings.updates_host, settings.updates_port, settings.files
            )
            stack.callback(files.close)
            self.card = ServiceCard(
                pid=os.getpid(),
                gateway=self.gateway.endpoint,
                gateway_key=self.gateway.public_key,
                updates=files.url,
                started_ns=now_ns,
            )
            keep_settings(self.state, settings)
            write_service_card(self.state, self.card)
            stack.callback(self.state.card.unlink, missing_ok=True)
            self._open = stack.pop_all()

    def step(self, now_ns: int, timeout_s: float = 0.0) -> None:
        """Serve what is there, waiting for it at most ``timeout_s``, and renew what is half spent.

        Args:
            now_ns: UTC.
        """
        self._renewal.step(now_ns)
        self.gateway.step(now_ns, timeout_s)

    def close(self) -> None:
        """Remove the card and close everything, in reverse order."""
        self._open.close()

    def _open_gateway(self, settings: ServiceSettings) -> Gateway:
        intake = Intake(self.catalog, self.store, self.state.incoming, settings.ingest)
        secret_key = load_gateway_key(self.state.gateway_key)
        roster = Roster(self.catalog, settings.roster_max_age_s)
        return Gateway(settings.gateway, secret_key, intake, roster)


def serve(settings: ServiceSettings, on_ready: Callable[[ServiceCard], None]) -> None:
    """Run the service until SIGTERM or SIGINT.

    Args:
        settings: See ``ServiceSettings``.
        on_ready: Called once when vehicles can connect.
    """
    is_stopped = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal is_stopped
        is_stopped = True
        _log.info("service_asked_to_stop", extra={"signal": number})

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        service = FleetService(settings, now_ns=time.time_ns())
        try:
            on_ready(service.card)
            while not is_stopped:
                service.step(time.time_ns(), _STEP_S)
        finally:
            service.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
