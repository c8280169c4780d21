"""Gates, noise and patience of the tracker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TrackerSettings:
    """Gates and patience of the tracker."""

    confirm_hits: int = 3
    """Ticks out of the last ``confirm_ticks`` that must see a track before it is confirmed."""
    confirm_ticks: int = 6
    """A track is confirmed when ``confirm_hits`` of the last ``confirm_ticks`` ticks saw it. Of ticks and not
    of time by intent: what tells a body from a false alarm is how many looks saw it."""
    coast_s: float = 0.6
    """How long a confirmed track lives without a box."""
    tentative_coast_s: float = 0.1
    """How long an unconfirmed track lives without a box."""
    vehicle_gate_m: float = 2.5
    """Largest distance of a box from the prediction of a vehicle, motorcycle or bicycle."""
    vulnerable_gate_m: float = 1.5
    """Largest distance of a box from the prediction of a pedestrian or an animal."""
    thing_gate_m: float = 1.2
    """Largest distance of a box from the prediction of a thing that does not move by itself."""
    gate_growth_mps: float = 2.0
    """How fast a gate widens while its track is not seen."""
    other_class_m: float = 0.5
    """Distance added to a pair whose classes differ within a group."""
    position_sigma_m: float = 0.4
    """Standard deviation of the position of a box."""
    newborn_speed_mps: float = 5.0
    """Standard deviation of the speed of a new track of a vehicle, motorcycle or bicycle."""
    newborn_slow_speed_mps: float = 1.5
    """Standard deviation of the speed of a new track of a pedestrian, an animal or a thing."""
    sure_sigmas: float = 2.5
    """Except on foot, a velocity below this many of its standard deviations is reported as zero."""
    network_velocity_s: float = 1.0
    """Errors of the network's velocity are correlated for this long: its boxes count as one measurement."""
    radar_gate_m: float = 1.5
    """Largest distance of a radar track from a pedestrian or an animal that it is taken to measure."""
    radar_position_sigma_m: float = 0.6
    """Standard deviation of the position of a radar track."""
    radar_velocity_sigma_mps: float = 0.4
    """Error of a radar track's speed: 0.2 m/s, widened because successive ticks are correlated."""
    radar_outline_m: float = 1.0
    """Largest distance from a vehicle's outline at which a radar track may be its echo."""
    radar_gate_sigmas: float = 3.0
    """Largest difference of radial speed of an echo and its vehicle, in standard deviations."""
    radar_known_mps: float = 1.5
    """Radar corrects a vehicle only when its radial speed is known this well from its boxes."""
    radar_standing_mps: float = 0.5
    """A faster echo corrects only vehicles that surely move, a slower one only the others: it may come
    from another road user or from a guard rail."""
    vehicle_acceleration_mps2: float = 1.0
    """Standard deviation of the acceleration of a vehicle, motorcycle or bicycle."""
    vulnerable_acceleration_mps2: float = 0.7
    """Standard deviation of the acceleration of a pedestrian or an animal."""
    thing_acceleration_mps2: float = 0.2
    """Standard deviation of the acceleration of a thing that does not move by itself."""
    shape_weight: float = 0.15
    """Weight of the newest box in length, width, height, elevation and heading."""
    vote_memory: float = 0.97
    """What a class vote is worth one tick later."""
