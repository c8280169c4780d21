"""A rollout carried out: what is recorded can be read back, and a step twice tells nobody anything new."""

from pathlib import Path

import pytest

from edge.contracts.errors import OperatorError
from edge.contracts.release import Assignment, Release
from fleet.catalog import Catalog, RolloutRow, create_catalog
from fleet.rollout import RolloutPlan
from fleet.rollout.conduct import advance, events_of, halt, plan_of, start


class _Director:
    """Remembers what each vehicle was told."""

    def __init__(self) -> None:
        self.told: dict[str, Assignment] = {}

    def assign(self, assignment: Assignment, now_ns: int) -> bool:
        is_new = self.told.get(assignment.vehicle_id) != assignment
        self.told[assignment.vehicle_id] = assignment
        return is_new


def _release(name: str, counter: int) -> Release:
    return Release(bundle_id=name, profile="laptop", release_counter=counter, unpacked_bytes=1)


PLAN = RolloutPlan(
    rollout_id="r-1",
    candidate=_release("b-new", 2),
    heal=_release("b-old", 3),
    waves=(("v-01",), ("v-02", "v-03")),
    report_keys=dict.fromkeys(("v-01", "v-02", "v-03"), b"k" * 32),
)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return create_catalog(tmp_path / "catalog.sqlite")


def test_only_the_canary_is_told_first(catalog: Catalog) -> None:
    director = _Director()
    start(catalog, PLAN, actor="operator", at_ns=1)
    advance(catalog, director, "r-1", actor="operator", at_ns=2)
    assert {v: a.release.bundle_id for v, a in director.told.items()} == {"v-01": "b-new"}


def test_a_step_twice_changes_nothing(catalog: Catalog) -> None:
    director = _Director()
    start(catalog, PLAN, actor="operator", at_ns=1)
    first = advance(catalog, director, "r-1", actor="operator", at_ns=2)
    before = events_of(catalog, "r-1")
    again = advance(catalog, director, "r-1", actor="operator", at_ns=2)
    assert (again.stage, again.wave) == (first.stage, first.wave)
    assert events_of(catalog, "r-1") == before


def test_a_rollout_halted_by_hand_takes_the_canary_back(catalog: Catalog) -> None:
    director = _Director()
    start(catalog, PLAN, actor="operator", at_ns=1)
    advance(catalog, director, "r-1", actor="operator", at_ns=2)
    halt(catalog, "r-1", "looks wrong", actor="operator", at_ns=3)
    decision = advance(catalog, director, "r-1", actor="operator", at_ns=4)
    assert decision.reasons == ("looks wrong",)
    assert director.told["v-01"].release.bundle_id == "b-old"
    row = catalog.get(RolloutRow, "r-1")
    assert row is not None and row.state == "halted"


def test_a_plan_reads_back_and_another_under_its_name_is_refused(catalog: Catalog) -> None:
    start(catalog, PLAN, actor="operator", at_ns=1)
    assert plan_of(catalog, "r-1") == PLAN
    other = RolloutPlan(
        rollout_id="r-1",
        candidate=PLAN.candidate,
        heal=PLAN.heal,
        waves=(("v-01",),),
        report_keys=PLAN.report_keys,
    )
    with pytest.raises(OperatorError, match="another plan"):
        start(catalog, other, actor="operator", at_ns=2)


def test_a_step_by_somebody_without_a_proper_name_is_refused(catalog: Catalog) -> None:
    with pytest.raises(OperatorError, match="not recorded"):
        start(catalog, PLAN, actor="Some Body", at_ns=1)
    with pytest.raises(OperatorError, match="no rollout"):
        plan_of(catalog, "r-1")
