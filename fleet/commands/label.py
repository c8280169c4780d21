"""`ringroad label …`: label admitted clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from conf.words import with_words
from edge.cli.console import show_record, show_table, stages
from edge.contracts.errors import OperatorError
from fleet.catalog import RunRow
from fleet.commands.options import CACHE, STATE, Cache, Json, State, open_workspace, reading

app = typer.Typer(help="What is true about a clip.", no_args_is_help=True)


@app.command()
def run(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of `ringroad settings label`, for instance interval_s=0.5."),
    ] = None,
    *,
    labeler: Annotated[
        str,
        typer.Option(
            help="Who is asked, as module:function, for instance sim.sense.annotator:over."
        ),
    ],
    labeler_folder: Annotated[
        Path, typer.Option(help="What the labeler is made from.", exists=True)
    ],
    drive_prefix: Annotated[
        str | None, typer.Option(help="Clips of the drives that begin so.")
    ] = None,
    clip: Annotated[
        list[str] | None, typer.Option(help="One clip, by the beginning of its id; repeat it.")
    ] = None,
    is_all: Annotated[bool, typer.Option("--all", help="Every admitted clip.")] = False,
    model: Annotated[
        str, typer.Option(help="The teacher: zoo size, training run, bundle or folder.")
    ] = "pico",
    budget: Annotated[int, typer.Option(min=0, help="Questions that may be asked.")] = 60,
    choice: Annotated[
        str, typer.Option(help="`value`: what teaches most; `blind`: drawn by hash.")
    ] = "value",
    seed: Annotated[int, typer.Option(min=0, help="Of the blind choice.")] = 0,
    state: State = STATE,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Label admitted clips by hindsight and ask a reviewer about the rest."""
    from fleet.label.job import LabelJob, ReviewChoice
    from fleet.label.order import LabelOrder, choose_clips, label
    from fleet.label.settings import LabelSettings
    from fleet.model import find_model

    if sum((drive_prefix is not None, bool(clip), is_all)) != 1:
        raise OperatorError("which clips? name one of --drive-prefix, --clip and --all")
    if choice not in tuple(ReviewChoice):
        raise OperatorError(f"no choice {choice!r}; there are {', '.join(ReviewChoice)}")
    settings = with_words(LabelSettings(), overrides or ())
    with open_workspace(state, cache) as place:
        teacher = find_model(place, model)
        order = LabelOrder(
            clips=choose_clips(place.catalog, drive_prefix=drive_prefix, clip_ids=clip or ()),
            model=teacher.files.int8,
            job=LabelJob(
                size=teacher.size,
                known=teacher.known,
                categories=teacher.categories,
                labeler=labeler,
                labeler_folder=str(labeler_folder),
                budget_tracks=budget,
                choice=ReviewChoice(choice),
                seed=seed,
                settings=settings,
            ),
        )
        with stages(as_json=as_json).stage("label", 1) as shown:
            labelled = label(place, {order.run_id: order}, on_steps=shown.advance)
            run = labelled[order.run_id].run
            shown.note(f"{run.clips} clips")
            if run.skipped:
                shown.note(f"{len(run.skipped)} skipped")
    said = msgspec.to_builtins(run)
    if not as_json:
        said["skipped"] = [f"{clip_id[:12]}: {why}" for clip_id, why in run.skipped.items()]
    show_record({"run_id": order.run_id, **said}, as_json=as_json, title="labelled")


@app.command("list")
def list_runs(state: State = STATE, as_json: Json = False) -> None:
    """List the labelling runs, and what each said and cost."""
    with reading(state) as fleet:
        rows = [
            {"run_id": row.run_id, **msgspec.structs.asdict(row.facts)}
            for row in fleet.catalog.all(RunRow, stage="label")
        ]
    columns = ("run_id", "clips", "auto", "reviewed", "masked", "asked", "reviewer_seconds")
    show_table(rows, columns, as_json=as_json)
