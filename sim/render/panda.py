"""All that this simulator needs of Panda3D: an offscreen buffer, triangles from arrays, a calibrated lens.

Only this file, ``static_scene.py`` and ``cameras.py`` import Panda3D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from panda3d import core

from edge.contracts.errors import OperatorError
from edge.contracts.rig import Camera

_PRC = """
window-type offscreen
audio-library-name null
sync-video 0
textures-power-2 none
garbage-collect-states 0
notify-level error
notify-level-display fatal
notify-level-x11display fatal
"""
"""States must free themselves: their collection belongs to Panda3D's task loop, which nothing here runs,
and without it every moved node of every frame would be kept for good.
"""


UNDRAWN_PX = {"p3tinydisplay": 0.5}
"""What a display leaves out of each view, right and below: its viewport maps a view of W x H pixels onto
W - 0.5 by H - 0.5 of them, so that a picture would shrink towards its top left corner. Measured with
squares at known pixels; ``p3headlessgl`` draws the whole view.
"""


def open_buffer(pipe_name: str, width_px: int, height_px: int) -> tuple[Any, Any]:
    """Open an offscreen RGBA buffer on one of Panda3D's displays, with an engine of its own.

    Returns:
        The engine, whose ``render_frame`` draws this buffer and no other, and the buffer.

    Raises:
        OperatorError: The display does not exist here; the message names what it needs.
    """
    core.load_prc_file_data("", _PRC)
    pipe = core.GraphicsPipeSelection.get_global_ptr().make_module_pipe(pipe_name)
    properties = core.FrameBufferProperties()
    properties.set_rgba_bits(8, 8, 8, 8)
    properties.set_depth_bits(24)
    size = core.WindowProperties.size(width_px, height_px)
    engine = core.GraphicsEngine()
    buffer = pipe and engine.make_output(
        pipe, "views", 0, properties, size, core.GraphicsPipe.BF_refuse_window
    )
    if not buffer:
        raise OperatorError(
            f"renderer {pipe_name!r} cannot open a {width_px} x {height_px} buffer here: use "
            "p3tinydisplay (needs nothing), or install libegl1 and libgl1-mesa-dri for p3headlessgl"
        )
    return engine, buffer


Rows = NDArray[np.void]
"""Vertices: a record array with fields ``xyz``, ``rgba`` and perhaps ``uv``."""


def vertex_rows(
    triangles: NDArray[np.float64],
    rgba: NDArray[np.uint8],
    uv: NDArray[np.float64] | None = None,
) -> tuple[Rows, NDArray[np.intp]]:
    """Turn separate triangles into shared vertices: a corner of one flat face is transformed once.

    Args:
        triangles: (T, 3, 3) corner positions.
        rgba: (T, 3, 4) corner colours.
        uv: (T, 3, 2) texture coordinates, or None.

    Returns:
        The distinct vertices (V,), and for each of the 3 T corners which of them it is.
    """
    count = 3 * len(triangles)
    fields: list[Any] = [("xyz", "<f4", 3), ("rgba", "u1", 4)]
    vertices = np.zeros(count, dtype=fields if uv is None else [*fields, ("uv", "<f4", 2)])
    vertices["xyz"] = triangles.reshape(count, 3)
    vertices["rgba"] = rgba.reshape(count, 4)
    if uv is not None:
        vertices["uv"] = uv.reshape(count, 2)
    raw = vertices.view(f"V{vertices.itemsize}")
    _, first, corner = np.unique(raw, return_index=True, return_inverse=True)
    return vertices[first], corner


def geom(rows: Rows, corner: NDArray[np.intp]) -> Any:
    """Make a drawable of vertices and the corners (3 T,) of its triangles."""
    data = core.GeomVertexData(
        "", _vertex_format("uv" in (rows.dtype.names or ())), core.Geom.UH_static
    )
    data.unclean_set_num_rows(len(rows))
    data.modify_array_handle(0).copy_data_from(rows.tobytes())
    primitive = core.GeomTriangles(core.Geom.UH_static)
    primitive.set_index_type(core.Geom.NT_uint32)
    indices = primitive.modify_vertices()
    indices.unclean_set_num_rows(len(corner))
    indices.modify_handle().copy_data_from(corner.astype("<u4").tobytes())
    result = core.Geom(data)
    result.add_primitive(primitive)
    return result


def refill(node: Any, rows: Rows) -> None:
    """Replace the vertices of a node's only drawable by as many others."""
    node.modify_geom(0).modify_vertex_data().modify_array_handle(0).copy_data_from(rows.tobytes())


