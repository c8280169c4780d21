"""What the simulated world looks like at one frame: the ego, its route and every actor around it.

These records are all that renderer, sensors and truth may know about traffic: they import nothing of
SUMO. They never leave the process, so they are plain dataclasses and not contracts.
"""

from dataclasses import dataclass

from edge.contracts.scene import Attribute, Category
from edge.contracts.sensors import EgoState, Route


@dataclass(frozen=True)
class Actor:
    """One thing on or beside the road, as an oriented box in the world frame.

    The box is centred at (x, y), stands on ``z_m`` and has its length along ``yaw_rad``. A roll of 90
    degrees lays the *mesh* on its side; length, width and height are always those of the box as it lies.
    """

    actor_id: int
    """At least 1, unique and stable for as long as the world lives."""
    category: Category
    mesh: str
    """A key of ``MESH_SIZES``; the mesh is scaled from that nominal size to this actor's."""
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
    """Everything at one frame; ``actors`` are those within ``SNAPSHOT_RANGE_M`` of the ego, without it."""

    frame_index: int
    stamp_ns: int
    ego: EgoState
    route: Route
    actors: tuple[Actor, ...]
    collisions: tuple[int, ...] = ()
    """Ids of the actors whose box overlaps the ego's body."""


SNAPSHOT_RANGE_M = 90.0

MESH_SIZES: dict[str, tuple[float, float, float]] = {
    "car": (4.5, 1.8, 1.5),
    "van": (5.2, 2.0, 2.2),
    "truck": (8.0, 2.4, 3.2),
    "bus": (11.0, 2.5, 3.1),
    "trailer": (9.0, 2.5, 3.4),
    "construction_vehicle": (6.5, 2.5, 3.0),
    "motorcycle": (2.1, 0.8, 1.6),
    "bicycle": (1.8, 0.65, 1.75),
    "pedestrian": (0.5, 0.6, 1.75),
    "traffic_cone": (0.45, 0.45, 0.75),
    "barrier": (0.5, 2.0, 1.0),
    "animal": (1.7, 0.55, 1.5),
    "debris": (0.9, 0.7, 0.4),
}
"""Nominal length, width and height in metres; motorcycle and bicycle include their rider."""
