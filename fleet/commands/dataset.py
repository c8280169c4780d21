"""`ringroad dataset …`: frozen lists of labelled clips."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from edge.cli.console import show_record, show_table, stages
from fleet.catalog import DatasetRow
from fleet.commands.options import CACHE, STATE, Cache, Json, State, open_workspace, reading
from fleet.work.plug import plugged

app = typer.Typer(help="Frozen lists of labelled clips.", no_args_is_help=True)


@app.command()
def freeze(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    run: Annotated[list[str], typer.Option(help="A labelling run; repeat it for more.")],
    split: Annotated[str, typer.Option(help="`train`, `tune` or `gate`.")] = "train",
    purpose: Annotated[str, typer.Option(help="What it is for, in a few words.")] = "edge cases",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Freeze what labelling runs said; the same rows are the same dataset."""
    from fleet.dataset.order import freeze_runs

    with open_workspace(state) as place, stages(as_json=as_json).stage("freeze") as shown:
        manifest = freeze_runs(place, run, name=name, split=split, purpose=purpose)
        shown.note(f"{manifest.samples} rows")
    show_record(msgspec.to_builtins(manifest), as_json=as_json, title="frozen")


@app.command()
def build(
    recipe: Annotated[str, typer.Argument(help="A file of conf/recipe, or the path of one.")],
    runner: Annotated[
        str, typer.Option(help="Who renders and labels it, as module:attribute.")
    ] = "sim.recipes:RecipeStage",
    state: State = STATE,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Make the set of a seeded recipe, or find it in the cache."""
    from fleet.dataset.recipe import build_set, load_recipe
    from fleet.dataset.shelf import shelve

    with open_workspace(state, cache) as place, stages(as_json=as_json).stage("build") as shown:
        manifest = build_set(load_recipe(recipe), plugged(runner)(), place.store, cache / "recipes")
        shelve(place, manifest)
        shown.note(f"{manifest.samples} rows")
    show_record(msgspec.to_builtins(manifest), as_json=as_json, title="frozen")


@app.command("list")
def list_datasets(state: State = STATE, as_json: Json = False) -> None:
    """List the frozen datasets."""
    with reading(state) as fleet:
        rows = [
            {
                "dataset_id": row.dataset_id,
                "split": row.purpose,
                **msgspec.structs.asdict(row.facts),
            }
            for row in fleet.catalog.all(DatasetRow)
        ]
    show_table(
        rows, ("dataset_id", "names", "split", "samples", "clips", "said_purpose"), as_json=as_json
    )


@app.command()
def show(
    dataset: Annotated[str, typer.Argument(help="Its id, the beginning of it, or its name.")],
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show what a dataset holds."""
    from fleet.dataset.shelf import find_dataset

    with reading(state) as fleet:
        manifest = find_dataset(fleet, dataset)
    show_record(msgspec.to_builtins(manifest), as_json=as_json)
