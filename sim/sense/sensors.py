"""Radar and ultrasonics from geometry, with their faults: noise, ghosts, drop-outs.

How often each class returns an echo is configuration and is the same in every scenario: a radar that saw
exactly the rare objects better would do the mining that the triggers are to be judged by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import row_of
from edge.contracts.rig import RadarMount, Rig
from edge.contracts.sensors import ULTRASONIC_MAX_RANGE_M, RadarScan, UltrasonicScan
from sim.place.scenery import SceneryKind
from sim.sense.sight import Surroundings, ray_distances

_POINTS = 3
"""The most points one road user returns."""


@dataclass
class RadarSettings:
    """Errors and echoes of each radar of a rig; the rig gives their mounts."""

    max_range_m: float = 60.0
    """Largest range of an echo."""
    rcs_sigma_db: float = 3.0
    """Standard deviation of the cross-section."""
    clutter_probability: dict[str, float] = field(
        default_factory=lambda: {
            "building": 0.30,
            "conifer": 0.06,
            "tree": 0.06,
            "bush": 0.03,
            "lamp_post": 0.20,
        }
    )
    """Per scan, for each thing beside the road, by its kind: real echoes of what is no road user."""
    hidden_above_ratio: float = 0.6
    """An entity that is covered by more than this counts as hidden."""
    hidden_factor: float = 0.35
    """Multiplies the return probability of a hidden one: echoes pass under and around vehicles."""
    range_sigma_m: float = 0.15
    """Standard deviation of the range."""
    azimuth_sigma_rad: float = math.radians(0.86)
    """Standard deviation of the bearing."""
    speed_sigma_mps: float = 0.15
    """Standard deviation of the radial speed."""
    ghosts_per_scan: float = 8.0
    """Mean number of false echoes."""
    ghost_speed_mps: float = 12.0
    """Half of the ghosts move, by up to this much."""

    def __post_init__(self) -> None:
        known = [kind.word for kind in SceneryKind]
        for word in self.clutter_probability:
            if word not in known:
                raise ValueError(f"clutter_probability: no {word!r}; there are {', '.join(known)}")


@dataclass
class UltrasonicSettings:
    """Twelve short-range sensors in the bumpers."""

    half_cone_rad: float = math.radians(30.0)
    """Half the opening angle of a sensor."""
    rays: int = 13
    """Rays across the cone that look for the nearest surface."""
    sigma_m: float = 0.02
    """Standard deviation of a reading."""
    dropout_ratio: float = 0.02
    """Share of readings that miss what is there and report no echo."""
    min_range_m: float = 0.15
    """Smallest reading."""


def radar_scan(
    around: Surroundings, rig: Rig, settings: RadarSettings, rng: np.random.Generator
) -> RadarScan:
    """Draw one sweep of every radar of a rig: echoes of road users, of scenery, and false ones."""
    sweeps = [_sweep(around, mount, settings, rng) for mount in rig.radars]
    if len(sweeps) == 1:
        return RadarScan(points_ego=sweeps[0])
    counts = [len(points) for points in sweeps]
    return RadarScan(
        points_ego=np.concatenate([np.zeros((0, 4), np.float32), *sweeps]),
        sensor=np.repeat(np.arange(len(sweeps), dtype=np.uint8), counts),
    )


def _sweep(
    around: Surroundings, mount: RadarMount, settings: RadarSettings, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw one sweep of one radar, (N, 4).

    The points are ordered by azimuth, so that their order does not tell which are real.
    """
    sensor = np.array([mount.x_m, mount.y_m])
    parts = [
        _entity_echoes(around, sensor, settings, rng),
        _clutter(around, sensor, settings, rng),
        _ghosts(settings, rng),
    ]
    polar = np.concatenate(parts)  # (K, 4): range, azimuth, radial speed, RCS
    polar[:, 0] += settings.range_sigma_m * rng.standard_normal(len(polar))
    polar[:, 1] += settings.azimuth_sigma_rad * rng.standard_normal(len(polar))
    polar[:, 2] += settings.speed_sigma_mps * rng.standard_normal(len(polar))
    polar = polar[(polar[:, 0] > 0.5) & (polar[:, 0] <= settings.max_range_m)]
    off_rad = np.abs((polar[:, 1] - mount.yaw_rad + np.pi) % (2.0 * np.pi) - np.pi)
    polar = polar[off_rad <= 0.5 * mount.field_of_view_rad]
    polar = polar[np.argsort(polar[:, 1], kind="stable")]
    points = np.empty((len(polar), 4), dtype=np.float32)
    points[:, 0] = mount.x_m + polar[:, 0] * np.cos(polar[:, 1])
    points[:, 1] = mount.y_m + polar[:, 0] * np.sin(polar[:, 1])
    points[:, 2:] = polar[:, 2:]
    return points


