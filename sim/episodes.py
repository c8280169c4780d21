"""Closed loop for the gate: drive a bundle through a seeded scenario and count what went wrong.

    python -m sim.episodes ORDER.json RESULT.json

An episode is a process of its own, because SUMO holds one world per process and because earlier episodes must
not change it: the same order gives the same result. Everything is counted from the world's truth and not from
the vehicle's perception, so a bundle that detects nothing cannot look careful.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from conf.named import load
from edge.board.profile import device_profile
from edge.board.rig import load_rig
from edge.contracts.fields import Name
from edge.contracts.scene import TTC_FREE_S, Plan, PlanSource
from edge.contracts.sensors import FrameSet
from edge.perceive.loaded import load_bundle
from edge.perceive.perceiver import read_manifest
from edge.perceive.tensors import is_drivable
from edge.plan.overlap import gaps_over_time
from edge.vehicle import DriveIdentity, VehicleSettings, start_vehicle
from fleet.evaluate.episodes import EpisodeResult, EpisodeSpec
from fleet.work.process import Work, run_all
from sim.place.ground import Ground
from sim.simulation.settings import WorldSettings
from sim.simulation.simulation import Simulation, simulate
from sim.world.encounters import load_scenario
from sim.world.snapshot import Snapshot
from sim.world.trip import EgoMode, Trip

HARD_BRAKE_MPS2 = 4.0
_TTC_HORIZON_S, _TTC_STEP_S = 4.0, 0.1
_RASTER_CELLS, _RASTER_RANGE_M = 24, 4.8


class EpisodeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The order to a child process."""

    spec: EpisodeSpec
    bundle: str
    """Folder of the bundle that drives."""
    profile: Name
    world: WorldSettings = msgspec.field(default_factory=WorldSettings)
    vehicle: VehicleSettings = msgspec.field(default_factory=VehicleSettings)


@dataclass
class EpisodeList:
    """A file of ``conf/episodes``."""

    episodes: list[EpisodeSpec] = field(default_factory=list)
    """The simulated runs, in order."""


def default_episodes() -> tuple[EpisodeSpec, ...]:
    """Return the episodes that a gate drives by default."""
    return load_episodes("default")


def load_episodes(name: str) -> tuple[EpisodeSpec, ...]:
    """Read ``conf/episodes/<name>.yaml``, or a list of one's own by the path of its file.

    Raises:
        OperatorError: There is no such list, or a key or value in it makes no sense.
    """
    return tuple(load("episodes", name, EpisodeList, what="episode list").episodes)


@dataclass
class ChildEpisodes:
    """An ``EpisodeRunner``: one child process per episode, a few side by side.

    ``logs``: folder of the orders, results and logs of the children. ``on_result``: called with each result.
    """

    logs: Path
    profile: str = "laptop"
    on_result: Callable[[EpisodeResult], None] = lambda result: None
    world: WorldSettings = field(default_factory=WorldSettings)
    vehicle: VehicleSettings = field(default_factory=VehicleSettings)

    def run(self, episodes: Sequence[EpisodeSpec], bundle_dir: Path) -> tuple[EpisodeResult, ...]:
        """Drive a bundle through episodes.

        Raises:
            JobError: A child failed; the message holds the last line it wrote.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        results: dict[str, Path] = {}
        work = []
        for episode in episodes:
            order = EpisodeOrder(
                spec=episode,
                bundle=str(bundle_dir),
                profile=self.profile,
                world=self.world,
                vehicle=self.vehicle,
            )
            content = msgspec.json.encode(order)
            name = f"episode-{episode.episode_id}-{hashlib.sha256(content).hexdigest()[:8]}"
            path, results[name] = self.logs / f"{name}.json", self.logs / f"{name}.result.json"
            path.write_bytes(content)
            work.append(Work(name, "sim.episodes", (str(path), str(results[name]))))
        run_all(work, self.logs, on_done=lambda name: self.on_result(_read(results[name])))
        return tuple(_read(path) for path in results.values())


def _read(path: Path) -> EpisodeResult:
    return msgspec.json.decode(path.read_bytes(), type=EpisodeResult)


def drive_episode(order: EpisodeOrder) -> EpisodeResult:
    """Drive one episode in this process.

    Raises:
        OperatorError: The bundle, the rig, the map, the place or the scenario does not exist, or the
            scenario placed nothing.
    """
    spec, folder = order.spec, Path(order.bundle)
    manifest, profile = read_manifest(folder), device_profile(order.profile)
    trip = Trip(
        road_map=spec.map_name,
        place_id=spec.place_id,
        scenario=load_scenario(spec.scenario),
        seed=spec.seed,
        ego_mode=EgoMode.PLAN,
    )
    mounted = load_rig(order.vehicle.rig)
    rate_hz = mounted.rate_hz
    with simulate(trip, order.world, mounted.rig, rate_hz=rate_hz) as vehicle:
        started = start_vehicle(
            order.vehicle,
            DriveIdentity(
                vehicle_id="v-episode", drive_id=spec.episode_id, seed=spec.seed, rate_hz=rate_hz
            ),
            rig=vehicle.rig,
            bundle=load_bundle(manifest, folder, vehicle.rig, profile),
            profile=profile,
        )
        course = _Course(vehicle, round(spec.duration_s * rate_hz), Tally(rate_hz=rate_hz))
        minimum_risk_ticks = sum(
            result.plan.source is PlanSource.MINIMUM_RISK for result in started.drive(course)
        )
        vehicle.world.require_placed()
    return course.tally.result(spec.episode_id, minimum_risk_ticks)


@dataclass
class Tally:
    """Adds up what went wrong, from one frame set to the next, at ``rate_hz`` frame sets a second."""

    rate_hz: float
    collisions: int = 0
    min_ttc_s: float = TTC_FREE_S
    progress_m: float = 0.0
    hard_brakes: int = 0
    max_deceleration_mps2: float = 0.0
    _touching: frozenset[int] = frozenset()
    _is_braking: bool = False
    _off_road_ticks: int = 0

    def add(self, snapshot: Snapshot, ground: Ground) -> None:
        """Take in the next instant."""
        touching = frozenset(snapshot.touched_ids)
        self.collisions += len(touching - self._touching)
        self._touching = touching
        deceleration = -snapshot.ego.acceleration_mps2
        is_braking = deceleration > HARD_BRAKE_MPS2
        self.hard_brakes += is_braking and not self._is_braking
        self._is_braking = is_braking
        self.max_deceleration_mps2 = max(self.max_deceleration_mps2, deceleration)
        self.progress_m += snapshot.ego.speed_mps / self.rate_hz
        self._off_road_ticks += is_off_road(snapshot, ground)
        self.min_ttc_s = min(self.min_ttc_s, true_time_to_collision_s(snapshot))

    def result(self, episode_id: str, minimum_risk_ticks: int) -> EpisodeResult:
        """Sum up; ticks become seconds, so that episodes of different rates can be compared."""
        return EpisodeResult(
            episode_id=episode_id,
            collisions=self.collisions,
            min_ttc_s=self.min_ttc_s,
            progress_m=self.progress_m,
            hard_brakes=self.hard_brakes,
            minimum_risk_s=minimum_risk_ticks / self.rate_hz,
            off_road_s=self._off_road_ticks / self.rate_hz,
            max_deceleration_mps2=self.max_deceleration_mps2,
        )


@dataclass
class _Course:
    """A simulated world as the runtime's source of frames; counts as it goes."""

    vehicle: Simulation
    frames_left: int
    tally: Tally

    def next_frame_set(self, plan: Plan | None) -> FrameSet | None:
        """Move the world by the last plan and sense it."""
        if self.frames_left <= 0:
            return None
        self.frames_left -= 1
        frame_set, _ = self.vehicle.step(plan)
        self.tally.add(self.vehicle.world.now(), self.vehicle.ground)
        return frame_set


