"""Follow radar echoes without the network: points in, radar tracks out.

A network that has never seen an animal says nothing about it; the radar still gets echoes. The planner falls
back on these tracks and a trigger compares the boxes with them, so they must not come from the network and
must not start on ghosts: false echoes that do not return. Standing things count (a parked van is a track).

Points are clustered, then followed by constant-velocity Kalman filters in the world frame with the
measurement split along and across the line of sight, because a radar measures range and radial speed well and
bearing badly. The echoes of each radar of a rig are taken in turn: a radar corrects a track by one echo at
most, and a scan counts as one hit, however many radars measured the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.contracts.columns import Columns
from edge.contracts.rig import RADARS, RadarMount
from edge.contracts.scene import RadarTrack
from edge.contracts.sensors import EgoState, RadarScan
from edge.perceive import kalman
from edge.perceive.association import nearest_pairs
from edge.perceive.radar_mounts import RadarMounts
from edge.perceive.track import planar

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class RadarTrackerSettings:
    """Noise, gates and patience of the radar tracker."""

    cluster_m: float = 1.5
    """Points closer than this, and as fast, are one thing."""
    cluster_mps: float = 1.5
    """Largest difference of radial speed within one thing."""
    range_sigma_m: float = 0.5
    """Standard deviation of the range of an echo: its place on the body, more than the radar's own noise."""
    cross_sigma_m: float = 0.5
    """Standard deviation of an echo across the line of sight, from the extent of the body."""
    bearing_sigma_rad: float = 0.016
    """Standard deviation of the radar's bearing."""
    radial_sigma_mps: float = 0.3
    """Standard deviation of the radar's radial speed."""
    unknown_speed_mps: float = 2.5
    """How fast a newborn track may move across the line of sight."""
    acceleration_mps2: float = 1.0
    """Standard deviation of the acceleration of a tracked thing."""
    gate_sigmas: float = 3.0
    """Largest distance of an echo from its track's prediction, in standard deviations."""
    confirm_hits: int = 7
    """Hits within the last ``confirm_scans`` scans that confirm a track."""
    confirm_scans: int = 14
    """A track is confirmed when ``confirm_hits`` of the last ``confirm_scans`` scans hit it. Of scans and not
    of time by intent, as all counts here: what tells a body from ghosts is how many scans hit it."""
    tentative_misses: int = 4
    """A tentative track ends after this many scans without a hit, a confirmed one after ``coast_s``."""
    coast_s: float = 0.5
    """How long a confirmed track goes on without a hit."""
    keep_hits: int = 3
    """A confirmed track also ends when fewer of the last ``confirm_scans`` scans hit it."""
    same_m: float = 2.0
    """Tracks closer than this, and as fast, follow one body; the older one stays."""
    same_mps: float = 2.0
    """Largest difference of radial speed of two tracks that follow one body."""
    max_range_m: float = 100.0
    """Echoes further away are not tracked."""


@dataclass(eq=False)
class _Tracks(Columns):
    """One row per track, oldest first."""

    mean_world: Floats  # (N, 4) x, y, vx, vy
    covariance_world: Floats  # (N, 4, 4)
    rcs_dbsm: Floats  # (N,)
    track_id: Ints  # (N,)
    first_seen_ns: Ints  # (N,)
    last_seen_ns: Ints  # (N,)
    hits: Ints  # (N,)
    recent: NDArray[np.bool_]  # (N, confirm_scans), newest first
    is_confirmed: NDArray[np.bool_]  # (N,)


@dataclass(eq=False)
class _Echoes(Columns):
    """This scan's clusters, with the line of sight that each was seen along."""

    position_world: Floats  # (C, 2)
    sight_world: Floats  # (C, 2) unit, away from the radar
    range_m: Floats  # (C,)
    radial_mps: Floats  # (C,)
    rcs_dbsm: Floats  # (C,)
    radar: Ints  # (C,) the radar that measured it

    def by_radar(self) -> list[_Echoes]:
        numbers = np.unique(self.radar)
        if len(numbers) < 2:
            return [self]
        return [self.select(self.radar == number) for number in numbers]


