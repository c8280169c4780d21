"""The still part of the picture: ground tiles around the ego, buildings and plants, the horizon.

This file limits memory. A whole map as one texture set costs half a gigabyte; here a window of ``(2 * reach +
1)`` squared small tiles moves with the ego and reuses its textures, so that a world needs about 12 MB of them
whatever the size of the map. Scenery is merged by cells of the map, so that Panda3D culls hundreds of nodes
and not thousands: that halved the time of a frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from panda3d import core

from sim.place.ground import TILE_TEXELS, Ground
from sim.place.scenery import Scenery, SceneryKind
from sim.render.panda import fill_texture, geom, texture, vertex_rows
from sim.render.settings import StaticSceneSettings

STATIC_ID = 0
"""Alpha of everything that is not an entity; see ``cameras.py``."""

_FACADE_M = 3.2
"""Height of a storey and width of a window's bay on a facade."""


class StaticScene:
    """Static nodes under ``root``; call ``move`` with the ego's position before each frame."""

    def __init__(
        self,
        root: Any,
        ground: Ground,
        scenery: Scenery,
        settings: StaticSceneSettings | None = None,
    ) -> None:
        """Build the static world under a Panda3D node."""
        self._settings = settings or StaticSceneSettings()
        self._ground = ground
        self._tiles = _TileWindow(root.attach_new_node("ground"), ground, self._settings.tile_reach)
        self._horizon = root.attach_new_node(_horizon_node(self._settings.horizon_m))
        _attach_scenery(root.attach_new_node("scenery"), scenery, self._settings.cells)

    def move(self, x_m: float, y_m: float) -> None:
        """Bring the ground under, and the horizon around, a point of the world."""
        self._horizon.set_pos(x_m, y_m, 0.0)
        self._tiles.move(*self._ground.tile_at(x_m, y_m))


class _TileWindow:
    """A square of ground tiles; a tile that falls out on one side is repainted on the other."""

    def __init__(self, parent: Any, ground: Ground, reach: int) -> None:
        self._ground, self._reach = ground, reach
        self._side = 2 * reach + 1
        blank = np.zeros((TILE_TEXELS, TILE_TEXELS, 3), dtype=np.uint8)
        self._textures: list[Any] = []
        self._nodes: list[Any] = []
        self._shown: list[tuple[int, int] | None] = [None] * self._side**2
        for _ in self._shown:
            node = parent.attach_new_node(_square_node(ground.tile_m))
            tile_texture = texture(blank)
            node.set_texture(tile_texture)
            self._nodes.append(node)
            self._textures.append(tile_texture)

    def move(self, row: int, column: int) -> None:
        for r in range(row - self._reach, row + self._reach + 1):
            for c in range(column - self._reach, column + self._reach + 1):
                # A tile's place in the window depends on its place in the map alone.
                k = (r % self._side) * self._side + c % self._side
                if self._shown[k] != (r, c):
                    self._shown[k] = (r, c)
                    fill_texture(self._textures[k], self._ground.tile_rgb(r, c))
                    x0, y0 = self._ground.origin_m
                    tile_m = self._ground.tile_m
                    self._nodes[k].set_pos(x0 + c * tile_m, y0 + r * tile_m, 0.0)


def _square_node(side_m: float, parts: int = 3) -> Any:
    """Make a horizontal square, cut in parts so that the software renderer clips little at a time."""
    at = np.arange(parts) / parts
    x, y = np.meshgrid(at, at)
    corner = np.stack([x.ravel(), y.ravel()], axis=1)[:, None, :]
    unit = np.array([(0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1)]) / parts
    uv = (corner + unit).reshape(-1, 3, 2)
    triangles = np.concatenate([uv * side_m, np.zeros((*uv.shape[:2], 1))], axis=2)
    white = np.full((len(uv), 3, 4), 255, dtype=np.uint8)
    white[..., 3] = STATIC_ID
    return _node([geom(*vertex_rows(triangles, white, uv))])


def _node(geoms: list[Any], state: Any = None) -> Any:
    node = core.GeomNode("")
    for g in geoms:
        node.add_geom(g, state or core.RenderState.make_empty())
    return node


