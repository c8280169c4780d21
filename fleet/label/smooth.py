"""Smooth many tracks at once: a constant-velocity Kalman filter forwards, an RTS smoother backwards.

A vehicle must estimate a position from past measurements; a label may wait for the whole clip, so every
instant also uses the later ones. All tracks share one time axis and are handled as one batch; a track may
start late, end early and have gaps.

Filter: Kalman (1960) with white-noise acceleration (Bar-Shalom, Li and Kirubarajan, *Estimation with
Applications to Tracking and Navigation*, 2001, section 6.2.2). Smoother: Rauch, Tung and Striebel, *Maximum
likelihood estimates of linear dynamic systems*, AIAA Journal 1965.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import OperatorError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass
class SmoothSettings:
    """Assumptions about the motion of road users."""

    acceleration_density_m2ps3: float = 2.0
    """Spectral density of the acceleration noise: the variance of speed gained per second."""
    start_speed_mps: float = 8.0
    """Standard deviation of each velocity component before anything is known of it."""


@dataclass(frozen=True, eq=False)
class States:
    """Tracks over time. State order: x, y, vx, vy in the frame of the measurements."""

    mean: Floats  # (N, T, 4), NaN where unknown
    covariance: Floats  # (N, T, 4, 4), NaN where unknown
    is_known: Bools  # (N, T) from the first measurement on

    @property
    def position(self) -> Floats:
        """Metres, (N, T, 2)."""
        return self.mean[..., :2]

    @property
    def velocity(self) -> Floats:
        """Metres per second, (N, T, 2)."""
        return self.mean[..., 2:]


def smooth(
    times_s: Floats,
    position: Floats,
    covariance: Floats,
    is_measured: Bools,
    settings: SmoothSettings | None = None,
) -> States:
    """Estimate each track from all of its measurements, past and future.

    After its last measurement a track is extrapolated; before its first it is unknown.

    Args:
        times_s: (T,) strictly increasing.
        position: (N, T, 2) measured positions, metres; read only where measured.
        covariance: (N, T, 2, 2) of the measurements, square metres; read only where measured.
        is_measured: (N, T).

    Raises:
        OperatorError: Shapes that do not fit together, or times that do not increase.
    """
    _check(times_s, position, covariance, is_measured)
    settings = settings or SmoothSettings()
    causal = _filter(times_s, position, covariance, is_measured, settings)
    mean, spread = causal.mean.copy(), causal.covariance.copy()
    for t in range(len(times_s) - 2, -1, -1):
        dt_s = float(times_s[t + 1] - times_s[t])
        rows = np.flatnonzero(causal.is_known[:, t])
        step = _transition(dt_s)
        ahead, ahead_spread = predict_tracks(
            causal.mean[rows, t], causal.covariance[rows, t], dt_s, settings
        )
        gain = _solved(ahead_spread, step @ causal.covariance[rows, t]).swapaxes(1, 2)
        mean[rows, t] += _times(gain, mean[rows, t + 1] - ahead)
        spread[rows, t] += gain @ (spread[rows, t + 1] - ahead_spread) @ gain.swapaxes(1, 2)
    return States(mean, spread, causal.is_known)


def start_tracks(
    position: Floats, covariance: Floats, settings: SmoothSettings
) -> tuple[Floats, Floats]:
    """Begin tracks at their first measurement: (N, 2), (N, 2, 2) to states (N, 4), (N, 4, 4)."""
    mean = np.zeros((len(position), 4))
    mean[:, :2] = position
    spread = np.zeros((len(position), 4, 4))
    spread[:, :2, :2] = covariance
    spread[:, 2, 2] = spread[:, 3, 3] = settings.start_speed_mps**2
    return mean, spread


def predict_tracks(
    mean: Floats, spread: Floats, dt_s: float | Floats, settings: SmoothSettings
) -> tuple[Floats, Floats]:
    """Move states (N, 4), (N, 4, 4) ahead by ``dt_s``, one for all or (N,)."""
    step = _transition(dt_s)
    noise = _process_noise(dt_s, settings.acceleration_density_m2ps3)
    return _times(step, mean), step @ spread @ step.swapaxes(-1, -2) + noise


def correct_tracks(
    mean: Floats, spread: Floats, position: Floats, covariance: Floats
) -> tuple[Floats, Floats]:
    """Correct states (N, 4), (N, 4, 4) by measured positions (N, 2), (N, 2, 2); Joseph form."""
    innovation_spread = spread[:, :2, :2] + covariance
    gain = _solved(innovation_spread, spread[:, :2, :]).swapaxes(1, 2)  # (N, 4, 2)
    rest = np.tile(np.eye(4), (len(mean), 1, 1))
    rest[:, :, :2] -= gain
    corrected = mean + _times(gain, position - mean[:, :2])
    by_state = rest @ spread @ rest.swapaxes(1, 2)
    return corrected, by_state + gain @ covariance @ gain.swapaxes(1, 2)


def _filter(
    times_s: Floats,
    position: Floats,
    covariance: Floats,
    is_measured: Bools,
    settings: SmoothSettings,
) -> States:
    is_known = np.logical_or.accumulate(is_measured, axis=1)
    mean = np.full((*is_measured.shape, 4), np.nan)
    spread = np.full((*is_measured.shape, 4, 4), np.nan)
    for t in range(len(times_s)):
        is_running = is_known[:, t - 1] if t else np.zeros(len(is_measured), np.bool_)
        rows = np.flatnonzero(is_running)
        if len(rows):
            dt_s = float(times_s[t] - times_s[t - 1])
            mean[rows, t], spread[rows, t] = predict_tracks(
                mean[rows, t - 1], spread[rows, t - 1], dt_s, settings
            )
        rows = np.flatnonzero(is_running & is_measured[:, t])
        mean[rows, t], spread[rows, t] = correct_tracks(
            mean[rows, t], spread[rows, t], position[rows, t], covariance[rows, t]
        )
        rows = np.flatnonzero(~is_running & is_measured[:, t])
        mean[rows, t], spread[rows, t] = start_tracks(
            position[rows, t], covariance[rows, t], settings
        )
    return States(mean, spread, is_known)


def _transition(dt_s: float | Floats) -> Floats:
    """Return the matrix that moves a state ahead, (4, 4) or (N, 4, 4)."""
    step = np.zeros((*np.shape(dt_s), 4, 4))
    step[..., range(4), range(4)] = 1.0
    step[..., 0, 2] = step[..., 1, 3] = dt_s
    return step


def _process_noise(dt_s: float | Floats, density_m2ps3: float) -> Floats:
    """Return the covariance that unknown accelerations add, (4, 4) or (N, 4, 4)."""
    dt_s = np.asarray(dt_s, dtype=np.float64)
    noise = np.zeros((*dt_s.shape, 4, 4))
    noise[..., 0, 0] = noise[..., 1, 1] = dt_s**3 / 3.0
    noise[..., 2, 2] = noise[..., 3, 3] = dt_s
    half = dt_s**2 / 2.0
    noise[..., 0, 2] = noise[..., 2, 0] = noise[..., 1, 3] = noise[..., 3, 1] = half
    return density_m2ps3 * noise


def _times(matrix: Floats, vector: Floats) -> Floats:
    return np.asarray((matrix @ vector[..., None])[..., 0], dtype=np.float64)


def _solved(matrix: Floats, right: Floats) -> Floats:
    return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)


def _check(times_s: Floats, position: Floats, covariance: Floats, is_measured: Bools) -> None:
    tracks, instants = is_measured.shape
    expected = ((instants,), (tracks, instants, 2), (tracks, instants, 2, 2))
    got = (times_s.shape, position.shape, covariance.shape)
    if got != expected:
        raise OperatorError(
            f"tracks cannot be smoothed: expected times, positions and covariances of shape "
            f"{expected}, got {got}"
        )
    if not (np.diff(times_s) > 0.0).all():
        raise OperatorError("tracks cannot be smoothed: expected times that increase, got others")
