"""Build low-poly meshes out of painted hulls, side views and panels.

A sculpture collects polygons in metres, with x forward, y left and z up; ``mesh()`` bakes the light of the
sky into the face colours, because lights are slow in software rendering, and fits the whole into the unit
box.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in the unit box, wound counter-clockwise seen from outside.

    ``triangles``: float64 (T, 3, 3). ``colors``: float64 (T, 3) in [0, 1], shaded. ``is_tinted``: bool
    (T,): the triangle's colour is multiplied by the entity's.
    """

    triangles: NDArray[np.float64]
    colors: NDArray[np.float64]
    is_tinted: NDArray[np.bool_]


@dataclass(frozen=True)
class Paint:
    """The colour of a face; a tinted one takes the entity's colour, a glowing one is not shaded."""

    red: float
    green: float
    blue: float
    is_tinted: bool = False
    is_glowing: bool = False


RUBBER = Paint(0.10, 0.10, 0.11)
HUB = Paint(0.62, 0.62, 0.64)
AXLE = Paint(0.95, 0.90, 0.82)
HEAD_LAMP = Paint(1.0, 1.0, 1.0, is_glowing=True)
TAIL_LAMP = Paint(1.0, 0.04, 0.04, is_glowing=True)

FRONT, REAR, LEFT, RIGHT, TOP, BOTTOM = range(6)
_FACES = {
    FRONT: (1, 2, 6, 5),
    REAR: (3, 0, 4, 7),
    LEFT: (2, 3, 7, 6),
    RIGHT: (0, 1, 5, 4),
    TOP: (4, 5, 6, 7),
    BOTTOM: (0, 3, 2, 1),
}