def _horizon_node(radius_m: float, segments: int = 32) -> Any:
    """Make a ring of low hazy hills that fades into the sky."""
    angle = np.linspace(0.0, 2.0 * math.pi, segments, endpoint=False)
    height_m = 2.4 + 0.9 * np.sin(3.0 * angle + 0.7) + 0.5 * np.sin(7.0 * angle)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius_m
    low = np.column_stack([ring, np.full(segments, -1.5)])
    high = np.column_stack([ring, height_m])
    low_next, high_next = np.roll(low, -1, axis=0), np.roll(high, -1, axis=0)
    # Wound to be seen from inside.
    triangles = np.concatenate(
        [np.stack([low_next, low, high], axis=1), np.stack([low_next, high, high_next], axis=1)]
    )
    foot, top = np.array([(104, 128, 96, STATIC_ID), (138, 156, 150, STATIC_ID)], dtype=np.uint8)
    rgba = np.where(triangles[..., 2:] < 0.0, foot, top)
    return _node([geom(*vertex_rows(triangles, rgba))])


def _attach_scenery(parent: Any, scenery: Scenery, cells: int) -> None:
    """Merge the scenery into one node per cell: one textured and one plain drawable."""
    facade = _facade_state()
    xy = scenery.boxes[:, :2]
    low = xy.min(axis=0)
    cell_m = float((xy.max(axis=0) - low).max()) / cells + 1e-6
    key = ((xy - low) // cell_m).astype(np.intp) @ np.array([cells, 1])
    plants = {kind: np.flatnonzero(scenery.kinds == kind) for kind in _LAYERS}
    shapes = {kind: _plants(scenery, kind, at) for kind, at in plants.items()}
    for cell in np.unique(key):
        node = core.GeomNode("cell")
        houses = np.flatnonzero((key == cell) & (scenery.kinds == SceneryKind.BUILDING))
        if len(houses):
            walls, uv, roofs = _buildings(scenery.boxes[houses], scenery.colors[houses])
            node.add_geom(geom(*vertex_rows(*walls, uv)), facade)
            node.add_geom(geom(*vertex_rows(*roofs)))
        here = {kind: key[at] == cell for kind, at in plants.items()}
        if any(chosen.any() for chosen in here.values()):
            triangles = [shapes[kind][0][chosen].reshape(-1, 3, 3) for kind, chosen in here.items()]
            rgba = [shapes[kind][1][chosen].reshape(-1, 3, 4) for kind, chosen in here.items()]
            node.add_geom(geom(*vertex_rows(np.concatenate(triangles), np.concatenate(rgba))))
        parent.attach_new_node(node)


def _facade_state() -> Any:
    """Make the repeated texture of a storey: plaster with a window in it."""
    size = 32
    bay = np.full((size, size, 3), 240, dtype=np.uint8)
    bay[:2] = 205
    bay[9:25, 9:23] = 220
    bay[10:24, 10:22] = (92, 108, 124)
    bay[10:24, 15:17] = 200
    bay[19:24, 10:22] //= 2
    return core.RenderState.make(core.TextureAttrib.make(texture(bay, is_repeated=True)))


_Triangles = tuple[NDArray[np.float64], NDArray[np.uint8]]


def _buildings(
    boxes: NDArray[np.float64], colors: NDArray[np.float64]
) -> tuple[_Triangles, NDArray[np.float64], _Triangles]:
    """Return walls with their texture coordinates, and flat roofs, of boxes (N, 6)."""
    walls, uvs, wall_colors, roofs, roof_colors = [], [], [], [], []
    shades = (0.84, 0.68, 0.84, 0.68)
    for (x, y, yaw, length, width, height), color in zip(boxes, colors, strict=True):
        base = _rectangle(x, y, yaw, length, width)
        for k in range(4):
            a, b = base[k], base[(k + 1) % 4]
            side_m = float(np.linalg.norm(b - a))
            bays, storeys = max(1, round(side_m / _FACADE_M)), max(1, round(height / _FACADE_M))
            corners = [(*a, 0.0), (*b, 0.0), (*b, height), (*a, height)]
            at = [(0, 0), (bays, 0), (bays, storeys), (0, storeys)]
            for triple in ((0, 1, 2), (0, 2, 3)):
                walls.append([corners[i] for i in triple])
                uvs.append([at[i] for i in triple])
                wall_colors.append(color * shades[k])
        top = [(*p, height) for p in base]
        for triple in ((0, 1, 2), (0, 2, 3)):
            roofs.append([top[i] for i in triple])
            roof_colors.append(color * 0.6)
    return (
        (np.array(walls), _rgba(np.array(wall_colors))),
        np.array(uvs, dtype=np.float64),
        (np.array(roofs), _rgba(np.array(roof_colors))),
    )


def _rectangle(x: float, y: float, yaw: float, length: float, width: float) -> NDArray[np.float64]:
    """Return the corners (4, 2) of a ground rectangle, counter-clockwise from the front right."""
    c, s = math.cos(yaw), math.sin(yaw)
    local = 0.5 * np.array([(length, -width), (length, width), (-length, width), (-length, -width)])
    corners: NDArray[np.float64] = local @ np.array([(c, s), (-s, c)]) + (x, y)
    return corners


def _rgba(colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Give every triangle's colour (..., 3) to its three corners, with the alpha of still things."""
    rgba = np.full((*colors.shape[:-1], 3, 4), STATIC_ID, dtype=np.uint8)
    rgba[..., :3] = np.rint(np.clip(colors, 0.0, 0.96) * 255.0)[..., None, :]
    return rgba


@dataclass(frozen=True)
class _Layer:
    """One prism of a plant or post: radii relative to half its width, heights to its height."""

    foot: tuple[float, float]
    """Radius and height of the foot."""
    top: tuple[float, float]
    sides: int
    shade_ratio: float = 1.0
    is_bark: bool = False
    has_lid: bool = False


_BARK = np.array([0.34, 0.25, 0.17])
_LAYERS: dict[SceneryKind, tuple[_Layer, ...]] = {
    SceneryKind.CONIFER: (
        _Layer((0.14, 0.0), (0.14, 0.3), 3, is_bark=True),
        _Layer((1.0, 0.25), (0.01, 1.0), 5),
    ),
    SceneryKind.TREE: (
        _Layer((0.11, 0.0), (0.08, 0.45), 3, is_bark=True),
        _Layer((0.55, 0.38), (1.0, 0.62), 5, shade_ratio=0.8),
        _Layer((1.0, 0.62), (0.3, 1.0), 5, has_lid=True),
    ),
    SceneryKind.BUSH: (
        _Layer((0.8, 0.0), (1.0, 0.5), 5, shade_ratio=0.85),
        _Layer((1.0, 0.5), (0.4, 1.0), 5, has_lid=True),
    ),
    SceneryKind.LAMP_POST: (
        _Layer((1.1, 0.0), (0.8, 1.0), 3),
        _Layer((3.8, 1.0), (3.8, 1.03), 4, shade_ratio=0.7, has_lid=True),
    ),
}


def _plants(scenery: Scenery, kind: SceneryKind, at: NDArray[np.intp]) -> _Triangles:
    """Shape all plants or posts of one kind: triangles (N, T, 3, 3) and colours (N, T, 3, 4)."""
    parts = [_prisms(scenery.boxes[at], scenery.colors[at], layer) for layer in _LAYERS[kind]]
    triangles, rgba = (np.concatenate(p, axis=1) for p in zip(*parts, strict=True))
    return triangles, rgba


def _prisms(boxes: NDArray[np.float64], colors: NDArray[np.float64], layer: _Layer) -> _Triangles:
    """Shape one layer of each of N plants: mantle and, where it has one, lid."""
    sides = layer.sides
    angle = boxes[:, 2:3] + np.arange(sides) * 2.0 * math.pi / sides  # (N, S)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def ring(radius_ratio: float, height_ratio: float) -> NDArray[np.float64]:
        xy = boxes[:, None, :2] + unit * (0.5 * radius_ratio * boxes[:, None, 3:4])
        z = np.broadcast_to(height_ratio * boxes[:, None, 5:6], (*angle.shape, 1))
        return np.concatenate([xy, z], axis=-1)  # (N, S, 3)

    foot, top = ring(*layer.foot), ring(*layer.top)
    foot_next, top_next = np.roll(foot, -1, axis=1), np.roll(top, -1, axis=1)
    triangles = [
        np.stack([foot, foot_next, top_next], axis=2),
        np.stack([foot, top_next, top], axis=2),
    ]
    shade = 0.78 + 0.16 * np.cos(angle + math.pi / sides - 0.9)
    shades = [shade, shade]
    if layer.has_lid:
        hub = np.broadcast_to(top[:, :1], (len(boxes), sides - 2, 3))
        triangles.append(np.stack([hub, top[:, 1:-1], top[:, 2:]], axis=2))
        shades.append(np.ones((len(boxes), sides - 2)))
    paint = np.broadcast_to(_BARK, colors.shape) if layer.is_bark else colors * layer.shade_ratio
    shaded = np.concatenate(shades, axis=1)[..., None] * paint[:, None]
    return np.concatenate(triangles, axis=1), _rgba(shaded)
