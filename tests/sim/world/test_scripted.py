"""A scripted world is a world on paper: where things are was written down before."""

import math
from dataclasses import replace

import msgspec
import pytest

from edge.contracts.errors import OperatorError
from edge.contracts.scene import Attribute, Plan, PlanSource
from sim.place.maps import RoadMap
from sim.sense.rig import default_rig
from sim.world.path import TimedPath
from sim.world.props import nominal_look
from sim.world.scripted import Script, Scripted, ScriptedWorld
from sim.world.trip import EgoMode, Trip

BODY = default_rig().body

AT = Trip(place_id="suburb-020", start_speed_mps=5.0)


def test_car_20_m_ahead_at_10_m_per_s_is_30_m_ahead_after_a_second(road_map: RoadMap) -> None:
    path = TimedPath.straight((20.0, 0.0), (70.0, 0.0), from_s=0.0, to_s=5.0)
    script = Script((Scripted(nominal_look("car"), path),), ego=TimedPath.standing(0.0, 0.0))
    world = ScriptedWorld(AT, script, road_map=road_map, body=BODY)
    (car,) = world.skip(36).entities
    place = road_map.place("suburb-020")
    assert math.dist((car.x_m, car.y_m), (place.x_m, place.y_m)) == pytest.approx(30.0)
    assert car.yaw_rad == pytest.approx(place.yaw_rad)
    assert math.hypot(car.vx_mps, car.vy_mps) == pytest.approx(10.0)
    assert car.attribute is Attribute.MOVING


def test_ego_follows_its_path_and_stays_at_its_end(road_map: RoadMap) -> None:
    ego = TimedPath.straight((0.0, 0.0), (8.0, 0.0), from_s=0.0, to_s=1.0)
    world = ScriptedWorld(AT, Script(ego=ego), road_map=road_map, body=BODY)
    assert world.skip(18).ego.speed_mps == pytest.approx(8.0)
    end = world.skip(36).ego
    place = road_map.place("suburb-020")
    at = (end.world_from_ego.x_m, end.world_from_ego.y_m)
    assert math.dist(at, (place.x_m, place.y_m)) == pytest.approx(8.0)
    assert end.speed_mps == 0.0


def test_ego_at_5_m_per_s_touches_what_stands_on_its_way_when_the_bumper_is_there(
    road_map: RoadMap,
) -> None:
    """A cone of 0.45 m in the middle of the lane, its near face 5 m before the bumper: 1 s away."""
    middle_m = BODY.front_m + 5.0 + 0.225
    cone = Scripted(nominal_look("traffic_cone"), TimedPath.standing(middle_m, 0.0))
    world = ScriptedWorld(
        replace(AT, ego_mode=EgoMode.PLAN), Script((cone,)), road_map=road_map, body=BODY
    )
    assert not world.skip(35).touched_ids
    assert world.skip(2).touched_ids == (1,)


def test_ego_whose_body_is_1_m_longer_touches_it_0_2_s_earlier(road_map: RoadMap) -> None:
    body = msgspec.structs.replace(BODY, length_m=BODY.length_m + 1.0)
    middle_m = BODY.front_m + 5.0 + 0.225
    cone = Scripted(nominal_look("traffic_cone"), TimedPath.standing(middle_m, 0.0))
    trip = replace(AT, ego_mode=EgoMode.PLAN)
    world = ScriptedWorld(trip, Script((cone,)), road_map=road_map, body=body)
    assert not world.skip(28).touched_ids  # 0.78 s of 0.8 s
    assert world.skip(2).touched_ids == (1,)


def test_track_that_has_ended_is_no_longer_there(road_map: RoadMap) -> None:
    path = TimedPath.straight((20.0, 0.0), (25.0, 0.0), from_s=0.5, to_s=1.0)
    script = Script((Scripted(nominal_look("pedestrian"), path),), TimedPath.standing(0.0, 0.0))
    world = ScriptedWorld(AT, script, road_map=road_map, body=BODY)
    assert [len(world.skip(frames).entities) for frames in (0, 20, 20)] == [0, 1, 0]


def test_script_whose_encounter_never_comes_near_is_refused(road_map: RoadMap) -> None:
    far = Scripted(nominal_look("animal"), TimedPath.standing(500.0, 0.0), encounter="herd")
    world = ScriptedWorld(AT, Script((far,)), road_map=road_map, body=BODY)
    world.skip(10)
    with pytest.raises(OperatorError, match="none of its 1 things"):
        world.require_placed()


def test_ego_without_a_path_goes_straight_on_whatever_a_plan_says(road_map: RoadMap) -> None:
    """5 m/s for a second is 5 m; the plan would have stopped it."""
    world = ScriptedWorld(AT, Script(), road_map=road_map, body=BODY)
    world.apply(
        Plan(
            stamp_ns=0,
            source=PlanSource.ROUTE,
            points=(),
            step_s=0.25,
            acceleration_mps2=-9.0,
            steering_rad=0.3,
            min_ttc_s=60.0,
        )
    )
    pose, place = world.skip(36).ego.world_from_ego, road_map.place("suburb-020")
    assert math.dist((pose.x_m, pose.y_m), (place.x_m, place.y_m)) == pytest.approx(5.0)
    assert pose.yaw_rad == pytest.approx(place.yaw_rad)


def test_visit_plays_the_script_from_its_beginning(road_map: RoadMap) -> None:
    path = TimedPath.straight((20.0, 0.0), (70.0, 0.0), from_s=0.0, to_s=5.0)
    script = Script((Scripted(nominal_look("car"), path),), ego=TimedPath.standing(0.0, 0.0))
    world = ScriptedWorld(AT, script, road_map=road_map, body=BODY)
    world.skip(72)
    world.visit("suburb-060")
    (car,), place = world.now().entities, road_map.place("suburb-060")
    assert math.dist((car.x_m, car.y_m), (place.x_m, place.y_m)) == pytest.approx(20.0)
