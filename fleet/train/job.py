"""Fit a network to frozen datasets, in a child process, and write down every number that describes it.

The stage is an *assignment* in and a *folder of results* out: weights, the run record, a progress log. Two
jobs can therefore train side by side on one core each (candidate and control), one job can spread over
several processes (a baseline), and a job that ran before is recognised by its hash and not run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import msgspec

from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.fields import Count, Name, Seconds, Sha256
from edge.perceive.tensors import SPECS, NetSpec
from fleet.dataset.frozen import Dataset, TrainingView
from fleet.work.task import JobInputs, read_assignment
from models.bev import BevNet
from models.examples import Example, ExampleSource
from models.fit import FitProgress, fit
from models.settings import FitSettings
from models.weights import load_weights, save_weights

RUN_SCHEMA = 2
WEIGHTS_FILE = "weights.bin"
RECORD_FILE = "run.json"
PROGRESS_FILE = "progress.jsonl"


PARENT = "parent"
"""Input: the weights that a run starts from."""


class TrainJob(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what a training run learns; every dataset is an input of its id's name."""

    size: Name
    fresh: tuple[Name, ...]
    """Ids of datasets."""
    replay: tuple[Name, ...] = ()
    parent_sha256: Sha256 | None = None
    fit: FitSettings
    categories: tuple[Category, ...] = SHIPPED_CLASSES
    """The class of each channel; those beyond the parent's channels start anew."""
    calibration_id: str = ""
    """The dataset that sets the ranges of int8; empty where nothing is exported."""
    processes: Count = 1
    port: Count = 0
    """Loopback port where several processes meet; unused with one."""

    @property
    def run_id(self) -> str:
        """Hash of what is learnt from what and exported how: the same job is the same run.

        A job with the shipped classes keeps the id that it had before there were others.
        """
        what = (
            self.size,
            self.fresh,
            self.replay,
            self.parent_sha256,
            asdict(self.fit),
            self.calibration_id,
            self.processes,
        )
        named = (*what, self.categories) if self.categories != SHIPPED_CLASSES else what
        return "t-" + hashlib.sha256(msgspec.json.encode(named)).hexdigest()[:16]


class TrainRun(msgspec.Struct, frozen=True, kw_only=True):
    """Record of a finished run."""

    schema: Count = RUN_SCHEMA
    run_id: Name
    job: TrainJob
    weights_sha256: Sha256
    examples: Count
    replay_examples: Count
    steps: Count
    final_losses: dict[str, float]
    wall_s: Seconds
    cpu_s: Seconds


class _Named(msgspec.Struct):
    run_id: Name


def run_id_in(record: Path) -> str:
    """Return the id of the run that a record describes, of this schema or of the first one.

    Raises:
        SchemaError: The file is no record of a run.
    """
    try:
        return msgspec.json.decode(record.read_bytes(), type=_Named).run_id
    except msgspec.MsgspecError as error:
        raise SchemaError(f"{record} is no record of a training run: {error}") from error


def train_job(job: TrainJob, inputs: JobInputs, out: Path, rank: int = 0) -> TrainRun | None:
    """Run a job in this process and write its folder; other ranks than 0 only help.

    Raises:
        OperatorError: The job names an unknown size, an empty dataset, or a class to learn that is not
            among its ``categories``.
        HashMismatchError: The parent has another size, or more classes.
    """
    if job.size not in SPECS:
        raise OperatorError(f"no network size {job.size!r}; there are {', '.join(SPECS)}")
    spec = SPECS[job.size]
    started, cpu_started = time.monotonic(), time.process_time()
    _expect_listed(job)
    fresh = _Joined([_open(name, spec, job, inputs) for name in job.fresh])
    replay = (
        _Joined([_open(name, spec, job, inputs) for name in job.replay]) if job.replay else None
    )
    if len(fresh) == 0:
        raise OperatorError("nothing to learn from: the job's datasets hold no samples")
    if job.parent_sha256:
        net = load_weights(inputs[PARENT], spec, job.categories)
    else:
        net = BevNet(spec, job.categories)
    out.mkdir(parents=True, exist_ok=True)
    losses: dict[str, float] = {}

    def log(progress: FitProgress) -> None:
        losses.update(progress.losses)
        line = {"step": progress.step, "steps": progress.steps, **progress.losses}
        line["wall_s"] = round(time.monotonic() - started, 1)
        if rank == 0:
            with (out / PROGRESS_FILE).open("a") as file:
                file.write(json.dumps(line) + "\n")

    trained = fit(net, fresh, job.fit, replay=replay, on_progress=log)
    if rank != 0:
        return None
    run = TrainRun(
        run_id=job.run_id,
        job=job,
        weights_sha256=save_weights(trained, out / WEIGHTS_FILE),
        examples=len(fresh),
        replay_examples=len(replay) if replay else 0,
        steps=job.fit.steps,
        final_losses=losses,
        wall_s=time.monotonic() - started,
        cpu_s=time.process_time() - cpu_started,
    )
    (out / RECORD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(run)))
    return run


class _Joined:
    """Several example sources, one after the other."""

    def __init__(self, parts: list[ExampleSource]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, number: int) -> Example:
        for part in self._parts:
            if number < len(part):
                return part[number]
            number -= len(part)
        raise IndexError(number)


def _open(dataset_id: str, spec: NetSpec, job: TrainJob, inputs: JobInputs) -> TrainingView:
    data = Dataset(inputs[dataset_id])
    return TrainingView(data, spec, inputs.cache / "images", dataset_id, job.categories)


def _expect_listed(job: TrainJob) -> None:
    for name in (*job.fit.reset_classes, *job.fit.positive_weights):
        if name not in job.categories:
            raise OperatorError(
                f"the run cannot learn {name!r}: its channels are {', '.join(job.categories)}; "
                "add the class to the run's list"
            )


def main(arguments: list[str]) -> None:
    """Run ``python -m fleet.train.job ASSIGNMENT RESULTS [RANK]``: the child process of training."""
    import torch
    import torch.distributed as dist

    job, inputs = read_assignment(Path(arguments[0]), TrainJob)
    rank = int(arguments[2]) if len(arguments) > 2 else 0
    torch.set_num_threads(1)
    if job.processes > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job.port)}
        dist.init_process_group("gloo", rank=rank, world_size=job.processes)
    train_job(job, inputs, Path(arguments[1]), rank)


if __name__ == "__main__":
    main(sys.argv[1:])
