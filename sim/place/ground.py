"""Paint the ground of a road map once as surface codes; give texture tiles and truth rasters from it.

One byte per texel for the whole map (30 to 40 MB at 0.2 m for a square kilometre) instead of colours:
the renderer asks for the few coloured tiles around the ego, and the drivable raster is a resampled view
of the very same codes, so that picture and truth cannot disagree. Row 0 of every array is the south
edge and column 0 the west edge, as textures have it.
"""

from __future__ import annotations

import enum
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import Pose
from edge.perceive.tensors import GroundClass
from sim.place.line import Line
from sim.place.maps import Lane, LaneKind, RoadMap

TILE_TEXELS = 256
_SHIFT = 4
"""Fractional bits of the coordinates handed to OpenCV's drawing functions."""


class Surface(enum.IntEnum):
    """Surface of a texel."""

    GRASS = 0
    ASPHALT = 1
    LANE_MARK = 2
    PARKING = 3
    PAVEMENT = 4
    KERB = 5
    CROSSING = 6
    CROSSING_MARK = 7


_GROUND_OF_SURFACE = {
    Surface.GRASS: GroundClass.OTHER,
    Surface.ASPHALT: GroundClass.DRIVABLE,
    Surface.LANE_MARK: GroundClass.DRIVABLE,
    Surface.PARKING: GroundClass.DRIVABLE,
    Surface.PAVEMENT: GroundClass.PAVEMENT,
    Surface.KERB: GroundClass.PAVEMENT,
    Surface.CROSSING: GroundClass.CROSSING,
    Surface.CROSSING_MARK: GroundClass.CROSSING,
}
_CLASS_OF_SURFACE = np.array([_GROUND_OF_SURFACE[surface] for surface in Surface], np.uint8)

_COLOR_OF_SURFACE = np.array(
    [
        (78, 112, 58),
        (70, 70, 73),
        (222, 222, 216),
        (82, 80, 80),
        (152, 149, 144),
        (186, 184, 178),
        (72, 72, 75),
        (226, 226, 222),
    ],
    dtype=np.float64,
)
_GRAIN_OF_SURFACE = np.array([0.16, 0.07, 0.05, 0.07, 0.06, 0.04, 0.07, 0.05])
"""How much each surface's brightness varies from texel to texel, as a ratio."""
_GRAIN_STEPS = 16


@dataclass(frozen=True)
class GroundSettings:
    """Sizes of the painted ground."""

    texel_m: float = 0.2
    """Side of a square of one colour."""
    margin_m: float = 60.0
    """Ground beyond the road network's bounds, for buildings and bird's-eye windows."""
    mark_width_m: float = 0.18
    """Width of a lane marking."""
    dash_m: float = 3.0
    """Length of a dash of a broken marking."""
    dash_gap_m: float = 4.5
    """Gap between two dashes."""
    zebra_m: float = 0.6
    """Width of a zebra stripe and of the gap between two."""
    palette_jitter_ratio: float = 0.06
    """How much the colours differ from map to map."""


