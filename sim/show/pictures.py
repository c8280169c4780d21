"""Pictures for people: eight cameras with boxes on them, and the scene from above.

Pure functions from records to RGB arrays; the caller decides where a picture goes. A box's front
face is tinted, because the commonest fault that numbers hide is a box that faces the wrong way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import Pose
from edge.contracts.rig import BODY, Body, Camera, Rig
from edge.contracts.scene import Box3D, Plan
from edge.contracts.sensors import RadarScan, Route
from edge.perceive.tensors import GroundClass

Rgb = tuple[int, int, int]
Image = NDArray[np.uint8]

TRUTH_RGB: Rgb = (72, 226, 118)
INCUMBENT_RGB: Rgb = (255, 164, 48)
CANDIDATE_RGB: Rgb = (70, 196, 255)
ROUTE_RGB: Rgb = (196, 150, 255)
PLAN_RGB: Rgb = (255, 92, 180)

_PAPER: Rgb = (22, 24, 28)
_INK: Rgb = (228, 230, 234)
_FAINT: Rgb = (120, 126, 134)
_STANDING_RGB: Rgb = (170, 170, 176)
_NEARING_RGB: Rgb = (96, 150, 255)
_LEAVING_RGB: Rgb = (236, 92, 80)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BAR_PX = 26
_GAP_PX = 6

_LAYOUT = (
    (
        "forward_left",
        "front_main",
        "forward_right",
        "front_narrow",
    ),
    ("rearward_left", "rear", "rearward_right", "front_wide"),
)
"""Three columns of cameras, arranged as around the vehicle, and a fourth for the other two front lenses."""

_SIDE_RAD = math.radians(80.0)
_MIN_LABELLED_PX = 36
_FRONT = (0, 1, 5, 4)
"""Corners of the front face, clockwise on the screen when it faces the camera."""
_EDGES = tuple(
    edge for k in range(4) for edge in ((k, (k + 1) % 4), (k + 4, (k + 1) % 4 + 4), (k, k + 4))
)
_NEAR_M = 0.2


@dataclass(frozen=True)
class Layer:
    """Boxes of one origin, drawn in one colour and named in the legend."""

    name: str
    boxes: Sequence[Box3D]
    color_rgb: Rgb = TRUTH_RGB
    has_labels: bool = False
    """Write class and score beside each box that is large enough."""


def mosaic(
    images: Sequence[Image | None],
    rig: Rig,
    layers: Sequence[Layer] = (),
    *,
    title: str = "",
    scale: int = 2,
) -> Image:
    """Lay out the cameras of one instant with boxes drawn on them.

    Args:
        images: uint8 (H, W, 3), RGB, one per camera of the rig; None is shown black.
        rig: Their calibration.
        layers: Boxes in the ego frame of the instant.
        title: Stands above the pictures, before the legend.
        scale: How many times larger than life.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    cameras = {camera.name: k for k, camera in enumerate(rig.cameras)}
    rows = []
    for names in _layout(rig):
        numbers = [cameras[name] for name in names]
        cells = [_cell(images[k], rig.cameras[k], layers, scale) for k in numbers]
        rows.append(_joined(_level(cells, axis=0), axis=1))
    body = _joined(_level(rows, axis=1), axis=0)
    return np.concatenate([_legend(body.shape[1], title, layers), body])


def _layout(rig: Rig) -> tuple[tuple[str, ...], ...]:
    """Arrange the cameras in rows: as the network's eight look around, else by direction, ahead first."""
    names = {camera.name for camera in rig.cameras}
    if names == {name for row in _LAYOUT for name in row}:
        return _LAYOUT
    ahead = [c for c in rig.cameras if abs(c.yaw_rad) <= _SIDE_RAD]
    behind = [c for c in rig.cameras if abs(c.yaw_rad) > _SIDE_RAD]
    rows = (
        sorted(ahead, key=lambda c: -c.yaw_rad),
        sorted(behind, key=lambda c: c.yaw_rad % (2.0 * math.pi)),
    )
    return tuple(tuple(camera.name for camera in row) for row in rows if row)


