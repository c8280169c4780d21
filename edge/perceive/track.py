"""Give boxes an identity: this tick's boxes in, agents known over ticks out.

Constant-velocity Kalman filters in the world frame, so that the vehicle's own turning moves nobody
else. A track is confirmed by N hits within M ticks and coasts through short gaps; its class is a vote
over its life, because one tick's class is a guess. Association is greedy within a gate: with the gates
below two neighbours would have to stand closer than one of them is long to be confused.

A velocity comes from where the boxes went. The network's own velocity counts only for the classes for
which the bundle states its error, measured on the tune set; the radar's own tracks correct the speed of
everything that moves. A velocity that is not surely above zero is reported as zero, except on foot: the
first boxes of a parked car scatter, and a scatter of 0.3 m within 0.1 s looks like several metres per
second, while a pedestrian or an animal that seems to stand beside the lane is driven past.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from edge.contracts.geometry import Pose
from edge.contracts.scene import (
    CATEGORIES,
    Agent,
    Attribute,
    Box3D,
    BoxSource,
    Category,
    RadarTrack,
    Trajectory,
)
from edge.contracts.sensors import EgoState
from edge.perceive import kalman
from edge.perceive.association import nearest_pairs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GROUP_OF: dict[Category, int] = {
    **dict.fromkeys(CATEGORIES, 0),  # vehicles
    Category.PEDESTRIAN: 1,
    Category.MOTORCYCLE: 1,
    Category.BICYCLE: 1,
    Category.ANIMAL: 1,
    Category.TRAFFIC_CONE: 2,
    Category.BARRIER: 2,
    Category.DEBRIS: 2,
}
_INDEX_OF = {category: k for k, category in enumerate(CATEGORIES)}
_VEHICLES, _VULNERABLE, _THINGS = 0, 1, 2
_STANDING_MPS = 0.5
_HEADING_BY_MOTION_MPS = 2.0
_ON_FOOT = (_INDEX_OF[Category.PEDESTRIAN], _INDEX_OF[Category.ANIMAL])
RADAR_MOUNT_X_M = 1.3
"""Where on the ego's x axis the lines of sight of the radar meet."""


@dataclass
class TrackerSettings:
    """Gates and patience of the tracker."""

    confirm_hits: int = 3
    confirm_ticks: int = 6
    """A track is confirmed when ``confirm_hits`` of the last ``confirm_ticks`` ticks saw it."""
    coast_s: float = 0.6
    """How long a confirmed track lives without a box."""
    tentative_coast_s: float = 0.1
    vehicle_gate_m: float = 2.5
    vulnerable_gate_m: float = 1.5
    thing_gate_m: float = 1.2
    gate_growth_mps: float = 2.0
    """How fast a gate widens while its track is not seen."""
    other_class_m: float = 0.5
    """Distance added to a pair whose classes differ within a group."""
    position_sigma_m: float = 0.4
    newborn_speed_mps: float = 5.0
    """Standard deviation of the speed of a new track of a vehicle, motorcycle or bicycle."""
    newborn_slow_speed_mps: float = 1.5
    """Standard deviation of the speed of a new track of a pedestrian, an animal or a thing."""
    sure_sigmas: float = 2.5
    """Except on foot, a velocity below this many of its standard deviations is reported as zero."""
    network_velocity_s: float = 1.0
    """Errors of the network's velocity are correlated for this long: its boxes count as one measurement."""
    radar_gate_m: float = 1.5
    """A radar track this near to somebody vulnerable is theirs."""
    radar_position_sigma_m: float = 0.6
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
    vulnerable_acceleration_mps2: float = 0.7
    thing_acceleration_mps2: float = 0.2
    shape_weight: float = 0.15
    """Weight of the newest box in length, width, height, elevation and heading."""
    vote_memory: float = 0.97
    """What a class vote is worth one tick later."""


