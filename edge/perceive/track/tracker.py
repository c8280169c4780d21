"""Move the tracks through one tick: predict, associate, correct, start and end them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.contracts.classes import UNKNOWN, Category
from edge.contracts.rig import RADARS, RadarMount
from edge.contracts.scene import Agent, Box3D, RadarTrack, Trajectory
from edge.contracts.sensors import EgoState
from edge.perceive import kalman
from edge.perceive.association import nearest_pairs
from edge.perceive.radar_mounts import RadarMounts
from edge.perceive.track.agents import agents_of
from edge.perceive.track.rows import (
    VEHICLES,
    VULNERABLE,
    Floats,
    Ints,
    Measured,
    born,
    gap_m,
    measure,
    planar,
    surely_moves,
)
from edge.perceive.track.settings import TrackerSettings

_LEAST_LOOKS = 1e-6
"""Share of a measurement that the network's velocity counts for when its instant is repeated."""


@dataclass(eq=False)
class Tracker:
    """Follows boxes over ticks. Same boxes, same agents."""

    settings: TrackerSettings = field(default_factory=TrackerSettings)
    velocity_sigma_mps: Mapping[Category, float] = field(default_factory=dict)
    """Error per axis of the network's velocity, as the driving bundle states it; of a class that is not
    listed the velocity is ignored."""
    radars: Sequence[RadarMount] = RADARS
    """Radars of the rig; radial speeds are along lines of sight through them."""

    def __post_init__(self) -> None:
        self._mounts = RadarMounts(self.radars)
        self.numbers: dict[Category, int] = {UNKNOWN: 0}
        """Per class, the column of the votes for it; a class gets one when the first box names it."""
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump in time. Track ids go on."""
        nothing = measure((), np.eye(2), np.zeros(2), {}, self.numbers)
        self._tracks = born(nothing, 0, 0, len(self.numbers), self.settings)
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
            stamp_ns: When the boxes were seen. A stamp that steps back resets the tracker; one that
                repeats is the same instant again.
            radar_tracks: What the radar follows by itself, in the ego frame of this tick.

        Returns:
            Every living track, tentative ones included, oldest first, in the ego frame. The box of an
            agent that was seen in this tick has source ``NETWORK``, a coasting one ``TRACKER``.
        """
        rotation, origin = planar(ego.world_from_ego)
        self._number_classes(boxes)
        measured = measure(boxes, rotation, origin, self.velocity_sigma_mps, self.numbers)
        self._predict(stamp_ns)
        row, column = self._associate(measured, stamp_ns)
        self._take_in(measured, row, column, stamp_ns)
        self._correct_by_radar(radar_tracks, rotation, origin)
        column_of = dict(
            zip(self._tracks.track_id[row].tolist(), column.tolist(), strict=True)
        ) | self._give_birth(measured, column, stamp_ns)
        self._bury(stamp_ns)
        futures_of = {
            track_id: futures[column] if column < len(futures) else ()
            for track_id, column in column_of.items()
        }
        return self._describe(futures_of, rotation, origin)

    def coast(
        self, ego: EgoState, stamp_ns: int, radar_tracks: Sequence[RadarTrack] = ()
    ) -> tuple[Agent, ...]:
        """Advance by a tick without network output: no track gains a hit and none counts as missed."""
        rotation, origin = planar(ego.world_from_ego)
        self._predict(stamp_ns)
        self._correct_by_radar(radar_tracks, rotation, origin)
        self._bury(stamp_ns)
        return self._describe({}, rotation, origin)

    def _describe(
        self, futures_of: dict[int, tuple[Trajectory, ...]], rotation: Floats, origin: Floats
    ) -> tuple[Agent, ...]:
        names = tuple(self.numbers)
        return agents_of(self._tracks, names, futures_of, rotation, origin, self.settings)

    def _number_classes(self, boxes: Sequence[Box3D]) -> None:
        """Give every class that is new a number, and every track a column for votes on it."""
        for box in boxes:
            self.numbers.setdefault(box.category, len(self.numbers))
        lacking = len(self.numbers) - self._tracks.votes.shape[1]
        if lacking:
            self._tracks.votes = np.pad(self._tracks.votes, ((0, 0), (0, lacking)))

    def _predict(self, stamp_ns: int) -> None:
        if stamp_ns < self._stamp_ns:
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
        tracks.mean_world, tracks.covariance_world = kalman.predict_filters(
            tracks.mean_world, tracks.covariance_world, dt_s, acceleration
        )

    def _associate(self, measured: Measured, stamp_ns: int) -> tuple[Ints, Ints]:
        tracks, s = self._tracks, self.settings
        offset = tracks.mean_world[:, None, :2] - measured.position_world[None]
        cost = np.hypot(offset[..., 0], offset[..., 1])
        favourite = tracks.votes.argmax(axis=1)
        cost += s.other_class_m * (favourite[:, None] != measured.category[None])
        cost[tracks.group[:, None] != measured.group[None]] = np.inf
        gate = np.array([s.vehicle_gate_m, s.vulnerable_gate_m, s.thing_gate_m])[tracks.group]
        gate = gate + s.gate_growth_mps * (stamp_ns - tracks.last_seen_ns) / 1e9
        return nearest_pairs(cost, gate[:, None])

    def _take_in(self, measured: Measured, row: Ints, column: Ints, stamp_ns: int) -> None:
        tracks, s = self._tracks, self.settings
        seen = np.concatenate(
            [measured.position_world[column], measured.velocity_world[column]], axis=1
        )
        sigma = np.full((len(row), 4), s.position_sigma_m)
        looks = (stamp_ns - tracks.last_seen_ns[row]) / 1e9 / s.network_velocity_s
        share = np.sqrt(np.clip(looks, _LEAST_LOOKS, 1.0))
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

    def _correct_by_radar(
        self, radar_tracks: Sequence[RadarTrack], rotation: Floats, origin: Floats
    ) -> None:
        """Correct pedestrians and animals by the nearest radar tracks, vehicles by those on their bodies."""
        values = np.array([(r.x_m, r.y_m, r.vx_mps, r.vy_mps) for r in radar_tracks]).reshape(-1, 4)
        position = values[:, :2] @ rotation.T + origin
        radar = np.concatenate([position, values[:, 2:] @ rotation.T], axis=1)
        is_free = np.ones(len(radar), np.bool_)
        is_free[self._correct_vulnerable(radar)] = False
        mounts_world = self._mounts.in_world(rotation, origin)
        number = self._mounts.seeing(values[is_free, :2])
        self._correct_vehicles(radar[is_free], mounts_world[number])

    def _correct_vulnerable(self, radar: Floats) -> Ints:
        """Correct place and velocity by ``radar`` (R, 4); return which of them were used."""
        tracks, s = self._tracks, self.settings
        offset = tracks.mean_world[:, None, :2] - radar[None, :, :2]
        cost = np.hypot(offset[..., 0], offset[..., 1])
        cost[tracks.group != VULNERABLE] = np.inf
        row, column = nearest_pairs(cost, s.radar_gate_m)
        sigma = [s.radar_position_sigma_m] * 2 + [s.radar_velocity_sigma_mps] * 2
        self._correct(row, radar[column], np.tile(sigma, (len(row), 1)))
        return column

    def _correct_vehicles(self, radar: Floats, mount_world: Floats) -> None:
        """Correct the radial speed of vehicles by ``radar`` (R, 4), measured from ``mount_world`` (R, 2).

        The place of an echo on the body says little, so the position is not corrected. Of several echoes on a
        body the one that agrees best counts. An echo of another road user does little harm: it must agree
        with the vehicle's boxes, sets no standing vehicle in motion and stops no moving one.
        """
        tracks, s = self._tracks, self.settings
        ray = radar[:, :2] - mount_world
        sight = ray / np.maximum(np.hypot(ray[:, 0], ray[:, 1]), 0.1)[:, None]  # (R, 2)
        radial = (radar[:, 2:] * sight).sum(axis=1)  # (R,)
        covariance = tracks.covariance_world[:, 2:, 2:]
        variance = np.einsum("ri,nij,rj->nr", sight, covariance, sight)  # (N, R)
        error = radial[None] - tracks.mean_world[:, 2:] @ sight.T
        cost = error**2 / (variance + s.radar_velocity_sigma_mps**2)
        is_moving = surely_moves(tracks, s)[:, None]
        is_possible = (
            (tracks.group == VEHICLES)[:, None]
            & (gap_m(tracks, radar[:, :2]) <= s.radar_outline_m)
            & (variance <= s.radar_known_mps**2)
            & (is_moving == (np.abs(radial) >= s.radar_standing_mps)[None])
        )
        row, column = nearest_pairs(np.where(is_possible, cost, np.inf), s.radar_gate_sigmas**2)
        mean, covariance = tracks.mean_world[row], tracks.covariance_world[row]
        direction = np.concatenate([np.zeros((len(row), 2)), sight[column]], axis=1)
        noise = np.full(len(row), s.radar_velocity_sigma_mps**2)
        kalman.correct_filters(mean, covariance, direction, radial[column], noise)
        tracks.mean_world[row], tracks.covariance_world[row] = mean, covariance

    def _correct(self, row: Ints, seen: Floats, sigma: Floats) -> None:
        """Take measured x, y, vx, vy (R, 4), each with its sigma (R, 4), into the tracks in these rows."""
        tracks = self._tracks
        mean, covariance = tracks.mean_world[row], tracks.covariance_world[row]
        for k in range(4):
            direction = np.broadcast_to(np.eye(4)[k], mean.shape)
            kalman.correct_filters(mean, covariance, direction, seen[:, k], sigma[:, k] ** 2)
        tracks.mean_world[row], tracks.covariance_world[row] = mean, covariance

    def _give_birth(self, measured: Measured, column: Ints, stamp_ns: int) -> dict[int, int]:
        """Start a track for every box that no track claimed; return its id → box number."""
        is_new = np.ones(len(measured.score), np.bool_)
        is_new[column] = False
        orphans = np.flatnonzero(is_new)
        newborn = born(
            measured.select(orphans), self._next_id, stamp_ns, len(self.numbers), self.settings
        )
        self._next_id += len(orphans)
        self._tracks = self._tracks.followed_by(newborn)
        return dict(zip(newborn.track_id.tolist(), orphans.tolist(), strict=True))

    def _bury(self, stamp_ns: int) -> None:
        tracks, s = self._tracks, self.settings
        patience_s = np.where(tracks.is_confirmed, s.coast_s, s.tentative_coast_s)
        self._tracks = tracks.select((stamp_ns - tracks.last_seen_ns) / 1e9 <= patience_s)
