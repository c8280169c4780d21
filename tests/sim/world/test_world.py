import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from edge.contracts.classes import ANIMAL, CAR
from edge.contracts.errors import OperatorError
from edge.contracts.time import frame_stamp_ns
from sim.place.maps import RoadMap
from sim.sense.rig import default_rig
from sim.world.encounters import load_scenario
from sim.world.snapshot import SNAPSHOT_RANGE_M, Snapshot
from sim.world.sumo.world import SumoWorld
from sim.world.trip import Trip

BODY = default_rig().body


@pytest.fixture(scope="module")
def world(road_map: RoadMap) -> Iterator[SumoWorld]:
    trip = Trip(seed=3, scenario=load_scenario("animal_crossing"))
    with SumoWorld(trip, road_map=road_map, body=BODY) as opened:
        yield opened


@pytest.fixture(scope="module")
def drive(world: SumoWorld) -> list[Snapshot]:
    """Twenty seconds driven by SUMO."""
    world.visit("suburb-030")
    return [world.now(), *(world.step() for _ in range(720))]


def ego_xy(snapshot: Snapshot) -> tuple[float, float]:
    pose = snapshot.ego.world_from_ego
    return pose.x_m, pose.y_m


def test_a_step_is_exactly_one_frame(drive: list[Snapshot]) -> None:
    first = drive[0].frame_index
    assert [s.frame_index for s in drive] == list(range(first, first + 721))
    assert all(s.stamp_ns == s.ego.stamp_ns == frame_stamp_ns(s.frame_index) for s in drive)


def test_the_world_is_full_from_its_first_frame(world: SumoWorld) -> None:
    counts = []
    for place in world.road_map.places[::24]:
        world.visit(place.place_id)
        snapshot = world.now()
        at = ego_xy(snapshot)
        counts.append(sum(math.dist(at, (a.x_m, a.y_m)) < 40.0 for a in snapshot.entities))
    assert 12.0 < np.mean(counts) < 40.0


def test_entities_are_in_range_and_have_ids_of_their_own(drive: list[Snapshot]) -> None:
    for snapshot in drive[::20]:
        ids = [entity.entity_id for entity in snapshot.entities]
        assert len(set(ids)) == len(ids)
        assert min(ids) >= 1
        at = ego_xy(snapshot)
        assert all(
            math.dist(at, (a.x_m, a.y_m)) <= SNAPSHOT_RANGE_M + 1.0 for a in snapshot.entities
        )


def test_an_id_keeps_its_look_and_moves_without_jumps(drive: list[Snapshot]) -> None:
    for before, after in itertools.pairwise(drive):
        known = {entity.entity_id: entity for entity in before.entities}
        for entity in after.entities:
            old = known.get(entity.entity_id)
            if old is not None:
                assert (old.mesh, old.color_rgb, old.length_m) == (
                    entity.mesh,
                    entity.color_rgb,
                    entity.length_m,
                )
                assert math.dist((old.x_m, old.y_m), (entity.x_m, entity.y_m)) < 1.2


def test_the_ego_moves_as_fast_as_it_says(drive: list[Snapshot]) -> None:
    for before, after in itertools.pairwise(drive):
        moved_m = math.dist(ego_xy(before), ego_xy(after))
        assert moved_m * 36.0 == pytest.approx(after.ego.speed_mps, abs=2.5)


def test_the_route_leads_ahead_from_the_ego_in_steps_of_2_m(drive: list[Snapshot]) -> None:
    for snapshot in drive[::20]:
        points = np.array(snapshot.route.points_ego)
        assert points.shape == (31, 2)
        assert np.hypot(*points[0]) < 1.0
        assert points[3, 0] > 3.0
        steps = np.hypot(*np.diff(points, axis=0).T)
        assert steps.max() < 2.3
        assert snapshot.route.speed_limit_mps in (13.89, 11.11, 8.33)


def test_every_animal_belongs_to_an_encounter_and_is_counted(
    world: SumoWorld, drive: list[Snapshot]
) -> None:
    animals = {a.entity_id for s in drive for a in s.entities if a.category == ANIMAL}
    assert len(animals) >= 2
    for entity_id in animals:
        encounter_id = world.encounter_of(entity_id)
        assert encounter_id is not None
        assert encounter_id.startswith("animal_crossing-s3-suburb-030-v1-")
    assert world.placed["animal"] >= len(animals)
    world.require_placed()
    cars = [a.entity_id for a in drive[0].entities if a.category == CAR]
    assert all(world.encounter_of(entity_id) is None for entity_id in cars)


def test_two_visits_to_a_place_dress_it_differently(world: SumoWorld) -> None:
    scenes = []
    for _ in range(2):
        world.visit("suburb-050")
        scenes.append({(a.mesh, round(a.x_m, 3), round(a.y_m, 3)) for a in world.now().entities})
    assert not scenes[0] & scenes[1]


def test_an_unknown_place_is_refused_and_leaves_no_world_open(road_map: RoadMap) -> None:
    with pytest.raises(OperatorError, match="no place"):
        SumoWorld(Trip(place_id="suburb-999"), road_map=road_map)
