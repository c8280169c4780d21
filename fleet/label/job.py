"""Label admitted clips in a child process: ``python -m fleet.label.job ASSIGNMENT RESULTS``.

First an opinion of each clip, then one queue of questions over all of them, then rows.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from edge.clip_file import read_clip
from edge.contracts.classes import Category
from edge.contracts.errors import RingroadError
from edge.contracts.fields import Count, Name, Seconds, Text
from edge.contracts.rig import Rig
from edge.perceive.engine import OnnxEngine
from edge.perceive.tensors import SPECS
from fleet.disk import write_whole
from fleet.label.asking import ask_blindly, ask_by_value
from fleet.label.form import Form
from fleet.label.opinion import ClipOpinion, clip_samples, opine, settle
from fleet.label.settings import LabelSettings
from fleet.labeler import Labeler, ReviewAnswer, ReviewQuestion
from fleet.sample.row import LabelSource, Sample
from fleet.work.plug import plugged
from fleet.work.task import JobInputs, read_assignment

_UNREADABLE = (RingroadError, OSError, ArithmeticError, LookupError, MemoryError, ValueError)
"""Errors of a clip that admission did not detect as unreadable; only this clip is skipped."""
_MAX_REASON_CHARACTERS = 300


MODEL = "model"
ROWS_FILE = "rows"


class ReviewChoice(StrEnum):
    """Order in which a review budget is spent."""

    VALUE = "value"
    """By the estimated value of the answer."""
    BLIND = "blind"
    """By hash: the control."""


class LabelJob(msgspec.Struct, frozen=True, kw_only=True):
    """One labelling job; inputs are the teacher's ONNX file, ``MODEL``, and sealed clips by their ids."""

    size: Name
    """The teacher's, a key of ``SPECS``."""
    known: tuple[Category, ...]
    """What the teacher has learnt to see."""
    categories: tuple[Category, ...]
    """The teacher's classes in the order of its channels."""
    labeler: str
    """``module:function`` that makes a ``Labeler`` from ``labeler_folder``."""
    labeler_folder: str
    budget_tracks: Count
    choice: ReviewChoice = ReviewChoice.VALUE
    seed: Count = 0
    settings: LabelSettings = msgspec.field(default_factory=LabelSettings)
    unseen: tuple[Form, ...] = ()
    """Forms of known classes that the teacher has not seen; that it finds none of them proves nothing."""


class LabelRun(msgspec.Struct, frozen=True, kw_only=True):
    """Result and cost of a labelling run."""

    clips: Count
    """Labelled."""
    auto: Count
    reviewed: Count
    masked: Count
    questions: Count
    asked: Count
    asked_by_reason: dict[str, Count]
    answered_by_category: dict[str, Count]
    reviewer_tracks: Count
    reviewer_seconds: Seconds
    skipped: dict[str, Text] = {}
    """Clips that could not be read, by id, and why."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows and the run that made them."""

    samples: tuple[Sample, ...]
    rigs: tuple[Rig, ...]
    run: LabelRun
    opinions: tuple[ClipOpinion, ...] = field(default=(), repr=False)
    answers: tuple[ReviewAnswer, ...] = ()


def label_clips(job: LabelJob, inputs: JobInputs) -> Labelled:
    """Label every clip of a job; one that cannot be read is skipped, and the run says so.

    Raises:
        OperatorError: The labeler's name means nothing, or the teacher cannot be read.
    """
    settings = job.settings
    opinions, skipped = _opinions(job, inputs)
    labeler: Labeler = plugged(job.labeler)(Path(job.labeler_folder))
    stamps = {o.clip.manifest.clip_id: [f.stamp_ns for f in o.frames] for o in opinions}

    def review(question: ReviewQuestion) -> ReviewAnswer:
        return labeler.review(question, stamps[question.clip_id])

    if job.choice is ReviewChoice.VALUE:
        asked = ask_by_value(
            opinions, review, job.known, job.budget_tracks, settings, unseen=job.unseen
        )
    else:
        asked = ask_blindly(opinions, review, job.seed, job.budget_tracks, settings)
    answers = {question.track: answer for question, answer in asked}
    samples: list[Sample] = []
    for opinion in opinions:
        samples.extend(clip_samples(opinion, settle(opinion, answers, settings)))
    boxes = [box for sample in samples for box in sample.labels.boxes]
    run = LabelRun(
        clips=len(opinions),
        auto=sum(box.source is LabelSource.AUTO for box in boxes),
        reviewed=sum(box.source is LabelSource.REVIEWED for box in boxes),
        masked=sum(len(sample.labels.ignored) for sample in samples),
        questions=sum(len(o.questions) for o in opinions),
        asked=len(asked),
        asked_by_reason=_count(question.reason for question, _ in asked),
        answered_by_category=_count(_said(answer) for answer in answers.values()),
        reviewer_tracks=labeler.cost.tracks,
        reviewer_seconds=labeler.cost.seconds,
        skipped=skipped,
    )
    rigs = {o.clip.manifest.rig_id: o.clip.manifest.rig for o in opinions}
    return Labelled(
        tuple(samples), tuple(rigs.values()), run, tuple(opinions), tuple(answers.values())
    )


def _opinions(job: LabelJob, inputs: JobInputs) -> tuple[list[ClipOpinion], dict[str, str]]:
    """Form an opinion of each clip of a job by itself; return them, and the reasons of skipped clips."""
    engine, spec = OnnxEngine(inputs[MODEL]), SPECS[job.size]
    opinions: list[ClipOpinion] = []
    skipped = {name: why for name, why in inputs.lacking.items() if name != MODEL}
    for clip_id in sorted(inputs.paths.keys() - {MODEL}):
        try:
            clip = read_clip(inputs[clip_id])
            opinions.append(
                opine(
                    clip,
                    engine,
                    spec,
                    job.known,
                    job.settings,
                    categories=job.categories,
                    unseen=job.unseen,
                )
            )
        except _UNREADABLE as error:
            skipped[clip_id] = reason_of(error)
    return opinions, skipped


def reason_of(error: BaseException) -> str:
    """Return in one line why a clip cannot be read."""
    words = " ".join(str(error).split())
    if not isinstance(error, RingroadError):
        words = f"{type(error).__name__}: {words}"
    return words[:_MAX_REASON_CHARACTERS]


def _said(answer: ReviewAnswer) -> str:
    found = next(iter(answer.boxes.values()), None)
    return "nothing" if found is None else str(found.box.category)


def _count(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def write_labelled(labelled: Labelled, path: Path) -> None:
    """Write rows and run as one file, whole or not at all."""
    content = (labelled.run, labelled.samples, labelled.rigs)
    write_whole(path, msgspec.msgpack.encode(content))


def read_labelled(path: Path) -> Labelled:
    """Read what a labelling child process wrote."""
    kind = tuple[LabelRun, tuple[Sample, ...], tuple[Rig, ...]]
    run, samples, rigs = msgspec.msgpack.decode(path.read_bytes(), type=kind)
    return Labelled(samples, rigs, run)


def main(arguments: list[str]) -> None:
    """Read an assignment, write what was labelled into the folder of results."""
    job, inputs = read_assignment(Path(arguments[0]), LabelJob)
    write_labelled(label_clips(job, inputs), Path(arguments[1]) / ROWS_FILE)


if __name__ == "__main__":
    main(sys.argv[1:])