def ultrasonic_scan(
    around: Surroundings, rig: Rig, settings: UltrasonicSettings, rng: np.random.Generator
) -> UltrasonicScan:
    """Measure the nearest surface inside each sensor's cone; the maximum range means no echo."""
    mounts = np.array([(m.x_m, m.y_m, m.yaw_rad) for m in rig.ultrasonics]).reshape(-1, 3)
    boxes = np.concatenate([around.boxes_ego, around.statics_ego])
    reach_m = ULTRASONIC_MAX_RANGE_M + 0.5 * np.hypot(boxes[:, 3], boxes[:, 4])
    from_centre_m = np.hypot(boxes[:, 0] - rig.body.centre_m, boxes[:, 1])
    boxes = boxes[from_centre_m < reach_m + rig.body.length_m]
    spread = np.linspace(-settings.half_cone_rad, settings.half_cone_rad, settings.rays)
    angle = (mounts[:, 2:] + spread).ravel()
    origins = np.repeat(mounts[:, :2], settings.rays, axis=0)
    directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    distance_m = ray_distances(origins, directions, boxes).min(axis=1, initial=np.inf)
    nearest_m = distance_m.reshape(len(mounts), settings.rays).min(axis=1)
    noisy_m = nearest_m + settings.sigma_m * rng.standard_normal(len(mounts))
    is_lost = rng.random(len(mounts)) < settings.dropout_ratio
    ranges_m = np.where(is_lost | (nearest_m > ULTRASONIC_MAX_RANGE_M), np.inf, noisy_m)
    return UltrasonicScan(
        ranges_m=np.clip(ranges_m, settings.min_range_m, ULTRASONIC_MAX_RANGE_M).astype(np.float32)
    )


def _entity_echoes(
    around: Surroundings,
    sensor: NDArray[np.float64],
    settings: RadarSettings,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return noiseless echoes (K, 4) of road users: range, azimuth, radial speed, RCS."""
    n = len(around.entities)
    rows = [row_of(entity.category) for entity in around.entities]
    chance = np.array([row.radar_return_ratio for row in rows])
    is_hidden = around.hidden_ratio > settings.hidden_above_ratio
    chance *= np.where(is_hidden, settings.hidden_factor, 1.0)
    is_echo = rng.random(n) < chance
    # What is shorter than 3 m is one point; a vehicle is one to three.
    points = np.where(around.boxes_ego[:, 3] > 3.0, rng.integers(1, _POINTS + 1, n), 1)
    is_kept = is_echo[:, None] & (np.arange(_POINTS) < points[:, None])
    surface = _near_surface(around.boxes_ego, sensor, rng.random((n, _POINTS, 2)))
    ray = surface - sensor
    range_m = np.maximum(np.hypot(ray[..., 0], ray[..., 1]), 1e-6)
    speed_mps = (ray * around.velocities_ego[:, None]).sum(axis=-1) / range_m
    azimuth_rad = np.arctan2(ray[..., 1], ray[..., 0])
    rcs = np.array([row.radar_rcs_dbsm for row in rows])[:, None]
    rcs = rcs + settings.rcs_sigma_db * rng.standard_normal((n, _POINTS))
    return np.stack([range_m, azimuth_rad, speed_mps, rcs], axis=-1)[is_kept]


def _near_surface(
    boxes: NDArray[np.float64], sensor: NDArray[np.float64], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw points on the faces of boxes that are turned to the sensor, by how wide it sees each.

    Args:
        boxes: (N, 6), see ``Surroundings``.
        sensor: (2,), in the frame of the boxes.
        draws: (N, P, 2), uniform in [0, 1).

    Returns:
        (N, P, 2) points.
    """
    cos, sin = np.cos(boxes[:, 2]), np.sin(boxes[:, 2])
    back = sensor - boxes[:, :2]
    ahead, aside = back[:, 0] * cos + back[:, 1] * sin, back[:, 1] * cos - back[:, 0] * sin
    half_length, half_width = 0.5 * boxes[:, 3], 0.5 * boxes[:, 4]
    # Width at which the sensor sees the front or rear face, and the left or right one.
    end = np.where(np.abs(ahead) > half_length, half_width * np.abs(ahead), 0.0)
    flank = np.where(np.abs(aside) > half_width, half_length * np.abs(aside), 0.0)
    end_share = end / np.maximum(end + flank, 1e-9)
    is_end = draws[..., 0] < end_share[:, None]
    along = 2.0 * draws[..., 1] - 1.0
    sign_x, sign_y = np.sign(ahead)[:, None], np.sign(aside)[:, None]
    x = half_length[:, None] * np.where(is_end, sign_x, along)
    y = half_width[:, None] * np.where(is_end, along, sign_y)
    cos, sin = cos[:, None], sin[:, None]
    return np.stack([boxes[:, 0:1] + x * cos - y * sin, boxes[:, 1:2] + x * sin + y * cos], axis=-1)


def _clutter(
    around: Surroundings,
    sensor: NDArray[np.float64],
    settings: RadarSettings,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return noiseless echoes (K, 4) of buildings, trees and posts; they stand still."""
    n = len(around.statics_ego)
    by_kind = np.array([settings.clutter_probability.get(kind.word, 0.0) for kind in SceneryKind])
    is_echo = rng.random(n) < by_kind[around.static_kinds]
    surface = _near_surface(around.statics_ego, sensor, rng.random((n, 1, 2)))[:, 0]
    rcs = rng.normal(2.0, 6.0, n)
    ray = surface - sensor
    polar = [np.hypot(ray[:, 0], ray[:, 1]), np.arctan2(ray[:, 1], ray[:, 0]), np.zeros(n), rcs]
    return np.stack(polar, axis=1)[is_echo]


def _ghosts(settings: RadarSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return false echoes (K, 4): multipath and noise, half of them with a radial speed."""
    n = int(rng.poisson(settings.ghosts_per_scan))
    speed = settings.ghost_speed_mps
    return np.stack(
        [
            rng.uniform(2.0, settings.max_range_m, n),
            rng.uniform(-math.pi, math.pi, n),
            rng.uniform(-speed, speed, n) * (rng.random(n) < 0.5),
            rng.normal(-2.0, 6.0, n),
        ],
        axis=1,
    )
