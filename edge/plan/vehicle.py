"""The body that is being driven: its outline around the rear axle and what it can physically do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class VehicleShape:
    """Outline and limits of the vehicle; the ego frame's origin is under the rear axle."""

    front_m: float = 3.6
    """From the rear axle to the front bumper."""
    rear_m: float = 1.0
    """From the rear axle to the rear bumper."""
    half_width_m: float = 0.9
    """Half of the width of the body."""
    wheelbase_m: float = 2.8
    """Distance between the axles."""
    max_steering_rad: float = 0.6
    """Largest steering angle of the front wheels, to either side."""
    max_acceleration_mps2: float = 3.0
    """Largest acceleration."""
    max_brake_mps2: float = 8.0
    """Largest deceleration."""

    @property
    def half_length_m(self) -> float:
        """Half of the length from bumper to bumper."""
        return 0.5 * (self.front_m + self.rear_m)

    @property
    def centre_m(self) -> float:
        """From the rear axle forward to the middle of the outline."""
        return 0.5 * (self.front_m - self.rear_m)
