"""Files of a fleet on disk, and the card by which others find its running service."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.contracts.errors import OperatorError
from edge.contracts.fields import Count, StampNs, Text
from fleet.disk import write_synced


@dataclass(frozen=True)
class StateFolder:
    """The fleet's folder: everything that must outlive its process."""

    root: Path

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        return self.root / "catalog.sqlite"

    @property
    def store(self) -> Path:
        """The blobs, when they live in a folder."""
        return self.root / "store"

    @property
    def incoming(self) -> Path:
        """Clips that are still coming in."""
        return self.root / "incoming"

    @property
    def updates(self) -> Path:
        """What the file server gives out: signed repositories and bundles."""
        return self.root / "updates"

    @property
    def gateway_key(self) -> Path:
        """The gateway's secret CURVE key."""
        return self.root / "keys" / "gateway.curve"

    @property
    def release_keys(self) -> Path:
        """The keys of both update repositories."""
        return self.root / "release-keys"

    @property
    def drafts(self) -> Path:
        """Release metadata that is not signed by enough people yet."""
        return self.root / "drafts"

    @property
    def settings(self) -> Path:
        """The service's last settings; only its owner can read the file, as it may hold a password."""
        return self.root / "settings.json"

    @property
    def card(self) -> Path:
        """The running service's card."""
        return self.root / "service.json"

    @property
    def lock(self) -> Path:
        """Held by the running service."""
        return self.root / "service.lock"


class ServiceCard(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and key of the running service; all of it public."""

    pid: Count
    gateway: Text
    """For instance ``tcp://127.0.0.1:7700``."""
    gateway_key: Text
    """Its public CURVE key, 40 characters of Z85."""
    updates: Text
    """For instance ``http://127.0.0.1:8400``."""
    started_ns: StampNs


def read_service_card(state: StateFolder) -> ServiceCard | None:
    """Read the card of the service that runs on this folder now; None when none does.

    A service that was killed leaves its card behind, but not its lock.
    """
    try:
        lock = os.open(state.lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _card(state)
    finally:
        os.close(lock)
    return None


def write_service_card(state: StateFolder, card: ServiceCard) -> None:
    """Write the card of a service that is ready, whole or not at all."""
    content = msgspec.json.format(msgspec.json.encode(card), indent=2)
    write_synced(state.card, content + b"\n")


def take_lock(state: StateFolder) -> int:
    """Become the one service on this folder; give the descriptor that holds the lock.

    Raises:
        OperatorError: Another one runs, or there is no such folder.
    """
    if not state.root.is_dir():
        raise OperatorError(
            f"there is no fleet at {state.root}: `ringroad fleet init --state {state.root}` makes one"
        )
    lock = os.open(state.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        card = _card(state)
        who = f"process {card.pid}" if card else "another process"
        raise OperatorError(
            f"{who} serves {state.root} already; stop it first, or name another state folder"
        ) from None
    return lock


def _card(state: StateFolder) -> ServiceCard | None:
    """Read the card; a service that is just starting has none yet."""
    try:
        return msgspec.json.decode(state.card.read_bytes(), type=ServiceCard)
    except FileNotFoundError:
        return None
