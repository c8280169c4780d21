"""The annotator: slow, fallible, counted, and the same whoever asks first."""

from pathlib import Path

import msgspec
import pytest

from edge.contracts.classes import ANIMAL
from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose
from edge.contracts.scene import Box3D
from fleet.labeler import ReviewQuestion, Sighting
from fleet.sample.row import LabelSource
from sim.sense.annotator import Annotator, AnnotatorSettings, over, truth_path, write_settings
from sim.sense.truth import TruthBox, TruthFrame, TruthLog

PERFECT = AnnotatorSettings(
    position_sigma_m=0.0,
    size_sigma_ratio=0.0,
    heading_sigma_rad=0.0,
    wrong_class_ratio=0.0,
    overlooked_ratio=0.0,
)


def _truth(stamp_ns: int, x_m: float, visible_px: int = 200) -> TruthFrame:
    box = Box3D(category=ANIMAL, x_m=x_m, y_m=1.0, z_m=0.7, length_m=1.7, width_m=0.6,
                height_m=1.5, yaw_rad=0.0)  # fmt: skip
    seen = TruthBox(
        box=box, entity_id=7, visible_px=visible_px, hidden_ratio=0.0, encounter_id="e1"
    )
    return TruthFrame(stamp_ns=stamp_ns, world_from_ego=Pose(), boxes=(seen,))


TRUTH = {"v-01": {1: _truth(1, 10.0), 2: _truth(2, 9.0), 3: _truth(3, 8.0, visible_px=3)}}


def _question(x_m: float, track: str = "q") -> ReviewQuestion:
    sightings = (
        Sighting(stamp_ns=1, x_m=x_m, y_m=1.0),
        Sighting(stamp_ns=2, x_m=x_m - 1.0, y_m=1.0),
    )
    return ReviewQuestion(
        vehicle_id="v-01", clip_id="c", track=track, sightings=sightings, reason="x", value=1.0
    )


def test_a_track_is_named_at_every_instant_where_it_shows() -> None:
    answer = Annotator(TRUTH.__getitem__, PERFECT).review(_question(10.0), [1, 2, 3])
    assert sorted(answer.boxes) == [1, 2]  # at 3 it hardly shows
    assert answer.boxes[1].box.category == ANIMAL
    assert answer.boxes[1].source is LabelSource.REVIEWED


def test_pointing_at_nothing_is_answered_so() -> None:
    answer = Annotator(TRUTH.__getitem__, PERFECT).review(_question(30.0), [1, 2])
    assert answer.is_nothing


def test_pointing_at_something_only_now_and_then_is_not_called_nothing() -> None:
    once = Sighting(stamp_ns=1, x_m=10.0, y_m=1.0)
    astray = [Sighting(stamp_ns=2, x_m=x_m, y_m=1.0) for x_m in (25.0, 27.0)]
    question = msgspec.structs.replace(_question(10.0), sightings=(once, *astray))
    answer = Annotator(TRUTH.__getitem__, PERFECT).review(question, [1, 2])
    assert not answer.boxes
    assert not answer.is_nothing


def test_work_is_counted_in_tracks_and_seconds() -> None:
    annotator = Annotator(TRUTH.__getitem__, PERFECT)
    annotator.review(_question(10.0), [1, 2])
    assert annotator.cost.tracks == 1
    assert annotator.cost.seconds == pytest.approx(15.0 + 2 * 1.5)
    annotator.annotate("v-01", [1, 2])
    assert annotator.cost.tracks == 2


def test_annotator_of_a_folder_has_the_settings_that_lie_there(tmp_path: Path) -> None:
    with TruthLog.open(truth_path(tmp_path, "v-01"), "v-01") as log:
        log.append(_truth(1, 10.0))

    def seconds() -> float:
        people = over(tmp_path)
        people.annotate("v-01", [1])
        return people.cost.seconds

    assert seconds() == 15.0 + 1.5
    write_settings(tmp_path, AnnotatorSettings(seconds_per_track=7.0))
    assert seconds() == 7.0 + 1.5
    (tmp_path / "annotator.yaml").write_text("seconds_per_trak: 3")
    with pytest.raises(OperatorError, match="did you mean seconds_per_track"):
        over(tmp_path)


def test_people_make_mistakes_and_the_same_ones_in_any_order() -> None:
    settings = AnnotatorSettings(overlooked_ratio=0.3, wrong_class_ratio=0.3)
    names = [f"q{k}" for k in range(60)]

    def said(order: list[str]) -> dict[str, str]:
        annotator = Annotator(TRUTH.__getitem__, settings)
        answers = {n: annotator.review(_question(10.0, n), [1]) for n in order}
        return {
            n: str(a.boxes[1].box.category) if a.boxes else "nothing" for n, a in answers.items()
        }

    forwards = said(names)
    assert forwards == said(names[::-1])
    assert {"animal", "pedestrian", "nothing"} == set(forwards.values())


def test_full_care_labels_the_hidden_too_and_says_how_little_shows() -> None:
    labels = Annotator(TRUTH.__getitem__, PERFECT).annotate("v-01", [3])
    assert [b.visible_px for b in labels[3].boxes] == [3]
    assert labels[3].boxes[0].encounter_id == "e1"
