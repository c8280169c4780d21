"""A map of one's own is two files: a network that SUMO's netconvert made, and a YAML file beside it."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.contracts.errors import OperatorError
from sim.place.description import NETS, Split
from sim.place.maps import LaneKind, load_map
from sim.place.spots import spots_of
from sim.world.route import RouteAhead
from sim.world.sumo.settings import TrafficSettings
from sim.world.sumo.traffic import Traffic

MapMaker = Callable[..., Path]
GRID = gzip.decompress((NETS / "grid.net.xml.gz").read_bytes()).decode()


@pytest.fixture
def own_map(tmp_path: Path) -> MapMaker:
    """Write the two files of a map and give the path of the YAML file."""

    def make(text: str = "split: [{use: train}]", net: str = GRID, name: str = "town") -> Path:
        (tmp_path / f"{name}.net.xml").write_text(net, encoding="utf-8")
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def numbered(net: str) -> str:
    """Name roads by numbers, as OpenStreetMap does, and leave out the widths of lanes."""
    names = sorted(set(re.findall(r'<edge id="([A-H]\d-[A-H]\d)"', net)))
    numbers = {name: str(k) for k, name in enumerate(names)}
    net = re.sub(r"[A-H]\d-[A-H]\d", lambda name: numbers[name[0]], net)
    return re.sub(r' width="[\d.]+"', "", net)


def test_map_is_found_by_the_path_of_either_file_and_names_its_places(own_map: MapMaker) -> None:
    path = own_map()
    road_map = load_map(str(path))
    assert road_map.name == "town"
    assert road_map.places[0].place_id == "town-001"
    net = path.with_name("town.net.xml")
    assert load_map(str(net)).places == road_map.places
    packed = path.with_name("town.net.xml.gz")
    packed.write_bytes(gzip.compress(net.read_bytes()))
    net.unlink()
    assert load_map(str(path)).places == road_map.places


def test_map_is_read_again_when_one_of_its_files_changed(own_map: MapMaker) -> None:
    path = own_map("split: [{use: gate}]")
    road_map = load_map(str(path))
    assert load_map(str(path)) is road_map
    path.write_text("split: [{use: tune}]")
    assert not load_map(str(path)).places_of(Split.GATE)
    net = path.with_name("town.net.xml")
    net.write_text(net.read_text().replace("<!--", "<!-- moved ", 1))
    assert load_map(str(path)).lanes is not road_map.lanes


def test_split_is_what_the_file_says_from_west_to_east(own_map: MapMaker) -> None:
    text = "split: [{use: gate, until_ratio: 0.5}, {use: tune}]\nsplit_margin_m: 100.0"
    road_map = load_map(str(own_map(text)))
    west, _, east, _ = road_map.bounds_m
    middle_m = 0.5 * (west + east)
    gate, tune = road_map.places_of(Split.GATE), road_map.places_of(Split.TUNE)
    assert len(gate) + len(tune) == len(road_map.places)
    assert max(place.x_m for place in gate) <= middle_m - 100.0
    assert min(place.x_m for place in tune) >= middle_m + 100.0


def test_places_that_are_listed_are_all_there_are_in_their_order(own_map: MapMaker) -> None:
    text = """
