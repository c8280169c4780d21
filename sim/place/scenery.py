"""Place buildings, trees, bushes and lamp posts beside the roads of a map, seeded by the map's name.

A vehicle passes them most often and must not report them: they hide road users from cameras and radar and
return radar clutter. Everything is an upright box, so that one record serves picture, line of sight and
radar; the renderer gives each kind its shape.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.place.ground import Ground, GroundSettings
from sim.place.line import Line
from sim.place.maps import LaneKind, RoadMap
from sim.place.rectangles import distances_m


class SceneryKind(enum.IntEnum):
    """Kind of a thing beside the road."""

    BUILDING = 0
    CONIFER = 1
    TREE = 2
    BUSH = 3
    LAMP_POST = 4

    @property
    def word(self) -> str:
        """The kind as settings call it, for instance ``lamp_post``."""
        return self.name.lower()


@dataclass(frozen=True)
class ScenerySettings:
    """Density and sizes of the scenery."""

    seed: int = 0
    """Seed of places, sizes and kinds."""
    buildings_per_km2: float = 1100.0
    """Buildings tried beside the roads, per area of the map."""
    trees_per_km2: float = 1900.0
    """Trees tried, per area of the map."""
    bushes_per_km2: float = 500.0
    """Bushes tried, per area of the map."""
    lamp_post_spacing_m: float = 32.0
    """Distance between two lamp posts along a road."""
    min_building_height_m: float = 4.0
    """Height of the lowest building."""
    max_building_height_m: float = 18.0
    """Height of the highest building."""


@dataclass(frozen=True, eq=False)
class Scenery:
    """Everything beside the road.

    ``kinds``: uint8 (N,) of ``SceneryKind``. ``boxes``: float64 (N, 6), world frame: x, y, yaw (rad),
    length, width, height; they stand on the ground. ``colors``: float64 (N, 3), RGB in [0, 1].
    """

    kinds: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    colors: NDArray[np.float64]

    @cached_property
    def solids(self) -> NDArray[np.float64]:
        """What stops light and radar near the ground: float64 (N, 6) boxes, trees by their trunks."""
        boxes = self.boxes.copy()
        is_tree = np.isin(self.kinds, (SceneryKind.CONIFER, SceneryKind.TREE))
        boxes[is_tree, 3:5] = TRUNK_M
        return boxes


TRUNK_M = 0.4
_COARSE_STEP = 8
_POST_SETBACK_M = 0.35


@lru_cache(maxsize=2)
def ground_and_scenery(
    road_map: RoadMap, ground: GroundSettings, scenery: ScenerySettings
) -> tuple[Ground, Scenery]:
    """Paint a map and furnish it, or return what the same settings made of it before.

    The process keeps the last two, because it takes half a second; callers must not change them.
    """
    painted = Ground(road_map, ground)
    return painted, furnish(road_map, painted, scenery)


def furnish(road_map: RoadMap, ground: Ground, settings: ScenerySettings | None = None) -> Scenery:
    """Place the scenery of a map: nothing on roads or pavements, buildings along the nearest road."""
    settings = settings or ScenerySettings()
    rng = np.random.default_rng([settings.seed, *road_map.name.encode()])
    cell_m = _COARSE_STEP * ground.texel_m
    is_free = (ground.classes_coarse(_COARSE_STEP) == 0).astype(np.uint8)
    room_m = cv2.distanceTransform(is_free, cv2.DIST_L2, 5) * cell_m - cell_m
    area_km2 = is_free.size * cell_m**2 * 1e-6
    placer = _Placer(rng, room_m, cell_m, np.array(ground.origin_m), _road_points(road_map))
    buildings = _buildings(placer, round(settings.buildings_per_km2 * area_km2), settings)
    trees = _plants(placer, round(settings.trees_per_km2 * area_km2), is_bush=False)
    bushes = _plants(placer, round(settings.bushes_per_km2 * area_km2), is_bush=True)
    parts = [
        buildings,
        _outside(trees, buildings),
        _outside(bushes, buildings),
        _lamp_posts(road_map, settings.lamp_post_spacing_m),
    ]
    return Scenery(
        kinds=np.concatenate([p.kinds for p in parts]),
        boxes=np.concatenate([p.boxes for p in parts]),
        colors=np.concatenate([p.colors for p in parts]),
    )


@dataclass(frozen=True, eq=False)
class _Placer:
    """Finds free places: ``room_m`` (rows, columns) is the distance to the nearest road or pavement."""

    rng: np.random.Generator
    room_m: NDArray[np.float32]
    cell_m: float
    origin_m: NDArray[np.float64]
    road: NDArray[np.float64]

    def draw(self, count: int, room_m: tuple[float, float]) -> tuple[NDArray[np.float64], ...]:
        """Draw free places: points (count, 2) in the world and the room (count,) each of them has."""
        rows, columns = np.nonzero((self.room_m > room_m[0]) & (self.room_m < room_m[1]))
        chosen = self.rng.choice(len(rows), size=min(count, len(rows)), replace=False)
        rows, columns = rows[chosen], columns[chosen]
        texels = np.stack([columns, rows], axis=1) + self.rng.random((len(chosen), 2))
        return self.origin_m + texels * self.cell_m, self.room_m[rows, columns].astype(np.float64)

    def road_yaw(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the direction of the road nearest to each point (N, 2)."""
        yaws = np.empty(len(points))
        for start in range(0, len(points), 256):
            part = points[start : start + 256]
            squared = ((part[:, None, :] - self.road[None, :, :2]) ** 2).sum(axis=-1)
            yaws[start : start + 256] = self.road[squared.argmin(axis=1), 2]
        return yaws


