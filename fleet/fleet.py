"""Open a fleet: the one door for its service, every command, and the lap.

What a fleet is made of (catalog, blobs, keys, repositories) is found from the settings that lie in its
folder, so that no two of its users can work on two catalogs. Opening makes nothing, ``fleet.init`` does; and
a fleet that is opened to read is not written to, so that a backup can be looked at where it lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.contracts.errors import OperatorError
from fleet.catalog import Catalog
from fleet.catalog.address import is_same, shown
from fleet.repository import DirectorRepository, ImageRepository, KeyRing, Lifetimes
from fleet.settings import ServiceSettings, catalog_address, kept_settings
from fleet.state import StateFolder
from fleet.store import BlobStore, open_store

OPERATOR = "operator"


@dataclass(frozen=True)
class Fleet:
    """An opened fleet."""

    state: StateFolder
    settings: ServiceSettings
    catalog: Catalog
    store: BlobStore
    keys: KeyRing
    image: ImageRepository
    director: DirectorRepository
    actor: str
    """Who works on the fleet, for the audit log."""

    @property
    def bundles(self) -> Path:
        """Folder of every bundle that was built, by id."""
        return self.state.root / "bundles"


@contextmanager
def open_fleet(
    state: StateFolder,
    *,
    actor: str = OPERATOR,
    is_read_only: bool = False,
    settings: ServiceSettings | None = None,
) -> Iterator[Fleet]:
    """Open a fleet until the block is left.

    Args:
        state: Its folder.
        actor: Who works on it, for the audit log.
        is_read_only: Make and change nothing.
        settings: Settings of its running service; those of its folder otherwise.

    Raises:
        OperatorError: There is no fleet, a part of it is missing, or it is of another version.
        StoreUnavailableError: Catalog or store cannot be opened.
    """
    kept = settings_of(state, is_read_only=is_read_only)
    settings = settings or kept
    _refuse_second_catalog(state, kept, settings)
    address = catalog_address(state, kept)
    if isinstance(address, Path) and not address.exists():
        raise OperatorError(
            f"the fleet at {state.root} keeps its catalog in {address}, which is not there; "
            "restore it from a backup"
        )
    image, director = open_repositories(state, settings.lifetimes)
    if not is_read_only:
        _refuse_unwritable(state.root)
        if isinstance(address, Path):
            _refuse_unwritable(address.parent)
    catalog = Catalog(settings.catalog_url or state.catalog, is_read_only=is_read_only)
    try:
        if not (is_read_only or image.is_created()):
            raise OperatorError(
                f"the fleet at {state.root} has no update repository in {state.updates}; "
                "restore it from a backup"
            )
        store = open_store(settings.store, state.store, is_read_only=is_read_only)
        keys = KeyRing(state.release_keys)
        yield Fleet(state, settings, catalog, store, keys, image, director, actor)
    finally:
        catalog.close()


def open_repositories(
    state: StateFolder, lifetimes: Lifetimes | None = None
) -> tuple[ImageRepository, DirectorRepository]:
    """Open both update repositories of a state folder, without touching anything.

    Args:
        state: The fleet's folder.
        lifetimes: How long what they sign is valid; as the settings of the folder say otherwise.

    Raises:
        OperatorError: The settings of the folder are damaged.
    """
    lifetimes = lifetimes or (kept_settings(state) or ServiceSettings()).lifetimes
    keys = KeyRing(state.release_keys)
    image = ImageRepository(state.updates, state.drafts, keys, lifetimes)
    return image, DirectorRepository(state.updates, keys, lifetimes)


def settings_of(state: StateFolder, *, is_read_only: bool = False) -> ServiceSettings:
    """Read the settings of a fleet.

    Args:
        state: Its folder.
        is_read_only: Whether the defaults will do for a fleet that was never served and kept none.

    Raises:
        OperatorError: There is no fleet, its settings are lost or damaged, or a newer program wrote them.
    """
    kept = kept_settings(state)
    if kept is not None:
        return kept
    if is_read_only and state.catalog.exists() and not state.gateway_key.exists():
        return ServiceSettings()
    if state.catalog.exists() or state.gateway_key.exists():
        raise OperatorError(
            f"the fleet at {state.root} has no {state.settings.name}: `ringroad fleet migrate` writes "
            "it, and takes --catalog-url where the catalog lies elsewhere"
        )
    raise OperatorError(
        f"there is no fleet at {state.root}: `ringroad fleet init --state {state.root}` makes one"
    )


def _refuse_second_catalog(
    state: StateFolder, kept: ServiceSettings, asked: ServiceSettings
) -> None:
    """Refuse to serve another catalog than the one in which this fleet's vehicles stand."""
    present, wanted = catalog_address(state, kept), catalog_address(state, asked)
    if not is_same(present, wanted):
        raise OperatorError(
            f"the fleet at {state.root} keeps its catalog in {shown(present)}, not in {shown(wanted)}, "
            "where none of its vehicles stands; name another state folder for another fleet"
        )


def _refuse_unwritable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise OperatorError(f"{folder} cannot be written; only commands that read work there")
