"""Answer one dataset with one model, in a child process: ``python -m fleet.evaluate.job JOB.json OUT``.

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
from fleet.evaluate.predict import Answers, answer


class AnswerJob(msgspec.Struct, frozen=True, kw_only=True):
    """Which model answers which dataset."""

    model: str
    """Path of an ONNX file."""
    size: Name
    categories: tuple[Category, ...]
    """The model's classes in the order of its channels."""
    dataset_id: Name
    dataset: str
    """Path of the frozen Parquet file."""
    has_radar: bool = True


def run(job: AnswerJob) -> Answers:
    """Answer every sample."""
    content = Path(job.model).read_bytes()
    engine = OnnxEngine(Path(job.model))
    dataset = Dataset(Path(job.dataset))
    said = list(
        answer(
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
    """Read a job file, write the answers beside it."""
    job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=AnswerJob)
    write_whole(Path(arguments[1]), msgspec.msgpack.encode(run(job)))


if __name__ == "__main__":
    main(sys.argv[1:])
