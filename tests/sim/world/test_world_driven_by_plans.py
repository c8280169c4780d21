import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from edge.contracts.classes import PEDESTRIAN
from edge.contracts.scene import Plan, PlanSource
from sim.place.rectangles import Rectangle
from sim.sense.rig import default_rig
from sim.world.snapshot import Entity, Snapshot, touched_by
from sim.world.sumo.world import SumoWorld
from sim.world.trip import EgoMode, Trip

BODY = default_rig().body


def commanded(acceleration_mps2: float, steering_rad: float = 0.0) -> Plan:
    return Plan(
        stamp_ns=0,
        source=PlanSource.ROUTE,
        points=(),
        step_s=0.25,
        acceleration_mps2=acceleration_mps2,
        steering_rad=steering_rad,
        min_ttc_s=60.0,
    )


@pytest.fixture(scope="module")
def world() -> Iterator[SumoWorld]:
    trip = Trip(road_map="grid", place_id="grid-020", seed=4, ego_mode=EgoMode.PLAN)
    with SumoWorld(trip) as opened:
        yield opened


def run(world: SumoWorld, frames: int, plan: Plan | None) -> Snapshot:
    for _ in range(frames):
        world.apply(plan)
        world.step()
    return world.now()


def moved_m(before: Snapshot, after: Snapshot) -> float:
    a, b = before.ego.world_from_ego, after.ego.world_from_ego
    return math.dist((a.x_m, a.y_m), (b.x_m, b.y_m))


def test_the_ego_starts_at_its_place_and_one_second_at_5_m_per_s_is_5_m(world: SumoWorld) -> None:
    world.visit("grid-020")
    place, start = world.road_map.place("grid-020"), world.now()
    pose = start.ego.world_from_ego
    assert (pose.x_m, pose.y_m) == pytest.approx((place.x_m, place.y_m))
    assert moved_m(start, run(world, 36, commanded(0.0))) == pytest.approx(5.0)


def test_without_a_new_plan_the_last_one_goes_on(world: SumoWorld) -> None:
    world.visit("grid-020")
    run(world, 1, commanded(1.0))
    assert run(world, 36, None).ego.speed_mps == pytest.approx(5.0 + 37.0 / 36.0)


def test_braking_stops_the_ego_and_nothing_hits_a_stopped_one(world: SumoWorld) -> None:
    world.visit("grid-020")
    stopped = run(world, 72, commanded(-4.0))
    assert stopped.ego.speed_mps == 0.0
    hit = {i for _ in range(540) for i in run(world, 1, commanded(0.0)).touched_ids}
    assert not hit
    assert moved_m(stopped, world.now()) == 0.0


def test_steering_turns_the_route_in_the_egos_eyes(world: SumoWorld) -> None:
    world.visit("grid-020")
    left = run(world, 30, commanded(0.0, 0.3))
    assert left.ego.yaw_rate_radps == pytest.approx(
        left.ego.speed_mps * math.tan(0.3) / BODY.wheelbase_m
    )
    assert left.route.points_ego[10][1] < -2.0


def test_an_ego_that_follows_its_route_is_never_lost(world: SumoWorld) -> None:
    """Pure pursuit, whatever stands in the way: only the route is asked here."""
    world.visit("grid-060")
    for _ in range(40 * 36):
        x, y = world.now().route.points_ego[4]
        curvature = 2.0 * y / (x * x + y * y)
        run(world, 1, commanded(0.0, math.atan(BODY.wheelbase_m * curvature)))
        start = world.now().route.points_ego[0]
        assert math.hypot(*start) < 2.0


def test_ego_that_drives_straight_on_where_its_route_turns_gets_a_route_that_goes_straight_on(
    world: SumoWorld,
) -> None:
    road_map = world.road_map
    for place in road_map.places:
        if all(link.turn != "s" for link in road_map.links_from[place.lane_id]):
            continue
        world.visit(place.place_id)
        if abs(world.now().route.points_ego[-1][1]) > 20.0:
            break
    turning = run(world, 72, commanded(2.0))
    assert abs(turning.route.points_ego[-1][1]) > 20.0
    straight = run(world, 180, commanded(0.0))
    assert moved_m(turning, straight) > 40.0
    assert math.hypot(*straight.route.points_ego[0]) < 2.0
    assert straight.route.points_ego[5] == pytest.approx((10.0, 0.0), abs=2.5)


def test_a_red_light_ahead_gives_a_stop_distance_that_shrinks() -> None:
    """On the grid all junctions have lights; its lights and its traffic are another process's."""
    script = """
from sim.world.roadside import RoadsideSettings
from sim.world.sumo.settings import SumoSettings, TrafficSettings
from sim.world.sumo.world import SumoWorld
from sim.world.trip import Trip

settings = SumoSettings(
    traffic=TrafficSettings(0.0, 0.0), roadside=RoadsideSettings(0.0, 0.0, 0.0, 0.0)
)
with SumoWorld(Trip(road_map="grid", seed=1), settings) as world:
    for place in world.road_map.places[::25]:
        world.visit(place.place_id)
        for _ in range(144):
            before = world.now()
            after = world.step()
            print(before.route.stop_distance_m, after.route.stop_distance_m, after.ego.speed_mps)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    red = [tuple(map(float, row)) for row in rows if "None" not in row]
    assert len(red) > 100
    for before_m, after_m, speed_mps in red:
        assert 3.0 <= after_m <= 65.0
        assert before_m - after_m == pytest.approx(speed_mps / 36.0, abs=0.3)


def test_collisions_are_the_boxes_that_overlap_the_body() -> None:
    body = Rectangle(0.0, 0.0, 0.0, 4.6, 1.8)
    pedestrian = Entity(
        entity_id=1,
        category=PEDESTRIAN,
        mesh="pedestrian",
        x_m=2.4,
        y_m=0.0,
        yaw_rad=0.0,
        length_m=0.5,
        width_m=0.6,
        height_m=1.7,
        color_rgb=(0.5, 0.5, 0.5),
    )
    beside = replace(pedestrian, entity_id=2, x_m=0.0, y_m=1.3)
    assert touched_by(body, [pedestrian, beside]) == (1,)


SEQUENCE = """
import hashlib, sys
from sim.world.encounters import load_scenario
from sim.world.sumo.world import SumoWorld
from sim.world.trip import Trip

trip = Trip("suburb_gate", scenario=load_scenario("jaywalker"), seed=int(sys.argv[1]))
digest = hashlib.sha256()
with SumoWorld(trip) as world:
    for index in (3, 90, 3):
        world.visit(world.road_map.places[index].place_id)
        for _ in range(90):
            digest.update(repr(world.step()).encode())
print(digest.hexdigest())
"""


def test_the_same_sequence_of_visits_gives_the_same_world_in_another_process() -> None:
    def digest(seed: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", SEQUENCE, str(seed)], capture_output=True, text=True, check=True
        )
        return done.stdout.strip().splitlines()[-1]

    digests = [digest(1), digest(1), digest(2)]
    assert digests[0] == digests[1] != digests[2]
