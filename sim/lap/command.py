"""``ringroad lap``: once round the whole loop, or several times, in one command."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer


def lap(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings of conf/lap.yaml, for instance vehicles=4 claim=overturned_truck."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="What everything random derives from; 0 if not given.")
    ] = None,
    laps: Annotated[
        int,
        typer.Option(
            min=1, max=1000, help="How often to go round, each lap on what the last one left."
        ),
    ] = 1,
    is_quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Every stage, as short as it can be: two minutes, and no proof."
        ),
    ] = False,
    runs: Annotated[
        Path, typer.Option(file_okay=False, help="Folder of runs; the newest is its `latest`.")
    ] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print lap.json at the end.")] = False,
) -> None:
    """Drive, collect, label, retrain, evaluate, sign, update, and drive again."""
    from conf.compose import with_options, write_resolved
    from edge.cli.console import show_json, show_table, stages
    from sim.lap.settings import lap_settings

    settings = lap_settings(overrides or [], is_quick=is_quick)
    if seed is not None:
        settings = with_options(settings, seed=seed)
    # A misspelt word is refused before the seconds that these imports take.
    from sim.lap.checks import refuse_no_room, refuse_nonsense
    from sim.lap.laps import run_laps
    from sim.lap.report import class_rows, outcome

    refuse_nonsense(settings)
    refuse_no_room(settings, runs)
    run = _new_run(runs)
    write_resolved(settings, run / "settings.json")
    for record in run_laps(settings, run, laps, stages(as_json=as_json)):
        _point_at(runs / "latest", run)
        if not as_json:
            if rows := class_rows(record):
                title = "AP class by class; the anchor is the shipped baseline"
                show_table(rows, tuple(rows[0]), as_json=False, title=title)
            typer.echo(f"lap {record.lap}: {outcome(record).line}")
    if as_json:
        show_json(msgspec.to_builtins(record))
    else:
        typer.echo(f"report: {run / 'report.html'}")


def _new_run(runs: Path) -> Path:
    """Make the folder of a run, named after the time; a second one of the same second gets a number."""
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in itertools.count():
        run = runs / (name if number == 0 else f"{name}-{number}")
        with suppress(FileExistsError):
            run.mkdir(parents=True)
            return run
    raise AssertionError


def _point_at(latest: Path, run: Path) -> None:
    """Point ``latest`` at this run, in one step: another lap may be doing the same."""
    link = run.with_name(f".latest-{run.name}")
    link.symlink_to(run.name)
    link.replace(latest)
