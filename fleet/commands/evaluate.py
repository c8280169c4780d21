"""`ringroad evaluate`: judge a candidate against incumbent and control."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from conf.words import with_words
from edge.cli.console import show_json, show_table, stages
from edge.contracts.errors import OperatorError
from fleet.commands.options import CACHE, STATE, Cache, Json, State, open_depot
from fleet.work.plug import plugged

if TYPE_CHECKING:
    from fleet.model import Model
    from fleet.work.workspace import Workspace


def evaluate(
    candidate: Annotated[str, typer.Option(help="Zoo size, training run, bundle or folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Gate settings, for instance min_encounters=30.")
    ] = None,
    incumbent: Annotated[str, typer.Option(help="What drives now.")] = "pico",
    control: Annotated[
        str | None, typer.Option(help="Fine-tuned with the same budget from random clips.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="What no class may fall below; the shipped model of that size otherwise."
        ),
    ] = None,
    tune: Annotated[str, typer.Option(help="The dataset that chooses thresholds.")] = "tune",
    gate: Annotated[
        list[str] | None, typer.Option(help="A dataset that decides; repeat it for more.")
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="A slice on which it shall be better; animal otherwise."),
    ] = None,
    episodes: Annotated[
        str | None,
        typer.Option(
            help="What both drive in closed loop, as module:function, for instance "
            "sim.episodes:default_episodes; nothing otherwise."
        ),
    ] = None,
    runner: Annotated[
        str, typer.Option(help="Who drives an episode, as module:attribute.")
    ] = "sim.episodes:ChildEpisodes",
    profile: Annotated[str, typer.Option(help="On which kind of board.")] = "laptop",
    state: State = STATE,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Judge a candidate; a verdict that refuses it is an answer and no error."""
    from fleet.dataset.frozen import Dataset
    from fleet.dataset.shelf import files_of, find_dataset
    from fleet.evaluate import SLICES, GateSettings, claim_table, class_table, verdict_table
    from fleet.evaluate.order import (
        CANDIDATE,
        CONTROL,
        INCUMBENT,
        TUNE,
        contend,
        drive_episodes,
        tuned,
        with_anchor,
        write_verdict,
    )
    from fleet.model import find_model

    claims, settings = claim or ["animal"], with_words(GateSettings(), overrides or ())
    strange = [name for name in claims if name not in SLICES]
    if strange:
        raise OperatorError(f"no slice {strange[0]!r}; there are {', '.join(SLICES)}")
    words = {CANDIDATE: candidate, INCUMBENT: incumbent} | ({CONTROL: control} if control else {})
    with open_depot(state, cache) as opened:
        place = opened.workspace
        models = {name: find_model(place, word) for name, word in words.items()}
        fixed = _anchor(place, anchor, models[INCUMBENT].size)
        models = with_anchor(models, fixed)
        sizes = {model.size for model in (*models.values(), fixed)}
        if len(sizes) != 1:
            raise OperatorError(f"models of different sizes cannot be compared: {sorted(sizes)}")
        found = {TUNE: find_dataset(place, tune)}
        found |= {word: find_dataset(place, word) for word in gate or ("gate", "gate_animal")}
        files = files_of(found, place.store, place.cache)
        watch = stages(as_json=as_json)
        with watch.stage("answer", len(models) * len(found)) as shown:
            contenders = contend(
                place,
                models,
                files,
                size=sizes.pop(),
                on_steps=shown.advance,
            )
        comparison = None
        if episodes is not None:
            rare = [category for name in claims for category in SLICES[name].categories]
            with watch.stage("episodes"):
                comparison = drive_episodes(
                    plugged(runner)(place.logs, profile),
                    plugged(episodes)(),
                    {
                        name: opened.build(
                            models[name],
                            tuned(contenders[name].tune, rare, settings),
                            Dataset(Path(files[TUNE].path)),
                            profile=profile,
                        )
                        for name in (CANDIDATE, INCUMBENT)
                    },
                    place.folder,
                )
        verdict = write_verdict(
            place,
            contenders,
            claims,
            comparison,
            settings,
            judged={name: model.run_id for name, model in models.items()},
            sets={name: manifest.dataset_id for name, manifest in found.items()},
        )
    if as_json:
        show_json(msgspec.to_builtins(verdict))
        return
    for table in (verdict_table(verdict), claim_table(verdict.numbers), class_table(verdict)):
        show_table(table.to_records(), table.columns, as_json=False, title=table.title)


def _anchor(workspace: Workspace, word: str | None, size: str) -> Model:
    """Find the model that no class may fall below: the named one, or the shipped one of the size."""
    from fleet.model import find_model

    if word is not None:
        return find_model(workspace, word)
    try:
        return find_model(workspace, size)
    except OperatorError as error:
        raise OperatorError(f"{error}; name a fixed model with --anchor") from error
