"""What is labelled, what is asked, what is masked."""

from collections.abc import Mapping, Sequence

import pytest

from edge.contracts.scene import CATEGORIES, Box3D, Category
from fleet.label.opinion import ClipOpinion, LabelSettings, _Doubt, settle
from fleet.label.stage import Choice, ordered
from fleet.labeler import ReviewAnswer, ReviewQuestion, Sighting
from fleet.samples import Disc, LabelSource, SampleBox

KNOWN = tuple(c for c in CATEGORIES if c is not Category.ANIMAL)
STAMP = 1_000


def _box(category: Category, x_m: float, source: LabelSource = LabelSource.AUTO) -> SampleBox:
    box = Box3D(category=category, x_m=x_m, y_m=0.0, z_m=0.8, length_m=1.7, width_m=0.6,
                height_m=1.5, yaw_rad=0.0)  # fmt: skip
    return SampleBox(box=box, track="t", source=source)


def _doubt(track: str, x_m: float, value: float = 0.5) -> _Doubt:
    question = ReviewQuestion(
        vehicle_id="v-01",
        clip_id="c",
        track=track,
        sightings=(Sighting(stamp_ns=STAMP, x_m=x_m, y_m=0.0),),
        reason="radar_without_box",
        value=value,
    )
    return _Doubt(question, {STAMP: Disc(x_m, 0.0, 2.0)})


def _opinion(boxes: Sequence[SampleBox], *doubts: _Doubt) -> ClipOpinion:
    return ClipOpinion(
        clip=None,  # type: ignore[arg-type]
        frames=(),
        boxes={STAMP: tuple(boxes)},
        doubts=doubts,
        known=KNOWN,
    )


def _answer(track: str, boxes: Mapping[int, SampleBox]) -> ReviewAnswer:
    return ReviewAnswer(track=track, boxes=boxes, is_nothing=not boxes)


def test_a_doubt_that_nobody_resolved_is_masked() -> None:
    labels = settle(_opinion([], _doubt("d", 10.0)), {}, LabelSettings())[STAMP]
    assert [d.x_m for d in labels.ignored] == [10.0]
    assert labels.boxes == () and labels.looked == ()


def test_an_answered_doubt_is_a_label_and_a_place_somebody_looked_at() -> None:
    animal = _box(Category.ANIMAL, 10.2, LabelSource.REVIEWED)
    answers = {"d": _answer("d", {STAMP: animal})}
    labels = settle(_opinion([], _doubt("d", 10.0)), answers, LabelSettings())[STAMP]
    assert labels.boxes == (animal,)
    assert labels.ignored == ()
    assert labels.looked != ()


def test_a_ghost_that_a_reviewer_denied_is_a_negative() -> None:
    answers = {"d": _answer("d", {})}
    labels = settle(_opinion([], _doubt("d", 10.0)), answers, LabelSettings())[STAMP]
    assert labels.boxes == () and labels.ignored == ()
    assert [d.x_m for d in labels.looked] == [10.0]


def test_a_reviewer_overrules_the_teacher_in_the_same_place() -> None:
    animal = _box(Category.ANIMAL, 10.2, LabelSource.REVIEWED)
    opinion = _opinion(
        [_box(Category.PEDESTRIAN, 10.0), _box(Category.CAR, 20.0)], _doubt("d", 10.0)
    )
    labels = settle(opinion, {"d": _answer("d", {STAMP: animal})}, LabelSettings())[STAMP]
    assert [b.box.category for b in labels.boxes] == [Category.CAR, Category.ANIMAL]


def test_the_absence_of_an_unknown_class_is_not_claimed() -> None:
    labels = settle(_opinion([_box(Category.CAR, 20.0)]), {}, LabelSettings())[STAMP]
    assert Category.ANIMAL not in labels.absence_known
    assert [d.x_m for d in labels.looked] == [20.0]


def test_the_best_question_of_every_clip_comes_before_the_second_of_any() -> None:
    rich = _opinion([], _doubt("a", 5.0, 0.9), _doubt("b", 6.0, 0.8), _doubt("c", 7.0, 0.7))
    poor = _opinion([], _doubt("z", 8.0, 0.1))
    queue = [q.track for q in ordered([rich, poor], Choice.VALUE, 0)]
    assert queue == ["a", "z", "b", "c"]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_blind_queue_does_not_look_at_value(seed: int) -> None:
    doubts = [_doubt(f"t{k}", 5.0, k / 20) for k in range(20)]
    queue = [q.track for q in ordered([_opinion([], *doubts)], Choice.BLIND, seed)]
    assert sorted(queue) == sorted(d.question.track for d in doubts)
    assert queue != [d.question.track for d in reversed(doubts)]
    assert queue == [q.track for q in ordered([_opinion([], *doubts)], Choice.BLIND, seed)]