def _cell(image: Image | None, camera: Camera, layers: Sequence[Layer], scale: int) -> Image:
    """Draw one camera's picture, black where it gave none."""
    k = camera.intrinsics
    shown = np.zeros((k.height_px, k.width_px, 3), np.uint8) if image is None else image
    return _view(shown, camera, layers, scale)


def _level(pictures: Sequence[Image], *, axis: int) -> list[Image]:
    """Bring pictures to the same height (axis 0) or width (axis 1) by adding paper."""
    size = max(picture.shape[axis] for picture in pictures)
    level = []
    for picture in pictures:
        shape = list(picture.shape)
        shape[axis] = size - picture.shape[axis]
        paper = np.broadcast_to(np.array(_PAPER, np.uint8), shape)
        level.append(np.concatenate([picture, paper], axis=axis) if shape[axis] else picture)
    return level


def draw_boxes(image: Image, camera: Camera, layer: Layer, *, weight: int = 1) -> None:
    """Draw boxes onto a camera's picture, in place, the farthest first.

    Words stand over everything else, the nearest box's where they belong and others where there is room.

    Args:
        image: uint8 (H, W, 3), RGB, of any size; the camera's intrinsics are scaled to it.
        camera: The camera that took it.
        layer: Boxes in the ego frame of the instant.
        weight: How thick lines and how large words are.
    """
    height, width = image.shape[:2]
    words: list[tuple[str, float, float]] = []
    k = camera.intrinsics.scaled(width, height)
    cam_from_ego = camera.ego_from_cam.inverse()
    for box in sorted(layer.boxes, key=lambda b: -math.hypot(b.x_m, b.y_m)):
        corners = cam_from_ego @ box_corners(box)  # (8, 3)
        if corners[:, 2].max() < _NEAR_M:
            continue
        focal, centre = np.array([k.fx_px, k.fy_px]), np.array([k.cx_px, k.cy_px])
        if corners[:, 2].min() >= _NEAR_M:
            pixels = corners[:, :2] / corners[:, 2:] * focal + centre
            low, high = pixels.min(axis=0), pixels.max(axis=0)
            if (high < 0).any() or (low > (width, height)).any():
                continue
            if _area(front := pixels[list(_FRONT)]) > 0.0:
                _tint(image, front, layer.color_rgb)
            if layer.has_labels and high[1] - low[1] > _MIN_LABELLED_PX:
                score = "" if box.score >= 1.0 else f" {box.score:.2f}"
                words.append((f"{box.category}{score}".replace("_", " "), *low.tolist()))
        for a, b in _EDGES:
            ends = _clipped(corners[a], corners[b])
            if ends is not None:
                (x0, y0), (x1, y1) = np.rint(ends[:, :2] / ends[:, 2:] * focal + centre).astype(int)
                _line(image, (x0, y0), (x1, y1), layer.color_rgb, weight)
    _label(image, words[::-1], layer.color_rgb, weight)


