"""Where bundles are kept: what lies on disk and what the catalog says are the same release."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.contracts.bundle import EngineKind, Precision, TensorSpec
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.golden import GoldenFrame
from edge.contracts.time import NS_PER_S
from fleet.bundle.bundle import Bundle, BundleSpec, EngineKey, build_bundle, rereleased
from fleet.catalog import BundleRow
from fleet.depot import Depot
from fleet.fleet import open_fleet
from fleet.init import create_fleet
from fleet.settings import ServiceSettings
from fleet.work.workspace import Workspace

NOW_NS = 1_800_000_000 * NS_PER_S
ANSWER = {"a": np.zeros(1, np.float32)}
SPEC = BundleSpec(
    model="toy",
    inputs=(TensorSpec(name="a", dtype="float32", shape=(1,)),),
    outputs=(TensorSpec(name="a", dtype="float32", shape=(1,)),),
    thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.3),
)


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[Depot]:
    state = create_fleet(ServiceSettings(state=str(tmp_path / "state")), now_ns=NOW_NS)
    with open_fleet(state) as fleet:
        folders = (tmp_path / "work", tmp_path / "cache")
        yield Depot(fleet, Workspace(fleet.catalog, fleet.store, *folders, "test", lambda: NOW_NS))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "engine").write_bytes(b"weights")
    files = {EngineKey(EngineKind.ONNX, Precision.FP32): tmp_path / "engine"}
    golden = [GoldenFrame(ANSWER, ANSWER)]
    return build_bundle(files, SPEC, golden, tolerance=0.1, profile="laptop", release_counter=1)


def test_a_bundle_kept_again_under_an_older_counter_stays_what_it_is(
    depot: Depot, bundle: Bundle
) -> None:
    newer = rereleased(bundle, 3)
    for each in (bundle, newer, bundle):
        depot.keep(each)
    (row,) = depot.workspace.catalog.all(BundleRow)
    assert row.release_counter == 3
    assert depot.find(bundle.manifest.bundle_id).manifest_bytes == newer.manifest_bytes
    assert row.manifest == newer.manifest_bytes


def test_a_counter_above_every_bundle_that_was_kept_is_given_next(
    depot: Depot, bundle: Bundle
) -> None:
    assert depot.next_counter() == 1
    depot.keep(rereleased(bundle, 7))
    assert depot.next_counter() == 8
