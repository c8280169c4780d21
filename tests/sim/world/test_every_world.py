"""What holds in every world, whatever moves in it."""

import math
from collections.abc import Callable, Iterator

import pytest

from edge.contracts.errors import OperatorError
from edge.contracts.scene import Plan, PlanSource
from edge.contracts.time import FRAME_RATE_HZ, frame_stamp_ns
from sim.place.maps import RoadMap
from sim.sense.rig import default_rig
from sim.world.encounters import load_scenario
from sim.world.path import TimedPath
from sim.world.props import nominal_look
from sim.world.scripted import Script, Scripted, ScriptedWorld
from sim.world.snapshot import SNAPSHOT_RANGE_M, Snapshot
from sim.world.sumo.world import SumoWorld
from sim.world.trip import EgoMode, Trip
from sim.world.world import World

BODY = default_rig().body

Opener = Callable[..., World]
PLACES = ("suburb-020", "suburb-060")
SCRIPT = Script(
    things=(
        Scripted(nominal_look("car"), TimedPath.standing(20.0, 3.0)),
        Scripted(
            nominal_look("animal"),
            TimedPath.straight((30.0, -8.0), (30.0, 8.0), from_s=0.0, to_s=8.0),
            encounter="crossing",
        ),
        Scripted(nominal_look("bus"), TimedPath.standing(SNAPSHOT_RANGE_M + 60.0, 0.0)),
    ),
    ego=TimedPath.straight((0.0, 0.0), (40.0, 0.0), from_s=0.0, to_s=8.0),
)


def open_sumo(trip: Trip, road_map: RoadMap, rate_hz: float) -> World:
    return SumoWorld(trip, road_map=road_map, body=BODY, rate_hz=rate_hz)


def open_scripted(trip: Trip, road_map: RoadMap, rate_hz: float) -> World:
    return ScriptedWorld(trip, SCRIPT, road_map=road_map, body=BODY, rate_hz=rate_hz)


@pytest.fixture(params=[open_sumo, open_scripted], ids=["sumo", "scripted"])
def opened(request: pytest.FixtureRequest, road_map: RoadMap) -> Iterator[Opener]:
    """Open a world of each kind; the one before is closed then."""
    worlds: list[World] = []

    def open_one(
        ego_mode: EgoMode = EgoMode.WORLD,
        place_id: str | None = PLACES[0],
        rate_hz: float = FRAME_RATE_HZ,
    ) -> World:
        if worlds:
            worlds.pop().close()
        scenario = load_scenario("animal_crossing")
        trip = Trip(place_id=place_id, scenario=scenario, seed=6, ego_mode=ego_mode)
        worlds.append(request.param(trip, road_map, rate_hz))
        return worlds[0]

    yield open_one
    for world in worlds:
        world.close()


def commanded(acceleration_mps2: float) -> Plan:
    return Plan(
        stamp_ns=0,
        source=PlanSource.ROUTE,
        points=(),
        step_s=0.25,
        acceleration_mps2=acceleration_mps2,
        steering_rad=0.0,
        min_ttc_s=60.0,
    )


def ego_xy(snapshot: Snapshot) -> tuple[float, float]:
    pose = snapshot.ego.world_from_ego
    return pose.x_m, pose.y_m


def test_step_is_one_frame_and_its_stamp_is_that_of_the_frame(opened: Opener) -> None:
    world = opened()
    first = world.now().frame_index
    for k in range(1, 4):
        snapshot = world.step()
        assert snapshot is world.now()
        assert snapshot.frame_index == first + k
        assert snapshot.stamp_ns == snapshot.ego.stamp_ns == frame_stamp_ns(first + k)


def test_skipping_forty_frames_is_forty_steps(opened: Opener) -> None:
    world = opened()
    for _ in range(40):
        stepped = world.step()
    assert opened().skip(40) == stepped


def test_same_trip_shows_the_same_again(opened: Opener) -> None:
    def seen() -> list[Snapshot]:
        world = opened()
        shown = [world.skip(10) for _ in range(3)]
        world.visit(PLACES[1])
        return [*shown, world.now(), world.skip(10)]

    assert seen() == seen()


