"""Settings of SUMO's traffic and of the things beside its roads."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.world.roadside import RoadsideSettings


@dataclass
class TrafficSettings:
    """Density of the traffic around the ego, and its distances."""

    vehicles_per_km: float = 20.0
    """Moving vehicles per kilometre of driving lane."""
    pedestrians_per_km: float = 22.0
    """Pedestrians per kilometre of pavement who go somewhere, over crossings too."""
    bubble_radius_m: float = 170.0
    """Largest distance from the ego at which a vehicle or pedestrian is put into the world."""
    hidden_radius_m: float = 95.0
    """Smallest distance from the ego at which a vehicle or pedestrian appears later on."""
    vehicle_shares: dict[str, float] = field(
        default_factory=lambda: {
            "car": 0.38,
            "van": 0.08,
            "truck": 0.16,
            "bus": 0.12,
            "motorcycle": 0.12,
            "bicycle": 0.14,
        }
    )
    """Share of each mesh among the moving vehicles."""


@dataclass
class SumoSettings:
    """Everything about a world of SUMO's but its trip."""

    settle_s: float = 1.0
    """How long traffic moves before the ego appears among it."""
    traffic: TrafficSettings = field(default_factory=TrafficSettings)
    roadside: RoadsideSettings = field(default_factory=RoadsideSettings)
