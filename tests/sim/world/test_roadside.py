import itertools
import math

import numpy as np
import pytest

from edge.contracts.classes import ANIMAL, CLASSES, DEBRIS
from edge.contracts.scene import Attribute
from sim.place.maps import LaneKind, RoadMap
from sim.place.rectangles import Rectangle, overlaps
from sim.place.spots import spots_of
from sim.world.props import Prop
from sim.world.roadside import Roadside, RoadsideSettings, extras_of_edge

NOWHERE = Rectangle(-1e4, -1e4, 0.0, 1.0, 1.0)


def dressed(road_map: RoadMap, edge_id: str, seed: int = 0) -> tuple[Prop, ...]:
    return extras_of_edge(
        road_map,
        edge_id,
        RoadsideSettings(parked_ratio=0.6),
        rng=np.random.default_rng(seed),
        next_id=itertools.count(1).__next__,
    )


def roads(road_map: RoadMap) -> list[str]:
    return [lane.edge_id for lane in road_map.lanes if lane.kind is LaneKind.PARKING]


def test_extras_do_not_stand_in_one_another(road_map: RoadMap) -> None:
    for edge_id in roads(road_map)[::12]:
        for a, b in itertools.combinations(dressed(road_map, edge_id), 2):
            assert not overlaps(a.rectangle, b.rectangle)


def test_parked_vehicles_leave_the_driving_lane_free(road_map: RoadMap) -> None:
    for edge_id in roads(road_map)[::12]:
        lane = next(k for k in road_map.lanes_of_edge[edge_id] if k.is_rightmost)
        for prop in dressed(road_map, edge_id):
            if prop.attribute is Attribute.PARKED:
                _, left_m = lane.line.project(prop.x_m, prop.y_m)
                assert left_m + 0.5 * prop.look.width_m < -1.2


def test_the_same_seed_dresses_a_road_the_same(road_map: RoadMap) -> None:
    edge_id = roads(road_map)[5]
    one, same, other = (dressed(road_map, edge_id, seed) for seed in (1, 1, 2))
    assert [p.entity for p in one] == [p.entity for p in same]
    assert [p.entity for p in one] != [p.entity for p in other]


def test_a_map_holds_every_kind_that_stands_along_roads(road_map: RoadMap) -> None:
    props = (p for k, edge_id in enumerate(roads(road_map)) for p in dressed(road_map, edge_id, k))
    seen = {prop.look.category for prop in props}
    assert seen == set(CLASSES) - {ANIMAL, DEBRIS}


def test_roads_stay_as_they_were_when_the_ego_comes_back(road_map: RoadMap) -> None:
    roadside = Roadside(
        road_map,
        RoadsideSettings(),
        seed=[1],
        spots=spots_of(road_map, LaneKind.PAVEMENT),
        free=NOWHERE,
        next_id=itertools.count(1).__next__,
    )
    place, elsewhere = road_map.places[10], road_map.places[100]
    before = roadside.around(place.x_m, place.y_m, 80.0)
    roadside.around(elsewhere.x_m, elsewhere.y_m, 80.0)
    assert roadside.around(place.x_m, place.y_m, 80.0) == before


def test_nothing_stands_where_the_ego_starts(road_map: RoadMap) -> None:
    place = road_map.places[10]
    free = Rectangle(place.x_m, place.y_m, place.yaw_rad, 40.0, 20.0)
    roadside = Roadside(
        road_map,
        RoadsideSettings(parked_ratio=0.9),
        seed=[1],
        spots=spots_of(road_map, LaneKind.PAVEMENT),
        free=free,
        next_id=itertools.count(1).__next__,
    )
    around = roadside.around(place.x_m, place.y_m, 80.0)
    assert not any(overlaps(prop.rectangle, free) for prop in around)


def test_pedestrians_cross_from_pavement_to_pavement(road_map: RoadMap) -> None:
    crossers = [
        (edge_id, prop)
        for edge_id in roads(road_map)
        for prop in dressed(road_map, edge_id)
        if prop.stops_traffic
    ]
    assert crossers
    for edge_id, prop in crossers:
        assert prop.walk is not None
        lanes = road_map.lanes_of_edge[edge_id]
        half_m = sum(lane.width_m for lane in lanes) - 0.5 * lanes[0].width_m
        assert prop.walk.line.length_m == pytest.approx(2.0 * half_m)
        assert math.isfinite(prop.x_m)