split: [{use: train}]
places: {listed: [{lane_id: B1-B2_2, offset_m: 40.0}, {lane_id: A1-A2_2, offset_m: 20.0}]}
"""
    places = load_map(str(own_map(text))).places
    assert [(p.place_id, p.lane_id, p.offset_m) for p in places] == [
        ("town-001", "B1-B2_2", 40.0),
        ("town-002", "A1-A2_2", 20.0),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("split: [{use: trane}]", "did you mean train"),
        ("split: []", "split ends at"),
        ("split: [{use: train, until_ratio: 0.5}]", "last is 1.0"),
        ("places: {spacing_m: 3.0}", "split"),
        ("split: [{use: train}]\nplases: {}", "no key plases"),
        ("split: [{use: train}]\nplaces: {step_m: 0.0}", "step_m is 0.0"),
        ("split: [{use: train}]\nplaces: {first_m: 900.0}", "finds none"),
        ("split: [{use: train}]\nplaces: {listed: [{lane_id: x, offset_m: 1.0}]}", "lane 'x'"),
        ("split: [{use: train}]\nplaces: {listed: [{lane_id: A1-A2_2, offset_m: 900.0}]}", "900"),
        ("split: [", "no YAML"),
    ],
)
def test_description_that_makes_no_sense_is_refused_in_a_sentence(
    own_map: MapMaker, text: str, complaint: str
) -> None:
    with pytest.raises(OperatorError, match=complaint):
        load_map(str(own_map(text)))


@pytest.mark.parametrize(
    ("net", "complaint"),
    [
        ("no network", "cannot be read"),
        ("<net/>", "none of its roads leads on"),
        (re.sub(r' to="B1"', "", GRID), "'to' is missing"),
        (GRID.replace('disallow="pedestrian"', 'allow="tram"'), "neither for cars"),
    ],
)
def test_network_that_cannot_be_driven_is_refused_in_a_sentence(
    own_map: MapMaker, net: str, complaint: str
) -> None:
    with pytest.raises(OperatorError, match=complaint):
        load_map(str(own_map(net=net)))


def test_missing_file_of_a_map_is_named(own_map: MapMaker) -> None:
    path = own_map()
    path.with_name("town.net.xml").unlink()
    with pytest.raises(OperatorError, match=r"no network town\.net\.xml\.gz or town\.net\.xml"):
        load_map(str(path))
    net = own_map().with_name("town.net.xml")
    path.unlink()
    with pytest.raises(OperatorError, match=r"no town\.yaml beside its network"):
        load_map(str(net))


def test_name_of_a_shipped_map_is_refused_for_another(own_map: MapMaker) -> None:
    with pytest.raises(OperatorError, match="name 'grid'"):
        load_map(str(own_map(name="grid")))


def test_roads_that_lead_nowhere_are_left_out_of_traffic_and_places(own_map: MapMaker) -> None:
    """Without the links that leave road A1-A2, the drive would end on it."""
    net = re.sub(r'<connection from="A1-A2".*', "", GRID)
    road_map = load_map(str(own_map(net=net)))
    dead = [lane.lane_id for lane in road_map.lanes_of_edge["A1-A2"]]
    assert all(lane_id in road_map.lane for lane_id in dead)
    assert not any(place.lane_id in dead for place in road_map.places)
    assert not any(lane_id in dead for lane_id in spots_of(road_map, LaneKind.DRIVING).lane_ids)
    assert not any(link.to_lane in dead for link in road_map.links)


def test_traffic_drives_on_roads_with_numbers_and_keeps_to_what_lanes_permit(
    own_map: MapMaker,
) -> None:
    net = numbered(GRID).replace('disallow="pedestrian"', 'disallow="pedestrian bicycle"')
    road_map = load_map(str(own_map(net=net)))
    assert {lane.width_m for lane in road_map.lanes if lane.kind is LaneKind.DRIVING} == {3.2}
    place = road_map.places[20]
    route = RouteAhead(road_map, place.lane_id, np.random.default_rng(1))
    route.extend_to(1500.0)
    settings = TrafficSettings(vehicle_shares={"car": 0.5, "bicycle": 0.5})
    with Traffic(road_map, 5, settings) as traffic:
        traffic.place_ego(place.lane_id, place.offset_m, route.edge_ids())
        for _ in range(40):
            traffic.step()
        ego = traffic.ego_at(traffic.elapsed_ns)
        seen = {a.mesh for a in traffic.entities_at(traffic.elapsed_ns, ego.x_m, ego.y_m)}
    assert {"car", "pedestrian"} <= seen
    assert "bicycle" not in seen
