"""Things in the world that SUMO does not know: they stand, or walk a path of their own.

A prop's motion is a pure function of its own clock. The clock stands still only while a vehicle is in
the way, so a prop walks the same way every time, whatever the frame rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import (
    CAR,
    CLASSES,
    Category,
    Palette,
    row_of,
)
from edge.contracts.geometry import wrap_rad
from edge.contracts.rows import require
from edge.contracts.scene import Attribute
from sim.place.line import Line
from sim.place.rectangles import Rectangle
from sim.world.path import Motion
from sim.world.snapshot import MESH_SIZES, Entity

MESH_CATEGORIES: dict[str, Category] = {mesh: CAR if mesh == "van" else mesh for mesh in MESH_SIZES}
"""What each mesh is; a van counts as a car."""

require(MESH_CATEGORIES.values(), CLASSES, "edge/contracts/classes.py")

STANDSTILL_MPS = 0.15
GREYS = (0.1, 0.33, 0.6, 0.93)


@dataclass(frozen=True)
class Look:
    """Shape, size and colour of something, apart from its place."""

    category: Category
    mesh: str
    length_m: float
    width_m: float
    height_m: float
    color_rgb: tuple[float, float, float]
    roll_rad: float = 0.0


def drawn_look(
    rng: np.random.Generator,
    category: Category,
    mesh: str,
    *,
    scale: tuple[float, float] = (0.9, 1.1),
    roll_rad: float = 0.0,
) -> Look:
    """Draw size and colour of one thing; something that lies on its side is as wide as it was high."""
    length, width, height = (n * float(rng.uniform(*scale)) for n in MESH_SIZES[mesh])
    if abs(math.sin(roll_rad)) > 0.5:
        width, height = height, width
    return Look(category, mesh, length, width, height, drawn_color(rng, category), roll_rad)


def nominal_look(mesh: str, color_rgb: tuple[float, float, float] = (0.6, 0.6, 0.6)) -> Look:
    """Return the look of a mesh at its nominal size."""
    return Look(MESH_CATEGORIES[mesh], mesh, *MESH_SIZES[mesh], color_rgb)


def entity_at(entity_id: int, look: Look, motion: Motion, attribute: Attribute) -> Entity:
    """Put something of a given look at a place and a speed."""
    x, y, yaw, speed = motion
    return Entity(
        entity_id=entity_id,
        category=look.category,
        mesh=look.mesh,
        x_m=x,
        y_m=y,
        yaw_rad=yaw,
        length_m=look.length_m,
        width_m=look.width_m,
        height_m=look.height_m,
        color_rgb=look.color_rgb,
        vx_mps=speed * math.cos(yaw),
        vy_mps=speed * math.sin(yaw),
        attribute=attribute,
        roll_rad=look.roll_rad,
    )


def moving_or_stopped(speed_mps: float) -> Attribute:
    """Return the attribute of traffic at a speed: moving or stopped."""
    return Attribute.MOVING if speed_mps > STANDSTILL_MPS else Attribute.STOPPED


def drawn_color(rng: np.random.Generator, category: Category) -> tuple[float, float, float]:
    """Draw a paint: vehicles are often grey, animals brownish; cones and barriers keep their own."""
    paint = row_of(category).paint
    if paint is Palette.OWN:
        level = float(rng.uniform(0.85, 1.0))
        return level, level, level
    if paint is Palette.BROWN:
        level, red = float(rng.uniform(0.35, 0.9)), float(rng.uniform(0.0, 0.15))
        return level, level * (0.85 - red), level * (0.7 - 2.0 * red)
    if rng.random() < 0.45:
        level = GREYS[int(rng.integers(len(GREYS)))] * float(rng.uniform(0.85, 1.05))
        return level, level, level
    red, green, blue = (float(v) for v in rng.uniform(0.06, 1.0, 3))
    return red, green, blue


@dataclass(frozen=True, eq=False)
class Walk:
    """A path walked at a constant speed: once, or to and fro with a pause at each end."""

    line: Line
    speed_mps: float
    is_returning: bool = False
    pause_s: float = 0.0

    def at(self, clock_s: float) -> tuple[float, float, float, float]:
        """Return x, y, heading and speed after ``clock_s`` seconds of walking and pausing."""
        leg_s = self.line.length_m / self.speed_mps
        if not self.is_returning:
            is_moving = 0.0 <= clock_s < leg_s
            x, y, yaw = self.line.at(min(max(clock_s, 0.0), leg_s) * self.speed_mps)
            return x, y, yaw, self.speed_mps if is_moving else 0.0
        leg, into_s = divmod(clock_s, leg_s + self.pause_s)
        along_m = min(into_s, leg_s) * self.speed_mps
        is_back = int(leg) % 2 == 1
        x, y, yaw = self.line.at(self.line.length_m - along_m if is_back else along_m)
        speed = self.speed_mps if into_s < leg_s else 0.0
        return x, y, wrap_rad(yaw + math.pi) if is_back else yaw, speed


@dataclass(eq=False)
class Prop:
    """One such thing: its look, where it stands, and the walk it is on, if any."""

    entity_id: int
    look: Look
    x_m: float
    y_m: float
    yaw_rad: float
    attribute: Attribute = Attribute.UNKNOWN
    walk: Walk | None = None
    clock_s: float = 0.0
    trigger_m: float | None = None
    """Waits until the ego is this near; None once it has begun."""
    leader: Prop | None = None
    """Waits until this one has begun, and ``delay_s`` longer; None once it has begun."""
    delay_s: float = 0.0
    encounter_id: str | None = None
    stops_traffic: bool = False
    """Drivers brake for it."""
    speed_mps: float = 0.0
    waited_s: float = 0.0
    """How long something has been in its way."""

    def __post_init__(self) -> None:
        if self.walk is not None:
            self._stand_where_the_walk_is()
        self._entity = self._as_entity()

    @property
    def rectangle(self) -> Rectangle:
        """Its footprint."""
        return Rectangle(self.x_m, self.y_m, self.yaw_rad, self.look.length_m, self.look.width_m)

    @property
    def entity(self) -> Entity:
        """Its record as it is now."""
        return self._entity

    @property
    def is_walking(self) -> bool:
        """Whether it has somewhere to go now."""
        return self.walk is not None and self.has_begun

    @property
    def has_begun(self) -> bool:
        """Whether it waits for nothing any more: neither for the ego nor for another thing."""
        return self.trigger_m is None and self.leader is None

    @property
    def is_hazard(self) -> bool:
        """Whether drivers brake for it now; one that pauses between two ways across has left the road."""
        has_paused = self.walk is not None and self.walk.is_returning and self.speed_mps == 0.0
        return self.stops_traffic and (self.waited_s > 0.0 or not has_paused)

    def next_xy(self, dt_s: float) -> tuple[float, float]:
        """Where it would be after ``dt_s`` if nothing were in the way."""
        if self.walk is None:
            return self.x_m, self.y_m
        x, y, _, _ = self.walk.at(self.clock_s + dt_s)
        return x, y

    def advance(self, dt_s: float) -> None:
        """Walk on for ``dt_s``."""
        self.clock_s += dt_s
        self.waited_s = 0.0
        self._stand_where_the_walk_is()
        self._entity = self._as_entity()

    def wait(self, dt_s: float) -> None:
        """Stand still because something is in the way."""
        self.waited_s += dt_s
        if self.speed_mps:
            self.speed_mps = 0.0
            self._entity = self._as_entity()

    def shy_away(self, yaw_rad: float, length_m: float) -> None:
        """Replace its walk by a straight one in another direction."""
        if self.walk is not None:
            start = (self.x_m, self.y_m)
            self.walk = straight_walk(start, yaw_rad, length_m, self.walk.speed_mps)
            self.clock_s = 0.0

    def _stand_where_the_walk_is(self) -> None:
        if self.walk is not None:
            self.x_m, self.y_m, self.yaw_rad, self.speed_mps = self.walk.at(self.clock_s)
            if not self.has_begun:
                self.speed_mps = 0.0

    def _as_entity(self) -> Entity:
        look = self.look
        attribute = self.attribute
        if attribute is Attribute.UNKNOWN and row_of(look.category).is_on_foot:
            attribute = Attribute.MOVING if self.speed_mps else Attribute.STOPPED
        motion = (self.x_m, self.y_m, self.yaw_rad, self.speed_mps)
        return entity_at(self.entity_id, look, motion, attribute)


def straight_walk(
    start: tuple[float, float], yaw_rad: float, length_m: float, speed_mps: float
) -> Walk:
    """Build a walk that goes straight on from a point and ends."""
    x, y = start
    end = (x + length_m * math.cos(yaw_rad), y + length_m * math.sin(yaw_rad))
    return Walk(Line(np.array([(x, y), end])), speed_mps)


def to_and_fro(points_world: NDArray[np.float64], speed_mps: float, pause_s: float) -> Walk:
    """Build a walk along a polyline (N, 2) and back, for ever."""
    return replace(Walk(Line(points_world), speed_mps), is_returning=True, pause_s=pause_s)