def _vertex_format(has_uv: bool) -> Any:
    """Return the registered format of one row: position, RGBA bytes, and perhaps texture coordinates."""
    names, kinds = core.InternalName, core.Geom
    array = core.GeomVertexArrayFormat()
    array.add_column(names.get_vertex(), 3, kinds.NT_float32, kinds.C_point)
    array.add_column(names.get_color(), 4, kinds.NT_uint8, kinds.C_color)
    if has_uv:
        array.add_column(names.get_texcoord(), 2, kinds.NT_float32, kinds.C_texcoord)
    layout = core.GeomVertexFormat()
    layout.add_array(array)
    return core.GeomVertexFormat.register_format(layout)


def texture(rgb: NDArray[np.uint8], *, is_repeated: bool = False) -> Any:
    """Make a nearest-sampled texture of (H, W, 3) RGB; row 0 is at v = 0."""
    result = core.Texture()
    height, width = rgb.shape[:2]
    result.setup_2d_texture(width, height, core.Texture.T_unsigned_byte, core.Texture.F_rgb)
    fill_texture(result, rgb)
    wrap = core.SamplerState.WM_repeat if is_repeated else core.SamplerState.WM_clamp
    result.set_minfilter(core.SamplerState.FT_nearest)
    result.set_magfilter(core.SamplerState.FT_nearest)
    result.set_wrap_u(wrap)
    result.set_wrap_v(wrap)
    return result


def fill_texture(target: Any, rgb: NDArray[np.uint8]) -> None:
    """Replace a texture's pixels with (H, W, 3) RGB of the same size."""
    target.set_ram_image(np.ascontiguousarray(rgb[..., ::-1]).tobytes())


def camera_node(camera: Camera, near_m: float, far_m: float, *, undrawn_px: float = 0.0) -> Any:
    """Make the camera node of a calibrated camera, to be hung under the ego's node.

    Args:
        camera: The calibrated camera, whose pixels the picture has to match.
        near_m: Distance of the near plane along the optical axis.
        far_m: Distance of the far plane along the optical axis.
        undrawn_px: What the display leaves out of a view on the right and below; see ``UNDRAWN_PX``.
    """
    k = camera.intrinsics
    lens = core.PerspectiveLens()
    # The film is measured in pixels of fx, so that the focal length is fx itself, and is the part of
    # the image that the display draws: from the top left corner to ``undrawn_px`` before the other.
    aspect = k.fx_px / k.fy_px
    width_px, height_px = k.width_px - undrawn_px, k.height_px - undrawn_px
    lens.set_film_size(width_px, height_px * aspect)
    lens.set_film_offset(0.5 * width_px - k.cx_px, (k.cy_px - 0.5 * height_px) * aspect)
    lens.set_focal_length(k.fx_px)
    lens.set_near_far(near_m, far_m)
    node = core.NodePath(core.Camera(str(camera.name), lens))
    ego_from_cam = camera.ego_from_cam.matrix
    ego_from_view = np.eye(4)  # Panda3D looks along y with z up: x right, y forward, z up.
    ego_from_view[:3, 0] = ego_from_cam[:3, 0]
    ego_from_view[:3, 1] = ego_from_cam[:3, 2]
    ego_from_view[:3, 2] = -ego_from_cam[:3, 1]
    ego_from_view[:3, 3] = ego_from_cam[:3, 3]
    node.set_mat(panda_matrix(ego_from_view))
    return node


def panda_matrix(a_from_b: NDArray[np.float64]) -> Any:
    """Turn a (4, 4) matrix for column vectors into Panda3D's, which multiplies rows."""
    return core.LMatrix4(*a_from_b.T.ravel().tolist())
