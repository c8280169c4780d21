"""Train networks side by side, one core each, and export them; a run that was made is not made again.

Weights and graphs of a run lie in the store, so that a bundle can be built from its id alone.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from edge.contracts.classes import Category
from edge.contracts.errors import OperatorError
from edge.perceive.tensors import SPECS
from fleet.bundle.assemble import FP32, INT8, ModelFiles, export_weights, known_categories
from fleet.catalog import RunRow, TrainFacts
from fleet.dataset.frozen import Dataset, DatasetManifest, drop_images
from fleet.dataset.shelf import files_of
from fleet.disk import sha256_of, write_whole
from fleet.train.job import PARENT, PROGRESS_FILE, RECORD_FILE, WEIGHTS_FILE, TrainJob, TrainRun
from fleet.work.process import Progress
from fleet.work.task import Task
from fleet.work.workspace import (
    OnProgress,
    OnSteps,
    ProgressFeed,
    Workspace,
    ignore_progress,
    ignore_steps,
)
from models.settings import FitSettings


@dataclass(frozen=True)
class TrainOrder:
    """The data that a network learns from, and the weights that it starts from."""

    size: str
    fresh: tuple[DatasetManifest, ...]
    replay: tuple[DatasetManifest, ...]
    parent: Path | None
    """Weights; None starts from nothing."""
    graph: Path
    """Any fp32 ONNX file of this size, whose numbers the export replaces."""
    calibration: DatasetManifest
    """Its frames set the ranges of int8."""
    fit: FitSettings
    categories: tuple[Category, ...]
    """The class of each channel of the network's heat map, the parent's first; see ``with_classes``."""
    known: tuple[Category, ...]
    """What the network will have learnt to see."""


@dataclass(frozen=True)
class Trained:
    """A finished run and its files."""

    run_id: str
    weights: Path
    files: ModelFiles
    facts: TrainFacts
    """What stands in the catalog about it."""


def starting_from(fit: FitSettings, known: Sequence[Category]) -> FitSettings:
    """Fit a recipe to a parent: what it has learnt to see does not start anew."""
    unknown = [name for name in fit.reset_classes if name not in known]
    return replace(fit, reset_classes=unknown)


def with_classes(parent: Sequence[Category], taught: Sequence[Category]) -> tuple[Category, ...]:
    """List the channels of a fine-tuned network: its parent's, then the classes that the parent has not."""
    return tuple(dict.fromkeys((*parent, *taught)))


def learnt(
    fresh: Sequence[DatasetManifest],
    known: Sequence[Category],
    categories: Sequence[Category],
    minimum: int = 20,
) -> tuple[Category, ...]:
    """List what a network will have learnt to see: the parent's classes, and those with enough examples."""
    instances: Counter[str] = Counter()
    for manifest in fresh:
        instances.update(manifest.instances)
    return tuple(dict.fromkeys((*known, *known_categories(instances, categories, minimum))))


def train(
    workspace: Workspace,
    orders: Mapping[str, TrainOrder],
    *,
    on_steps: OnSteps = ignore_steps,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Trained]:
    """Carry training orders out, export what came of them, and write it down.

    Args:
        workspace: Where.
        orders: By name.
        on_steps: Called with the training steps that all orders have done since the last call.
        on_progress: Called with each order's name, step and loss.

    Raises:
        JobError: A run failed.
        OperatorError: An order makes no sense.
    """
    jobs = {name: _job(order) for name, order in orders.items()}
    folders = {name: workspace.folder / "runs" / job.run_id for name, job in jobs.items()}
    rows = {name: workspace.catalog.get(RunRow, job.run_id) for name, job in jobs.items()}
    tasks: dict[str, Task] = {}
    for name, job in jobs.items():
        row, steps = rows[name], job.fit.steps
        if row is not None:
            _fetch(workspace, facts_of(row), folders[name])
            on_steps(steps)
            continue
        tasks[name] = _task(workspace, name, orders[name], job)
    executor = workspace.executor
    logs = {name: executor.results(task.name) / PROGRESS_FILE for name, task in tasks.items()}
    feed = ProgressFeed(logs, on_steps, on_progress, read=last_report)
    executor.run(list(tasks.values()), on_poll=feed)
    for name, task in tasks.items():
        shutil.copytree(executor.results(task.name), folders[name], dirs_exist_ok=True)
    replayed = {dataset for job in jobs.values() for dataset in job.replay}
    for dataset in {dataset for job in jobs.values() for dataset in job.fresh} - replayed:
        drop_images(workspace.cache / "images", dataset)  # learnt once; replay is wanted every lap
    return {
        name: _exported(workspace, orders[name], job, folders[name], rows[name])
        for name, job in jobs.items()
    }


