"""Make a shipped baseline, from nothing to a card: render, train on two cores, export, measure.

    ringroad zoo build        an hour and a half on two cores
    ringroad zoo card OUT     measure the models in a folder again, without training
    ringroad zoo show         what ships, and how good it is

A candidate of a lap is fine-tuned by ``fleet.train.order``. A baseline starts from random weights and is
trained here, on a larger set, by two processes that average their gradients.
TFLite is written by ``python -m models.tflite`` in an environment of its own and put beside the rest;
``ringroad zoo card`` then takes it in. The card names every output that is no better than a constant.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from conf.words import with_words
from edge.contracts.classes import BUS, CAR, SHIPPED_CLASSES, TRUCK, Category
from edge.contracts.errors import OperatorError
from edge.perceive.tensors import SPECS
from fleet.bundle.assemble import INT8, export_weights, known_categories
from fleet.commands.options import CACHE
from fleet.dataset.frozen import Dataset, DatasetManifest
from fleet.dataset.recipe import build_set, load_recipe
from fleet.dataset.shelf import files_of
from fleet.disk import sha256_of
from fleet.evaluate import (
    HeadingBand,
    Matches,
    OutputSettings,
    believed_velocities,
    best_f1_threshold,
    detection_scores,
    heading_errors,
    judge_outputs,
    match,
    operating_point,
)
from fleet.evaluate.job import ANSWERS_FILE, DATASET, MODEL, AnswerJob
from fleet.evaluate.metrics import ERRORS
from fleet.evaluate.predict import Answers, eval_frames
from fleet.store import FolderStore
from fleet.train.job import PARENT, WEIGHTS_FILE, TrainJob, run_id_in
from fleet.work.executor import ProcessExecutor
from fleet.work.process import Work, run_all
from fleet.work.task import Task, write_local_task
from fleet.zoo import CARD, WEIGHTS, ModelCard, decode_card, read_card, write_card, zoo_folder
from models.export import export_graph
from models.settings import FitSettings
from sim.recipes import RecipeStage

app = typer.Typer(help="The shipped models.", no_args_is_help=True)

INT8_FILE = "int8.onnx"
_VEHICLES = (CAR, TRUCK, BUS)
Report = Callable[[str], None]
SizeOption = Annotated[str, typer.Option(help="Which size: pico, nano or small.")]


@app.command()
def show(model: SizeOption = "pico") -> None:
    """Print the card of a shipped model."""
    card = read_card(zoo_folder(model))
    typer.echo(msgspec.json.format(msgspec.json.encode(card)).decode())


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="Folder of the new model.", file_okay=False)],
    model: SizeOption = "pico",
    steps: Annotated[
        int,
        typer.Option(
            min=1, max=100_000_000, help="Training steps, each made by two processes together."
        ),
    ] = 40_000,
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Weights to go on from; none starts from nothing."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**53 - 1, help="Of the training run.")] = 0,
) -> None:
    """Render the sets, train a baseline for hours, and measure it on the gate map."""
    _expect_size(model)
    sets = build_sets(typer.echo, ("base", *_MEASURING))
    weights, run = train_baseline(sets["base"], model, steps, seed, start, typer.echo)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(weights, out / "weights.bin")
    graph = out / "graph.onnx"
    export_graph(SPECS[model], graph)
    files = files_of(sets, FolderStore(CACHE / "store"), CACHE)
    export_weights(out / "weights.bin", SPECS[model], graph, Dataset(Path(files["tune"].path)), out)
    graph.unlink()
    write_card(measured(origin(model, sets["base"], run, seed), out, sets, typer.echo), out)


@app.command()
def card(
    out: Annotated[Path, typer.Argument(help="Folder of the model.", exists=True, file_okay=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of `ringroad settings outputs`, for instance min_found=20."),
    ] = None,
    *,
    model: SizeOption = "pico",
    run: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Record of its training run; the old card's otherwise.",
        ),
    ] = None,
    recipes: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of a tune.yaml and a gate.yaml; those of conf/recipe otherwise.",
        ),
    ] = None,
) -> None:
    """Measure the models in a folder again and write their card; nothing is trained."""
    _expect_size(model)
    settings = with_words(OutputSettings(), overrides or ())
    if not (out / INT8_FILE).is_file():
        raise OperatorError(f"{out} holds no {INT8_FILE}, the model that a card measures")
    if run is None:
        made = known_origin(out)
    else:
        run_id = run_id_in(run)
        base = build_sets(typer.echo, ("base",))["base"]
        made = origin(model, base, run_id, 0)
    new = measured(made, out, build_sets(typer.echo, _MEASURING, recipes), typer.echo, settings)
    write_card(new, out)
    for sentence in new.dead:
        typer.echo(sentence)


def _expect_size(model: str) -> None:
    if model not in SPECS:
        raise OperatorError(f"there is no size {model!r}; there are {', '.join(SPECS)}")


def build_sets(
    report: Report, names: Sequence[str], recipes: Path | None = None
) -> dict[str, DatasetManifest]:
    """Render sets by the recipes of their names, or find them in the cache.

    Args:
        report: Called with a line about each set.
        names: Of the recipes.
        recipes: A folder of one's own; ``conf/recipe`` otherwise.
    """
    store, runner = FolderStore(CACHE / "store"), RecipeStage()
    sets: dict[str, DatasetManifest] = {}
    for name in names:
        recipe = load_recipe(f"{recipes}/{name}.yaml" if recipes else name)
        sets[name] = build_set(recipe, runner, store, CACHE / "recipes")
        report(f"{name}: {sets[name].dataset_id}, {sets[name].samples} samples")
    return sets


def origin(model: str, base: DatasetManifest, run_id: str, seed: int) -> ModelCard:
    """Describe the origin of a network; nothing is measured yet."""
    recipe = load_recipe("base")
    return ModelCard(
        model=model,
        recipe=recipe.name,
        recipe_id=recipe.recipe_id,
        dataset_id=base.dataset_id,
        run_id=run_id,
        seed=seed,
        samples=base.samples,
        instances=base.instances,
        known=tuple(known_categories(base.instances, SHIPPED_CLASSES)),
        thresholds={},
        metrics={},
        per_class={},
        files={},
        notes=_NOTES,
    )


def known_origin(out: Path) -> ModelCard:
    """Read the origin of a network from its old card; its exported files may be newer than the card.

    Raises:
        OperatorError: The weights are not those of the card, which then says nothing of their origin.
    """
    old = decode_card(out)
    if sha256_of(out / WEIGHTS) != old.files.get(WEIGHTS):
        raise OperatorError(
            f"{out / CARD} speaks of other weights than {out / WEIGHTS}: give --run, the record of the "
            "training run that made them"
        )
    return old


def train_baseline(
    base: DatasetManifest, model: str, steps: int, seed: int, start: Path | None, report: Report
) -> tuple[Path, str]:
    """Fit a network with two processes that average their gradients; return weights and run id."""
    files = files_of({"base": base}, FolderStore(CACHE / "store"), CACHE)
    rate = 3e-3 if start is None else 8e-4  # twice that once threw a trained network off its course
    job = TrainJob(
        size=model,
        fresh=(base.dataset_id,),
        parent_sha256=sha256_of(start) if start else None,
        fit=FitSettings(steps=steps, seed=seed, learning_rate=rate, log_every=200),
        processes=2,
        port=_free_port(),
    )
    out = CACHE / "runs" / job.run_id
    out.mkdir(parents=True, exist_ok=True)
    path = out / "job.json"
    inputs = {base.dataset_id: Path(files["base"].path)}
    write_local_task(path, job, inputs | ({PARENT: start} if start else {}), CACHE)
    report(f"training {job.run_id}: progress in {out / 'progress.jsonl'}")
    ranks = range(job.processes)
    words = [(str(path), str(out), str(rank)) for rank in ranks]
    work = [Work(f"rank-{rank}", "fleet.train.job", words[rank]) for rank in ranks]
    run_all(work, out, at_once=len(work))
    return out / WEIGHTS_FILE, job.run_id


def measured(
    card: ModelCard,
    out: Path,
    sets: Mapping[str, DatasetManifest],
    report: Report,
    outputs: OutputSettings | None = None,
) -> ModelCard:
    """Measure int8 on tune and gate, with radar and without; return the card with the new numbers."""
    files = files_of({name: sets[name] for name in _MEASURING}, FolderStore(CACHE / "store"), CACHE)
    data = {name: Dataset(Path(file.path)) for name, file in files.items()}
    store = FolderStore(CACHE / "store")
    tasks = [
        Task(
            name=name,
            module="fleet.evaluate.job",
            inputs={MODEL: store.put(out / INT8), DATASET: sets[set_name].blob_id},
            parameters=AnswerJob(
                size=card.model,
                categories=card.categories,
                dataset_id=sets[set_name].dataset_id,
                has_radar=has_radar,
            ),
        )
        for name, set_name, has_radar in _MEASURED
    ]
    executor = ProcessExecutor(store, CACHE / "card", CACHE)
    executor.run(tasks, on_done=report)
    found = {}
    for name, set_name, _ in _MEASURED:
        content = (executor.results(name) / ANSWERS_FILE).read_bytes()
        answers = msgspec.msgpack.decode(content, type=Answers)
        found[name] = match(
            list(eval_frames(data[set_name], answers.boxes)), categories=card.categories
        )
    thresholds = {c: best_f1_threshold(found["tune"], c) for c in card.categories}
    judged = judge_outputs(found["tune"], thresholds, categories=card.known, settings=outputs)
    return msgspec.structs.replace(
        card,
        thresholds={c: thresholds[c] if c in card.known else 0.3 for c in card.categories},
        velocity_sigma_mps=believed_velocities(judged),
        metrics=_metrics(found, thresholds, card.known),
        per_class=_per_class(found["radar"], thresholds, card.known),
        dead=tuple(str(verdict) for verdict in judged if not verdict.is_alive),
    )


_NOTES = (
    "int8, gate map, under 30 m, at least 12 visible pixels; places never trained on; "
    "futures, plans and segmentation are not measured here"
)
_MEASURING = ("tune", "gate")
_MEASURED = (("tune", "tune", True), ("radar", "gate", True), ("camera", "gate", False))


def _metrics(
    found: Mapping[str, Matches],
    thresholds: Mapping[Category, float],
    known: Sequence[Category],
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name in ("radar", "camera"):
        scores = detection_scores(found[name], known)
        metrics[f"map_{name}"] = round(scores.mean_ap, 4)
        metrics[f"nds_{name}"] = round(scores.nds, 4)
        for error_name, mean in zip(ERRORS, scores.mean_errors, strict=True):
            if mean is not None:
                metrics[f"m{error_name}_{name}"] = round(mean, 4)
    for error in heading_errors(found["radar"], _VEHICLES, thresholds):
        if error.median_rad is not None and error.band in tuple(HeadingBand):
            metrics[f"heading_median_deg_{error.band}"] = round(57.29578 * error.median_rad, 1)
            metrics[f"heading_flipped_{error.band}"] = round(error.flipped_ratio or 0.0, 3)
            metrics[f"heading_found_{error.band}"] = error.found
    return metrics


def _per_class(
    found: Matches, thresholds: Mapping[Category, float], known: Sequence[Category]
) -> dict[str, dict[str, float]]:
    scores = detection_scores(found, known)
    rows: dict[str, dict[str, float]] = {}
    for row in scores.classes:
        point = operating_point(found, row.category, thresholds[row.category])
        rows[str(row.category)] = {
            "instances": row.instances,
            "ap": round(row.ap, 4),
            "recall": round(point.recall or 0.0, 4),
            "precision": round(point.precision or 0.0, 4),
        } | {
            error: round(value, 4)
            for error, value in zip(ERRORS, row.errors, strict=True)
            if value is not None
        }
    return rows


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