@dataclass(eq=False)
class RadarTracker:
    """Follows radar echoes over scans. Same scans, same tracks."""

    settings: RadarTrackerSettings = field(default_factory=RadarTrackerSettings)
    radars: Sequence[RadarMount] = RADARS
    """Radars of the rig, which ``RadarScan.sensor`` numbers."""

    def __post_init__(self) -> None:
        self._mounts = RadarMounts(self.radars)
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump in time. Track ids go on."""
        nothing = np.zeros((0, 2))
        none = np.zeros(0, np.int64)
        nowhere = _Echoes(nothing, nothing, nothing[:, 0], nothing[:, 0], nothing[:, 0], none)
        self._tracks = self._newborn(nowhere, 0)
        self._stamp_ns = -1

    def update(self, scan: RadarScan, ego: EgoState, stamp_ns: int) -> tuple[RadarTrack, ...]:
        """Take in one scan.

        Args:
            scan: Points in the ego frame of this instant; points that are not finite are dropped.
            ego: Own pose, which carries ego to world.
            stamp_ns: When the scan was taken. A stamp that steps back resets the tracker; one that
                repeats is the same instant again.

        Returns:
            Confirmed tracks, oldest first, in the ego frame; velocity over the ground in ego axes.
        """
        if stamp_ns < self._stamp_ns:
            self.reset()
        rotation, origin = planar(ego.world_from_ego)
        echoes = _echoes(scan, self._mounts, rotation, origin, self.settings)
        self._predict(stamp_ns)
        for measured in echoes.by_radar():
            self._correct_by(measured, stamp_ns)
        self._bury(stamp_ns)
        return _radar_tracks(self._tracks, rotation, origin, stamp_ns)

    def _correct_by(self, echoes: _Echoes, stamp_ns: int) -> None:
        """Correct tracks by the echoes of one radar, at most one a track, and begin new tracks."""
        row, column = self._associate(echoes)
        self._take_in(echoes, row, column, stamp_ns)
        self._tracks = self._tracks.followed_by(self._births(echoes, column, stamp_ns))

    def _predict(self, stamp_ns: int) -> None:
        dt_s = (stamp_ns - self._stamp_ns) / 1e9 if self._stamp_ns >= 0 else 0.0
        self._stamp_ns = stamp_ns
        tracks = self._tracks
        acceleration = np.full(len(tracks.hits), self.settings.acceleration_mps2)
        tracks.mean_world, tracks.covariance_world = kalman.predict_filters(
            tracks.mean_world, tracks.covariance_world, dt_s, acceleration
        )
        tracks.recent[:, 1:] = tracks.recent[:, :-1].copy()
        tracks.recent[:, 0] = False

    def _associate(self, echoes: _Echoes) -> tuple[Ints, Ints]:
        """Pair tracks with echoes by the normalised distance along sight, across it and in speed."""
        tracks, s = self._tracks, self.settings
        offset = echoes.position_world[None] - tracks.mean_world[:, None, :2]  # (N, C, 2)
        sight = echoes.sight_world
        along = offset[..., 0] * sight[:, 0] + offset[..., 1] * sight[:, 1]
        across = offset[..., 1] * sight[:, 0] - offset[..., 0] * sight[:, 1]
        radial = echoes.radial_mps - tracks.mean_world[:, 2:] @ sight.T
        spread = tracks.covariance_world
        position_var = 0.5 * (spread[:, 0, 0] + spread[:, 1, 1])[:, None]
        squares = np.stack([sight[:, 0] ** 2, 2.0 * sight[:, 0] * sight[:, 1], sight[:, 1] ** 2])
        velocity_var = spread[:, [2, 2, 3], [2, 3, 3]] @ squares
        cost = (
            along**2 / (s.range_sigma_m**2 + position_var)
            + across**2 / (_cross_variance(echoes, s) + position_var)
            + radial**2 / (s.radial_sigma_mps**2 + velocity_var)
        )
        return nearest_pairs(cost, s.gate_sigmas**2)

    def _take_in(self, echoes: _Echoes, row: Ints, column: Ints, stamp_ns: int) -> None:
        tracks, s = self._tracks, self.settings
        mean, covariance = tracks.mean_world[row], tracks.covariance_world[row]
        sight, position = echoes.sight_world[column], echoes.position_world[column]
        across = np.stack([-sight[:, 1], sight[:, 0]], axis=1)
        nothing = np.zeros_like(sight)
        ones = np.ones(len(row))
        for direction, value, variance in (
            ((sight, nothing), (sight * position).sum(axis=1), ones * s.range_sigma_m**2),
            (
                (across, nothing),
                (across * position).sum(axis=1),
                _cross_variance(echoes, s)[column],
            ),
            ((nothing, sight), echoes.radial_mps[column], ones * s.radial_sigma_mps**2),
        ):
            kalman.correct_filters(
                mean, covariance, np.concatenate(direction, axis=1), value, variance
            )
        tracks.mean_world[row], tracks.covariance_world[row] = mean, covariance
        tracks.rcs_dbsm[row] += 0.2 * (echoes.rcs_dbsm[column] - tracks.rcs_dbsm[row])
        tracks.last_seen_ns[row] = stamp_ns
        tracks.hits[row] += ~tracks.recent[row, 0]
        tracks.recent[row, 0] = True
        tracks.is_confirmed |= tracks.recent.sum(axis=1) >= s.confirm_hits

    def _births(self, echoes: _Echoes, column: Ints, stamp_ns: int) -> _Tracks:
        """Start a track for every echo that no track claimed and that is not of a known body."""
        is_new = np.ones(len(echoes.range_m), np.bool_)
        is_new[column] = False
        known = self._tracks.select(self._tracks.is_confirmed)
        offset = known.mean_world[:, None, :2] - echoes.position_world[None]
        is_near = _is_within(offset, self.settings.same_m)
        radial = known.mean_world[:, 2:] @ echoes.sight_world.T
        is_as_fast = np.abs(radial - echoes.radial_mps) < self.settings.same_mps
        is_new &= ~(is_near & is_as_fast).any(axis=0)
        return self._newborn(echoes.select(is_new), stamp_ns)

    def _newborn(self, echoes: _Echoes, stamp_ns: int) -> _Tracks:
        s = self.settings
        count = len(echoes.range_m)
        sight = echoes.sight_world
        across = np.stack([-sight[:, 1], sight[:, 0]], axis=1)
        along_2 = sight[:, :, None] * sight[:, None, :]
        across_2 = across[:, :, None] * across[:, None, :]
        covariance = np.zeros((count, 4, 4))
        covariance[:, :2, :2] = (
            s.range_sigma_m**2 * along_2 + _cross_variance(echoes, s)[:, None, None] * across_2
        )
        covariance[:, 2:, 2:] = s.radial_sigma_mps**2 * along_2 + s.unknown_speed_mps**2 * across_2
        velocity = echoes.radial_mps[:, None] * sight
        recent = np.zeros((count, s.confirm_scans), np.bool_)
        recent[:, 0] = True
        self._next_id += count
        return _Tracks(
            mean_world=np.concatenate([echoes.position_world, velocity], axis=1),
            covariance_world=covariance,
            rcs_dbsm=echoes.rcs_dbsm.copy(),
            track_id=self._next_id - count + np.arange(count, dtype=np.int64),
            first_seen_ns=np.full(count, stamp_ns, np.int64),
            last_seen_ns=np.full(count, stamp_ns, np.int64),
            hits=np.ones(count, np.int64),
            recent=recent,
            is_confirmed=np.full(count, s.confirm_hits <= 1),
        )

    def _bury(self, stamp_ns: int) -> None:
        tracks, s = self._tracks, self.settings
        is_fresh = (stamp_ns - tracks.last_seen_ns) / 1e9 <= s.coast_s
        is_hit = tracks.recent.sum(axis=1) >= s.keep_hits
        is_young = tracks.recent[:, : s.tentative_misses].any(axis=1)
        is_kept = np.where(tracks.is_confirmed, is_fresh & is_hit, is_young)
        self._tracks = tracks.select(is_kept & ~self._is_double())

    def _is_double(self) -> NDArray[np.bool_]:
        """Find tracks that follow the body of an older confirmed one."""
        tracks, s = self._tracks, self.settings
        sure = np.flatnonzero(tracks.is_confirmed)
        gap = tracks.mean_world[:, None] - tracks.mean_world[None, sure]  # (N, S, 4)
        is_near = _is_within(gap[..., :2], s.same_m)
        is_as_fast = _is_within(gap[..., 2:], s.same_mps)
        is_older = sure[None] < np.arange(len(tracks.hits))[:, None]
        return np.asarray((is_near & is_as_fast & is_older).any(axis=1))


def _is_within(gap: Floats, reach: float) -> NDArray[np.bool_]:
    """Return which vectors of (..., 2) are shorter than ``reach``."""
    return np.asarray(gap[..., 0] ** 2 + gap[..., 1] ** 2 < reach * reach)


def _cross_variance(echoes: _Echoes, settings: RadarTrackerSettings) -> Floats:
    return settings.cross_sigma_m**2 + (settings.bearing_sigma_rad * echoes.range_m) ** 2


def _echoes(
    scan: RadarScan,
    mounts: RadarMounts,
    rotation: Floats,
    origin: Floats,
    settings: RadarTrackerSettings,
) -> _Echoes:
    """Cluster the points that each radar measured, and carry the clusters to the world frame."""
    radar = mounts.of_points(scan.sensor, len(scan.points_ego))
    points = scan.points_ego.astype(np.float64)
    points[:, :2] -= mounts.position_ego[radar]
    reach = np.hypot(points[:, 0], points[:, 1])
    is_good = np.isfinite(points).all(axis=1) & (reach > 0.1) & (reach < settings.max_range_m)
    points, radar = points[is_good], radar[is_good]
    label = _connected(points, radar, settings)
    size = int(label.max(initial=-1)) + 1
    count = np.bincount(label, minlength=size)
    means = np.stack(
        [np.bincount(label, points[:, k], minlength=size) / count for k in range(4)], axis=1
    )
    range_m = np.hypot(means[:, 0], means[:, 1])
    of_cluster = np.zeros(size, np.int64)
    of_cluster[label] = radar
    mount_world = mounts.in_world(rotation, origin)[of_cluster]
    return _Echoes(
        position_world=means[:, :2] @ rotation.T + mount_world,
        sight_world=(means[:, :2] / np.maximum(range_m, 0.1)[:, None]) @ rotation.T,
        range_m=range_m,
        radial_mps=means[:, 2],
        rcs_dbsm=means[:, 3],
        radar=of_cluster,
    )


def _connected(points: Floats, radar: Ints, settings: RadarTrackerSettings) -> Ints:
    """Label the connected components of "close and as fast" of each radar, (N,), numbered in point order."""
    gap = points[:, None, :3] - points[None, :, :3]
    is_near = _is_within(gap[..., :2], settings.cluster_m)
    is_joined = is_near & (np.abs(gap[..., 2]) < settings.cluster_mps)
    is_joined &= radar[:, None] == radar[None]
    label = np.arange(len(points))
    while True:
        lowest = np.where(is_joined, label[None], len(points)).min(axis=1, initial=len(points))
        if (lowest == label).all():
            return np.unique(label, return_inverse=True)[1].astype(np.int64)
        label = lowest


def _radar_tracks(
    tracks: _Tracks, rotation: Floats, origin: Floats, stamp_ns: int
) -> tuple[RadarTrack, ...]:
    sure = tracks.select(tracks.is_confirmed)
    position = ((sure.mean_world[:, :2] - origin) @ rotation).tolist()
    velocity = (sure.mean_world[:, 2:] @ rotation).tolist()
    age_s = ((stamp_ns - sure.first_seen_ns) / 1e9).tolist()
    columns = zip(
        position, velocity, age_s, sure.track_id.tolist(), sure.hits.tolist(),
        sure.rcs_dbsm.tolist(), strict=True,
    )  # fmt: skip
    return tuple(
        RadarTrack(
            track_id=track_id,
            x_m=x,
            y_m=y,
            vx_mps=vx,
            vy_mps=vy,
            hits=hits,
            age_s=age,
            rcs_dbsm=rcs,
        )
        for (x, y), (vx, vy), age, track_id, hits, rcs in columns
    )