def true_time_to_collision_s(snapshot: Snapshot) -> float:
    """Return when the ego touches something if it keeps speed and steering and others go straight on.

    Returns:
        Seconds, to a tenth; ``TTC_FREE_S`` when nothing is touched within four, or when it stands.
    """
    ego = snapshot.ego
    reach_m = ego.speed_mps * _TTC_HORIZON_S + 10.0
    x, y = ego.world_from_ego.x_m, ego.world_from_ego.y_m
    others = np.array(
        [
            (a.x_m - x, a.y_m - y, a.yaw_rad, a.length_m, a.width_m, a.vx_mps, a.vy_mps)
            for a in snapshot.entities
            if abs(a.x_m - x) < 2.0 * reach_m and abs(a.y_m - y) < 2.0 * reach_m
        ]
    ).reshape(-1, 7)
    if len(others) == 0 or ego.speed_mps < 0.1:
        return TTC_FREE_S
    time_s = np.arange(0.0, _TTC_HORIZON_S + 1e-9, _TTC_STEP_S)
    centre, yaw = _arc(snapshot, time_s)
    half = 0.5 * np.array([snapshot.body.length_m, snapshot.body.width_m])
    gaps = gaps_over_time(
        centre[None],
        yaw[None],
        np.tile(half, (1, len(time_s), 1)),
        others[:, None, :2] + time_s[:, None] * others[:, None, 5:7],
        np.tile(others[:, 2:3], (1, len(time_s))),
        0.5 * others[:, 3:5],
    )[0]
    is_hit = (gaps < 0.0).any(axis=1)
    return round(float(time_s[is_hit.argmax()]), 1) if is_hit.any() else TTC_FREE_S


def _arc(
    snapshot: Snapshot, time_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the middle of the ego's body (T, 2), relative to where its origin is, and its heading (T,)."""
    ego = snapshot.ego
    turned = ego.yaw_rate_radps * time_s
    yaw = ego.world_from_ego.yaw_rad + turned
    chord = ego.speed_mps * time_s * np.sinc(0.5 * turned / np.pi)
    middle = yaw - 0.5 * turned
    origin = chord[:, None] * np.stack([np.cos(middle), np.sin(middle)], axis=1)
    return origin + snapshot.body.centre_m * np.stack([np.cos(yaw), np.sin(yaw)], axis=1), yaw


def is_off_road(snapshot: Snapshot, ground: Ground) -> bool:
    """Return whether some of the ego's body is over ground that is not for driving."""
    raster = ground.drivable_raster(
        snapshot.ego.world_from_ego, cells=_RASTER_CELLS, range_m=_RASTER_RANGE_M
    )
    on_road = is_drivable(raster)
    centres = (np.arange(_RASTER_CELLS) + 0.5) * 2.0 * _RASTER_RANGE_M / _RASTER_CELLS
    centres -= _RASTER_RANGE_M
    body = snapshot.body
    rows = (centres > -body.rear_overhang_m) & (centres < body.front_m)
    columns = np.abs(centres) < body.half_width_m
    return not bool(on_road[np.ix_(rows, columns)].all())


def main(arguments: Sequence[str]) -> None:
    """Run one episode as ``ChildEpisodes`` orders it."""
    order_path, result_path = map(Path, arguments)
    order = msgspec.json.decode(order_path.read_bytes(), type=EpisodeOrder)
    result_path.write_bytes(msgspec.json.encode(drive_episode(order)))


if __name__ == "__main__":
    main(sys.argv[1:])
