"""Answer one dataset with one model, in a child process: ``python -m fleet.evaluate.job ASSIGNMENT RESULTS``.

Three models on three sets are nine such jobs; they share nothing, so they fill as many cores as there
are, and an answer that exists already is not given again.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec

from edge.contracts.classes import Category
from edge.contracts.fields import Name
from edge.perceive.engine import OnnxEngine
from edge.perceive.tensors import SPECS
from fleet.dataset.frozen import Dataset
from fleet.disk import write_whole
from fleet.evaluate.predict import Answers, predict_dataset
from fleet.work.task import JobInputs, read_assignment

MODEL, DATASET = "model", "dataset"
"""Inputs: an ONNX file, and a frozen Parquet file."""
ANSWERS_FILE = "answers"


class AnswerJob(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one dataset."""

    size: Name
    categories: tuple[Category, ...]
    """The model's classes in the order of its channels."""
    dataset_id: Name
    has_radar: bool = True


def run(job: AnswerJob, inputs: JobInputs) -> Answers:
    """Answer every sample."""
    content = inputs[MODEL].read_bytes()
    engine = OnnxEngine(inputs[MODEL])
    dataset = Dataset(inputs[DATASET])
    said = list(
        predict_dataset(
            dataset,
            engine,
            SPECS[job.size],
            categories=job.categories,
            has_radar=job.has_radar,
        )
    )
    return Answers(
        model_sha256=hashlib.sha256(content).hexdigest(),
        dataset_id=job.dataset_id,
        boxes={sample_id: boxes for sample_id, boxes, _ in said},
        open_loop={sample_id: errors for sample_id, _, errors in said if errors is not None},
    )


def main(arguments: list[str]) -> None:
    """Read an assignment, write the answers into the folder of results."""
    job, inputs = read_assignment(Path(arguments[0]), AnswerJob)
    write_whole(Path(arguments[1]) / ANSWERS_FILE, msgspec.msgpack.encode(run(job, inputs)))


if __name__ == "__main__":
    main(sys.argv[1:])
