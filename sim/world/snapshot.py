"""The simulated world at one frame: the ego, its route and every entity around it.

These records are all that renderer, sensors and truth may know about traffic: they import nothing of
SUMO. They never leave the process, so they are plain dataclasses and not contracts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.classes import CAR, SHIPPED_CLASSES, Category, row_of
from edge.contracts.geometry import Pose
from edge.contracts.rig import BODY, Body
from edge.contracts.scene import Attribute
from edge.contracts.sensors import EgoState, Route
from edge.contracts.time import frame_stamp_ns
from sim.place.rectangles import Rectangle, overlaps
from sim.world.ego import VehicleState, footprint_of


@dataclass(frozen=True)
class Entity:
    """One thing on or beside the road, as an oriented box in the world frame.

    The word is OpenSCENARIO's, for vehicles, pedestrians, animals and objects alike. An *agent* is what
    a vehicle tracks of it.

    The box is centred at (x, y), stands on ``z_m`` and has its length along ``yaw_rad``. A roll of 90
    degrees lays the *mesh* on its side; length, width and height are always those of the box as it lies.
    """

    entity_id: int
    """At least 1, unique and stable for as long as the world lives."""
    category: Category
    mesh: str
    """A key of ``MESH_SIZES``; the mesh is scaled from that nominal size to this entity's."""
    x_m: float
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    height_m: float
    color_rgb: tuple[float, float, float]
    z_m: float = 0.0
    vx_mps: float = 0.0
    vy_mps: float = 0.0
    attribute: Attribute = Attribute.UNKNOWN
    roll_rad: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """Everything at one frame; ``entities`` are those within ``SNAPSHOT_RANGE_M`` of the ego, without it."""

    frame_index: int
    stamp_ns: int
    ego: EgoState
    route: Route
    entities: tuple[Entity, ...]
    touched_ids: tuple[int, ...] = ()
    """Ids of the entities whose box overlaps the ego's body."""
    body: Body = BODY
    """Outline of the ego."""


SNAPSHOT_RANGE_M = 90.0

MESH_SIZES: dict[str, tuple[float, float, float]] = {
    "car": row_of(CAR).size_m,
    "van": (5.2, 2.0, 2.2),
    **{name: row_of(name).size_m for name in SHIPPED_CLASSES[1:]},
}
"""Nominal length, width and height in metres; motorcycle and bicycle include their rider."""


def snapshot_at(
    frame_index: int,
    ego: VehicleState,
    route: Route,
    entities: Sequence[Entity],
    body: Body,
    *,
    rate_hz: float,
) -> Snapshot:
    """Put one frame together: the ego's state as a vehicle reports it, and what its body touches."""
    stamp_ns = frame_stamp_ns(frame_index, rate_hz=rate_hz)
    return Snapshot(
        frame_index=frame_index,
        stamp_ns=stamp_ns,
        ego=EgoState(
            stamp_ns=stamp_ns,
            world_from_ego=Pose.from_xy_yaw(ego.x_m, ego.y_m, ego.yaw_rad),
            speed_mps=ego.speed_mps,
            acceleration_mps2=ego.acceleration_mps2,
            yaw_rate_radps=ego.yaw_rate_radps,
            steering_rad=ego.steering_rad,
        ),
        route=route,
        entities=tuple(entities),
        touched_ids=touched_by(footprint_of(ego, body), entities),
        body=body,
    )


def touched_by(ego: Rectangle, entities: Sequence[Entity]) -> tuple[int, ...]:
    """List the ids of the entities whose footprint overlaps the ego's body."""
    near = (a for a in entities if math.dist((ego.x_m, ego.y_m), (a.x_m, a.y_m)) < 15.0)
    return tuple(
        a.entity_id
        for a in near
        if overlaps(ego, Rectangle(a.x_m, a.y_m, a.yaw_rad, a.length_m, a.width_m))
    )