def _road_points(road_map: RoadMap) -> NDArray[np.float64]:
    """Return x, y, yaw every 12 m along the rightmost lanes, (N, 3)."""
    points = [_along(lane.line, 12.0, 0.0) for lane in road_map.lanes if lane.is_rightmost]
    return np.concatenate(points)


def _along(line: Line, spacing_m: float, left_m: float) -> NDArray[np.float64]:
    """Return x, y, yaw every ``spacing_m`` along a line, shifted to its left: (N, 3)."""
    offsets_m = np.arange(0.5 * spacing_m, line.length_m, spacing_m)
    return np.array([line.beside(at_m, left_m) for at_m in offsets_m]).reshape(-1, 3)


def _buildings(placer: _Placer, count: int, settings: ScenerySettings) -> Scenery:
    """Place buildings whose corners stay off the road and whose footprints stay apart."""
    rng = placer.rng
    centres, room_m = placer.draw(6 * count, (5.0, 22.0))
    half_diagonal_m = np.minimum(room_m * rng.uniform(0.75, 0.95, len(room_m)), 15.0)
    kept = _apart(centres, half_diagonal_m)[:count]
    centres, half_diagonal_m = centres[kept], half_diagonal_m[kept]
    shape_rad = rng.uniform(0.6, 0.95, len(kept))
    low_m, high_m = settings.min_building_height_m, settings.max_building_height_m
    height_m = low_m + (high_m - low_m) * rng.beta(1.0, 2.2, len(kept))
    boxes = np.column_stack(
        [
            centres,
            placer.road_yaw(centres),
            2.0 * half_diagonal_m * np.cos(shape_rad),
            2.0 * half_diagonal_m * np.sin(shape_rad),
            height_m,
        ]
    )
    hues = np.array(
        [(0.80, 0.74, 0.66), (0.70, 0.48, 0.40), (0.62, 0.64, 0.68), (0.85, 0.82, 0.76)]
    )
    colors = hues[rng.integers(len(hues), size=len(kept))] * rng.uniform(0.7, 1.1, (len(kept), 1))
    colors = np.clip(colors * rng.uniform(0.93, 1.07, colors.shape), 0.0, 0.95)
    return Scenery(np.full(len(kept), SceneryKind.BUILDING, np.uint8), boxes, colors)


def _apart(centres: NDArray[np.float64], radii_m: NDArray[np.float64]) -> NDArray[np.intp]:
    """Keep the discs that overlap no earlier one, in order."""
    kept: list[int] = []
    by_cell: dict[tuple[int, int], list[int]] = {}
    pitch_m = 2.0 * float(radii_m.max())
    for i, (x, y) in enumerate(centres):
        cx, cy = int(x // pitch_m), int(y // pitch_m)
        near = [
            j for dx in (-1, 0, 1) for dy in (-1, 0, 1) for j in by_cell.get((cx + dx, cy + dy), ())
        ]
        gaps_m = np.hypot(*(centres[near] - (x, y)).T) - radii_m[near] - radii_m[i]
        if not near or gaps_m.min() > 0.5:
            kept.append(i)
            by_cell.setdefault((cx, cy), []).append(i)
    return np.array(kept, dtype=np.intp)


def _plants(placer: _Placer, count: int, *, is_bush: bool) -> Scenery:
    """Plant trees or bushes in the strip behind the pavements."""
    rng = placer.rng
    centres, _ = placer.draw(count, (0.9, 3.5) if is_bush else (1.2, 5.0))
    n = len(centres)
    size = rng.uniform(0.7, 1.3, n)
    is_conifer = rng.random(n) < 0.4
    if is_bush:
        kinds = np.full(n, SceneryKind.BUSH, np.uint8)
        width_m, height_m = 1.5 * size, 1.0 * size
    else:
        kinds = np.where(is_conifer, SceneryKind.CONIFER, SceneryKind.TREE).astype(np.uint8)
        width_m = np.where(is_conifer, 2.8, 3.8) * size
        height_m = np.where(is_conifer, 6.0, 5.2) * size * rng.uniform(0.9, 1.1, n)
    boxes = np.column_stack([centres, rng.uniform(-np.pi, np.pi, n), width_m, width_m, height_m])
    green = np.where(is_conifer[:, None], (0.16, 0.38, 0.20), (0.26, 0.46, 0.16))
    colors = np.clip(green * rng.uniform(0.7, 1.3, (n, 1)) * rng.uniform(0.9, 1.1, (n, 3)), 0, 0.95)
    return Scenery(kinds, boxes, colors)


def _outside(plants: Scenery, buildings: Scenery) -> Scenery:
    """Drop plants that would overlap a building."""
    chunks = np.array_split(plants.boxes, 1 + len(plants.boxes) // 256)
    room_m = [distances_m(part[:, :2], buildings.boxes).min(axis=1) for part in chunks]
    keep = np.concatenate(room_m) > 0.45 * plants.boxes[:, 3]
    return Scenery(plants.kinds[keep], plants.boxes[keep], plants.colors[keep])


def _lamp_posts(road_map: RoadMap, spacing_m: float) -> Scenery:
    """Line the outer edge of every pavement with lamp posts."""
    rows = [
        _along(lane.line, spacing_m, -(0.5 * lane.width_m + _POST_SETBACK_M))
        for lane in road_map.lanes
        if lane.kind is LaneKind.PAVEMENT
    ]
    at = np.concatenate(rows) if rows else np.zeros((0, 3))
    n = len(at)
    boxes = np.column_stack([at, np.tile((0.16, 0.16, 5.5), (n, 1))])
    colors = np.full((n, 3), 0.42)
    return Scenery(np.full(n, SceneryKind.LAMP_POST, np.uint8), boxes, colors)
