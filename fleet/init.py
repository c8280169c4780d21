"""Make a fleet, whole or not at all, or bring one that an older program made to what this one works with."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from edge.contracts.errors import OperatorError
from fleet.catalog import create_catalog
from fleet.catalog.migrate import migrate_catalog
from fleet.disk import sync_folder
from fleet.fleet import open_repositories
from fleet.keys import make_gateway_key
from fleet.repository import KeyRing, create_keys
from fleet.settings import ServiceSettings, catalog_address, keep_settings, kept_settings
from fleet.state import StateFolder, take_lock
from fleet.store import open_store


def create_fleet(settings: ServiceSettings, *, now_ns: int) -> StateFolder:
    """Make settings, keys, empty repositories, store and catalog of a new fleet.

    They are made beside the folder that the settings name, which appears when all of them are there.

    Args:
        settings: The fleet's; ``state`` names its folder, which must not exist or be empty.
        now_ns: UTC, from which the update metadata lives.

    Raises:
        OperatorError: There is, or was, a fleet; or a setting makes no sense.
        StoreUnavailableError: The catalog's server or the store refuses.
    """
    state = StateFolder(Path(settings.state))
    _refuse_present(state)
    root = state.root.absolute()
    partial = StateFolder(root.with_name(f".{root.name}.{secrets.token_hex(8)}"))
    partial.root.mkdir(parents=True)
    try:
        keep_settings(partial, settings)
        _make_keys(partial, now_ns)
        make_gateway_key(partial.gateway_key)
        open_store(settings.store, partial.store)
        create_catalog(settings.catalog_url or partial.catalog).close()
        partial.root.rename(root)
        sync_folder(root.parent)
    finally:
        shutil.rmtree(partial.root, ignore_errors=True)
    return state


def migrate_fleet(state: StateFolder, *, catalog_url: str = "", now_ns: int) -> str:
    """Bring a fleet's catalog to the head revision, and make what its older program made later.

    Args:
        state: The fleet's folder; no service may run on it.
        catalog_url: Where the catalog is, for a fleet that lost its settings.
        now_ns: UTC.

    Returns:
        The revision that the catalog had.

    Raises:
        OperatorError: There is no fleet, its service runs, or its catalog cannot be migrated.
    """
    kept = kept_settings(state)
    settings = kept or ServiceSettings(catalog_url=catalog_url)
    address = catalog_address(state, settings)
    if not state.root.is_dir() or (isinstance(address, Path) and not address.exists()):
        raise OperatorError(f"there is no fleet at {state.root} whose catalog is {address}")
    lock = take_lock(state)
    try:
        revision = migrate_catalog(settings.catalog_url or state.catalog)
        if kept is None and not state.gateway_key.exists():
            make_gateway_key(state.gateway_key)
        if not (open_repositories(state)[0].is_created() or KeyRing(state.release_keys).names()):
            _make_keys(state, now_ns)
        keep_settings(state, replace(settings, state=str(state.root)))
    finally:
        os.close(lock)
    return revision


def _refuse_present(state: StateFolder) -> None:
    if state.root.exists() and not state.root.is_dir():
        raise OperatorError(f"fleet not made: {state.root} is no folder")
    present = sorted(path.name for path in state.root.iterdir()) if state.root.exists() else []
    if present:
        raise OperatorError(
            f"fleet not made: there is, or was, one at {state.root}, which holds "
            f"{', '.join(present[:3])}; name an empty folder"
        )


def _make_keys(state: StateFolder, now_ns: int) -> None:
    """Make the keys of both update repositories, and the repositories without a bundle or a vehicle."""
    create_keys(KeyRing(state.release_keys))
    image, director = open_repositories(state)
    image.create(now_ns)
    director.create(now_ns)