def birds_eye(
    layers: Sequence[Layer],
    *,
    radar: RadarScan | None = None,
    route: Route | None = None,
    plan: Plan | None = None,
    ground: NDArray[np.uint8] | None = None,
    ring: Box3D | None = None,
    body: Body = BODY,
    range_m: float = 40.0,
    size_px: int = 720,
    weight: int = 1,
) -> Image:
    """Draw the scene from above: forward is up, left is left.

    Args:
        layers: Boxes in the ego frame.
        radar: Echoes, coloured by their radial speed; grey ones stand.
        route: Where navigation wants to go.
        plan: What was chosen.
        ground: uint8 (n, n) of ``GroundClass`` over the same range, rows forward, columns left.
        ring: The box to draw a circle around.
        body: Outline of the vehicle.
        range_m: From the ego to the edge of the picture.
        size_px: Width of the square picture, without the legend.
        weight: How thick lines and how large words are.

    Returns:
        uint8 (height, size_px, 3), RGB.
    """
    chart = _Chart(range_m, size_px, weight)
    if ground is not None:
        chart.ground(ground)
    chart.rings()
    if route is not None and len(route.points_ego) > 1:
        chart.path(route.points_ego, ROUTE_RGB, thickness=weight)
    if radar is not None:
        chart.echoes(radar.points_ego)
    for layer in layers:
        for box in layer.boxes:
            chart.box(box, layer.color_rgb)
    if plan is not None and plan.points:
        chart.path(
            [(0.0, 0.0), *((p.x_m, p.y_m) for p in plan.points)], PLAN_RGB, thickness=3 * weight
        )
    chart.ego(body)
    if ring is not None:
        chart.ring(ring)
    extra = [
        *([("route", ROUTE_RGB)] if route is not None else []),
        *([("plan", PLAN_RGB)] if plan is not None else []),
        *([("radar: nearing", _NEARING_RGB), ("leaving", _LEAVING_RGB)] if radar else []),
    ]
    legend = _legend(size_px, "", layers, extra)
    return np.concatenate([legend, chart.image])


def png_bytes(image: Image) -> bytes:
    """Encode an RGB picture as PNG."""
    hard = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    encoded: NDArray[np.uint8] = cv2.imencode(".png", image[..., ::-1], hard)[1]
    return encoded.tobytes()


def box_corners(box: Box3D) -> NDArray[np.float64]:
    """Return the corners (8, 3) in the ego frame: the bottom face from the front left, then the top."""
    x, y, z = 0.5 * box.length_m, 0.5 * box.width_m, 0.5 * box.height_m
    flat = [(x, y), (x, -y), (-x, -y), (-x, y)]
    local = np.array([(*xy, -z) for xy in flat] + [(*xy, z) for xy in flat])
    return Pose.from_xy_yaw(box.x_m, box.y_m, box.yaw_rad, box.z_m) @ local


def _view(image: Image, camera: Camera, layers: Sequence[Layer], scale: int) -> Image:
    """Enlarge one picture, draw its boxes and write the camera's name on it."""
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    view = np.ascontiguousarray(large).astype(np.uint8, copy=False)
    for layer in layers:
        draw_boxes(view, camera, layer)
    fov_rad = 2.0 * math.atan(0.5 * camera.intrinsics.width_px / camera.intrinsics.fx_px)
    name = f"{camera.name.replace('_', ' ')}  {math.degrees(fov_rad):.0f} deg"
    width = cv2.getTextSize(name, _FONT, 0.42, 1)[0][0]
    view[:20, : width + 12] = (view[:20, : width + 12] * 0.35).astype(np.uint8)
    _text(view, name, (6, 14), _INK, 0.42)
    return view


def _joined(parts: list[Image], axis: int) -> Image:
    """Put pictures beside or below each other with a gap between."""
    shape = list(parts[0].shape)
    shape[axis] = _GAP_PX
    gap = np.full(shape, _PAPER, dtype=np.uint8)
    spaced = [part for picture in parts for part in (picture, gap)][:-1]
    return np.concatenate(spaced, axis=axis)


def _legend(
    width: int, title: str, layers: Sequence[Layer], extra: Sequence[tuple[str, Rgb]] = ()
) -> Image:
    """Draw the bar with the title and a swatch for every layer."""
    bar = np.full((_BAR_PX, width, 3), _PAPER, dtype=np.uint8)
    x = 8
    if title:
        _text(bar, title, (x, 18), _INK, 0.5)
        x += cv2.getTextSize(title, _FONT, 0.5, 1)[0][0] + 26
    for name, color in [*((f"{la.name} ({len(la.boxes)})", la.color_rgb) for la in layers), *extra]:
        cv2.rectangle(bar, (x, 8), (x + 12, 19), color, cv2.FILLED)
        _text(bar, name, (x + 18, 18), _INK, 0.45)
        x += cv2.getTextSize(name, _FONT, 0.45, 1)[0][0] + 36
    return bar


