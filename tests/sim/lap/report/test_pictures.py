"""Pictures of an instant: both models beside the label, and the scene from above."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge.contracts.geometry import Pose
from edge.contracts.rig import Rig
from edge.contracts.scene import Attribute, Box3D
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    UltrasonicScan,
    frames_of,
)
from fleet.evaluate import SLICES
from sim.lap.record import (
    LapRecord,
)
from sim.lap.report import (
    EdgeCase,
    Picture,
    PictureKind,
    clarity_px,
    edge_case_pictures,
    mosaic_picture,
)
from sim.lap.report.page import render
from sim.place.ground import Ground
from sim.render.cameras import Renderer
from sim.show.pictures import CANDIDATE_RGB, INCUMBENT_RGB, TRUTH_RGB
from sim.world.snapshot import Entity, Snapshot

MakeRecord = Callable[..., LapRecord]
Pictures = tuple[Picture, ...]
ReadPage = Callable[[str], Any]


def animal(x_m: float, y_m: float, score: float = 1.0, category: str = "animal") -> Box3D:
    return Box3D(
        category=category,
        x_m=x_m,
        y_m=y_m,
        z_m=0.6,
        length_m=1.6,
        width_m=0.5,
        height_m=1.2,
        yaw_rad=1.4,
        score=score,
    )


@pytest.fixture
def edge_case(rig: Rig, ego_pose: Pose) -> EdgeCase:
    """An animal that stands 9 m ahead and 1 m to the left, on grey pictures."""
    frame_set = FrameSet(
        index=0,
        stamp_ns=0,
        frames=frames_of(np.full((8, 128, 256, 3), 90, dtype=np.uint8), 0),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=0, world_from_ego=ego_pose),
    )
    return EdgeCase(
        clip_id="c-1",
        frame_set=frame_set,
        rig=rig,
        claim=SLICES["animal"],
        labels=(animal(9.0, 1.0),),
        incumbent=(animal(9.2, 1.2, 0.5, "pedestrian"),),
        candidate=(animal(9.3, 1.4, 0.62),),
        caught_by=("radar_without_box",),
    )


def replaced(case: EdgeCase, **changes: object) -> EdgeCase:
    return EdgeCase(**(vars(case) | changes))  # type: ignore[arg-type]


def decoded(picture: Picture) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(picture.png, dtype=np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(image)[..., ::-1].astype(int)


def has_color(picture: Picture, color: tuple[int, int, int]) -> bool:
    return int((np.abs(decoded(picture) - color).max(axis=-1) < 40).sum()) > 15


def test_each_model_is_drawn_beside_the_other_with_the_label(edge_case: EdgeCase) -> None:
    incumbent, candidate, above = edge_case_pictures(edge_case)
    assert decoded(incumbent).shape == decoded(candidate).shape == decoded(above).shape
    assert has_color(incumbent, INCUMBENT_RGB) and not has_color(incumbent, CANDIDATE_RGB)
    assert has_color(candidate, CANDIDATE_RGB) and not has_color(candidate, INCUMBENT_RGB)
    assert all(has_color(p, TRUTH_RGB) for p in (incumbent, candidate, above))
    assert above.kind is PictureKind.BIRDS_EYE


def test_the_object_shown_is_of_the_claimed_slice_and_not_only_of_its_class(
    edge_case: EdgeCase,
) -> None:
    upright, fallen = (
        msgspec.structs.replace(
            animal(x_m, 0.0, category="truck"), attribute=attribute, length_m=6.0, height_m=2.5
        )
        for x_m, attribute in ((14.0, Attribute.PARKED), (26.0, Attribute.FALLEN))
    )
    case = replaced(edge_case, claim=SLICES["overturned_truck"], labels=(upright, fallen))
    assert case.claimed == [fallen]
    assert "The truck, ringed, is 26 m ahead" in edge_case_pictures(case)[2].caption
    nothing = replaced(case, labels=(upright,))
    assert nothing.claimed == []
    assert "The truck, ringed, is 14 m ahead" in edge_case_pictures(nothing)[2].caption


def test_captions_say_what_each_model_made_of_the_object(edge_case: EdgeCase) -> None:
    incumbent, candidate, above = edge_case_pictures(edge_case)
    assert incumbent.caption == "Takes the animal for a pedestrian (score 0.50)."
    assert candidate.caption == "Sees the animal: score 0.62, 0.5 m off."
    assert above.caption == (
        "The animal, ringed, is 9 m ahead, 1 m to the left. Caught by: radar without box."
    )
    blind = edge_case_pictures(replaced(edge_case, incumbent=(animal(9.0, 3.1),)))[0]
    assert blind.caption == "Misses the animal: no box of its own within 2 m."


def test_a_box_about_the_neighbour_is_no_mistake_about_the_object(edge_case: EdgeCase) -> None:
    pedestrian = animal(9.4, 1.3, 1.0, "pedestrian")
    case = replaced(edge_case, labels=(*edge_case.labels, pedestrian))
    assert edge_case_pictures(case)[0].caption == "Misses the animal: no box of its own within 2 m."


def test_pictures_of_unseen_places_stand_apart_from_those_that_taught(
    edge_case: EdgeCase, lap_record: MakeRecord, read_page: ReadPage, pictures: Pictures
) -> None:
    gate = edge_case_pictures(replaced(edge_case, is_unseen=True, clip_id="gate-088"))
    text = read_page(render(lap_record(), [*edge_case_pictures(edge_case), *gate])).text
    taught, unseen = text.split("On places that no model was trained on")
    assert "The candidate has learnt from these very clips" in taught and "c-1" in taught
    assert "gate-088" in unseen and "gate-088" not in taught
    assert "On places that no model" not in read_page(render(lap_record(), pictures)).text


def test_place_leaves_out_what_is_no_distance(edge_case: EdgeCase) -> None:
    straight = edge_case_pictures(replaced(edge_case, labels=(animal(9.0, -0.3),)))[2]
    assert straight.caption.startswith("The animal, ringed, is 9 m ahead. ")


def test_clip_without_the_rare_object_shows_the_label_of_what_it_is_about(
    edge_case: EdgeCase,
) -> None:
    case = replaced(edge_case, labels=(animal(9.0, 1.0, 1.0, "pedestrian"),), incumbent=())
    incumbent = edge_case_pictures(case)[0]
    assert "pedestrian" in incumbent.caption and has_color(incumbent, TRUTH_RGB)
    assert has_color(mosaic_picture(case), TRUTH_RGB)


def test_crop_comes_from_the_camera_that_shows_the_object_best(edge_case: EdgeCase) -> None:
    ahead = edge_case_pictures(edge_case)[0]
    behind = edge_case_pictures(replaced(edge_case, labels=(animal(-12.0, 0.0),)))[0]
    assert "front narrow" in ahead.title and "rear camera" in behind.title
    first, _, *others = edge_case.frame_set.frames
    gone = Frame(None, 0, FrameStatus.MISSING)
    frame_set = replace(edge_case.frame_set, frames=(first, gone, *others))
    without = edge_case_pictures(replaced(edge_case, frame_set=frame_set))[0]
    assert "front main" in without.title


def test_object_is_in_the_middle_of_its_crop(edge_case: EdgeCase) -> None:
    picture = decoded(edge_case_pictures(replaced(edge_case, incumbent=()))[0])
    rows, columns = np.argwhere(np.abs(picture - TRUTH_RGB).max(axis=-1) < 40).T
    assert columns.mean() == pytest.approx(384, abs=50)
    assert 120 < np.ptp(rows) < 600


def test_case_without_a_label_or_a_box_still_has_its_pictures(edge_case: EdgeCase) -> None:
    empty = replaced(edge_case, labels=(), incumbent=(), candidate=(), caught_by=())
    incumbent, _, above = edge_case_pictures(empty)
    assert incumbent.caption == "0 boxes." and above.caption == ""


def test_clearest_instant_is_chosen_by_the_object_and_not_by_the_models(
    edge_case: EdgeCase,
) -> None:
    far = replaced(edge_case, labels=(animal(25.0, 1.0),))
    blind = replaced(edge_case, candidate=(), incumbent=())
    assert clarity_px(edge_case) == clarity_px(blind) > clarity_px(far)


def test_ground_lies_under_the_scene(edge_case: EdgeCase, ground: Ground) -> None:
    bare, laid = (decoded(edge_case_pictures(edge_case, g)[2]) for g in (None, ground))
    assert not np.array_equal(bare, laid)


def test_six_real_edge_cases_and_a_mosaic_stay_under_three_megabytes(
    edge_case: EdgeCase,
    renderer: Renderer,
    snapshot_of: Callable[..., Snapshot],
    entity_at: Callable[..., Entity],
    ground: Ground,
    lap_record: MakeRecord,
) -> None:
    snapshot = snapshot_of(
        entity_at("animal", 9.0, 1.0, 1.4), entity_at("car", 16.0, -2.0, entity_id=2)
    )
    images = renderer.render(snapshot).images
    frame_set = replace(edge_case.frame_set, frames=frames_of(images, 0))
    case = replaced(edge_case, frame_set=frame_set)
    cases = [replaced(case, clip_id=f"c-{k}") for k in range(6)]
    pictures = [p for c in cases for p in edge_case_pictures(c, ground)]
    page = render(lap_record(), [*pictures, mosaic_picture(case)])
    assert 100_000 < len(page.encode()) < 3_000_000
