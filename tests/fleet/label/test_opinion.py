"""What is labelled, what is asked, what is masked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import msgspec

from edge.contracts.classes import ANIMAL, CAR, PEDESTRIAN, SHIPPED_CLASSES, TRUCK, Category
from edge.contracts.scene import Attribute, Box3D
from fleet.label.doubt import Doubt
from fleet.label.form import Form
from fleet.label.opinion import ClipOpinion, settle
from fleet.label.settings import LabelSettings
from fleet.labeler import ReviewAnswer, ReviewQuestion, Sighting
from fleet.sample.row import Disc, LabelSource, SampleBox, SampleLabels

KNOWN = tuple(c for c in SHIPPED_CLASSES if c != ANIMAL)
STAMP = 1_000


def _box(category: Category, x_m: float, source: LabelSource = LabelSource.AUTO) -> SampleBox:
    box = Box3D(category=category, x_m=x_m, y_m=0.0, z_m=0.8, length_m=1.7, width_m=0.6,
                height_m=1.5, yaw_rad=0.0)  # fmt: skip
    return SampleBox(box=box, track="t", source=source)


def _doubt(track: str, x_m: float, value: float = 0.5) -> Doubt:
    question = ReviewQuestion(
        vehicle_id="v-01",
        clip_id="c",
        track=track,
        sightings=(Sighting(stamp_ns=STAMP, x_m=x_m, y_m=0.0),),
        reason="radar_without_box",
        value=value,
    )
    return Doubt(question, {STAMP: Disc(x_m, 0.0, 2.0)})


def _opinion(clip_id: str, boxes: Sequence[SampleBox], *doubts: Doubt) -> ClipOpinion:
    manifest = SimpleNamespace(clip_id=clip_id)
    return ClipOpinion(
        clip=SimpleNamespace(manifest=manifest),  # type: ignore[arg-type]
        frames=(),
        boxes={STAMP: tuple(boxes)},
        doubts=doubts,
        known=KNOWN,
    )


def _answer(track: str, boxes: Mapping[int, SampleBox]) -> ReviewAnswer:
    return ReviewAnswer(track=track, boxes=boxes, is_nothing=not boxes)


def test_a_doubt_that_nobody_resolved_is_masked() -> None:
    labels = settle(_opinion("c", [], _doubt("d", 10.0)), {}, LabelSettings())[STAMP]
    assert [d.x_m for d in labels.ignored] == [10.0]
    assert labels.boxes == () and labels.looked == ()


def test_silence_about_a_class_of_which_a_form_was_never_seen_is_no_evidence() -> None:
    fallen = Form(category=TRUCK, attribute=Attribute.FALLEN)
    opinion = replace(_opinion("c", [_box(TRUCK, 9.0)]), unseen=(fallen,))
    labels = settle(opinion, {}, LabelSettings())[STAMP]
    assert labels.absence_known == tuple(c for c in KNOWN if c is not TRUCK)
    assert [b.box.category for b in labels.boxes] == [TRUCK], "an upright one stays a label"


def test_an_answered_doubt_is_a_label_and_a_place_somebody_looked_at() -> None:
    animal = _box(ANIMAL, 10.2, LabelSource.REVIEWED)
    answers = {"d": _answer("d", {STAMP: animal})}
    labels = settle(_opinion("c", [], _doubt("d", 10.0)), answers, LabelSettings())[STAMP]
    assert labels.boxes == (animal,)
    assert labels.ignored == ()
    assert labels.looked != ()


def test_who_stands_beside_what_was_asked_about_is_not_taught_as_background() -> None:
    animal = _box(ANIMAL, 10.0, LabelSource.REVIEWED)
    answers = {"d": _answer("d", {STAMP: animal})}
    labels = settle(_opinion("c", [], _doubt("d", 10.5)), answers, LabelSettings())[STAMP]
    beside_x_m = 11.2
    assert all(abs(disc.x_m - beside_x_m) > disc.radius_m for disc in labels.looked)
    assert all(abs(disc.x_m - animal.box.x_m) < disc.radius_m for disc in labels.looked)


def test_what_a_reviewer_could_not_tell_stays_masked() -> None:
    answers = {"d": ReviewAnswer(track="d", boxes={}, is_nothing=False)}
    labels = settle(_opinion("c", [], _doubt("d", 10.0)), answers, LabelSettings())[STAMP]
    assert [d.x_m for d in labels.ignored] == [10.0]
    assert labels.boxes == () and labels.looked == ()


def test_a_ghost_that_a_reviewer_denied_is_a_negative() -> None:
    answers = {"d": _answer("d", {})}
    labels = settle(_opinion("c", [], _doubt("d", 10.0)), answers, LabelSettings())[STAMP]
    assert labels.boxes == () and labels.ignored == ()
    assert [d.x_m for d in labels.looked] == [10.0]


def test_a_reviewer_overrules_the_teacher_in_the_same_place() -> None:
    animal = _box(ANIMAL, 10.2, LabelSource.REVIEWED)
    opinion = _opinion("c", [_box(PEDESTRIAN, 10.0), _box(CAR, 20.0)], _doubt("d", 10.0))
    labels = settle(opinion, {"d": _answer("d", {STAMP: animal})}, LabelSettings())[STAMP]
    assert [b.box.category for b in labels.boxes] == [CAR, ANIMAL]


def test_the_absence_of_an_unknown_class_is_not_claimed() -> None:
    labels = settle(_opinion("c", [_box(CAR, 20.0)]), {}, LabelSettings())[STAMP]
    assert ANIMAL not in labels.absence_known
    assert [d.x_m for d in labels.looked] == [20.0]


def test_a_doubt_about_what_a_reviewer_drew_masks_nothing() -> None:
    """A second, unasked track of the same animal must not hide it from the loss."""
    animal = _box(ANIMAL, 10.0, LabelSource.REVIEWED)
    opinion = _opinion("c", [], _doubt("asked", 10.0), _doubt("same", 10.6), _doubt("other", 14.0))
    labels = settle(opinion, {"asked": _answer("asked", {STAMP: animal})}, LabelSettings())[STAMP]
    assert [d.x_m for d in labels.ignored] == [14.0]


def test_an_answer_about_another_clip_of_the_same_instant_changes_nothing() -> None:
    animal = _box(ANIMAL, 10.0, LabelSource.REVIEWED)
    answers = {"elsewhere": _answer("elsewhere", {STAMP: animal})}
    labels = settle(_opinion("c", [], _doubt("d", 10.0)), answers, LabelSettings())[STAMP]
    assert labels.boxes == () and [d.x_m for d in labels.ignored] == [10.0]


def test_what_stands_beside_a_long_box_was_not_looked_at() -> None:
    lorry = SampleBox(
        box=Box3D(category=TRUCK, x_m=10.0, y_m=0.0, z_m=1.5, length_m=12.0, width_m=2.5,
                  height_m=3.0, yaw_rad=0.0),
        track="t", source=LabelSource.AUTO,
    )  # fmt: skip
    labels = settle(_opinion("c", [lorry]), {}, LabelSettings())[STAMP]
    assert all(disc.radius_m <= 1.25 for disc in labels.looked)


def test_signs_go_with_the_labels_and_are_left_out_where_nobody_listened() -> None:
    sign = Disc(12.0, 3.0, 2.0)
    opinion = _opinion("c", [])
    assert settle(opinion, {}, LabelSettings())[STAMP].signs is msgspec.UNSET
    listened = replace(opinion, signs={STAMP: (sign,)})
    assert settle(listened, {}, LabelSettings())[STAMP].signs == (sign,)
    before = msgspec.msgpack.encode(SampleLabels())
    assert b"signs" not in before
