"""A fleet on a disk in memory that knows two vehicles by their keys."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.upload import VehicleKeys, load_or_make_keys
from fleet.catalog import Catalog, create_catalog
from fleet.ingest import IngestSettings, Intake
from fleet.keys import Enrolment, enrol
from fleet.store import FolderStore

NOW_NS = 1_800_000_000 * 10**9


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: what is killed here are processes, not the power."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VehicleKeys]:
    folder = tmp_path_factory.mktemp("keys")
    return lambda vehicle_id: load_or_make_keys(folder / vehicle_id)


@pytest.fixture
def catalog(
    tmp_path: Path, keys: Callable[[str], VehicleKeys], clip: Callable[..., Any]
) -> Catalog:
    """A catalog that knows the vehicles v-01 and v-02."""
    catalog = create_catalog(tmp_path / "fleet" / "catalog.sqlite")
    for vehicle_id in ("v-01", "v-02"):
        own = keys(vehicle_id)
        enrolment = Enrolment(
            vehicle_id, own.curve_key, own.report_key, rig_id=clip().manifest.rig_id
        )
        enrol(catalog, enrolment, at_ns=NOW_NS)
    return catalog


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "fleet" / "store")


@pytest.fixture
def intake(tmp_path: Path, catalog: Catalog, store: FolderStore) -> Intake:
    return Intake(catalog, store, tmp_path / "fleet" / "incoming", IngestSettings())
