import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conf.named import names
from edge.contracts.classes import ANIMAL
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Attribute
from sim.place.maps import RoadMap
from sim.place.rectangles import Rectangle, overlaps
from sim.world.encounters import (
    Datum,
    Heading,
    Placement,
    Scenario,
    load_scenario,
    require_placed,
    scenario_files,
)
from sim.world.placing import Encounters
from sim.world.route import RouteAhead

NAMES = names("sim/scenario")


def route_of(road_map: RoadMap, seed: int = 0) -> RouteAhead:
    return RouteAhead(road_map, road_map.places[0].lane_id, np.random.default_rng(seed))


def placed_along(
    road_map: RoadMap,
    scenario: Scenario,
    *,
    seed: int = 0,
    length_m: float = 2000.0,
    taken: tuple[Rectangle, ...] = (),
) -> Encounters:
    encounters = Encounters(
        road_map,
        scenario,
        rng=np.random.default_rng(seed),
        next_id=itertools.count(1).__next__,
        prefix=scenario.name,
    )
    route = route_of(road_map)
    encounters.extend(route, from_m=0.0, to_m=length_m, taken=lambda: taken)
    return encounters


def test_the_four_scenarios_are_there() -> None:
    assert {"none", "animal_crossing", "overturned_truck", "jaywalker"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_file_loads_under_its_own_name(name: str) -> None:
    assert load_scenario(name).name == name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: x\nspacing: [1.0, 2.0]", "no key spacing"),
        ("name: x\nplacements: [{mesh: animal, cuont: [1, 2]}]", "cuont"),
        ("name: x\nplacements: [{mesh: dragon}]", "dragon.* added in sim/render/meshes.py"),
        ("name: x\nplacements: [{mesh: animal, ahead_m: [3.0, 1.0]}]", "reversed"),
        ("name: x\nplacements: [{mesh: animal, heading: sideways}]", "sideways"),
        ("name: x\nplacements: [{mesh: animal, speed_mps: [0.0, 1.0]}]", "positive"),
        ("name: x\nplacements: [{mesh: animal, datum: same_kerb}]", "needs after"),
        ("name: x\nplacements: [{mesh: animal, after: {placement: ball}}]", "'ball'"),
        (
            "name: x\nplacements: [{mesh: animal, trigger_m: [1, 2], after: {placement: ball}}]",
            "not both",
        ),
        (
            "placements: [{mesh: bus, name: a}, {mesh: bus, datum: same_kerb, after: {placement: a}}]",
            "'a' stands at no kerb",
        ),
        (
            "placements: [{mesh: bus, name: a, count: [0, 1]}, {mesh: bus, after: {placement: a}}]",
            "in every encounter",
        ),
        ("name: x\nplacements: [{mesh: animal, name: a}, {mesh: bus, name: a}]", "two placements"),
        ("name: x\nextends: ./x.yaml", "extends itself"),
        ("name: x\nextends: y", "no scenario 'y'"),
        ("- x", "Expected `object`, got `array`"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(
    text: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError, match=complaint):
        load_scenario(str(tmp_path / "x.yaml"))


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    with pytest.raises(OperatorError, match="animal_crossing"):
        load_scenario("dragons")


def test_nothing_placed_is_an_error_and_none_is_not(road_map: RoadMap) -> None:
    everywhere = Rectangle(0.0, 0.0, 0.0, 1e5, 1e5)
    scenario = load_scenario("animal_crossing")
    encounters = placed_along(road_map, scenario, taken=(everywhere,), length_m=200.0)
    assert not encounters.props
    assert encounters.rejected["animal"] > 0
    with pytest.raises(OperatorError, match="animal_crossing placed nothing"):
        require_placed(scenario, encounters.placed, encounters.rejected)
    nothing = placed_along(road_map, load_scenario("none"))
    require_placed(nothing.scenario, nothing.placed, nothing.rejected)


@pytest.mark.parametrize("name", ["animal_crossing", "overturned_truck", "jaywalker"])
def test_the_same_seed_places_the_same_and_another_seed_something_else(
    name: str, road_map: RoadMap
) -> None:
    scenario = load_scenario(name)
    one, same, other = (placed_along(road_map, scenario, seed=s) for s in (1, 1, 2))
    assert [p.entity for p in one.props] == [p.entity for p in same.props]
    assert [p.entity for p in one.props] != [p.entity for p in other.props]


@pytest.mark.parametrize("name", ["animal_crossing", "overturned_truck", "jaywalker"])
def test_everything_placed_is_counted_once_and_overlaps_nothing(
    name: str, road_map: RoadMap
) -> None:
    route = route_of(road_map)
    taken = tuple(
        Rectangle(*route.beside(s, -2.8), length_m=4.5, width_m=1.8)
        for s in np.arange(5.0, 1990.0, 9.0).tolist()
    )
    encounters = placed_along(road_map, load_scenario(name), taken=taken)
    assert encounters.placed.total() == len(encounters.props) > 0
    bodies = [prop.rectangle for prop in encounters.props]
    assert not any(overlaps(a, b) for a, b in itertools.combinations(bodies, 2))
    assert not any(overlaps(body, other) for body in bodies for other in taken)


def test_herds_of_two_to_six_stand_every_25_to_45_m(road_map: RoadMap) -> None:
    encounters = placed_along(road_map, load_scenario("animal_crossing"))
    herds: dict[str, int] = {}
    for prop in encounters.props:
        assert prop.encounter_id is not None
        assert prop.look.category == ANIMAL
        herds[prop.encounter_id] = herds.get(prop.encounter_id, 0) + 1
    assert all(2 <= size <= 6 for size in herds.values())
    assert 2000.0 / 65.0 < len(herds) < 2000.0 / 25.0


def test_thing_that_goes_across_ends_beyond_the_far_kerb(road_map: RoadMap) -> None:
    scenario = Scenario(
        name="x",
        corner_m=8.0,
        placements=[
            Placement("animal", datum=Datum.EITHER_KERB, aside_m=(0.0, 3.0), heading=Heading.ACROSS)
        ],
    )
    for prop in placed_along(road_map, scenario).props:
        assert prop.walk is not None
        start, end = prop.walk.line.points_world
        near = [
            lane
            for lane in road_map.lanes
            if lane.kind == "driving" and abs(lane.line.project(*end)[1]) < lane.width_m / 2 - 0.1
        ]
        assert not near
        assert math.dist(start, end) >= 6.5


def test_an_overturned_truck_lies_fallen_on_its_side(road_map: RoadMap) -> None:
    trucks = placed_along(road_map, load_scenario("overturned_truck")).props
    assert trucks
    for truck in trucks:
        assert truck.entity.attribute is Attribute.FALLEN
        assert truck.entity.roll_rad == pytest.approx(math.pi / 2)
        assert truck.entity.width_m > truck.entity.height_m


def test_each_jaywalker_stands_hidden_before_the_van_of_its_encounter(road_map: RoadMap) -> None:
    encounters = placed_along(road_map, load_scenario("jaywalker"))
    assert encounters.placed["car"] == encounters.placed["pedestrian"] > 5
    for van, walker in zip(encounters.props[::2], encounters.props[1::2], strict=True):
        assert (van.look.mesh, walker.look.mesh) == ("van", "pedestrian")
        assert van.encounter_id == walker.encounter_id
        ahead_m = (walker.x_m - van.x_m) * math.cos(van.yaw_rad) + (
            walker.y_m - van.y_m
        ) * math.sin(van.yaw_rad)
        assert ahead_m > 0.5 * van.look.length_m
        assert walker.trigger_m is not None


def test_an_encounter_that_lacks_one_of_its_kinds_is_not_placed_at_all(road_map: RoadMap) -> None:
    scenario = load_scenario("jaywalker")
    vans_only = replace(
        scenario, placements=[scenario.placements[0], Placement("animal", count=(1, 1))]
    )
    route = route_of(road_map)
    lane = tuple(
        Rectangle(*route.beside(s), length_m=6.0, width_m=2.0)
        for s in np.arange(0.0, 400.0, 5.0).tolist()
    )
    encounters = placed_along(road_map, vans_only, taken=lane, length_m=300.0)
    assert not encounters.placed
    assert encounters.rejected["car"] > 0
    assert encounters.rejected["animal"] > 0


def test_thing_that_comes_after_another_starts_at_the_same_kerb_and_goes_the_same_way(
    road_map: RoadMap,
) -> None:
    encounters = placed_along(road_map, load_scenario("ball_and_child"))
    balls, children = encounters.props[::2], encounters.props[1::2]
    assert len(balls) > 10
    headings = [ball.yaw_rad - route_yaw(road_map, ball.x_m, ball.y_m) for ball in balls]
    assert {math.sin(heading) > 0.0 for heading in headings} == {True, False}
    for ball, child in zip(balls, children, strict=True):
        assert (ball.look.mesh, child.look.mesh) == ("debris", "pedestrian")
        assert ball.encounter_id == child.encounter_id
        assert child.leader is ball
        assert math.cos(ball.yaw_rad - child.yaw_rad) > 0.9
        assert math.dist((ball.x_m, ball.y_m), (child.x_m, child.y_m)) < 2.0


def route_yaw(road_map: RoadMap, x_m: float, y_m: float) -> float:
    """Heading of the route at its point nearest to (x, y)."""
    route = route_of(road_map)
    points = [route.beside(s) for s in np.arange(0.0, 2000.0, 2.0).tolist()]
    return min(points, key=lambda point: math.dist(point[:2], (x_m, y_m)))[2]


def test_scenario_that_extends_another_says_only_what_differs(tmp_path: Path) -> None:
    crossing, rare = load_scenario("animal_crossing"), load_scenario("animal_rare")
    assert rare.spacing_m == (170.0, 250.0) != crossing.spacing_m
    assert rare.corner_m == crossing.corner_m == 4.0
    walks, stands = rare.placements
    assert (walks.name, walks.count, walks.mesh) == ("crossing", (2, 4), "animal")
    assert walks.turned_rad == crossing.placements[0].turned_rad
    assert (stands.count, stands.is_returning) == ((3, 5), True)
    assert [path.stem for path in scenario_files("animal_rare")] == [
        "animal_rare",
        "animal_crossing",
    ]


def test_placement_that_the_extended_scenario_lacks_is_added(
    tmp_path: Path,
) -> None:
    (tmp_path / "base.yaml").write_text("name: base\nplacements: [{name: a, mesh: bus}]")
    text = "name: x\nextends: ./base.yaml\nplacements: [{name: a, mesh: van}, {mesh: animal}]"
    (tmp_path / "x.yaml").write_text(text)
    scenario = load_scenario(str(tmp_path / "x.yaml"))
    assert [p.mesh for p in scenario.placements] == ["van", "animal"]
