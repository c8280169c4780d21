"""A batch of constant-velocity Kalman filters on the ground plane, stepped together.

State per filter: x, y, vx, vy (metres, metres per second) in one fixed frame. Measurements come in one
scalar at a time, each a direction in state space with its own variance: for independent noise that is
the same filter (sequential update; Bar-Shalom, Li and Kirubarajan 2001, section 3.5) and needs no
matrix inverse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def predict_filters(
    mean: Floats, covariance: Floats, dt_s: float, acceleration_mps2: Floats
) -> tuple[Floats, Floats]:
    """Move filters ahead under continuous white-noise acceleration (ibid., section 6.2.2).

    Args:
        mean: (N, 4).
        covariance: (N, 4, 4).
        dt_s: Time to move by.
        acceleration_mps2: By how much a velocity typically changes within one second, (N,). It means
            the same at every tick rate.

    Returns:
        The moved mean and covariance.
    """
    transition = np.eye(4)
    transition[0, 2] = transition[1, 3] = dt_s
    noise = np.zeros((4, 4))  # x goes with vx, y with vy
    noise[0, 0] = noise[1, 1] = dt_s**3 / 3.0
    noise[0, 2] = noise[2, 0] = noise[1, 3] = noise[3, 1] = dt_s**2 / 2.0
    noise[2, 2] = noise[3, 3] = dt_s
    moved = transition @ covariance @ transition.T
    return mean @ transition.T, moved + noise * (acceleration_mps2**2)[:, None, None]


def correct_filters(
    mean: Floats, covariance: Floats, direction: Floats, value: Floats, variance: Floats
) -> None:
    """Take in one scalar measurement per filter, in place.

    Args:
        mean: (N, 4), changed.
        covariance: (N, 4, 4), changed.
        direction: (N, 4), the row of the measurement matrix.
        value: (N,), what was measured.
        variance: (N,), of its noise.
    """
    projected = np.einsum("nij,nj->ni", covariance, direction)  # (N, 4)
    spread = np.einsum("ni,ni->n", direction, projected) + variance
    gain = projected / spread[:, None]
    mean += gain * (value - np.einsum("ni,ni->n", direction, mean))[:, None]
    covariance -= gain[:, :, None] * projected[:, None, :]
