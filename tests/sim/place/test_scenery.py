"""What stands beside the roads is laid out once for each map and its settings."""

import numpy as np

from sim.place.ground import Ground, GroundSettings
from sim.place.maps import load_map
from sim.place.scenery import ScenerySettings, furnish, ground_and_scenery

COARSE = GroundSettings(texel_m=0.8)


def test_map_of_the_same_settings_is_laid_out_once_and_as_if_it_were_new() -> None:
    road_map = load_map("grid")
    ground, scenery = ground_and_scenery(road_map, COARSE, ScenerySettings())
    again = ground_and_scenery(road_map, GroundSettings(texel_m=0.8), ScenerySettings())
    assert (again[0] is ground) and (again[1] is scenery)
    anew = Ground(road_map, COARSE)
    assert np.array_equal(anew.codes, ground.codes)
    assert np.array_equal(furnish(road_map, anew).boxes, scenery.boxes)


def test_other_settings_of_ground_or_scenery_lay_a_map_out_anew() -> None:
    road_map = load_map("grid")
    ground, scenery = ground_and_scenery(road_map, COARSE, ScenerySettings())
    finer, bare = GroundSettings(texel_m=0.7), ScenerySettings(trees_per_km2=0.0, seed=3)
    assert ground_and_scenery(road_map, finer, ScenerySettings())[0].texel_m == 0.7
    other = ground_and_scenery(road_map, COARSE, bare)[1]
    assert len(other.boxes) < len(scenery.boxes)
    assert np.array_equal(other.boxes, furnish(road_map, ground, bare).boxes)
