"""The learning half of a lap: label, freeze, train, export, answer. Heavy work runs in child processes.

Candidate and control take the same road with the same budgets, side by side on one core each. They
differ in one thing: whose clips they learn from, and which questions the reviewer was asked.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.contracts.scene import Box3D, Category
from edge.perceive.tensors import SPECS
from fleet.dataset import Dataset, DatasetManifest, freeze
from fleet.evaluate import Contender, EvalFrame, match
from fleet.evaluate.job import AnswerJob
from fleet.evaluate.predict import Answers, eval_frames
from fleet.jobs import Child, start_child
from fleet.label import Choice, LabelJob, Labelled, read_labelled
from fleet.release import ModelFiles, export_weights
from fleet.store import BlobStore
from fleet.train import WEIGHTS_FILE, DatasetFile, TrainJob, dataset_file
from models.fit import FitSettings
from sim.lap.folders import LapFolders

_POLL_S = 0.2
_AT_ONCE = 2
"""Child processes that work side by side; each takes one core."""


@dataclass(frozen=True)
class Work:
    """One child process: what to run and where it says what it says."""

    name: str
    module: str
    arguments: tuple[str, ...]


def run_all(work: Sequence[Work], logs: Path, on_done: Callable[[str], None]) -> None:
    """Run child processes, a few at a time, until all are done; the first failure ends the others.

    Raises:
        JobError: One failed.
    """
    waiting = list(work)
    with ExitStack() as stack:
        running: dict[str, Child] = {}
        while waiting or running:
            while waiting and len(running) < _AT_ONCE:
                item = waiting.pop(0)
                child = start_child(item.module, item.arguments, logs / f"{item.name}.log")
                running[item.name] = stack.enter_context(child)
            for name in [n for n, child in running.items() if child.poll() is not None]:
                running.pop(name).wait()
                on_done(name)
            time.sleep(_POLL_S)


def label(
    folders: LapFolders,
    clips: Mapping[str, Sequence[Path]],
    *,
    model: Path,
    size: str,
    known: Sequence[Category],
    budget_tracks: int,
    seed: int,
) -> dict[str, Labelled]:
    """Label the clips of ``candidate`` (most valuable questions) and ``control`` (blind ones)."""
    outs: dict[str, Path] = {}
    work: list[Work] = []
    for name, paths in clips.items():
        job = LabelJob(
            clips=tuple(str(path) for path in paths),
            model=str(model),
            size=size,
            known=tuple(known),
            labeler="sim.annotator:over",
            labeler_folder=str(folders.truth("drive")),
            budget_tracks=budget_tracks,
            choice=Choice.BLIND if name == "control" else Choice.VALUE,
            seed=seed,
        )
        path, outs[name] = folders.job(f"label-{name}.json"), folders.job(f"label-{name}.rows")
        path.write_bytes(msgspec.json.encode(job))
        work.append(Work(f"label-{name}", "fleet.label", (str(path), str(outs[name]))))
    run_all(work, folders.logs, lambda name: None)
    return {name: read_labelled(path) for name, path in outs.items()}


def freeze_labelled(labelled: Labelled, store: BlobStore, name: str) -> DatasetManifest:
    """Freeze the rows of a labelling run."""
    return freeze(
        labelled.samples, labelled.rigs, store, name=name, split="train", purpose="edge cases"
    )


def train(
    folders: LapFolders,
    fresh: Mapping[str, DatasetFile],
    replay: DatasetFile,
    *,
    size: str,
    parent: Path,
    fit: FitSettings,
    on_done: Callable[[str], None],
) -> dict[str, Path]:
    """Fine-tune the parent once per dataset, side by side; give the weights by name."""
    outs: dict[str, Path] = {}
    work: list[Work] = []
    for name, dataset in fresh.items():
        job = TrainJob(
            size=size,
            fresh=(dataset,),
            replay=(replay,),
            parent_weights=str(parent),
            parent_sha256=hashlib.sha256(parent.read_bytes()).hexdigest(),
            fit=fit,
            cache=str(folders.cache / "images"),
        )
        path, outs[name] = folders.job(f"train-{name}.json"), folders.here / f"run-{name}"
        path.write_bytes(msgspec.json.encode(job))
        work.append(Work(f"train-{name}", "fleet.train", (str(path), str(outs[name]))))
    run_all(work, folders.logs, on_done)
    return {name: out / WEIGHTS_FILE for name, out in outs.items()}


def export(
    folders: LapFolders, weights: Mapping[str, Path], size: str, graph: Path, tune: Dataset
) -> dict[str, ModelFiles]:
    """Write the files of each trained network."""
    return {
        name: export_weights(path, SPECS[size], graph, tune, folders.here / f"model-{name}")
        for name, path in weights.items()
    }


def answer(
    folders: LapFolders,
    models: Mapping[str, Path],
    sets: Mapping[str, DatasetFile],
    *,
    size: str,
    on_done: Callable[[str], None],
) -> dict[tuple[str, str], Answers]:
    """Let every model answer every set; an answer in the cache is not given again."""
    cache = folders.cache / "answers"
    cache.mkdir(parents=True, exist_ok=True)
    outs: dict[tuple[str, str], Path] = {}
    work: list[Work] = []
    for model_name, model in models.items():
        digest = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
        for set_name, dataset in sets.items():
            out = cache / f"{digest}-{dataset.dataset_id}.answers"
            outs[model_name, set_name] = out
            if out.exists():
                continue
            job = AnswerJob(
                model=str(model), size=size, dataset_id=dataset.dataset_id, dataset=dataset.path
            )
            path = folders.job(f"answer-{model_name}-{set_name}.json")
            path.write_bytes(msgspec.json.encode(job))
            name = f"answer-{model_name}-{set_name}"
            work.append(Work(name, "fleet.evaluate.job", (str(path), str(out))))
    run_all(work, folders.logs, on_done)
    return {key: msgspec.msgpack.decode(p.read_bytes(), type=Answers) for key, p in outs.items()}


def contender(
    answers: Mapping[tuple[str, str], Answers], model: str, sets: Mapping[str, Dataset]
) -> Contender:
    """Match one model's answers: the tune set for thresholds, gate and rare set for the verdict."""

    def frames(name: str) -> Iterator[EvalFrame]:
        boxes: Mapping[str, tuple[Box3D, ...]] = answers[model, name].boxes
        return eval_frames(sets[name], boxes)

    return Contender(
        tune=match(list(frames("tune"))), gate=match([*frames("gate"), *frames("rare")])
    )


def files_of(
    manifests: Mapping[str, DatasetManifest], store: BlobStore, cache: Path
) -> dict[str, DatasetFile]:
    """Lay datasets out as files for child processes, whatever the store is."""
    folder = cache / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, DatasetFile] = {}
    for name, manifest in manifests.items():
        path = folder / f"{manifest.dataset_id}.parquet"
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_bytes(store.get(manifest.blob_id))
            partial.replace(path)
        files[name] = dataset_file(manifest, path)
    return files
