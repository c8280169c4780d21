"""`ringroad rollout …`: bring a bundle to vehicles, wave by wave. What reaches vehicles asks first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conf.words import with_words
from edge.cli.console import show_record, show_table
from fleet.catalog import Catalog, RolloutRow, TrustState, VehicleRow
from fleet.commands.options import STATE, Json, State, Yes, agree, open_depot, reading
from fleet.rollout import CanaryRule, RolloutDecision, decide_rollout, fold_events
from fleet.rollout.conduct import advance_rollout, events_of, halt_rollout, plan_of, start_rollout

if TYPE_CHECKING:
    from fleet.depot import Depot

app = typer.Typer(help="Bring a bundle to vehicles, wave by wave.", no_args_is_help=True)

Rollout = Annotated[str, typer.Argument(help="Its id.")]


@app.command()
def start(
    rollout: Rollout,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of `ringroad settings rollout`, for instance max_faults=1."),
    ] = None,
    *,
    bundle: Annotated[str, typer.Option(help="The candidate, published.")],
    incumbent: Annotated[
        str, typer.Option(help="What vehicles go back to, published above the candidate.")
    ],
    vehicle: Annotated[
        list[str] | None, typer.Option(help="A vehicle; repeat it. All of the profile otherwise.")
    ] = None,
    canaries: Annotated[int, typer.Option(min=1, help="Vehicles of the first wave.")] = 1,
    ticks: Annotated[
        int | None, typer.Option(help="Ticks without fault that a vehicle has to report.")
    ] = None,
    report_s: Annotated[float | None, typer.Option(help="Seconds of silence that halt it.")] = None,
    wave_s: Annotated[float | None, typer.Option(help="Seconds that a wave may last.")] = None,
    yes: Yes = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Plan a rollout, show the plan, and assign the bundle to the first wave."""
    named = {"ticks": ticks, "report_s": report_s, "wave_s": wave_s}
    options = [f"{name}={value}" for name, value in named.items() if value is not None]
    rule = with_words(CanaryRule(), [*(overrides or ()), *options])
    with open_depot(state) as opened:
        catalog = opened.workspace.catalog
        candidate = opened.released(opened.find(bundle).manifest.bundle_id)
        heal = opened.released(opened.find(incumbent).manifest.bundle_id)
        rows = catalog.all(VehicleRow, state=TrustState.ACTIVE, profile=candidate.profile)
        vehicles = vehicle or [row.vehicle_id for row in rows]
        plan = opened.plan(rollout, candidate, heal, vehicles, rule, canaries)
        if not yes:
            waves = [{"wave": k, "vehicles": wave} for k, wave in enumerate(plan.waves)]
            show_table(waves, ("wave", "vehicles"), as_json=False, title=f"{candidate.bundle_id}")
        agree(f"{', '.join(plan.waves[0])} will install it now. Go?", yes=yes)
        opened.enrol(vehicles)
        at_ns = opened.workspace.now_ns()
        start_rollout(catalog, plan, actor=opened.workspace.actor, at_ns=at_ns)
        decision = _advance(opened, rollout)
        _show(catalog, rollout, decision, as_json=as_json)


@app.command()
def status(
    rollout: Annotated[str | None, typer.Argument(help="Its id; all otherwise.")] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show the rollouts, or one of them vehicle by vehicle, as its reports stand."""
    with reading(state) as fleet:
        catalog = fleet.catalog
        if rollout is None:
            rows = [
                {"rollout_id": r.rollout_id, "bundle_id": r.bundle_id, "state": r.state}
                for r in catalog.all(RolloutRow)
            ]
            show_table(rows, ("rollout_id", "bundle_id", "state"), as_json=as_json)
            return
        plan = plan_of(catalog, rollout)
        decision = decide_rollout(plan, events_of(catalog, rollout), time.time_ns())
        _show(catalog, rollout, decision, as_json=as_json)


@app.command()
def advance(
    rollout: Rollout, yes: Yes = False, state: State = STATE, as_json: Json = False
) -> None:
    """Take new reports in, judge them, and open the next wave, or halt."""
    with open_depot(state) as opened:
        catalog = opened.workspace.catalog
        plan = plan_of(catalog, rollout)
        agree(f"More vehicles may install {plan.candidate.bundle_id}. Go on?", yes=yes)
        _show(catalog, rollout, _advance(opened, rollout), as_json=as_json)


@app.command()
def halt(
    rollout: Rollout,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    yes: Yes = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Stop a rollout; vehicles that may have switched go back."""
    with open_depot(state) as opened:
        catalog, place = opened.workspace.catalog, opened.workspace
        plan = plan_of(catalog, rollout)
        agree(f"Vehicles go back to {plan.heal.bundle_id}. Halt {rollout}?", yes=yes)
        halt_rollout(catalog, rollout, reason, actor=place.actor, at_ns=place.now_ns())
        _show(catalog, rollout, _advance(opened, rollout), as_json=as_json)


def _advance(opened: Depot, rollout: str) -> RolloutDecision:
    place = opened.workspace
    return advance_rollout(
        place.catalog, opened.director, rollout, actor=place.actor, at_ns=place.now_ns()
    )


def _show(catalog: Catalog, rollout: str, decision: RolloutDecision, *, as_json: bool) -> None:
    plan = plan_of(catalog, rollout)
    known = fold_events(plan, events_of(catalog, rollout))
    vehicles: list[dict[str, Any]] = [
        {
            "vehicle_id": vehicle,
            "wave": wave,
            "is_assigned": known.evidence[vehicle].opened_ns is not None,
            "has_passed": known.evidence[vehicle].has_passed,
            "is_healed": known.evidence[vehicle].is_healed,
            "faults": known.evidence[vehicle].faults,
        }
        for wave, names in enumerate(plan.waves)
        for vehicle in names
    ]
    record = {
        "rollout_id": rollout,
        "bundle_id": plan.candidate.bundle_id,
        "state": str(decision.stage),
        "wave": decision.wave,
        "reasons": decision.reasons,
        "unhealed": decision.unhealed,
    }
    if as_json:
        show_record({**record, "vehicles": vehicles}, as_json=True)
        return
    show_record(record, as_json=False)
    show_table(vehicles, tuple(vehicles[0]), as_json=False)
