"""Order a reviewer's questions, and drop those that an answer has settled.

The queue is over all clips: a budget is spent on the most valuable questions of *all* of them, never clip by
clip. The control's budget, of the same size, is spent on questions drawn by hash. Neither asks again about
what an answer has shown already: a broken track and its radar echo are one thing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

from edge.contracts.classes import Category
from edge.contracts.scene import Box3D
from fleet.label.form import Form
from fleet.label.opinion import ClipOpinion
from fleet.label.outline import is_on
from fleet.label.settings import LabelSettings
from fleet.labeler import ReviewAnswer, ReviewQuestion
from fleet.sample.row import SampleBox

Review = Callable[[ReviewQuestion], ReviewAnswer]
Answered = list[tuple[ReviewQuestion, ReviewAnswer]]

_FIND_BESIDE, _FIND_IN_CLIP, _NO_FIND = 2.0, 1.3, 0.85
"""Factors on the value of a clip's other questions after an answer; see ``ask_by_value``."""
_BESIDE_M = 6.0


def ask_by_value(
    opinions: Sequence[ClipOpinion],
    review: Review,
    known: Sequence[Category],
    budget: int,
    settings: LabelSettings,
    *,
    unseen: Sequence[Form] = (),
) -> Answered:
    """Spend a budget on the most valuable questions, and change the values by the answers.

    Things that the teacher has not learnt, a class or an ``unseen`` form of one, often stand together. Where
    an answer found one, the questions of its clip gain value, most of all those that point beside it; an
    answer that found a known class or nothing takes value from them.
    """
    left = [question for opinion in opinions for question in opinion.questions]
    promise = {question.track: question.value for question in left}
    asked: Answered = []
    while len(asked) < budget and left:
        question = max(left, key=lambda q: (promise[q.track], q.track))
        answer = review(question)
        asked.append((question, answer))
        left = _not_told(left, question, answer, settings)
        is_new = any(_is_new(box.box, known, unseen) for box in answer.boxes.values())
        for other in left:
            if other.clip_id == question.clip_id:
                is_beside = is_new and _points_beside(other, answer.boxes)
                find = _FIND_BESIDE if is_beside else _FIND_IN_CLIP
                promise[other.track] *= find if is_new else _NO_FIND
    return asked


def ask_blindly(
    opinions: Sequence[ClipOpinion],
    review: Review,
    seed: int,
    budget: int,
    settings: LabelSettings,
) -> Answered:
    """Spend a budget in an order that does not depend on value: the control."""
    left = [question for opinion in opinions for question in opinion.questions]
    left.sort(key=lambda q: hashlib.sha256(f"{seed}:{q.track}".encode()).digest())
    asked: Answered = []
    while len(asked) < budget and left:
        question = left[0]
        answer = review(question)
        asked.append((question, answer))
        left = _not_told(left, question, answer, settings)
    return asked


def _is_new(box: Box3D, known: Sequence[Category], unseen: Sequence[Form]) -> bool:
    return box.category not in known or any(form.holds(box) for form in unseen)


def _not_told(
    queue: Sequence[ReviewQuestion],
    question: ReviewQuestion,
    answer: ReviewAnswer,
    settings: LabelSettings,
) -> list[ReviewQuestion]:
    """Keep of a queue the questions that are neither the one just answered nor settled by its answer."""
    return [
        other
        for other in queue
        if other.track != question.track
        and (other.clip_id != question.clip_id or not _is_told(other, answer.boxes, settings))
    ]


def _is_told(
    question: ReviewQuestion, boxes: Mapping[int, SampleBox], settings: LabelSettings
) -> bool:
    """Return whether at half of a question's sightings these boxes stand where it points."""
    margin_m = settings.same_thing_margin_m
    told = sum(
        sighting.stamp_ns in boxes
        and is_on(boxes[sighting.stamp_ns].box, sighting.x_m, sighting.y_m, margin_m)
        for sighting in question.sightings
    )
    return 2 * told >= len(question.sightings)


def _points_beside(question: ReviewQuestion, boxes: Mapping[int, SampleBox]) -> bool:
    """Return whether a question ever points near one of these boxes."""
    return any(
        sighting.stamp_ns in boxes
        and math.dist((sighting.x_m, sighting.y_m), _centre(boxes[sighting.stamp_ns])) < _BESIDE_M
        for sighting in question.sightings
    )


def _centre(box: SampleBox) -> tuple[float, float]:
    return box.box.x_m, box.box.y_m
