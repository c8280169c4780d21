"""`ringroad train`: fit a network to frozen datasets."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from conf.words import with_words
from edge.cli.console import show_record, stages
from fleet.commands.options import CACHE, STATE, Cache, Json, State, open_workspace


def train(
    fresh: Annotated[list[str], typer.Option(help="A dataset to learn from; repeat it for more.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Fit settings, for instance steps=400 seed=3.")
    ] = None,
    replay: Annotated[
        list[str] | None, typer.Option(help="A dataset not to forget; repeat it for more.")
    ] = None,
    parent: Annotated[
        str, typer.Option(help="What to start from: zoo size, training run, bundle or folder.")
    ] = "pico",
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from nothing; --parent names the size.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A file of conf/train, or the path of one; fine_tune, or baseline from scratch."
        ),
    ] = None,
    new_class: Annotated[
        list[str] | None, typer.Option(help="A category that the parent never saw; repeat it.")
    ] = None,
    calibration: Annotated[
        str, typer.Option(help="The dataset that sets the ranges of int8.")
    ] = "tune",
    state: State = STATE,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Train a network or fine-tune one, and export it."""
    from edge.contracts.classes import class_named
    from fleet.dataset.shelf import find_dataset
    from fleet.model import find_model
    from fleet.train.order import TrainOrder, learnt, starting_from, with_classes
    from fleet.train.order import train as train_all
    from fleet.train.recipe import fine_tune, read_fit

    taught = [class_named(name) for name in new_class or ()]
    with open_workspace(state, cache) as place:
        start = find_model(place, parent)
        known = () if from_scratch else start.known
        categories = with_classes(start.categories, taught)
        fit = (
            read_fit(recipe or "baseline")
            if from_scratch
            else starting_from(fine_tune(new_class or (), recipe or "fine_tune"), known)
        )
        fit = with_words(fit, overrides or ())
        datasets = tuple(find_dataset(place, word) for word in fresh)
        order = TrainOrder(
            size=start.size,
            fresh=datasets,
            replay=tuple(find_dataset(place, word) for word in replay or ()),
            parent=None if from_scratch else start.weights,
            graph=start.files.fp32,
            calibration=find_dataset(place, calibration),
            fit=fit,
            categories=categories,
            known=learnt(datasets, (*known, *taught), categories),
        )
        with stages(as_json=as_json).stage("train", fit.steps) as shown:
            trained = train_all(
                place,
                {"run": order},
                on_steps=shown.advance,
                on_progress=lambda name, said: shown.part(name, said.done, said.total, said.note),
            )["run"]
            shown.note(trained.run_id)
    facts = {"run_id": trained.run_id, **msgspec.structs.asdict(trained.facts)}
    show_record(facts, as_json=as_json, title="trained")
