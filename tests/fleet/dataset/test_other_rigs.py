"""A verdict on pictures that no vehicle would see is no verdict: the gate refuses a set of another rig."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.contracts.errors import OperatorError
from edge.contracts.rig import Rig
from fleet.catalog import TrustState, VehicleRow, create_catalog
from fleet.dataset.frozen import DatasetFile, freeze
from fleet.dataset.shelf import files_of
from fleet.evaluate.order import TUNE, contend, refuse_other_rigs
from fleet.store import FolderStore
from fleet.work.workspace import Workspace
from sim.sense.rig import default_rig

RIG, NARROW = default_rig(), default_rig(width_px=64, height_px=32)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    catalog = create_catalog(tmp_path / "catalog.sqlite")
    yield Workspace(catalog, FolderStore(tmp_path / "store"), tmp_path, tmp_path / "cache", "test")
    catalog.close()


def enrol(workspace: Workspace, name: str, rig: Rig | None) -> None:
    rig_id = None if rig is None else rig.rig_id
    with workspace.catalog.write(at_ns=0, actor="test") as tx:
        tx.add(VehicleRow(vehicle_id=name, profile="laptop", rig_id=rig_id, at_ns=0))


def seen_with(workspace: Workspace, *rigs: Rig) -> dict[str, DatasetFile]:
    """A tune set of the vehicles' rig, and a gate set of these."""
    sets = {
        TUNE: freeze([], [RIG], workspace.store, name="tune", split="tune"),
        "gate": freeze([], rigs, workspace.store, name="gate", split="gate"),
    }
    return files_of(sets, workspace.store, workspace.cache)


def test_set_of_another_rig_is_refused_by_both_names(workspace: Workspace) -> None:
    enrol(workspace, "v-01", RIG)
    with pytest.raises(OperatorError, match=r"set gate .* cannot judge") as refused:
        refuse_other_rigs(workspace, seen_with(workspace, NARROW))
    assert RIG.rig_id[:12] in str(refused.value) and NARROW.rig_id[:12] in str(refused.value)


def test_one_strange_rig_among_known_ones_is_enough(workspace: Workspace) -> None:
    enrol(workspace, "v-01", RIG)
    with pytest.raises(OperatorError, match="set gate"):
        refuse_other_rigs(workspace, seen_with(workspace, RIG, NARROW))


def test_no_model_is_asked_before_the_rigs_are_known_to_match(workspace: Workspace) -> None:
    enrol(workspace, "v-01", RIG)
    models = {"candidate": Path("no such model")}
    with pytest.raises(OperatorError, match="set gate"):
        contend(workspace, models, seen_with(workspace, NARROW), size="pico")


def test_set_of_a_rig_that_some_vehicle_carries_may_judge(workspace: Workspace) -> None:
    enrol(workspace, "v-01", RIG)
    enrol(workspace, "v-02", NARROW)
    refuse_other_rigs(workspace, seen_with(workspace, RIG, NARROW))


def test_rig_of_a_revoked_vehicle_is_no_longer_the_fleets(workspace: Workspace) -> None:
    enrol(workspace, "v-01", RIG)
    enrol(workspace, "v-02", NARROW)
    with workspace.catalog.write(at_ns=0, actor="test") as tx:
        tx.change(VehicleRow, "v-02", state=TrustState.REVOKED)
    with pytest.raises(OperatorError, match="set gate"):
        refuse_other_rigs(workspace, seen_with(workspace, NARROW))


@pytest.mark.parametrize("rig", [None, "nobody"])
def test_fleet_that_carries_no_known_rig_has_nothing_to_compare_with(
    workspace: Workspace, rig: str | None
) -> None:
    if rig is None:
        enrol(workspace, "v-01", None)
    refuse_other_rigs(workspace, seen_with(workspace, NARROW))


def test_camera_that_moved_by_a_centimetre_is_another_rig(workspace: Workspace) -> None:
    enrol(workspace, "v-01", RIG)
    first = RIG.cameras[0]
    pose = msgspec.structs.replace(first.ego_from_cam, z_m=first.ego_from_cam.z_m + 0.01)
    moved = (msgspec.structs.replace(first, ego_from_cam=pose), *RIG.cameras[1:])
    with pytest.raises(OperatorError, match="set gate"):
        refuse_other_rigs(
            workspace, seen_with(workspace, msgspec.structs.replace(RIG, cameras=moved))
        )
