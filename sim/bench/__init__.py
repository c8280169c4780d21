"""`ringroad bench gate`, and frames and bundles for `ringroad bench edge` without a clip or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.contracts.rig import Rig
    from edge.contracts.sensors import FrameSet

app = typer.Typer(help="Measure what the gate is worth.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure how reliable the gate is."""


@app.command()
def gate(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Gate settings, for instance max_class_drop=0.02.")
    ] = None,
    replicates: Annotated[int, typer.Option(min=1, help="How many laps to imagine.")] = 200,
    drop: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="AP that a damaged model loses in one class.")
    ] = 0.08,
    seed: Annotated[int, typer.Option(help="Of the imagined laps.")] = 0,
    state: Annotated[Path, typer.Option(help="The state folder of a lap's fleet.")] = Path(
        "runs/latest/fleet"
    ),
    cache: Annotated[Path, typer.Option(help="Where the lap kept sets and answers.")] = Path(
        ".ringroad/cache"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how often the class guards refuse an equal model, and catch one that lost a class."""
    from conf.words import with_words
    from edge.cli.console import show_table, stages
    from fleet.commands.options import open_workspace
    from fleet.evaluate import GateSettings
    from sim.bench.gate import power_rows, rehearse_lap

    settings = with_words(GateSettings(), overrides or ())
    with (
        open_workspace(state, cache) as place,
        stages(as_json=as_json).stage("imagine laps", replicates) as shown,
    ):
        found = rehearse_lap(
            place, settings, replicates=replicates, drop=drop, seed=seed, on_steps=shown.advance
        )
    rows = power_rows(found)
    show_table(rows, tuple(rows[0]), as_json=as_json, title=f"Guards of classes, {replicates} laps")


def simulated_frames(count: int) -> tuple[list[FrameSet], Rig]:
    """Drive a little in the simulator; return the frame sets that were sensed, and their rig."""
    from edge.contracts.time import FRAME_RATE_HZ
    from sim.simulation.simulation import simulate
    from sim.world.trip import Trip

    with simulate(Trip(), rate_hz=FRAME_RATE_HZ) as drive:
        return [drive.step()[0] for _ in range(count)], drive.rig
