"""A rollout carried out: what is recorded can be read back, and a step twice tells nobody anything new."""

from pathlib import Path

import pytest

from edge.contracts.errors import OperatorError
from edge.contracts.release import Assignment, Release
from edge.contracts.wire import InstallPhase
from fleet.catalog import Catalog, ReportRow, RolloutRow, VehicleRow, create_catalog
from fleet.rollout import Reported, RolloutPlan
from fleet.rollout.conduct import advance_rollout, events_of, halt_rollout, plan_of, start_rollout


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
    start_rollout(catalog, PLAN, actor="operator", at_ns=1)
    advance_rollout(catalog, director, "r-1", actor="operator", at_ns=2)
    assert {v: a.release.bundle_id for v, a in director.told.items()} == {"v-01": "b-new"}


def test_a_step_twice_changes_nothing(catalog: Catalog) -> None:
    director = _Director()
    start_rollout(catalog, PLAN, actor="operator", at_ns=1)
    first = advance_rollout(catalog, director, "r-1", actor="operator", at_ns=2)
    before = events_of(catalog, "r-1")
    again = advance_rollout(catalog, director, "r-1", actor="operator", at_ns=2)
    assert (again.stage, again.wave) == (first.stage, first.wave)
    assert events_of(catalog, "r-1") == before


def test_a_rollout_halted_by_hand_takes_the_canary_back(catalog: Catalog) -> None:
    director = _Director()
    start_rollout(catalog, PLAN, actor="operator", at_ns=1)
    advance_rollout(catalog, director, "r-1", actor="operator", at_ns=2)
    halt_rollout(catalog, "r-1", "looks wrong", actor="operator", at_ns=3)
    decision = advance_rollout(catalog, director, "r-1", actor="operator", at_ns=4)
    assert decision.reasons == ("looks wrong",)
    assert director.told["v-01"].release.bundle_id == "b-old"
    row = catalog.get(RolloutRow, "r-1")
    assert row is not None and row.state == "halted"


def test_steps_and_plan_stand_in_the_catalog_in_words(catalog: Catalog) -> None:
    start_rollout(catalog, PLAN, actor="operator", at_ns=1)
    halt_rollout(catalog, "r-1", "looks wrong", actor="operator", at_ns=2)
    row = catalog.get(RolloutRow, "r-1")
    assert row is not None and row.plan["waves"] == [["v-01"], ["v-02", "v-03"]]
    steps = [event.facts for event in catalog.events("rollout/r-1")]
    assert steps[0] == {"event": "started", "at_ns": 1, "actor": "operator"}
    assert steps[1] == {"event": "halted", "at_ns": 2, "reasons": ["looks wrong"]}


def test_reports_of_the_plans_vehicles_since_its_start_are_taken_in_once(catalog: Catalog) -> None:
    with catalog.write(at_ns=0, actor="test") as tx:
        for vehicle in ("v-01", "v-02", "v-99"):
            tx.add(VehicleRow(vehicle_id=vehicle, profile="laptop", rig_id=None, at_ns=0))
        for at_ns, vehicle in ((9, "v-01"), (10, "v-02"), (12, "v-01"), (12, "v-99")):
            tx.add(_report(vehicle, at_ns))
    start_rollout(catalog, PLAN, actor="operator", at_ns=10)
    for at_ns in (13, 14):
        advance_rollout(catalog, _Director(), "r-1", actor="operator", at_ns=at_ns)
    taken = [event for event in events_of(catalog, "r-1") if isinstance(event, Reported)]
    assert [(event.vehicle_id, event.payload) for event in taken] == [
        ("v-02", b"10"),
        ("v-01", b"12"),
    ]


def _report(vehicle_id: str, at_ns: int) -> ReportRow:
    return ReportRow(
        vehicle_id=vehicle_id,
        boot_id="b",
        sequence=at_ns,
        bundle_id="b-new",
        release_counter=2,
        phase=InstallPhase.TRIAL,
        payload=str(at_ns).encode(),
        signature=b"s",
        at_ns=at_ns,
    )


def test_a_plan_reads_back_and_another_under_its_name_is_refused(catalog: Catalog) -> None:
    start_rollout(catalog, PLAN, actor="operator", at_ns=1)
    assert plan_of(catalog, "r-1") == PLAN
    other = RolloutPlan(
        rollout_id="r-1",
        candidate=PLAN.candidate,
        heal=PLAN.heal,
        waves=(("v-01",),),
        report_keys=PLAN.report_keys,
    )
    with pytest.raises(OperatorError, match="another plan"):
        start_rollout(catalog, other, actor="operator", at_ns=2)


def test_a_step_by_somebody_without_a_proper_name_is_refused(catalog: Catalog) -> None:
    with pytest.raises(OperatorError, match="not recorded"):
        start_rollout(catalog, PLAN, actor="Some Body", at_ns=1)
    with pytest.raises(OperatorError, match="no rollout"):
        plan_of(catalog, "r-1")