def test_trip_starts_at_its_place_or_at_the_first_of_the_map(
    opened: Opener, road_map: RoadMap
) -> None:
    for place in (road_map.place(PLACES[0]), road_map.places[0]):
        world = opened(place_id=place.place_id if place.place_id in PLACES else None)
        assert math.dist(ego_xy(world.now()), (place.x_m, place.y_m)) < 6.0
        start = world.now().route.points_ego[0]
        assert math.hypot(*start) < 1.0


def test_visit_starts_anew_at_another_place_and_the_frame_index_goes_on(
    opened: Opener, road_map: RoadMap
) -> None:
    world = opened()
    before = world.skip(20)
    known = {entity.entity_id for entity in before.entities}
    world.visit(PLACES[1])
    after, place = world.now(), road_map.place(PLACES[1])
    assert math.dist(ego_xy(after), (place.x_m, place.y_m)) < 6.0
    assert after.frame_index >= before.frame_index
    assert not known & {entity.entity_id for entity in after.entities}


def test_place_that_the_map_lacks_is_refused(opened: Opener) -> None:
    with pytest.raises(OperatorError, match="no place"):
        opened(place_id="suburb-999")
    with pytest.raises(OperatorError, match="no place"):
        opened().visit("suburb-999")


def test_ids_are_positive_and_differ_and_everything_is_in_range(opened: Opener) -> None:
    world = opened()
    for _ in range(5):
        snapshot = world.skip(12)
        ids = [entity.entity_id for entity in snapshot.entities]
        assert ids and len(set(ids)) == len(ids) and min(ids) >= 1
        for entity in snapshot.entities:
            distance_m = math.dist(ego_xy(snapshot), (entity.x_m, entity.y_m))
            assert distance_m <= SNAPSHOT_RANGE_M + 1.0


def test_what_belongs_to_an_encounter_is_named_and_counted(opened: Opener) -> None:
    world = opened()
    seen = [entity for _ in range(8) for entity in world.skip(18).entities]
    animals = {entity.entity_id for entity in seen if entity.mesh == "animal"}
    cars = {entity.entity_id for entity in seen if entity.mesh == "car"}
    assert animals and cars
    assert all(world.encounter_of(entity_id) for entity_id in animals)
    assert not any(world.encounter_of(entity_id) for entity_id in cars)
    assert world.encounter_of(10**6) is None
    assert world.placed["animal"] >= len(animals)
    world.require_placed()


def test_one_second_at_5_m_per_s_is_5_m_and_the_last_plan_goes_on(opened: Opener) -> None:
    world = opened(EgoMode.PLAN)
    start = world.now()
    world.apply(commanded(0.0))
    after = world.skip(FRAME_RATE_HZ)
    assert math.dist(ego_xy(start), ego_xy(after)) == pytest.approx(5.0)
    world.apply(commanded(1.0))
    world.apply(None)
    assert world.skip(FRAME_RATE_HZ).ego.speed_mps == pytest.approx(6.0)


@pytest.mark.parametrize("rate_hz", [45.0, 60.0, 59.94])
def test_a_second_is_a_second_at_every_rate(opened: Opener, rate_hz: float) -> None:
    world = opened(EgoMode.PLAN, rate_hz=rate_hz)
    start = world.now()
    assert start.stamp_ns == frame_stamp_ns(start.frame_index, rate_hz=rate_hz)
    world.apply(commanded(0.0))
    after = world.skip(45)
    seconds = (after.stamp_ns - start.stamp_ns) / 1e9
    assert seconds == pytest.approx(45 / rate_hz, abs=1e-6)
    assert math.dist(ego_xy(start), ego_xy(after)) == pytest.approx(5.0 * seconds, abs=1e-3)


def test_ego_that_its_world_drives_minds_no_plan(opened: Opener) -> None:
    driven = opened().skip(30)
    world = opened()
    world.apply(commanded(-4.0))
    assert world.skip(30).ego == driven.ego


def test_closing_twice_is_fine_and_another_world_can_be_opened(opened: Opener) -> None:
    world = opened()
    world.close()
    world.close()
    assert opened().now().entities