@dataclass(eq=False)
class _Tracks:
    """One row per track, oldest first."""

    mean_world: Floats  # (N, 4) x, y, vx, vy
    covariance_world: Floats  # (N, 4, 4)
    shape_m: Floats  # (N, 4) length, width, height, z
    heading_world: Floats  # (N, 2), any length
    votes: Floats  # (N, categories)
    score: Floats  # (N,)
    group: Ints  # (N,)
    track_id: Ints  # (N,)
    first_seen_ns: Ints  # (N,)
    last_seen_ns: Ints  # (N,)
    hits: Ints  # (N,)
    recent: NDArray[np.bool_]  # (N, confirm_ticks), newest first
    is_confirmed: NDArray[np.bool_]  # (N,)

    def select(self, index: NDArray[np.bool_]) -> _Tracks:
        return _Tracks(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def followed_by(self, other: _Tracks) -> _Tracks:
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return _Tracks(**{name: np.concatenate(pair) for name, pair in pairs.items()})


@dataclass(eq=False)
class _Measured:
    """This tick's boxes as arrays in the world frame."""

    position_world: Floats  # (B, 2)
    velocity_world: Floats  # (B, 2)
    velocity_sigma_mps: Floats  # (B,) infinite where the network is not believed
    heading_world: Floats  # (B, 2) unit
    shape_m: Floats  # (B, 4) length, width, height, z
    score: Floats  # (B,)
    category: Ints  # (B,)
    group: Ints  # (B,)


@dataclass(eq=False)
class Tracker:
    """Follows boxes over ticks. Same boxes, same agents."""

    settings: TrackerSettings = field(default_factory=TrackerSettings)
    velocity_sigma_mps: Mapping[Category, float] = field(default_factory=dict)
    """Error per axis of the network's velocity, as the driving bundle states it; a class that is not listed
    is not believed."""

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump in time. Track ids go on."""
        self._tracks = _born(_measure((), np.eye(2), np.zeros(2), {}), 0, 0, self.settings)
        self._stamp_ns = -1
        self._next_id = getattr(self, "_next_id", 1)

    def update(
        self,
        boxes: Sequence[Box3D],
        futures: Sequence[tuple[Trajectory, ...]],
        ego: EgoState,
        stamp_ns: int,
        radar_tracks: Sequence[RadarTrack] = (),
    ) -> tuple[Agent, ...]:
        """Take in one tick's boxes.

        Args:
            boxes: In the ego frame of this tick; empty when the network had nothing to say.
            futures: Per box, its predicted trajectories; shorter than ``boxes`` means none.
            ego: Own pose, which carries ego to world.
            stamp_ns: When the boxes were seen. A stamp that does not grow resets the tracker.
            radar_tracks: What the radar follows by itself, in the ego frame of this tick.

        Returns:
            Every living track, tentative ones included, oldest first, in the ego frame. The box of an
            agent that was seen in this tick has source ``NETWORK``, a coasting one ``TRACKER``.
        """
        rotation, origin = planar(ego.world_from_ego)
        measured = _measure(boxes, rotation, origin, self.velocity_sigma_mps)
        self._predict(stamp_ns)
        row, column = self._associate(measured, stamp_ns)
        self._take_in(measured, row, column, stamp_ns)
        self._listen(radar_tracks, rotation, origin)
        column_of = dict(
            zip(self._tracks.track_id[row].tolist(), column.tolist(), strict=True)
        ) | self._give_birth(measured, column, stamp_ns)
        self._bury(stamp_ns)
        futures_of = {
            track_id: futures[column] if column < len(futures) else ()
            for track_id, column in column_of.items()
        }
        return _agents(self._tracks, futures_of, rotation, origin, self.settings)

    def coast(
        self, ego: EgoState, stamp_ns: int, radar_tracks: Sequence[RadarTrack] = ()
    ) -> tuple[Agent, ...]:
        """Move on through a tick in which no network looked: nobody is seen, nobody is missed."""
        rotation, origin = planar(ego.world_from_ego)
        self._predict(stamp_ns)
        self._listen(radar_tracks, rotation, origin)
        self._bury(stamp_ns)
        return _agents(self._tracks, {}, rotation, origin, self.settings)

    def _predict(self, stamp_ns: int) -> None:
        if stamp_ns <= self._stamp_ns:
            self.reset()
        dt_s = (stamp_ns - self._stamp_ns) / 1e9 if self._stamp_ns >= 0 else 0.0
        self._stamp_ns = stamp_ns
        tracks, s = self._tracks, self.settings
        acceleration = np.array(
            [
                s.vehicle_acceleration_mps2,
                s.vulnerable_acceleration_mps2,
                s.thing_acceleration_mps2,
            ]
        )[tracks.group]
        tracks.mean_world, tracks.covariance_world = kalman.predict(
            tracks.mean_world, tracks.covariance_world, dt_s, acceleration
        )

    def _associate(self, measured: _Measured, stamp_ns: int) -> tuple[Ints, Ints]:
        tracks, s = self._tracks, self.settings
        offset = tracks.mean_world[:, None, :2] - measured.position_world[None]
        cost = np.hypot(offset[..., 0], offset[..., 1])
        favourite = tracks.votes.argmax(axis=1)
        cost += s.other_class_m * (favourite[:, None] != measured.category[None])
        cost[tracks.group[:, None] != measured.group[None]] = np.inf
        gate = np.array([s.vehicle_gate_m, s.vulnerable_gate_m, s.thing_gate_m])[tracks.group]
        gate = gate + s.gate_growth_mps * (stamp_ns - tracks.last_seen_ns) / 1e9
        return nearest_pairs(cost, gate[:, None])

    def _take_in(self, measured: _Measured, row: Ints, column: Ints, stamp_ns: int) -> None:
        tracks, s = self._tracks, self.settings
        seen = np.concatenate(
            [measured.position_world[column], measured.velocity_world[column]], axis=1
        )
        sigma = np.full((len(row), 4), s.position_sigma_m)
        looks = (stamp_ns - tracks.last_seen_ns[row]) / 1e9 / s.network_velocity_s
        share = np.sqrt(np.minimum(looks, 1.0))
        sigma[:, 2:] = (measured.velocity_sigma_mps[column] / share)[:, None]
        self._correct(row, seen, sigma)
        w = s.shape_weight
        tracks.shape_m[row] = (1 - w) * tracks.shape_m[row] + w * measured.shape_m[column]
        tracks.heading_world[row] = (1 - w) * tracks.heading_world[row] + w * (
            measured.heading_world[column]
        )
        tracks.votes *= s.vote_memory
        tracks.votes[row, measured.category[column]] += measured.score[column]
        tracks.score[row] = measured.score[column]
        tracks.last_seen_ns[row] = stamp_ns
        tracks.hits[row] += 1
        tracks.recent[:, 1:] = tracks.recent[:, :-1].copy()
        tracks.recent[:, 0] = False
        tracks.recent[row, 0] = True
        tracks.is_confirmed |= tracks.recent.sum(axis=1) >= s.confirm_hits

    def _listen(self, radar_tracks: Sequence[RadarTrack], rotation: Floats, origin: Floats) -> None:
        """Correct the vulnerable by the radar tracks nearest to them, vehicles by those on their bodies."""
        values = np.array([(r.x_m, r.y_m, r.vx_mps, r.vy_mps) for r in radar_tracks]).reshape(-1, 4)
        position = values[:, :2] @ rotation.T + origin
        heard = np.concatenate([position, values[:, 2:] @ rotation.T], axis=1)
        is_free = np.ones(len(heard), np.bool_)
        is_free[self._listen_for_vulnerable(heard)] = False
        self._listen_for_vehicles(heard[is_free], origin + RADAR_MOUNT_X_M * rotation[:, 0])

    def _listen_for_vulnerable(self, heard: Floats) -> Ints:
        """Correct place and velocity by ``heard`` (R, 4); return which of them were used."""
        tracks, s = self._tracks, self.settings
        offset = tracks.mean_world[:, None, :2] - heard[None, :, :2]
        cost = np.hypot(offset[..., 0], offset[..., 1])
        cost[tracks.group != _VULNERABLE] = np.inf
        row, column = nearest_pairs(cost, s.radar_gate_m)
        sigma = [s.radar_position_sigma_m] * 2 + [s.radar_velocity_sigma_mps] * 2
        self._correct(row, heard[column], np.tile(sigma, (len(row), 1)))
        return column

    def _listen_for_vehicles(self, heard: Floats, mount_world: Floats) -> None:
        """Correct the radial speed of vehicles by ``heard`` (R, 4); its place on the body says little.

        Of several echoes on a body the one that agrees best counts. An echo of another road user does
        little harm: it must agree with the vehicle's boxes, sets no standing vehicle in motion and stops
        no moving one.
        """
        tracks, s = self._tracks, self.settings
        ray = heard[:, :2] - mount_world
        sight = ray / np.maximum(np.hypot(ray[:, 0], ray[:, 1]), 0.1)[:, None]  # (R, 2)
        radial = (heard[:, 2:] * sight).sum(axis=1)  # (R,)
        covariance = tracks.covariance_world[:, 2:, 2:]
        variance = np.einsum("ri,nij,rj->nr", sight, covariance, sight)  # (N, R)
        error = radial[None] - tracks.mean_world[:, 2:] @ sight.T
        cost = error**2 / (variance + s.radar_velocity_sigma_mps**2)
        is_moving = _surely_moves(tracks, s)[:, None]
        is_possible = (
            (tracks.group == _VEHICLES)[:, None]
            & (_gap_m(tracks, heard[:, :2]) <= s.radar_outline_m)
            & (variance <= s.radar_known_mps**2)
            & (is_moving == (np.abs(radial) >= s.radar_standing_mps)[None])
        )
        row, column = nearest_pairs(np.where(is_possible, cost, np.inf), s.radar_gate_sigmas**2)
        mean, covariance = tracks.mean_world[row], tracks.covariance_world[row]
        direction = np.concatenate([np.zeros((len(row), 2)), sight[column]], axis=1)
        noise = np.full(len(row), s.radar_velocity_sigma_mps**2)
        kalman.update(mean, covariance, direction, radial[column], noise)
        tracks.mean_world[row], tracks.covariance_world[row] = mean, covariance

    def _correct(self, row: Ints, seen: Floats, sigma: Floats) -> None:
        """Take measured x, y, vx, vy (R, 4), each with its sigma (R, 4), into the tracks in these rows."""
        tracks = self._tracks
        mean, covariance = tracks.mean_world[row], tracks.covariance_world[row]
        for k in range(4):
            direction = np.broadcast_to(np.eye(4)[k], mean.shape)
            kalman.update(mean, covariance, direction, seen[:, k], sigma[:, k] ** 2)
        tracks.mean_world[row], tracks.covariance_world[row] = mean, covariance

    def _give_birth(self, measured: _Measured, column: Ints, stamp_ns: int) -> dict[int, int]:
        """Start a track for every box that nobody claimed; return its id → box number."""
        is_new = np.ones(len(measured.score), np.bool_)
        is_new[column] = False
        orphans = np.flatnonzero(is_new)
        chosen = _Measured(**{f.name: getattr(measured, f.name)[orphans] for f in fields(measured)})
        born = _born(chosen, self._next_id, stamp_ns, self.settings)
        self._next_id += len(orphans)
        self._tracks = self._tracks.followed_by(born)
        return dict(zip(born.track_id.tolist(), orphans.tolist(), strict=True))

    def _bury(self, stamp_ns: int) -> None:
        tracks, s = self._tracks, self.settings
        patience_s = np.where(tracks.is_confirmed, s.coast_s, s.tentative_coast_s)
        self._tracks = tracks.select((stamp_ns - tracks.last_seen_ns) / 1e9 <= patience_s)


def planar(world_from_ego: Pose) -> tuple[Floats, Floats]:
    """Give rotation (2, 2) and origin (2,) of the ego frame on the ground plane."""
    c, s = math.cos(world_from_ego.yaw_rad), math.sin(world_from_ego.yaw_rad)
    return np.array([[c, -s], [s, c]]), np.array([world_from_ego.x_m, world_from_ego.y_m])


def _measure(
    boxes: Sequence[Box3D],
    rotation: Floats,
    origin: Floats,
    velocity_sigma_mps: Mapping[Category, float],
) -> _Measured:
    rows = [
        (b.x_m, b.y_m, b.vx_mps, b.vy_mps, math.cos(b.yaw_rad), math.sin(b.yaw_rad),
         b.length_m, b.width_m, b.height_m, b.z_m, b.score)
        for b in boxes
    ]  # fmt: skip
    values = np.array(rows, np.float64).reshape(-1, 11)
    return _Measured(
        position_world=values[:, 0:2] @ rotation.T + origin,
        velocity_world=values[:, 2:4] @ rotation.T,
        velocity_sigma_mps=np.array([velocity_sigma_mps.get(b.category, np.inf) for b in boxes]),
        heading_world=values[:, 4:6] @ rotation.T,
        shape_m=values[:, 6:10],
        score=values[:, 10],
        category=np.array([_INDEX_OF[b.category] for b in boxes], np.int64),
        group=np.array([_GROUP_OF[b.category] for b in boxes], np.int64),
    )


def _born(measured: _Measured, first_id: int, stamp_ns: int, settings: TrackerSettings) -> _Tracks:
    """Start one tentative track per measured box."""
    count = len(measured.score)
    is_slow = np.isin(measured.category, _ON_FOOT) | (measured.group == _THINGS)
    prior = np.where(is_slow, settings.newborn_slow_speed_mps, settings.newborn_speed_mps)
    is_told = measured.velocity_sigma_mps < prior
    spread = np.full((count, 4), settings.position_sigma_m)
    spread[:, 2:] = np.where(is_told, measured.velocity_sigma_mps, prior)[:, None]
    velocity = np.where(is_told[:, None], measured.velocity_world, 0.0)
    votes = np.zeros((count, len(CATEGORIES)))
    votes[np.arange(count), measured.category] = measured.score
    recent = np.zeros((count, settings.confirm_ticks), np.bool_)
    recent[:, 0] = True
    return _Tracks(
        mean_world=np.concatenate([measured.position_world, velocity], axis=1),
        covariance_world=np.square(spread)[:, :, None] * np.eye(4),
        shape_m=measured.shape_m,
        heading_world=measured.heading_world,
        votes=votes,
        score=measured.score,
        group=measured.group,
        track_id=first_id + np.arange(count, dtype=np.int64),
        first_seen_ns=np.full(count, stamp_ns, np.int64),
        last_seen_ns=np.full(count, stamp_ns, np.int64),
        hits=np.ones(count, np.int64),
        recent=recent,
        is_confirmed=np.full(count, settings.confirm_hits <= 1),
    )


def _agents(
    tracks: _Tracks,
    futures_of: dict[int, tuple[Trajectory, ...]],
    rotation: Floats,
    origin: Floats,
    settings: TrackerSettings,
) -> tuple[Agent, ...]:
    """Describe every track in the ego frame."""
    position = (tracks.mean_world[:, :2] - origin) @ rotation
    is_on_foot = np.isin(tracks.votes.argmax(axis=1), _ON_FOOT)
    is_still = ~is_on_foot & ~_surely_moves(tracks, settings)
    velocity_world = np.where(is_still[:, None], 0.0, tracks.mean_world[:, 2:])
    velocity = velocity_world @ rotation
    heading = _driving_forwards(tracks, velocity_world) @ rotation
    yaw = np.arctan2(heading[:, 1], heading[:, 0])
    spread = rotation.T @ tracks.covariance_world[:, :2, :2] @ rotation
    columns = zip(
        position.tolist(), velocity.tolist(), yaw.tolist(), spread.reshape(-1, 4).tolist(),
        tracks.shape_m.tolist(), tracks.votes.argmax(axis=1).tolist(), tracks.score.tolist(),
        tracks.track_id.tolist(), tracks.first_seen_ns.tolist(), tracks.hits.tolist(),
        tracks.is_confirmed.tolist(), strict=True,
    )  # fmt: skip
    agents = []
    for (x, y), (
        vx,
        vy,
    ), yaw_rad, cov, shape, winner, score, track_id, first, hits, sure in columns:
        length, width, height, z = shape
        is_standing = math.hypot(vx, vy) < _STANDING_MPS
        box = Box3D(
            category=CATEGORIES[winner],
            x_m=x,
            y_m=y,
            z_m=z,
            length_m=length,
            width_m=width,
            height_m=height,
            yaw_rad=yaw_rad,
            vx_mps=vx,
            vy_mps=vy,
            score=score,
            attribute=Attribute.STOPPED if is_standing else Attribute.MOVING,
            source=BoxSource.NETWORK if track_id in futures_of else BoxSource.TRACKER,
            track_id=track_id,
            covariance=(cov[0], cov[1], cov[3]),
        )
        agents.append(
            Agent(
                track_id=track_id,
                box=box,
                first_seen_ns=first,
                hits=hits,
                is_confirmed=sure,
                futures=futures_of.get(track_id, ()),
            )
        )
    return tuple(agents)


def _surely_moves(tracks: _Tracks, settings: TrackerSettings) -> NDArray[np.bool_]:
    """Say whose velocity is more than ``sure_sigmas`` standard deviations from zero, (N,)."""
    velocity, spread = tracks.mean_world[:, 2:], tracks.covariance_world[:, 2:, 2:]
    square = (velocity**2).sum(axis=1)
    along = np.einsum("ni,nij,nj->n", velocity, spread, velocity)  # of the speed, times its square
    return np.asarray(square**2 > settings.sure_sigmas**2 * along)


def _gap_m(tracks: _Tracks, points_world: Floats) -> Floats:
    """Measure how far points (R, 2) lie outside the outlines of the tracks' boxes, (N, R)."""
    heading = tracks.heading_world
    heading = heading / np.maximum(np.hypot(heading[:, 0], heading[:, 1]), 1e-9)[:, None]
    offset = points_world[None] - tracks.mean_world[:, None, :2]  # (N, R, 2)
    along = np.abs((offset * heading[:, None]).sum(axis=2)) - 0.5 * tracks.shape_m[:, :1]
    across = (
        np.abs(offset[..., 1] * heading[:, :1] - offset[..., 0] * heading[:, 1:])
        - 0.5 * tracks.shape_m[:, 1:2]
    )
    return np.asarray(np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0)))


def _driving_forwards(tracks: _Tracks, velocity: Floats) -> Floats:
    """Turn round the heading of vehicles that seem to drive backwards: front and rear look alike."""
    is_fast = np.hypot(velocity[:, 0], velocity[:, 1]) > _HEADING_BY_MOTION_MPS
    is_backwards = (velocity * tracks.heading_world).sum(axis=1) < 0.0
    is_flipped = is_fast & is_backwards & (tracks.group == _VEHICLES)
    return np.where(is_flipped[:, None], -tracks.heading_world, tracks.heading_world)
