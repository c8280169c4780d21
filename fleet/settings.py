"""Settings of a fleet, given when it is made and when it is served, kept in its state folder."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from edge.contracts.errors import OperatorError
from fleet.catalog.address import Address, address_of
from fleet.disk import write_synced
from fleet.ingest import GatewaySettings, IngestSettings
from fleet.repository import Lifetimes
from fleet.state import StateFolder
from fleet.store import StoreSettings

SCHEMA = 1
"""Of the kept settings and the folder that they describe; 0 is what was written before it had one."""
_PRIVATE_MODE = 0o600


@dataclass
class FileServerSettings:
    """Limits of the server of update files."""

    header_timeout_s: float = 5.0
    """From the beginning of a connection to the end of its request's header."""
    piece_timeout_s: float = 30.0
    """For every 64 KiB of an answer; a slower client continues with a range request."""
    max_connections: int = 256
    """Most connections; never more than a quarter of the descriptors that the process may have, as vehicles
    need some."""


@dataclass
class ServiceSettings:
    """All settings of the fleet service; its YAML is conf/fleet.yaml."""

    state: str = ".ringroad/fleet"
    """Folder of catalog, keys, incoming clips, update files and, by default, blobs."""
    catalog_url: str = ""
    """A file or a SQLAlchemy URL; empty means SQLite in the state folder."""
    updates_host: str = "127.0.0.1"
    """Address on which update files are served."""
    updates_port: int = 0
    """Port 0 means any free one."""
    roster_max_age_s: float = 0.25
    """How long a revoked vehicle may still be served."""
    files: FileServerSettings = field(default_factory=FileServerSettings)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    store: StoreSettings = field(default_factory=StoreSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)


class _Schema(msgspec.Struct):
    schema: int = 0


def catalog_address(state: StateFolder, settings: ServiceSettings) -> Address:
    """Return where a fleet keeps its catalog.

    Raises:
        OperatorError: The catalog's URL is malformed or names no database that can be shared.
    """
    return address_of(settings.catalog_url or state.catalog)


def kept_settings(state: StateFolder) -> ServiceSettings | None:
    """Read a fleet's last settings; None when its folder holds none.

    Raises:
        OperatorError: The file is damaged, or a newer program wrote it.
    """
    try:
        content = state.settings.read_bytes()
        schema = msgspec.json.decode(content, type=_Schema).schema
        settings = msgspec.json.decode(content, type=ServiceSettings)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise OperatorError(
            f"{state.settings} holds no settings of a fleet: {error}; restore it from a backup"
        ) from error
    if schema > SCHEMA:
        raise OperatorError(
            f"{state.settings} has schema {schema}, and this program knows none after {SCHEMA}; "
            "use the newer program that wrote it"
        )
    return settings


def keep_settings(state: StateFolder, settings: ServiceSettings) -> None:
    """Keep a fleet's settings for commands that start elsewhere: paths are made absolute.

    The state folder itself is where the file lies, also after it was moved.
    """
    address, root = catalog_address(state, settings), settings.store.root
    settings = replace(settings, state=".")
    if settings.catalog_url and isinstance(address, Path):
        settings = replace(settings, catalog_url=str(address))
    if root:
        settings = replace(settings, store=replace(settings.store, root=str(Path(root).absolute())))
    values = {"schema": SCHEMA, **msgspec.to_builtins(settings)}
    text = msgspec.json.format(msgspec.json.encode(values, order="deterministic"), indent=2)
    write_synced(state.settings, text + b"\n", mode=_PRIVATE_MODE)