def last_report(log: Path) -> Progress | None:
    """Read the last whole line of a run's progress log; None before the first.

    The loss is the sum of its parts, as the run minimises it, a mean since the line before.
    """
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    if not lines:
        return None
    said: dict[str, float] = msgspec.json.decode(lines[-1])
    loss = sum(value for name, value in said.items() if name not in ("step", "steps", "wall_s"))
    return Progress(done=int(said["step"]), total=int(said["steps"]), note=f"loss {loss:.3f}")


def _job(order: TrainOrder) -> TrainJob:
    return TrainJob(
        size=order.size,
        fresh=tuple(manifest.dataset_id for manifest in order.fresh),
        replay=tuple(manifest.dataset_id for manifest in order.replay),
        parent_sha256=sha256_of(order.parent) if order.parent else None,
        fit=order.fit,
        categories=order.categories,
        calibration_id=order.calibration.dataset_id,
    )


def _task(workspace: Workspace, name: str, order: TrainOrder, job: TrainJob) -> Task:
    inputs = {m.dataset_id: m.blob_id for m in (*order.fresh, *order.replay)}
    if order.parent:
        inputs[PARENT] = workspace.store.put(order.parent)
    return Task(name=f"train-{name}", module="fleet.train.job", inputs=inputs, parameters=job)


def _exported(
    workspace: Workspace, order: TrainOrder, job: TrainJob, folder: Path, row: RunRow | None
) -> Trained:
    weights = folder / WEIGHTS_FILE
    if row is not None:
        return Trained(job.run_id, weights, ModelFiles(folder / FP32, folder / INT8), facts_of(row))
    calibration = files_of({"": order.calibration}, workspace.store, workspace.cache)[""]
    data = Dataset(Path(calibration.path))
    files = export_weights(
        weights, SPECS[order.size], order.graph, data, folder, categories=order.categories
    )
    run = msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=TrainRun)
    facts = TrainFacts(
        size=order.size,
        categories=order.categories,
        known=tuple(order.known),
        fresh=job.fresh,
        replay=job.replay,
        parent_sha256=job.parent_sha256,
        calibration=order.calibration.dataset_id,
        examples=run.examples,
        replay_examples=run.replay_examples,
        steps=run.steps,
        final_losses=run.final_losses,
        blobs={p.name: workspace.store.put(p) for p in (weights, files.fp32, files.int8)},
    )
    workspace.finish_run(job.run_id, facts, dataset_id=order.fresh[0].dataset_id)
    return Trained(job.run_id, weights, files, facts)


def fetch_run(workspace: Workspace, row: RunRow) -> Trained:
    """Lay the files of a finished training run out."""
    folder = workspace.folder / "runs" / row.run_id
    facts = facts_of(row)
    _fetch(workspace, facts, folder)
    files = ModelFiles(folder / FP32, folder / INT8)
    return Trained(row.run_id, folder / WEIGHTS_FILE, files, facts)


def facts_of(row: RunRow) -> TrainFacts:
    """Return what a run learnt from.

    Raises:
        OperatorError: It is a run of another stage.
    """
    if not isinstance(row.facts, TrainFacts):
        raise OperatorError(f"run {row.run_id} is a run of {row.stage}, expected train")
    return row.facts


def _fetch(workspace: Workspace, facts: TrainFacts, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, blob_id in facts.blobs.items():
        write_whole(folder / name, workspace.store.get(blob_id))
