"""One simulated drive: its start, its scenario, and the driver of the ego."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sim.world.encounters import Scenario


class EgoMode(StrEnum):
    """What drives the ego."""

    WORLD = "world"
    """The world's own driver."""
    PLAN = "plan"
    """The plans of the vehicle's runtime."""


@dataclass
class Trip:
    """One drive: all that differs between two drives in the same kind of world."""

    road_map: str = "suburb"
    """Name of a shipped map, or path of one's own."""
    place_id: str | None = None
    """Where it starts; the first place of the map by default."""
    scenario: Scenario = field(default_factory=Scenario)
    seed: int = 0
    is_night: bool = False
    ego_mode: EgoMode = EgoMode.WORLD
    start_speed_mps: float = 5.0
    """Of an ego that plans drive."""
    vehicles_per_km: float | None = None
    """Moving vehicles per kilometre of driving lane; None: as in the world's settings."""
