import math

import numpy as np

from edge.contracts.geometry import Pose
from edge.perceive.tensors import GroundClass
from sim.place.description import MapDescription, Split, Strip
from sim.place.ground import TILE_TEXELS, Ground, GroundSettings, Surface
from sim.place.maps import Lane, LaneKind, RoadMap
from sim.place.scenery import Scenery, SceneryKind

FINE = GroundSettings(margin_m=20.0)


def straight_road() -> RoadMap:
    """Two lanes of 3 m east and west along y = 0, a pavement of 2 m north of them, a crossing."""

    def lane(name: str, kind: LaneKind, points: list[tuple[float, float]], width_m: float) -> Lane:
        edge = name.rsplit("_", 1)[0]
        return Lane(name, edge, kind, np.array(points), width_m, 13.9)

    lanes = (
        lane("east_0", LaneKind.DRIVING, [(0, -1.5), (100, -1.5)], 3.0),
        lane("west_0", LaneKind.DRIVING, [(100, 1.5), (0, 1.5)], 3.0),
        lane("walk_0", LaneKind.PAVEMENT, [(100, 4.0), (0, 4.0)], 2.0),
        lane("cross_0", LaneKind.CROSSING, [(50, -3.0), (50, 3.0)], 4.0),
    )
    description = MapDescription(split=[Strip(Split.TRAIN)])
    return RoadMap("toy", lanes, (), (), (0.0, -3.0, 100.0, 5.0), description)


GROUND = Ground(straight_road(), FINE)


def surface_at(x_m: float, y_m: float) -> Surface:
    column = int((x_m - GROUND.origin_m[0]) / GROUND.texel_m)
    row = int((y_m - GROUND.origin_m[1]) / GROUND.texel_m)
    return Surface(GROUND.codes[row, column])


def test_each_kind_of_lane_gets_its_surface() -> None:
    assert surface_at(20.0, -1.5) is Surface.ASPHALT
    assert surface_at(20.0, 4.0) is Surface.PAVEMENT
    assert surface_at(20.0, 12.0) is Surface.GRASS
    assert surface_at(20.0, -2.95) is Surface.LANE_MARK
    assert {surface_at(50.0, y) for y in np.arange(-2.5, 2.5, 0.2)} == {
        Surface.CROSSING,
        Surface.CROSSING_MARK,
    }


def test_the_middle_line_is_dashed_once() -> None:
    is_mark = [surface_at(x, 0.02) is Surface.LANE_MARK for x in np.arange(0.1, 47.0, 0.2)]
    runs = np.flatnonzero(np.diff(np.array(is_mark, dtype=int)) == 1)
    np.testing.assert_allclose(np.diff(runs) * 0.2, 7.5, atol=0.21)  # 3 m of paint, 4.5 m of gap


def test_raster_rows_run_forward_and_columns_left() -> None:
    # Heading east at the lane's middle: pavement is 5.5 m to the left, never to the right.
    raster = GROUND.drivable_raster(Pose.from_xy_yaw(25.0, -1.5, 0.0), 40, 10.0)
    forward, left = 20, 20  # the cell just ahead and to the left of the ego
    assert raster[forward, left] == GroundClass.DRIVABLE
    assert raster[forward, left + 11] == GroundClass.PAVEMENT  # y = 5.75 m, 4.25 m in the world
    assert (raster[:, :left] != GroundClass.PAVEMENT).all()
    # Heading west the pavement changes sides.
    raster = GROUND.drivable_raster(Pose.from_xy_yaw(25.0, 1.5, math.pi), 40, 10.0)
    assert (raster[:, left:] != GroundClass.PAVEMENT).all()
    assert (raster[:, :left] == GroundClass.PAVEMENT).any()


def test_raster_agrees_with_the_codes_at_every_cell_centre(ground: Ground) -> None:
    pose = Pose.from_xy_yaw(*ground_middle(ground), 0.7)
    raster = ground.drivable_raster(pose, 48, 32.0)
    at = (np.arange(48) + 0.5) * (64.0 / 48) - 32.0
    x, y = np.meshgrid(at, at, indexing="ij")
    world = pose @ np.stack([x, y, np.zeros_like(x)], axis=-1)
    texel = np.floor((world[..., :2] - ground.origin_m) / ground.texel_m).astype(int)
    classes = np.array([0, 1, 1, 1, 2, 2, 3, 3])[ground.codes[texel[..., 1], texel[..., 0]]]
    # Where a centre falls on the border of two texels, rounding may choose the other one.
    assert (raster == classes).mean() > 0.99
    assert set(np.unique(raster)) >= {GroundClass.OTHER, GroundClass.DRIVABLE}


def ground_middle(ground: Ground) -> tuple[float, float]:
    rows, columns = np.nonzero(ground.codes == Surface.ASPHALT)
    k = len(rows) // 2
    x0, y0 = ground.origin_m
    return x0 + columns[k] * ground.texel_m, y0 + rows[k] * ground.texel_m


def test_outside_the_map_is_grass() -> None:
    raster = GROUND.drivable_raster(Pose.from_xy_yaw(-500.0, 0.0, 0.0), 8, 10.0)
    assert (raster == GroundClass.OTHER).all()
    tile = GROUND.tile_rgb(-7, 3)
    assert tile.shape == (TILE_TEXELS, TILE_TEXELS, 3)
    assert tile[..., 1].mean() > tile[..., 0].mean() > tile[..., 2].mean()


def test_tile_shows_marks_brighter_than_asphalt() -> None:
    row, column = GROUND.tile_at(20.0, -2.95)
    tile = GROUND.tile_rgb(row, column)
    codes = GROUND.codes[row * TILE_TEXELS :, column * TILE_TEXELS :][:TILE_TEXELS, :TILE_TEXELS]
    assert tile[codes == Surface.LANE_MARK].mean() > 2 * tile[codes == Surface.ASPHALT].mean()
    assert tile.max() < 250, "255 is kept for lamps"


def test_a_map_is_painted_the_same_every_time(ground: Ground) -> None:
    again = Ground(straight_road(), FINE)
    np.testing.assert_array_equal(again.codes, GROUND.codes)
    np.testing.assert_array_equal(again.tile_rgb(1, 1), GROUND.tile_rgb(1, 1))


def test_scenery_stands_beside_roads_and_pavements(ground: Ground, scenery: Scenery) -> None:
    footprints = scenery.solids
    corners = [
        (0.5 * sx * footprints[:, 3], 0.5 * sy * footprints[:, 4])
        for sx, sy in ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 0))
    ]
    for along, across in corners:
        cos, sin = np.cos(footprints[:, 2]), np.sin(footprints[:, 2])
        x = footprints[:, 0] + along * cos - across * sin
        y = footprints[:, 1] + along * sin + across * cos
        column = ((x - ground.origin_m[0]) / ground.texel_m).astype(int)
        row = ((y - ground.origin_m[1]) / ground.texel_m).astype(int)
        on = np.isin(
            ground.codes[row, column], (Surface.ASPHALT, Surface.PARKING, Surface.CROSSING)
        )
        # Lamp posts of a pavement may meet another road where two pavements join.
        assert not on[scenery.kinds != SceneryKind.LAMP_POST].any()
        assert on.mean() < 0.01
    assert {SceneryKind(k) for k in np.unique(scenery.kinds)} == set(SceneryKind)
