import itertools
import math

import numpy as np
import pytest

from sim.place.maps import LaneKind, RoadMap, Split
from sim.world.route import RouteAhead


@pytest.fixture
def route(road_map: RoadMap) -> RouteAhead:
    return RouteAhead(road_map, road_map.places[0].lane_id, np.random.default_rng(3))


def test_a_route_goes_on_for_ten_kilometres_without_a_jump(route: RouteAhead) -> None:
    points = [route.beside(s)[:2] for s in np.arange(0.0, 10_000.0, 2.0).tolist()]
    steps = [math.dist(a, b) for a, b in itertools.pairwise(points)]
    assert max(steps) < 2.3


def test_the_same_generator_gives_the_same_route(road_map: RoadMap) -> None:
    lane_id = road_map.places[0].lane_id
    routes = [RouteAhead(road_map, lane_id, np.random.default_rng(7)) for _ in range(2)]
    for one in routes:
        one.extend_to(2000.0)
    assert routes[0].edge_ids() == routes[1].edge_ids()


def test_projecting_a_point_beside_the_route_gives_it_back(route: RouteAhead) -> None:
    for offset_m in (3.0, 90.0, 400.0):
        x, y, _ = route.beside(offset_m, 1.2)
        found_m, away_m = route.project(x, y, offset_m - 5.0)
        assert found_m == pytest.approx(offset_m, abs=0.6)
        assert away_m == pytest.approx(1.2, abs=0.1)


def test_junctions_are_the_ends_of_road_lanes(road_map: RoadMap, route: RouteAhead) -> None:
    for line_m, link in route.junctions(0.0, 1500.0):
        assert route.lane_at(line_m - 0.1) == link.from_lane
        assert road_map.lane[route.lane_at(line_m + 0.1)].kind is LaneKind.JUNCTION


def test_the_limit_inside_a_junction_is_that_of_the_road_behind_it(
    road_map: RoadMap, route: RouteAhead
) -> None:
    line_m, link = route.junctions(0.0, 500.0)[0]
    assert route.speed_limit_mps(line_m + 0.5) == road_map.lane[link.to_lane].speed_limit_mps
    assert route.speed_limit_mps(line_m - 0.5) == road_map.lane[link.from_lane].speed_limit_mps


def test_a_route_leaves_its_part_of_the_split_only_where_it_must(road_map: RoadMap) -> None:
    """Where a junction offers a way that stays, the route takes it."""
    for seed in range(5):
        place = road_map.places_of(Split.TRAIN)[seed * 20]
        route = RouteAhead(road_map, place.lane_id, np.random.default_rng(seed))
        for _, link in route.junctions(0.0, 1500.0):

            def part(lane_id: str) -> Split | None:
                return road_map.split_at(float(road_map.lane[lane_id].line_world[-1, 0]))

            here = part(link.from_lane)
            offered = [k for k in road_map.links_from[link.from_lane] if part(k.to_lane) is here]
            goes_on = [k for k in offered if k.to_lane in road_map.links_from]
            if len(goes_on) == len(offered) > 0:
                assert part(link.to_lane) is here
