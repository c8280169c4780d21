"""A simulated vehicle drives: a world, the edge runtime that real vehicles run, a recorder, a truth log.

Nothing of the runtime knows that the world is simulated. The truth goes to a log beside the vehicle's
own folder; no byte of it enters a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.budget import DeadlineSummary
from edge.clip import Drive as DriveIdentity
from edge.clip import DriveClips, Recorder, RecorderSettings
from edge.contracts.bundle import BundleManifest, DeviceProfile
from edge.contracts.campaign import Campaign
from edge.contracts.fields import Count, Finite, Name, Seconds, Text
from edge.contracts.scene import Plan
from edge.contracts.sensors import FrameSet
from edge.contracts.time import FRAME_RATE_HZ, Clock, ClockKind
from edge.perceive.perceiver import load_perceivers
from edge.runtime import BundleHealth, Runtime, RuntimeSettings, TickResult, drive
from edge.trigger import ControlStream
from sim.annotator import truth_path
from sim.sense.truth import TruthBox, TruthFrame, TruthLog
from sim.settings import WorldSettings
from sim.simulation import Simulation, simulate
from sim.world.encounters import load_scenario
from sim.world.trip import EgoMode, Trip

SOFTWARE = "ringroad-sim"


class DriveOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One drive of one simulated vehicle."""

    vehicle_id: Name
    drive_id: Name
    road_map: Text
    place_id: Name
    scenario: Name = "none"
    seconds: Seconds
    seed: Count = 0
    is_night: bool = False
    vehicles_per_km: Finite | None = None
    """How much else drives, per kilometre of driving lane; None: as the world's settings say."""
    world: WorldSettings = msgspec.field(default_factory=WorldSettings)


@dataclass(frozen=True, eq=False)
class DriveOutcome:
    """What a drive brought home, and how the bundle did."""

    clips: DriveClips
    health: BundleHealth
    ticks: int
    collisions: int
    progress_m: float
    placed: dict[str, int]
    deadline: DeadlineSummary
    """In the modelled time that lockstep charges."""
    measured_ms: dict[str, tuple[float, ...]]
    """What this process really took, per stage and tick; decides nothing."""


@dataclass
class _Road:
    """A simulated world as the runtime's source of frames; remembers the truth of each."""

    world: Simulation
    log: TruthLog
    frames_left: int
    collisions: set[int] = field(default_factory=set)
    progress_m: float = 0.0

    def next_frame_set(self, plan: Plan | None) -> FrameSet | None:
        """Move the world by the last plan and look."""
        if self.frames_left <= 0:
            return None
        self.frames_left -= 1
        frame_set, boxes = self.world.step(plan)
        self._remember(frame_set, boxes)
        return frame_set

    def _remember(self, frame_set: FrameSet, boxes: tuple[TruthBox, ...]) -> None:
        self.collisions.update(self.world.world.now().touched_ids)
        self.progress_m += frame_set.ego.speed_mps / FRAME_RATE_HZ
        self.log.append(
            TruthFrame(
                stamp_ns=frame_set.stamp_ns,
                world_from_ego=frame_set.ego.world_from_ego,
                boxes=boxes,
            )
        )


def drive_order(
    order: DriveOrder,
    *,
    manifest: BundleManifest,
    bundle_folder: Path,
    profile: DeviceProfile,
    campaigns: Sequence[Campaign],
    clips_folder: Path,
    truth_folder: Path,
    on_tick: Callable[[int, TickResult], None] = lambda tick, result: None,
) -> DriveOutcome:
    """Drive in lockstep from the first frame to the last.

    Args:
        order: Where, how long, among what.
        manifest: The bundle that drives.
        bundle_folder: Its files, each under its SHA-256.
        profile: The board whose latency is charged.
        campaigns: What to record; fixed before the first tick.
        clips_folder: Where clips are sealed.
        truth_folder: Where the truth goes, for the annotator alone.
        on_tick: Hears of every tick.

    Raises:
        OperatorError: The scenario placed nothing, or the world cannot be built.
    """
    trip = Trip(
        road_map=order.road_map,
        place_id=order.place_id,
        scenario=load_scenario(order.scenario),
        seed=order.seed,
        is_night=order.is_night,
        ego_mode=EgoMode.PLAN,
        vehicles_per_km=order.vehicles_per_km,
    )
    log_path = truth_path(truth_folder, order.vehicle_id)
    with (
        simulate(trip, order.world) as world,
        TruthLog.open(log_path, order.vehicle_id) as log,
    ):
        identity = DriveIdentity(
            vehicle_id=order.vehicle_id,
            drive_id=order.drive_id,
            bundle_id=manifest.bundle_id,
            rig=world.rig,
            clock=Clock(kind=ClockKind.VIRTUAL),
            software=SOFTWARE,
        )
        recorder = Recorder(
            RecorderSettings(privacy="synthetic"), identity, tuple(campaigns), clips_folder
        )
        runtime = Runtime(
            RuntimeSettings(),
            rig=world.rig,
            manifest=manifest,
            perceivers=load_perceivers(manifest, bundle_folder, world.rig, profile),
            profile=profile,
            control=ControlStream(order.seed, order.vehicle_id, order.drive_id),
            campaigns=campaigns,
            recorder=recorder,
        )
        road = _Road(world, log, round(order.seconds * FRAME_RATE_HZ))
        for tick, result in enumerate(drive(runtime, road)):
            on_tick(tick, result)
        world.world.require_placed()
        return DriveOutcome(
            clips=recorder.close(),
            health=runtime.health,
            ticks=runtime.health.ticks,
            collisions=len(road.collisions),
            progress_m=road.progress_m,
            placed=dict(world.world.placed),
            deadline=runtime.ledger.summary(),
            measured_ms={k: tuple(v) for k, v in runtime.ledger.measured.items()},
        )
