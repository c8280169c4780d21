"""Render the cameras of a vehicle at one instant, and find which entity every pixel shows.

All views are regions of one buffer with a single read-back. Colour and identity come from one and
the same pass: nothing in this world is transparent, so the alpha channel is free and carries a code of
one byte per entity (0: not an entity). That gives exact ids at no cost, where a second pass with flat
colours cost as much as the picture. Each frame is a pure function of its snapshot: entities are assigned
to nodes afresh, in order of their ids, and drawn in that order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from panda3d import core

from edge.contracts.errors import OperatorError
from edge.contracts.rig import Projection, Rig
from sim.place.ground import Ground
from sim.place.maps import RoadMap
from sim.place.scenery import Scenery, furnish
from sim.render.meshes import mesh_of
from sim.render.panda import (
    UNDRAWN_PX,
    Rows,
    camera_node,
    geom,
    open_buffer,
    panda_matrix,
    refill,
    vertex_rows,
)
from sim.render.settings import RenderSettings
from sim.render.static_scene import StaticScene
from sim.render.tiles import sheet_of
from sim.world.snapshot import Entity, Snapshot

MAX_ENTITIES = 254
"""One byte holds the codes; code 0 is the still world and 255 is never given."""


@dataclass(frozen=True, eq=False)
class Render:
    """The images of the cameras at one instant, in the rig's order.

    ``images``: by camera, uint8 (H, W, 3), RGB, contiguous. ``ids``: by camera, int32 (H, W), the
    entity_id that each pixel shows and 0 elsewhere; None when not asked for. ``visible_px``: by
    entity_id, the number of pixels over all cameras that show it; entities without a pixel are left out.
    """

    images: tuple[NDArray[np.uint8], ...]
    visible_px: dict[int, int]
    ids: tuple[NDArray[np.int32], ...] | None = None


class Renderer:
    """A window into one map; ``close`` it to free its buffer and scene."""

    def __init__(
        self,
        road_map: RoadMap,
        rig: Rig,
        settings: RenderSettings | None = None,
        *,
        ground: Ground | None = None,
        scenery: Scenery | None = None,
    ) -> None:
        """Build the scene; ``ground`` and ``scenery`` of the map are made unless they are given.

        Raises:
            OperatorError: A camera is no pinhole camera, or the display cannot be opened.
        """
        self.settings = settings or RenderSettings()
        self.ground = ground or Ground(road_map)
        self.scenery = scenery or furnish(road_map, self.ground)
        _check_projections(rig)
        self._sheet = sheet_of(rig)
        self._engine, self._buffer = open_buffer(
            self.settings.pipe, self._sheet.width_px, self._sheet.height_px
        )
        self._buffer.set_clear_color((*self.settings.sky_rgb, 0.0))
        self._root = core.NodePath("world")
        self._root.set_bin("unsorted", 0)
        self._static_scene = StaticScene(
            self._root, self.ground, self.scenery, self.settings.static_scene
        )
        self._entity_nodes = _EntityNodes(self._root.attach_new_node("entities"))
        self._ego = self._root.attach_new_node("ego")
        for camera, tile in zip(rig.cameras, self._sheet.tiles, strict=True):
            node = camera_node(
                camera,
                self.settings.near_m,
                self.settings.far_m,
                undrawn_px=UNDRAWN_PX.get(self.settings.pipe, 0.0),
            )
            node.reparent_to(self._ego)
            self._buffer.make_display_region(*self._sheet.region(tile)).set_camera(node)
        self._target = core.Texture()
        output = core.GraphicsOutput
        self._buffer.add_render_texture(self._target, output.RTM_copy_ram, output.RTP_color)

    def render(self, snapshot: Snapshot, with_ids: bool = False) -> Render:
        """Draw one instant through all cameras."""
        pose = snapshot.ego.world_from_ego
        codes = self._entity_nodes.show(_nearest(snapshot, MAX_ENTITIES))
        self._static_scene.move(pose.x_m, pose.y_m)
        self._ego.set_mat(panda_matrix(pose.matrix))
        self._engine.render_frame()
        return self._read(codes, with_ids)

    def close(self) -> None:
        """Free the buffer and the scene, so that this process may open another renderer."""
        self._engine.remove_all_windows()
        self._root.remove_node()

    def _read(self, entity_of_code: NDArray[np.int32], with_ids: bool) -> Render:
        """Cut the buffer, BGRA from the bottom up, into views."""
        sheet = self._sheet
        flat = np.frombuffer(self._target.get_ram_image(), dtype=np.uint8)
        bgra = cv2.flip(flat.reshape(sheet.height_px, sheet.width_px, 4), 0)
        views = [bgra[tile.rows, tile.columns] for tile in sheet.tiles]
        images = []
        for view in views:
            image = np.empty((*view.shape[:2], 3), dtype=np.uint8)
            cv2.cvtColor(view, cv2.COLOR_BGRA2RGB, dst=image)
            images.append(image)
        counts = cv2.calcHist([bgra], [3], None, [256], [0, 256]).ravel().astype(int).tolist()
        visible_px = {
            entity_id: pixels
            for entity_id, pixels in zip(entity_of_code.tolist(), counts, strict=True)
            if entity_id and pixels
        }
        ids = tuple(entity_of_code[view[..., 3]] for view in views) if with_ids else None
        return Render(tuple(images), visible_px, ids)


def _check_projections(rig: Rig) -> None:
    for camera in rig.cameras:
        projection = camera.intrinsics.projection
        if projection is not Projection.PINHOLE:
            raise OperatorError(
                f"rig {rig.name} cannot be rendered: camera {camera.name} has projection "
                f"{projection}, and the renderer draws {Projection.PINHOLE} alone"
            )


def _nearest(snapshot: Snapshot, limit: int) -> list[Entity]:
    """Return at most ``limit`` entities, the nearest ones, in order of their ids."""
    pose = snapshot.ego.world_from_ego
    by_range = sorted(
        snapshot.entities,
        key=lambda a: (math.hypot(a.x_m - pose.x_m, a.y_m - pose.y_m), a.entity_id),
    )
    return sorted(by_range[:limit], key=lambda a: a.entity_id)


class _EntityNodes:
    """Nodes that show entities: an entity keeps its node in range, and others reuse it later."""

    def __init__(self, parent: Any) -> None:
        self._parent = parent
        self._shown: dict[tuple[int, str], _EntityNode] = {}
        self._spare: dict[str, list[_EntityNode]] = defaultdict(list)

    def show(self, entities: Sequence[Entity]) -> NDArray[np.int32]:
        """Show exactly these entities; return the entity_id of each code, (256,)."""
        wanted = {(entity.entity_id, entity.mesh) for entity in entities}
        for key in [key for key in self._shown if key not in wanted]:
            node = self._shown.pop(key)
            node.hide()
            self._spare[key[1]].append(node)
        entity_of_code = np.zeros(256, dtype=np.int32)
        for entity in entities:
            node = self._node_of(entity)
            code = _free_code(entity.entity_id, entity_of_code)
            node.show(entity, code)
            entity_of_code[code] = entity.entity_id
        return entity_of_code

    def _node_of(self, entity: Entity) -> _EntityNode:
        key = (entity.entity_id, entity.mesh)
        if key not in self._shown:
            spare = self._spare[entity.mesh]
            self._shown[key] = spare.pop() if spare else _EntityNode(self._parent, entity.mesh)
        return self._shown[key]


def _free_code(entity_id: int, entity_of_code: NDArray[np.int32]) -> int:
    """Choose a code for an entity: the same from frame to frame, unless two entities have that code."""
    slot = entity_id % MAX_ENTITIES
    while entity_of_code[slot + 1]:
        slot = (slot + 1) % MAX_ENTITIES
    return slot + 1


class _EntityNode:
    """One node with a mesh; colour, and the code in the alpha of all vertices, are repainted."""

    def __init__(self, parent: Any, mesh: str) -> None:
        self._rows, corner, self._is_tinted = _mesh_rows(mesh)
        self._paint: tuple[tuple[float, float, float], int] | None = None
        self._parent = parent
        self._node = core.GeomNode(mesh)
        self._node.add_geom(geom(self._rows, corner))
        self._path = core.NodePath(self._node)

    def show(self, entity: Entity, code: int) -> None:
        if self._paint != (entity.color_rgb, code):
            self._paint = (entity.color_rgb, code)
            refill(self._node, self._painted(entity.color_rgb, code))
        if self._path.get_sort() != code or not self._path.has_parent():
            # Drawn in order of their codes, so that the picture does not depend on the order of arrival.
            self._path.reparent_to(self._parent, code)
        self._path.set_mat(panda_matrix(world_from_unit(entity)))

    def hide(self) -> None:
        self._path.detach_node()

    def _painted(self, color_rgb: tuple[float, float, float], code: int) -> Rows:
        tint = np.where(self._is_tinted[:, None], np.clip(color_rgb, 0.03, 0.97), 1.0)
        rows = self._rows.copy()
        rows["rgba"][:, :3] = np.rint(rows["rgba"][:, :3] * tint)
        rows["rgba"][:, 3] = code
        return rows


@cache
def _mesh_rows(name: str) -> tuple[Rows, NDArray[np.intp], NDArray[np.bool_]]:
    """Return a mesh's vertices, its corners, and which vertices take the entity's colour (V,)."""
    mesh = mesh_of(name)
    rgba = np.empty((len(mesh.colors), 3, 4), dtype=np.uint8)
    rgba[..., :3] = np.rint(mesh.colors * 255.0)[:, None, :]
    rgba[..., 3] = mesh.is_tinted[:, None]
    rows, corner = vertex_rows(mesh.triangles, rgba)
    return rows, corner, rows["rgba"][:, 3] > 0


def world_from_unit(entity: Entity) -> NDArray[np.float64]:
    """Return the (4, 4) matrix that places a unit mesh.

    The roll turns the mesh inside its unit box about the length axis, so that quarter turns fill the
    entity's box exactly; then the box is scaled, turned by the yaw and moved.
    """
    c, s = math.cos(entity.yaw_rad), math.sin(entity.yaw_rad)
    cr, sr = math.cos(entity.roll_rad), math.sin(entity.roll_rad)
    length, width, height = entity.length_m, entity.width_m, entity.height_m
    # Columns of Rz(yaw) diag(length, width, height) Rx(roll), and the box's centre kept in place.
    forward = (c * length, s * length, 0.0)
    left = (-s * width * cr, c * width * cr, height * sr)
    up = (s * width * sr, -c * width * sr, height * cr)
    x = entity.x_m - 0.5 * up[0]
    y = entity.y_m - 0.5 * up[1]
    z = entity.z_m + 0.5 * (height - up[2])
    return np.array([(*forward, 0.0), (*left, 0.0), (*up, 0.0), (x, y, z, 1.0)]).T
