"""Which question comes next, and which need not be asked any more."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from edge.contracts.classes import ANIMAL, SHIPPED_CLASSES, TRUCK
from edge.contracts.scene import Attribute, Box3D
from fleet.label.asking import ask_blindly, ask_by_value
from fleet.label.form import Form
from fleet.label.opinion import ClipOpinion
from fleet.label.settings import LabelSettings
from fleet.labeler import ReviewAnswer, ReviewQuestion, Sighting
from fleet.sample.row import LabelSource, SampleBox

KNOWN = tuple(c for c in SHIPPED_CLASSES if c != ANIMAL)
STAMPS = (1_000, 2_000)


def _question(
    track: str, x_m: float, value: float = 0.5, clip_id: str = "c", stamps: Sequence[int] = STAMPS
) -> ReviewQuestion:
    return ReviewQuestion(
        vehicle_id="v-01",
        clip_id=clip_id,
        track=track,
        sightings=tuple(Sighting(stamp_ns=s, x_m=x_m, y_m=0.0) for s in stamps),
        reason="radar_without_box",
        value=value,
    )


def _opinion(*questions: ReviewQuestion) -> ClipOpinion:
    """Stand in for the opinion about one clip: its id and its queue are all that asking reads."""
    best_first = sorted(questions, key=lambda q: (-q.value, q.track))
    manifest = SimpleNamespace(clip_id=questions[0].clip_id)
    clip = SimpleNamespace(manifest=manifest)
    return cast(ClipOpinion, SimpleNamespace(clip=clip, questions=tuple(best_first)))


def _animal_at(x_m: float, stamps: Sequence[int] = STAMPS) -> Mapping[int, SampleBox]:
    box = Box3D(category=ANIMAL, x_m=x_m, y_m=0.0, z_m=0.8, length_m=1.6, width_m=0.6,
                height_m=1.5, yaw_rad=0.0)  # fmt: skip
    return {s: SampleBox(box=box, track="a1", source=LabelSource.REVIEWED) for s in stamps}


def _nothing(question: ReviewQuestion) -> ReviewAnswer:
    return ReviewAnswer(track=question.track, boxes={}, is_nothing=True)


def _animals(*tracks: str, x_m: float) -> Callable[[ReviewQuestion], ReviewAnswer]:
    """Answer that these tracks are an animal at ``x_m``, and all others nothing."""

    def review(question: ReviewQuestion) -> ReviewAnswer:
        if question.track not in tracks:
            return _nothing(question)
        return ReviewAnswer(track=question.track, boxes=_animal_at(x_m), is_nothing=False)

    return review


def test_a_find_makes_the_rest_of_its_clip_worth_asking() -> None:
    """The rich clip's questions are worth a little less, until one of them turns up an animal."""
    rich = _opinion(*(_question(f"r{k}", 20.0 - 10.0 * k, 0.5 - k / 100, "rich") for k in range(4)))
    poor = _opinion(*(_question(f"p{k}", 8.0, 0.51, "poor") for k in range(4)))
    review = _animals("r0", x_m=20.0)
    asked = ask_by_value([rich, poor], review, KNOWN, 4, LabelSettings())
    assert [q.track for q, _ in asked] == ["p3", "r0", "r1", "r2"]


@pytest.mark.parametrize(("attribute", "first"), [("fallen", "b"), ("parked", "f")])
def test_an_unseen_form_of_a_known_class_is_a_find_and_an_ordinary_one_is_not(
    attribute: str, first: str
) -> None:
    truck = msgspec.structs.replace(
        _animal_at(10.0)[STAMPS[0]].box, category=TRUCK, attribute=Attribute(attribute)
    )
    boxes = {s: SampleBox(box=truck, track="t", source=LabelSource.REVIEWED) for s in STAMPS}
    find, beside, far = (
        _question("find", 10.0, 0.9),
        _question("b", 14.0, 0.4),
        _question("f", 25.0),
    )
    asked = ask_by_value(
        [_opinion(find, beside, far)],
        lambda q: ReviewAnswer(track=q.track, boxes=boxes if q is find else {}, is_nothing=False),
        KNOWN,
        2,
        LabelSettings(),
        unseen=[Form(category=TRUCK, attribute=Attribute.FALLEN)],
    )
    assert [q.track for q, _ in asked] == ["find", first]


def test_beside_a_find_is_asked_before_elsewhere_in_its_clip() -> None:
    find, beside, far = (
        _question("find", 10.0, 0.9),
        _question("b", 14.0, 0.4),
        _question("f", 25.0),
    )
    review = _animals("find", x_m=10.0)
    asked = ask_by_value([_opinion(find, beside, far)], review, KNOWN, 2, LabelSettings())
    assert [q.track for q, _ in asked] == ["find", "b"]


def test_a_budget_larger_than_the_queue_asks_everything_once() -> None:
    opinion = _opinion(_question("a", 5.0), _question("b", 6.0))
    asked = ask_by_value([opinion], _nothing, KNOWN, 10, LabelSettings())
    assert sorted(q.track for q, _ in asked) == ["a", "b"]


@pytest.mark.parametrize("is_blind", [False, True])
def test_nobody_is_asked_again_about_what_an_answer_has_shown(is_blind: bool) -> None:
    """Radar echo and broken track of one animal; the one beside it, and one in another clip, stay."""
    same, beside = _question("same", 10.6), _question("beside", 12.0)
    elsewhere = _question("elsewhere", 10.0, clip_id="d")
    review = _animals("first", x_m=10.0)
    opinions = [_opinion(_question("first", 10.0, 0.9), same, beside), _opinion(elsewhere)]
    if is_blind:
        # Seed 3 draws "first" before "same".
        asked = ask_blindly(opinions, review, 3, 10, LabelSettings())
    else:
        asked = ask_by_value(opinions, review, KNOWN, 10, LabelSettings())
    assert sorted(q.track for q, _ in asked) == ["beside", "elsewhere", "first"]


def test_a_question_told_at_less_than_half_of_its_sightings_is_still_asked() -> None:
    mostly_later = _question("later", 10.0, stamps=(2_000, 3_000, 4_000))
    review = _animals("first", x_m=10.0)
    opinion = _opinion(_question("first", 10.0, 0.9), mostly_later)
    asked = ask_by_value([opinion], review, KNOWN, 10, LabelSettings())
    assert [q.track for q, _ in asked] == ["first", "later"]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_blind_queue_does_not_look_at_value(seed: int) -> None:
    questions = [_question(f"t{k:02}", 5.0, k / 20) for k in range(20)]
    opinion = _opinion(*questions)
    queue = [q.track for q, _ in ask_blindly([opinion], _nothing, seed, 20, LabelSettings())]
    assert sorted(queue) == [q.track for q in questions]
    assert queue != sorted(queue, reverse=True)
    again = [q.track for q, _ in ask_blindly([opinion], _nothing, seed, 20, LabelSettings())]
    assert queue == again