def _clipped(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Cut an edge (camera frame) at the near plane; None when all of it is behind."""
    if max(a[2], b[2]) < _NEAR_M:
        return None
    if a[2] < _NEAR_M:
        a = a + (b - a) * (_NEAR_M - a[2]) / (b[2] - a[2])
    elif b[2] < _NEAR_M:
        b = b + (a - b) * (_NEAR_M - b[2]) / (a[2] - b[2])
    return np.stack([a, b])


def _area(polygon: NDArray[np.float64]) -> float:
    """Return the signed area of a polygon (N, 2): positive when it runs clockwise on the screen."""
    following = np.roll(polygon, -1, axis=0)
    cross = polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]
    return 0.5 * float(cross.sum())


def _tint(image: Image, polygon: NDArray[np.float64], color: Rgb) -> None:
    """Lay a translucent polygon (N, 2) over a picture."""
    height, width = image.shape[:2]
    points = np.rint(polygon).astype(np.int32)
    x0, y0 = np.clip(points.min(axis=0), 0, (width, height))
    x1, y1 = np.clip(points.max(axis=0) + 1, 0, (width, height))
    if x1 <= x0 or y1 <= y0:
        return
    patch = image[y0:y1, x0:x1]
    over = patch.copy()
    cv2.fillPoly(over, [points - (x0, y0)], color, cv2.LINE_AA)
    patch[:] = cv2.addWeighted(over, 0.3, patch, 0.7, 0.0)


def _label(
    image: Image, words: Sequence[tuple[str, float, float]], color: Rgb, weight: int
) -> None:
    """Write words on plates of their own, each moved down until it covers no earlier one.

    Args:
        image: Drawn on.
        words: Text, and where its plate's lower left corner should be, in pixels.
        color: Of the words.
        weight: Their size.
    """
    taken: list[tuple[int, int, int, int]] = []
    size, pad = 0.38 * weight, 2 * weight
    for text, wanted_x, wanted_y in words:
        (width, height), _ = cv2.getTextSize(text, _FONT, size, 1)
        width, height = width + 2 * pad, height + 2 * pad
        x = min(max(0, round(wanted_x)), max(0, image.shape[1] - width))
        y = min(max(0, round(wanted_y) - height), max(0, image.shape[0] - height))
        while any(
            x < x1 and x0 < x + width and y < y1 and y0 < y + height for x0, y0, x1, y1 in taken
        ):
            y += pad
        if y + height > image.shape[0]:
            continue
        taken.append((x, y, x + width, y + height))
        plate = image[y : y + height, x : x + width]
        plate[:] = (plate * 0.25).astype(np.uint8)
        thickness = max(1, round(0.7 * weight))
        at = (x + pad, y + height - pad)
        cv2.putText(image, text, at, _FONT, size, color, thickness, cv2.LINE_AA)


def _text(image: Image, text: str, at: tuple[int, int], color: Rgb, size: float) -> None:
    # A shadow, not a thick outline: some versions of OpenCV space bold letters differently.
    shadow = (at[0] + 1, at[1] + 1)
    cv2.putText(image, text, shadow, _FONT, size, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, text, at, _FONT, size, color, 1, cv2.LINE_AA)


def _line(
    image: Image, a: tuple[int, int], b: tuple[int, int], color: Rgb, thickness: int = 1
) -> None:
    cv2.line(image, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), color, thickness, cv2.LINE_AA)


_GROUND_RGB = np.zeros((4, 3), dtype=np.uint8)
_GROUND_RGB[GroundClass.OTHER] = (30, 36, 32)
_GROUND_RGB[GroundClass.DRIVABLE] = (54, 56, 62)
_GROUND_RGB[GroundClass.PAVEMENT] = (78, 76, 72)
_GROUND_RGB[GroundClass.CROSSING] = (92, 94, 104)


class _Chart:
    """A square map around the ego."""

    def __init__(self, range_m: float, size_px: int, weight: int = 1) -> None:
        self.image: Image = np.full((size_px, size_px, 3), (30, 36, 32), dtype=np.uint8)
        self._range_m, self._weight = range_m, weight
        self._px_per_m = 0.5 * size_px / range_m
        self._centre_px = 0.5 * size_px

    def _at(self, x_m: float, y_m: float) -> tuple[int, int]:
        """Return the pixel of a point of the ego frame."""
        return (
            round(self._centre_px - y_m * self._px_per_m),
            round(self._centre_px - x_m * self._px_per_m),
        )

    def ground(self, classes: NDArray[np.uint8]) -> None:
        size = self.image.shape[:2]
        # Rows go forward and columns left: both are turned round to have forward up and left left.
        colors = _GROUND_RGB[classes[::-1, ::-1]]
        self.image[:] = cv2.resize(colors, size[::-1], interpolation=cv2.INTER_NEAREST)

    def rings(self) -> None:
        step_m = 10.0 if self._range_m > 15.0 else 5.0
        for radius_m in np.arange(step_m, self._range_m * 1.4, step_m):
            radius_px = round(radius_m * self._px_per_m)
            cv2.circle(self.image, self._at(0.0, 0.0), radius_px, _FAINT, self._weight, cv2.LINE_AA)
            if radius_m <= self._range_m:
                x, y = self._at(radius_m, 0.0)
                at, size = (x + 12, y + 14 * self._weight), 0.4 * self._weight
                _text(self.image, f"{radius_m:.0f} m", at, _FAINT, size)

    def path(
        self, points_ego: Sequence[tuple[float, float]], color: Rgb, *, thickness: int
    ) -> None:
        pixels = np.array([self._at(x, y) for x, y in points_ego], dtype=np.int32)
        cv2.polylines(self.image, [pixels], False, color, thickness, cv2.LINE_AA)

    def echoes(self, points_ego: NDArray[np.float32]) -> None:
        for x, y, speed, _ in points_ego.tolist():
            color = _STANDING_RGB
            if abs(speed) > 0.5:
                color = _LEAVING_RGB if speed > 0 else _NEARING_RGB
            cv2.circle(self.image, self._at(x, y), 3 * self._weight, color, cv2.FILLED, cv2.LINE_AA)

    def box(self, box: Box3D, color: Rgb) -> None:
        ground = box_corners(box)[:4, :2]
        arrow = [
            ground[[0, 1]].mean(axis=0),
            ground[[1, 2]].mean(axis=0),
            ground[[3, 0]].mean(axis=0),
        ]
        _tint(self.image, np.array([self._at(x, y) for x, y in arrow], dtype=np.float64), color)
        corners = [self._at(x, y) for x, y in ground]
        for k in range(4):
            _line(self.image, corners[k], corners[(k + 1) % 4], color, self._weight)
        if math.hypot(box.vx_mps, box.vy_mps) > 0.3:
            tip = self._at(box.x_m + box.vx_mps, box.y_m + box.vy_mps)
            _line(self.image, self._at(box.x_m, box.y_m), tip, color, self._weight)

    def ring(self, box: Box3D) -> None:
        """Draw a circle well around a box."""
        radius_px = round((0.5 * box.length_m + 1.2) * self._px_per_m)
        centre = self._at(box.x_m, box.y_m)
        cv2.circle(self.image, centre, radius_px, _INK, self._weight, cv2.LINE_AA)

    def ego(self, body: Body) -> None:
        half_m, rear_m, front_m = body.half_width_m, -body.rear_overhang_m, body.front_m
        outline = [(rear_m, -half_m), (front_m, -half_m), (front_m, half_m), (rear_m, half_m)]
        pixels = np.array([self._at(x, y) for x, y in outline], dtype=np.int32)
        cv2.fillPoly(self.image, [pixels], (236, 238, 242), cv2.LINE_AA)
        nose = [(front_m - 0.4, half_m), (front_m - 0.4, -half_m), (front_m + 0.8, 0.0)]
        tip = np.array([self._at(x, y) for x, y in nose], dtype=np.int32)
        cv2.fillPoly(self.image, [tip], (236, 238, 242), cv2.LINE_AA)
