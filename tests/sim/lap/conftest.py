"""Small records of a lap: bundles, models, clips and vehicles that exist on paper alone."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.contracts.bundle import BundleManifest, EngineFile, EngineKind, GoldenSet, Precision
from edge.contracts.classes import SHIPPED_CLASSES, Category
from fleet.bundle.assemble import ModelFiles
from fleet.bundle.bundle import Bundle
from fleet.catalog import ClipRow
from fleet.dataset.frozen import DatasetManifest
from fleet.model import Model
from sim.lap.orders import BundledModel

MakeClip = Callable[..., ClipRow]
MakeModel = Callable[..., BundledModel]
MakeDataset = Callable[..., DatasetManifest]


def _clip(number: int, *rules: str, drive_id: str = "lap1-drive-v-01") -> ClipRow:
    digest = f"{number:064x}"
    return ClipRow(
        clip_id=digest,
        blob_id=digest,
        blob_bytes=10,
        vehicle_id=drive_id[-4:],
        drive_id=drive_id,
        bundle_id="b-1",
        campaign_ids=(),
        rules=rules,
        worth=0.5,
        start_ns=1_000 * number,
        end_ns=1_000 * number + 999,
        frame_count=1,
        manifest=b"",
        at_ns=0,
    )


def _bundled(name: str, known: tuple[Category, ...] = SHIPPED_CLASSES[:10]) -> BundledModel:
    digest = "0" * 64
    manifest = BundleManifest(
        bundle_id=f"b-{name}",
        model="pico",
        profile="laptop",
        release_counter=1,
        engines=(
            EngineFile(kind=EngineKind.ONNX, precision=Precision.INT8, sha256=digest, size_bytes=1),
        ),
        inputs=(),
        outputs=(),
        categories=(),
        thresholds={},
        golden=GoldenSet(sha256=digest, size_bytes=1, frames=1, tolerance=0.1),
    )
    folder = Path(name)
    model = Model(
        name=name,
        size="pico",
        run_id=f"t-{name}",
        weights=folder / "weights.bin",
        files=ModelFiles(folder / "fp32.onnx", folder / "int8.onnx"),
        categories=SHIPPED_CLASSES,
        known=known,
        dataset_id=None,
    )
    return BundledModel(Bundle(manifest, msgspec.json.encode(manifest), {}), model)


def _dataset(name: str, samples: int = 8) -> DatasetManifest:
    return DatasetManifest(
        dataset_id=f"d-{name}",
        name=name,
        split="train",
        blob_id="0" * 64,
        size_bytes=1,
        samples=samples,
        places=1,
        clips=(),
        instances={},
        encounters={},
        label_sources={},
    )


@pytest.fixture
def row() -> MakeClip:
    """An admitted clip of the first lap's first drive: its number, then the rules that fired."""
    return _clip


@pytest.fixture
def bundled() -> MakeModel:
    """A model and its bundle, both called by one name."""
    return _bundled


@pytest.fixture
def dataset() -> MakeDataset:
    """A frozen set by name, with as many samples as a test says."""
    return _dataset
