"""Open what a fleet's service serves: its catalog and its blobs, the same for every command.

The service keeps its settings in the state folder before it says that it is ready. A command that opened
``catalog.sqlite`` because it is the default would found a second fleet beside the one that is served.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from edge.contracts.errors import OperatorError
from fleet.catalog import Catalog, create_catalog
from fleet.catalog.address import Address, address_of, is_same, shown
from fleet.disk import write_synced
from fleet.repository import DirectorRepository, ImageRepository, KeyRing
from fleet.service.settings import ServiceSettings
from fleet.service.state import StateFolder
from fleet.store import BlobStore, open_store

_PRIVATE_MODE = 0o600


@dataclass(frozen=True)
class ServedFleet:
    """A fleet's catalog and blobs."""

    catalog: Catalog
    store: BlobStore


@contextmanager
def open_served(
    state: StateFolder, *, is_read_only: bool = False, may_found: bool = False
) -> Iterator[ServedFleet]:
    """Open the catalog and the store that the service of this folder serves.

    Args:
        state: The fleet's folder.
        is_read_only: Make and change nothing.
        may_found: Make a fleet where there is none; never where one is, or was, served elsewhere.

    Raises:
        OperatorError: There is no fleet, its catalog is not where the service serves it, or the
            catalog cannot be opened from here.
    """
    kept = kept_settings(state)
    settings = kept or ServiceSettings()
    address = _address(state, settings)
    was_served = kept is not None or state.gateway_key.exists()
    if isinstance(address, Path) and not address.exists() and not (may_found and not was_served):
        raise OperatorError(_nothing_at(address, state, kept))
    if isinstance(address, Path) and address.exists() and not is_read_only:
        _refuse_unwritable(address.parent)
    where = settings.catalog_url or state.catalog
    catalog = Catalog(where, is_read_only=True) if is_read_only else open_or_create(state, settings)
    try:
        store = open_store(settings.store, state.store, is_read_only=is_read_only)
        yield ServedFleet(catalog, store)
    finally:
        catalog.close()


def open_or_create(state: StateFolder, settings: ServiceSettings) -> Catalog:
    """Open a fleet's catalog to write; a file that is not there yet is made."""
    address = _address(state, settings)
    if isinstance(address, Path) and not address.exists():
        return create_catalog(address)
    return Catalog(settings.catalog_url or state.catalog)


def open_repositories(state: StateFolder) -> tuple[ImageRepository, DirectorRepository]:
    """Open both update repositories of a state folder, without touching anything."""
    keys = KeyRing(state.release_keys)
    image = ImageRepository(state.updates, state.drafts, keys)
    return image, DirectorRepository(state.updates, keys)


def kept_settings(state: StateFolder) -> ServiceSettings | None:
    """Read what the service was told last; None when none ever ran here.

    Raises:
        OperatorError: The file is damaged.
    """
    try:
        return msgspec.json.decode(state.settings.read_bytes(), type=ServiceSettings)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise OperatorError(
            f"{state.settings} holds no settings of a fleet service: {error}; restore it, or remove "
            "it where the service was never told another catalog or store"
        ) from error


def keep_settings(state: StateFolder, settings: ServiceSettings) -> None:
    """Keep what the service was told, for commands that start elsewhere: paths are absolute.

    The state folder itself is where the file lies, also after it was moved.
    """
    address, root = _address(state, settings), settings.store.root
    settings = replace(settings, state=".")
    if settings.catalog_url and isinstance(address, Path):
        settings = replace(settings, catalog_url=str(address))
    if root:
        settings = replace(settings, store=replace(settings.store, root=str(Path(root).absolute())))
    text = msgspec.json.format(msgspec.json.encode(settings, order="deterministic"), indent=2)
    write_synced(state.settings, text + b"\n", mode=_PRIVATE_MODE)


def refuse_second_catalog(state: StateFolder, settings: ServiceSettings) -> None:
    """Refuse to serve another catalog than the one in which this fleet's vehicles stand.

    Raises:
        OperatorError: They are two.
    """
    kept = kept_settings(state)
    if kept is None and not state.catalog.exists():
        return
    present, asked = _address(state, kept or ServiceSettings()), _address(state, settings)
    if not is_same(present, asked):
        raise OperatorError(
            f"the fleet at {state.root} keeps its catalog in {shown(present)}, not in {shown(asked)}, "
            "where none of its vehicles stands; name another state folder for another fleet"
        )


def _nothing_at(address: Path, state: StateFolder, kept: ServiceSettings | None) -> str:
    """Say what is missing; a gateway's key without settings is left by a service that kept none."""
    if kept is not None:
        return f"the fleet at {state.root} keeps its catalog in {address}, which is not there"
    if state.gateway_key.exists():
        return (
            f"the fleet at {state.root} has a gateway's key and no catalog; "
            "start its service once as before, with its catalog_url, and commands will know where"
        )
    return f"no fleet at {state.root}: start one with `ringroad fleet serve --state {state.root}`"


def _refuse_unwritable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise OperatorError(f"{folder} cannot be written; only commands that read work there")


def _address(state: StateFolder, settings: ServiceSettings) -> Address:
    return address_of(settings.catalog_url or state.catalog)
