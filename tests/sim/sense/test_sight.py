import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.geometry import Pose
from sim.place.scenery import Scenery, SceneryKind
from sim.render.cameras import Renderer
from sim.sense.sight import hidden_ratios, ray_distances, survey
from sim.world.snapshot import MESH_SIZES, Entity, Snapshot

EntityMaker = Callable[..., Entity]
SnapshotMaker = Callable[..., Snapshot]
EYE = (0.0, 0.0, 1.5)


def box(x: float, y: float, length: float, width: float, height: float, yaw: float = 0.0) -> list:
    return [x, y, yaw, length, width, height]


def test_ray_meets_the_near_face_of_a_box() -> None:
    boxes = np.array([box(10, 0, 4, 2, 1), box(0, 7, 4, 2, 1), box(0, 0, 4, 2, 1)])
    forward = np.array([(1.0, 0.0)])
    distances = ray_distances(np.zeros(2), forward, boxes)
    assert distances[0, 0] == pytest.approx(8.0)
    assert distances[0, 1] == np.inf, "beside the ray"
    assert distances[0, 2] == 0.0, "the ray starts inside"


@given(
    yaw=st.floats(-math.pi, math.pi),
    x=st.floats(-30, 30),
    y=st.floats(-30, 30),
    aim=st.floats(-0.45, 0.45),
)
def test_ray_aimed_into_a_turned_box_enters_it_where_its_outline_is(
    yaw: float, x: float, y: float, aim: float
) -> None:
    length, width = 4.0, 2.0
    target = np.array([x, y]) + aim * length * np.array([math.cos(yaw), math.sin(yaw)])
    away = float(np.hypot(*target))
    if math.hypot(x, y) < 4.0 or away < 1e-3:
        return
    ray = (target / away)[None]
    distance = float(
        ray_distances(np.zeros(2), ray, np.array([box(x, y, length, width, 1, yaw)]))[0, 0]
    )
    assert 0.0 < distance < away
    entry = Pose.from_xy_yaw(x, y, yaw).inverse() @ np.array([*(ray[0] * distance), 0.0])
    overshoot = np.abs(entry[:2]) - (0.5 * length, 0.5 * width)
    assert overshoot.max() == pytest.approx(0.0, abs=1e-3)


def test_a_bus_hides_a_pedestrian_and_not_the_other_way_round() -> None:
    boxes = np.array([box(20, 0, 0.5, 0.6, 1.75), box(10, 0, 2.5, 11, 3.1)])
    np.testing.assert_allclose(hidden_ratios(boxes, 2, EYE), (1.0, 0.0))
    swapped = np.array([box(10, 0, 2.5, 11, 3.1), box(7, 0, 0.5, 0.6, 1.75)])
    assert hidden_ratios(swapped, 2, EYE)[0] < 0.35


def test_shadow_of_a_low_box_falls_short() -> None:
    # 0.75 m high at 10 m, seen from 1.5 m: the shadow has sunk to 0 m at 20 m.
    cone_then_car = np.array([box(20.5, 0, 1.0, 0.4, 1.5), box(10.0, 0, 0.01, 0.5, 0.75)])
    assert hidden_ratios(cone_then_car, 1, EYE)[0] == pytest.approx(0.0, abs=0.01)
    # At 15 m it still covers 0.375 m of the 1.5 m.
    nearer = np.array([box(15.0, 0, 0.01, 0.4, 1.5), box(10.0, 0, 0.01, 0.5, 0.75)])
    assert hidden_ratios(nearer, 1, EYE)[0] == pytest.approx(0.25, abs=0.01)


def test_half_a_wall_hides_half_a_bus() -> None:
    boxes = np.array([box(20, 0, 2.5, 10, 3.0), box(10, 5, 0.5, 10, 6.0)])
    assert 0.35 < hidden_ratios(boxes, 1, EYE)[0] < 0.65


def test_nothing_around_is_nothing_hidden(snapshot_of: SnapshotMaker) -> None:
    around = survey(snapshot_of())
    assert around.boxes_ego.shape == (0, 6) and around.hidden_ratio.shape == (0,)


def test_survey_is_in_the_ego_frame(entity_at: EntityMaker, snapshot_of: SnapshotMaker) -> None:
    around = survey(snapshot_of(entity_at("car", 12.0, -3.0, 0.5, speed_mps=4.0)))
    np.testing.assert_allclose(
        around.boxes_ego[0], (12.0, -3.0, 0.5, *MESH_SIZES["car"]), atol=1e-9
    )
    np.testing.assert_allclose(
        around.velocities_ego[0], (4.0 * math.cos(0.5), 4.0 * math.sin(0.5)), atol=1e-9
    )


def test_scenery_near_the_ego_comes_along(
    snapshot_of: SnapshotMaker, scenery: Scenery, entity_at: EntityMaker
) -> None:
    snapshot = snapshot_of()
    around = survey(snapshot, scenery)
    assert {SceneryKind.BUILDING, SceneryKind.TREE} <= {SceneryKind(k) for k in around.static_kinds}
    house = around.statics_ego[around.static_kinds == SceneryKind.BUILDING]
    nearest = house[np.hypot(house[:, 0], house[:, 1]).argmin()]
    x, y = nearest[:2] * (1.0 + 14.0 / np.hypot(*nearest[:2]))
    behind_it = survey(snapshot_of(entity_at("pedestrian", float(x), float(y))), scenery)
    assert behind_it.hidden_ratio[0] == 1.0


def test_geometry_agrees_with_the_picture_about_who_is_hidden(
    renderer: Renderer, scenery: Scenery, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    rng = np.random.default_rng(3)
    crowd = [
        entity_at(
            ("car", "pedestrian", "truck", "bicycle")[i % 4],
            float(rng.uniform(-35, 35)),
            float(rng.uniform(-7, 7)),
            float(rng.uniform(-3, 3)),
            entity_id=i + 1,
        )
        for i in range(50)
    ]
    crowd = [a for a in crowd if abs(survey(snapshot_of(a)).boxes_ego[0, 0]) > 7.0]
    snapshot = snapshot_of(*crowd)
    hidden = survey(snapshot, scenery).hidden_ratio
    together = renderer.render(snapshot).visible_px
    shown, judged = [], []
    for entity, ratio in zip(crowd, hidden, strict=True):
        alone = renderer.render(snapshot_of(entity)).visible_px.get(entity.entity_id, 0)
        if alone > 30:
            shown.append(together.get(entity.entity_id, 0) / alone)
            judged.append(1.0 - ratio)
    assert len(shown) > 20
    assert np.corrcoef(shown, judged)[0, 1] > 0.8


def test_what_stands_around_the_eye_itself_is_in_plain_view() -> None:
    boxes = np.array([box(0.0, 0.0, 4.0, 2.0, 1.5), box(10.0, 0.0, 4.0, 2.0, 1.5)])
    with np.errstate(all="raise"):
        assert hidden_ratios(boxes, 2, EYE)[0] == 0.0