class Sculpture:
    """Collects painted polygons in metres; ``mesh()`` shades them and fits them into the unit box."""

    def __init__(self) -> None:
        self._triangles: list[tuple[Point, Point, Point]] = []
        self._paints: list[Paint] = []

    def polygon(self, paint: Paint, *points: Point) -> None:
        """Add a convex polygon, counter-clockwise seen from outside."""
        for second, third in itertools.pairwise(points[1:]):
            self._triangles.append((points[0], second, third))
            self._paints.append(paint)

    def hull(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        paint: Paint,
        *,
        top_x: tuple[float, float] | None = None,
        top_y: tuple[float, float] | None = None,
        faces: dict[int, Paint | None] | None = None,
    ) -> None:
        """Add a box whose top may differ from its bottom; ``faces`` repaints or (None) drops a face."""
        (tx0, tx1), (ty0, ty1) = top_x or x, top_y or y
        low, high = z
        corners: list[Point] = [
            (x[0], y[0], low),
            (x[1], y[0], low),
            (x[1], y[1], low),
            (x[0], y[1], low),
            (tx0, ty0, high),
            (tx1, ty0, high),
            (tx1, ty1, high),
            (tx0, ty1, high),
        ]
        for face, indices in _FACES.items():
            face_paint = (faces or {}).get(face, paint)
            if face_paint is not None:
                self.polygon(face_paint, *(corners[i] for i in indices))

    def profile(
        self,
        outline: Sequence[tuple[float, float, float]],
        edges: Sequence[Paint | None],
        side: Paint,
    ) -> None:
        """Sweep a side view across the width: the way to draw a car.

        Args:
            outline: (x, z, half width) of a convex side view, from the front's foot up, over the roof and
                down the rear.
            edges: Paint of the strip from each point to the next (the last closes the outline).
            side: Paint of the two flanks.
        """
        left: list[Point] = [(x, half, z) for x, z, half in outline]
        right: list[Point] = [(x, -half, z) for x, z, half in outline]
        for i, paint in enumerate(edges):
            if paint is not None:
                j = (i + 1) % len(outline)
                self.polygon(paint, right[i], left[i], left[j], right[j])
        self.polygon(side, *reversed(left))
        self.polygon(side, *right)

    def front_panel(
        self, paint: Paint, x: float, y: tuple[float, float], z: tuple[float, float]
    ) -> None:
        """Add an upright rectangle that is seen from ahead."""
        self.polygon(paint, (x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1]))

    def rear_panel(
        self, paint: Paint, x: float, y: tuple[float, float], z: tuple[float, float]
    ) -> None:
        """Add an upright rectangle that is seen from behind."""
        self.polygon(paint, (x, y[1], z[0]), (x, y[0], z[0]), (x, y[0], z[1]), (x, y[1], z[1]))

    def side_panels(
        self, paint: Paint, x: tuple[float, float], half: float, z: tuple[float, float]
    ) -> None:
        """Add a rectangle on both flanks."""
        for s in (1.0, -1.0):
            points: list[Point] = [
                (x[1], s * half, z[0]),
                (x[0], s * half, z[0]),
                (x[0], s * half, z[1]),
                (x[1], s * half, z[1]),
            ]
            self.polygon(paint, *(points if s > 0 else reversed(points)))

    def front_pair(
        self, paint: Paint, x: float, y: tuple[float, float], z: tuple[float, float]
    ) -> None:
        """Add a front panel on the left and its mirror image on the right."""
        self.front_panel(paint, x, y, z)
        self.front_panel(paint, x, (-y[1], -y[0]), z)

    def rear_pair(
        self, paint: Paint, x: float, y: tuple[float, float], z: tuple[float, float]
    ) -> None:
        """Add a rear panel on the left and its mirror image on the right."""
        self.rear_panel(paint, x, y, z)
        self.rear_panel(paint, x, (-y[1], -y[0]), z)

    def corner_lamps(
        self, half: float, head_x: tuple[float, float], tail_x: tuple[float, float], z: float
    ) -> None:
        """Add the part of the lamps that reaches round the corners: what tells direction from the side."""
        self.side_panels(HEAD_LAMP, head_x, half, (z - 0.1, z + 0.1))
        self.side_panels(TAIL_LAMP, tail_x, half, (z - 0.1, z + 0.12))

    def wheels(self, axles_x: Iterable[float], half: float, radius: float) -> None:
        """Add hexagonal wheels as discs on both flanks."""
        for x in axles_x:
            for s in (1.0, -1.0):
                rim: list[Point] = [
                    (x - s * radius * math.cos(a), s * half, radius + radius * math.sin(a))
                    for a in (math.pi / 6 + k * math.pi / 3 for k in range(6))
                ]
                self.polygon(RUBBER, *rim)

    def axles(self, axles_x: Iterable[float], half: float, radius: float) -> None:
        """Add heavy wheels: a dark roll across the width with a bright axle below and bright hubs."""
        for x in axles_x:
            r, hub = radius, 0.45 * radius
            self.hull((x - r, x + r), (-half, half), (0.0, 2.0 * r), RUBBER, faces={TOP: None})
            self.side_panels(HUB, (x - hub, x + hub), half + 0.03, (r - hub, r + hub))
            inner, y = 0.35 * radius, 0.7 * half
            self.polygon(
                AXLE,
                (x - inner, -y, -0.02),
                (x - inner, y, -0.02),
                (x + inner, y, -0.02),
                (x + inner, -y, -0.02),
            )

    def mesh(self) -> Mesh:
        """Shade the faces and fit everything into the unit box."""
        triangles = np.array(self._triangles, dtype=np.float64)  # (T, 3, 3)
        low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
        unit = (triangles - low) / (high - low) - (0.5, 0.5, 0.0)
        paints = self._paints
        colors = np.array([(p.red, p.green, p.blue) for p in paints])
        is_glowing = np.array([p.is_glowing for p in paints])
        shade = np.where(is_glowing, 1.0, _sky_shade(triangles))
        # 255 is reserved for lamps: the night post-pass keeps exactly that value bright.
        shaded = np.where(is_glowing[:, None], colors, np.minimum(colors * shade[:, None], 0.97))
        return Mesh(unit, shaded, np.array([p.is_tinted for p in paints]))


def _sky_shade(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each triangle the light of an overcast sky by its normal: top 1, ends, sides, underside."""
    edges = triangles[:, 1:] - triangles[:, :1]
    normal = np.cross(edges[:, 0], edges[:, 1])
    squared = (normal / np.linalg.norm(normal, axis=1, keepdims=True)) ** 2
    vertical = np.where(normal[:, 2] > 0.0, 1.0, 0.40)
    light: NDArray[np.float64] = (
        0.84 * squared[:, 0] + 0.68 * squared[:, 1] + vertical * squared[:, 2]
    )
    return light