class Ground:
    """The painted ground of one map.

    ``codes``: uint8 (rows, columns) of ``Surface``; texel (r, c) covers the square of ``texel_m`` whose
    south-west corner is ``origin_m + texel_m * (c, r)``. Both sizes are multiples of ``TILE_TEXELS``.
    """

    def __init__(self, road_map: RoadMap, settings: GroundSettings | None = None) -> None:
        """Paint the map."""
        self.settings = settings or GroundSettings()
        self.texel_m = self.settings.texel_m
        margin_m = self.settings.margin_m
        x0, y0, x1, y1 = road_map.bounds_m
        self.origin_m = (x0 - margin_m, y0 - margin_m)
        self.tile_m = TILE_TEXELS * self.texel_m
        columns = math.ceil((x1 - x0 + 2 * margin_m) / self.tile_m)
        rows = math.ceil((y1 - y0 + 2 * margin_m) / self.tile_m)
        self.tile_grid = (rows, columns)
        self.codes = np.zeros((rows * TILE_TEXELS, columns * TILE_TEXELS), dtype=np.uint8)
        _Painter(self).paint(road_map)
        self._colors, self._grain = _coloring(road_map.name, self.settings.palette_jitter_ratio)

    def tile_rgb(self, row: int, column: int) -> NDArray[np.uint8]:
        """Colour one tile; outside the map it is grass.

        Returns:
            uint8 (TILE_TEXELS, TILE_TEXELS, 3), RGB.
        """
        n = TILE_TEXELS
        rows, columns = self.tile_grid
        if not (0 <= row < rows and 0 <= column < columns):
            codes = np.zeros((n, n), dtype=np.uint8)
        else:
            codes = self.codes[row * n : (row + 1) * n, column * n : (column + 1) * n]
        index = codes.astype(np.intp) * _GRAIN_STEPS
        index += self._grain
        tile: NDArray[np.uint8] = np.take(self._colors, index, axis=0)
        return tile

    def tile_at(self, x_m: float, y_m: float) -> tuple[int, int]:
        """Return row and column of the tile that holds a point; it may lie outside the map."""
        column = math.floor((x_m - self.origin_m[0]) / self.tile_m)
        row = math.floor((y_m - self.origin_m[1]) / self.tile_m)
        return row, column

    def classes_coarse(self, step: int) -> NDArray[np.uint8]:
        """Return the ``GroundClass`` of every ``step``-th texel: uint8 (rows / step, columns / step)."""
        classes: NDArray[np.uint8] = _CLASS_OF_SURFACE[self.codes[::step, ::step]]
        return classes

    def drivable_raster(
        self, world_from_ego: Pose, cells: int, range_m: float
    ) -> NDArray[np.uint8]:
        """Return the bird's-eye segmentation truth around a pose.

        Returns:
            uint8 (cells, cells) of ``GroundClass``, sampled at cell centres; row = x forward from
            ``-range_m``, column = y left from ``-range_m``.
        """
        cell_m = 2.0 * range_m / cells
        yaw_rad = world_from_ego.yaw_rad
        step_x = cell_m / self.texel_m * math.cos(yaw_rad)
        step_y = cell_m / self.texel_m * math.sin(yaw_rad)
        corner = np.array([0.5 * cell_m - range_m, 0.5 * cell_m - range_m, 0.0])
        corner_world = world_from_ego @ corner
        # Texel (r, c) has its centre half a texel from its corner, hence the -0.5.
        u0, v0 = (corner_world[:2] - self.origin_m) / self.texel_m - 0.5
        # One column is a step to the ego's left, one row a step forward.
        src_from_dst = np.array([[-step_y, step_x, u0], [step_x, step_y, v0]])
        codes = cv2.warpAffine(
            self.codes,
            src_from_dst,
            (cells, cells),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        classes: NDArray[np.uint8] = _CLASS_OF_SURFACE[codes]
        return classes


def _coloring(name: str, jitter_ratio: float) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Draw a map's own palette and grain from its name.

    Returns:
        uint8 (surfaces * grain steps, 3) colours, and the grain pattern of a tile, (T, T) steps.
    """
    rng = np.random.default_rng(list(name.encode()))
    brightness = rng.uniform(-jitter_ratio, jitter_ratio, (len(_COLOR_OF_SURFACE), 1))
    hue = rng.uniform(-0.25 * jitter_ratio, 0.25 * jitter_ratio, _COLOR_OF_SURFACE.shape)
    jitter = 1.0 + brightness + hue
    steps = np.linspace(-1.0, 1.0, _GRAIN_STEPS)
    gain = 1.0 + _GRAIN_OF_SURFACE[:, None] * steps  # (surfaces, steps)
    colors = (_COLOR_OF_SURFACE * jitter)[:, None, :] * gain[:, :, None]
    colors_u8 = np.clip(np.rint(colors), 0, 240).astype(np.uint8).reshape(-1, 3)
    n = TILE_TEXELS
    # Enlarge three by three copies and keep the middle one: neighbouring tiles join without a seam.
    patches = np.tile(rng.random((16, 16)).astype(np.float32), (3, 3))
    coarse = cv2.resize(patches, (3 * n, 3 * n), interpolation=cv2.INTER_CUBIC)[
        n : 2 * n, n : 2 * n
    ]
    grain = np.clip(0.6 * coarse + 0.4 * rng.random((n, n)), 0.0, 0.999)
    return colors_u8, (grain * _GRAIN_STEPS).astype(np.intp)


class _Painter:
    """Draws lanes into a ground's codes, lowest layer first."""

    def __init__(self, ground: Ground) -> None:
        self._codes = ground.codes
        self._origin_m = np.array(ground.origin_m)
        self._texel_m = ground.texel_m
        self._settings = ground.settings

    def paint(self, road_map: RoadMap) -> None:
        by_kind: dict[LaneKind, list[Lane]] = defaultdict(list)
        for lane in road_map.lanes:
            by_kind[lane.kind].append(lane)
        for outline in road_map.junction_areas:
            self._area(outline, Surface.ASPHALT)
        for lane in by_kind[LaneKind.PARKING]:
            self._strip(lane.line_world, lane.width_m + 0.1, Surface.PARKING)
        for surface, extra_m in ((Surface.KERB, 0.4), (Surface.PAVEMENT, 0.0)):
            for lane in by_kind[LaneKind.PAVEMENT]:
                self._strip(lane.line_world, lane.width_m + extra_m, surface)
            for lane in by_kind[LaneKind.WALKINGAREA]:
                self._area(lane.line_world, surface, rim_m=extra_m)
        for lane in by_kind[LaneKind.DRIVING] + by_kind[LaneKind.JUNCTION]:
            self._strip(lane.line_world, lane.width_m + 0.1, Surface.ASPHALT)
        self._lane_marks(road_map.lanes_of_edge.values())
        for lane in by_kind[LaneKind.CROSSING]:
            self._zebra(lane)

    def _texels(self, points_world: NDArray[np.float64]) -> NDArray[np.int32]:
        """Turn world points (N, 2) into OpenCV's fixed-point pixel coordinates."""
        texels = (points_world - self._origin_m) / self._texel_m - 0.5
        fixed: NDArray[np.int32] = np.rint(texels * (1 << _SHIFT)).astype(np.int32)
        return fixed

    def _area(self, outline: NDArray[np.float64], surface: Surface, rim_m: float = 0.0) -> None:
        texels = self._texels(outline)
        cv2.fillPoly(self._codes, [texels], int(surface), cv2.LINE_8, _SHIFT)
        if rim_m > 0.0:
            thickness = max(1, round(rim_m / self._texel_m))
            cv2.polylines(self._codes, [texels], True, int(surface), thickness, cv2.LINE_8, _SHIFT)

    def _strip(self, line: NDArray[np.float64], width_m: float, surface: Surface) -> None:
        """Fill a band of exact width with square ends; round joints close the bends."""
        left, right = _offset(line, 0.5 * width_m), _offset(line, -0.5 * width_m)
        for a, b, c, d in zip(left[:-1], left[1:], right[1:], right[:-1], strict=True):
            self._area(np.stack([a, b, c, d]), surface)

    def _lane_marks(self, edges: Iterable[tuple[Lane, ...]]) -> None:
        """Dash between lanes of one direction, line between directions and along the kerb."""
        for edge in edges:
            lanes = [lane for lane in edge if lane.kind is LaneKind.DRIVING]
            if not lanes:
                continue
            for lane in lanes[:-1]:
                self._dashes(_offset(lane.line_world, 0.5 * lane.width_m))
            middle = _offset(lanes[-1].line_world, 0.5 * lanes[-1].width_m)
            if len(lanes) > 1:
                self._mark(middle)
            elif tuple(middle[0]) < tuple(middle[-1]):
                # The opposite direction has the same middle; dashes of both would fill the gaps.
                self._dashes(middle)
            self._mark(_offset(lanes[0].line_world, -0.5 * lanes[0].width_m))

    def _mark(self, line: NDArray[np.float64]) -> None:
        self._strip(line, self._settings.mark_width_m, Surface.LANE_MARK)

    def _dashes(self, line: NDArray[np.float64]) -> None:
        dash_m, gap_m = self._settings.dash_m, self._settings.dash_gap_m
        for piece in _pieces(Line(line), dash_m, gap_m):
            self._mark(piece)

    def _zebra(self, lane: Lane) -> None:
        self._strip(lane.line_world, lane.width_m, Surface.CROSSING)
        for stripe in _pieces(lane.line, self._settings.zebra_m, self._settings.zebra_m):
            self._strip(stripe, lane.width_m, Surface.CROSSING_MARK)


def _offset(line: NDArray[np.float64], left_m: float) -> NDArray[np.float64]:
    """Shift a polyline (N, 2) sideways along the mean normals of its corners."""
    steps = np.diff(line, axis=0)
    unit = steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
    normals = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    before, after = np.vstack([normals[:1], normals]), np.vstack([normals, normals[-1:]])
    # Lengthen the mitre by 1 / cos(half the bend), but never by more than double.
    mean = before + after
    mitre = 2.0 * mean / np.maximum((mean**2).sum(axis=1, keepdims=True), 1.0)
    shifted: NDArray[np.float64] = line + left_m * mitre
    return shifted


def _pieces(line: Line, piece_m: float, gap_m: float) -> Iterator[NDArray[np.float64]]:
    """Cut straight pieces (2, 2) out of a line, half a gap from both of its ends."""
    for start_m in np.arange(0.5 * gap_m, line.length_m - piece_m, piece_m + gap_m):
        yield np.array([line.at(start_m)[:2], line.at(start_m + piece_m)[:2]])
