"""The only place that joins runtime, recorder, spool, uplink and update agent into a vehicle.

``start`` composes the tick, ``home`` opens what outlives a drive, ``life`` runs from ignition to ignition.
"""

from edge.clip import DriveIdentity
from edge.ota import TrustAnchors
from edge.vehicle.home import VehicleHome, open_home
from edge.vehicle.life import Life, LifeOutcome, ProgressReport
from edge.vehicle.settings import VehicleSettings
from edge.vehicle.start import Vehicle, start_vehicle

__all__ = [
    "DriveIdentity",
    "Life",
    "LifeOutcome",
    "ProgressReport",
    "TrustAnchors",
    "Vehicle",
    "VehicleHome",
    "VehicleSettings",
    "open_home",
    "start_vehicle",
]
