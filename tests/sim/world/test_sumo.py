import hashlib
import math
import subprocess
import sys
from collections.abc import Iterator

import libsumo
import numpy as np
import pytest

from edge.contracts.errors import OperatorError
from sim.place.maps import RoadMap
from sim.sense.rig import default_rig
from sim.world.ego import VehicleState
from sim.world.path import between
from sim.world.route import RouteAhead
from sim.world.sumo.settings import TrafficSettings
from sim.world.sumo.traffic import BEAT_NS, STEP_NS, Traffic

BODY = default_rig().body


def start(traffic: Traffic, place_index: int = 20, *, is_driven_outside: bool = False) -> None:
    place = traffic.road_map.places[place_index]
    route = RouteAhead(traffic.road_map, place.lane_id, np.random.default_rng(1))
    route.extend_to(1500.0)
    traffic.place_ego(
        place.lane_id, place.offset_m, route.edge_ids(), is_driven_outside=is_driven_outside
    )


@pytest.fixture
def traffic(road_map: RoadMap) -> Iterator[Traffic]:
    with Traffic(road_map, 5, body=BODY) as opened:
        yield opened


def test_a_second_simulation_in_the_process_is_refused(road_map: RoadMap) -> None:
    with Traffic(road_map, 1), pytest.raises(OperatorError, match="one simulation in a process"):
        Traffic(road_map, 2)
    with Traffic(road_map, 2) as again:
        again.close()


def test_the_ego_starts_at_its_place_among_traffic_on_a_beat(traffic: Traffic) -> None:
    start(traffic)
    place = traffic.road_map.places[20]
    ego = traffic.ego_at(traffic.elapsed_ns)
    assert math.dist((ego.x_m, ego.y_m), (place.x_m, place.y_m)) < 6.0
    assert traffic.elapsed_ns % BEAT_NS == 0
    assert len(traffic.entities_at(traffic.elapsed_ns, ego.x_m, ego.y_m)) >= 5


def test_density_is_a_setting(road_map: RoadMap) -> None:
    counts = []
    for per_km in (0.0, 5.0, 25.0):
        settings = TrafficSettings(vehicles_per_km=per_km, pedestrians_per_km=per_km)
        with Traffic(road_map, 5, settings) as traffic:
            start(traffic)
            ego = traffic.ego_at(traffic.elapsed_ns)
            counts.append(len(traffic.entities_at(traffic.elapsed_ns, ego.x_m, ego.y_m)))
    assert counts[0] == 0 < counts[1] < counts[2]


def test_nothing_appears_or_vanishes_in_sight(traffic: Traffic) -> None:
    start(traffic)
    known: dict[int, float] = {}
    for k in range(20 * 20):
        traffic.step()
        ego = traffic.ego_at(traffic.elapsed_ns)
        seen = {
            a.entity_id: math.dist((a.x_m, a.y_m), (ego.x_m, ego.y_m))
            for a in traffic.entities_at(traffic.elapsed_ns, ego.x_m, ego.y_m)
        }
        if k:
            assert all(seen[i] > 80.0 for i in seen.keys() - known.keys())
            assert all(known[i] > 80.0 for i in known.keys() - seen.keys())
        known = seen


def test_boxes_are_centred_half_a_length_behind_the_bumper_that_sumo_gives(
    traffic: Traffic,
) -> None:
    start(traffic)
    fronts = [libsumo.vehicle.getPosition(name) for name in libsumo.vehicle.getIDList()]
    ego = traffic.ego_at(traffic.elapsed_ns)
    bodies = [(ego.x_m, ego.y_m, ego.yaw_rad, BODY.front_m)]
    bodies += [(r.x_m, r.y_m, r.yaw_rad, 0.5 * r.length_m) for r in traffic.vehicle_rectangles()]
    assert len(bodies) == len(fronts)
    for x, y, yaw, ahead_m in bodies:
        bumper = (x + ahead_m * math.cos(yaw), y + ahead_m * math.sin(yaw))
        assert min(math.dist(bumper, front) for front in fronts) < 1e-6


def test_frames_lie_between_two_steps(traffic: Traffic) -> None:
    start(traffic)
    before = traffic.ego_at(traffic.elapsed_ns)
    traffic.advance_to(traffic.elapsed_ns + STEP_NS // 2)
    after = traffic.ego_at(traffic.elapsed_ns)
    middle = traffic.ego_at(traffic.elapsed_ns - STEP_NS // 2)
    assert middle.x_m == pytest.approx(0.5 * (before.x_m + after.x_m))
    assert middle.speed_mps == pytest.approx(0.5 * (before.speed_mps + after.speed_mps))


def test_headings_are_interpolated_the_shorter_way_round() -> None:
    near_west, past_west = (0.0, 0.0, math.pi - 0.1, 1.0), (2.0, 0.0, -math.pi + 0.1, 3.0)
    x, _, yaw, speed = between(near_west, past_west, 0.5)
    assert (x, abs(yaw), speed) == pytest.approx((1.0, math.pi, 2.0))


def test_others_stop_behind_an_ego_that_is_parked_from_outside(traffic: Traffic) -> None:
    start(traffic, is_driven_outside=True)
    place = traffic.road_map.places[20]
    for _ in range(20 * 20):
        traffic.drive_ego(VehicleState(place.x_m, place.y_m, place.yaw_rad))
        traffic.step()
    rear = (place.x_m - math.cos(place.yaw_rad), place.y_m - math.sin(place.yaw_rad))
    behind = [
        other
        for other in traffic.vehicle_rectangles()
        if math.dist((other.x_m, other.y_m), rear) < 12.0
        and abs(math.sin(other.yaw_rad - place.yaw_rad)) < 0.2
        and math.cos(other.yaw_rad - place.yaw_rad) > 0.0
    ]
    for other in behind:
        nose_m = (other.x_m - rear[0]) * math.cos(place.yaw_rad) + (other.y_m - rear[1]) * math.sin(
            place.yaw_rad
        )
        assert nose_m + 0.5 * other.length_m < 0.0


TRACE = """
import hashlib, sys
import numpy as np
from sim.place.maps import load_map
from sim.world.route import RouteAhead
from sim.world.sumo.traffic import Traffic

road_map, digest = load_map("grid"), hashlib.sha256()
with Traffic(road_map, int(sys.argv[1])) as traffic:
    for index in (10, 200):
        place = road_map.places[index]
        route = RouteAhead(road_map, place.lane_id, np.random.default_rng(1))
        route.extend_to(1500.0)
        traffic.place_ego(place.lane_id, place.offset_m, route.edge_ids())
        for _ in range(200):
            traffic.step()
            ego = traffic.ego_at(traffic.elapsed_ns)
            digest.update(repr(traffic.entities_at(traffic.elapsed_ns, ego.x_m, ego.y_m)).encode())
print(digest.hexdigest())
"""


def trace(seed: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TRACE, str(seed)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def test_the_same_seed_gives_the_same_20_s_in_another_process() -> None:
    digests = [trace(7), trace(7), trace(8)]
    assert len(digests[0]) == len(hashlib.sha256().hexdigest())
    assert digests[0] == digests[1] != digests[2]
