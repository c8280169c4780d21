"""A simulated world as a source of frame sets; ``edge.vehicle`` starts the vehicle that drives in it.

No code of the vehicle depends on the world being simulated. The truth goes to a log beside the vehicle's own
folder; no byte of it enters a clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from edge.board.rig import load_rig
from edge.contracts.fields import Count, Finite, Name, Seconds, Text
from edge.contracts.rig import Rig
from edge.contracts.scene import Plan
from edge.contracts.sensors import FrameSet
from edge.vehicle import DriveIdentity, VehicleSettings
from sim.sense.annotator import truth_path
from sim.sense.truth import TruthBox, TruthFrame, TruthLog
from sim.simulation.settings import WorldSettings
from sim.simulation.simulation import Simulation, simulate
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
    """Moving vehicles per kilometre of driving lane; None: as in the world's settings."""
    world: WorldSettings = msgspec.field(default_factory=WorldSettings)
    vehicle: VehicleSettings = msgspec.field(default_factory=VehicleSettings)

    @property
    def rate_hz(self) -> float:
        """Frame sets per second of the vehicle's rig."""
        return load_rig(self.vehicle.rig).rate_hz

    @property
    def ticks(self) -> int:
        """Number of frame sets of the drive."""
        return round(self.seconds * self.rate_hz)


@dataclass(eq=False)
class SimulatedRoad:
    """A simulated world as the runtime's source of frame sets; logs the truth of each."""

    world: Simulation
    log: TruthLog
    frames_left: int
    progress_m: float = 0.0
    speed_mps: float = 0.0
    """Of the vehicle, in its newest frame set."""
    truths: tuple[TruthBox, ...] = ()
    """What was around it then."""
    _collided: set[int] = field(default_factory=set)

    @property
    def rig(self) -> Rig:
        """Calibration of the simulated vehicle."""
        return self.world.rig

    @property
    def collisions(self) -> int:
        """Simulated road users that the vehicle has touched."""
        return len(self._collided)

    @property
    def placed(self) -> dict[str, int]:
        """How often each encounter of the scenario was placed."""
        return dict(self.world.world.placed)

    def next_frame_set(self, plan: Plan | None) -> FrameSet | None:
        """Move the world by the last plan and sense it; None when the drive is over."""
        if self.frames_left <= 0:
            return None
        self.frames_left -= 1
        frame_set, boxes = self.world.step(plan)
        self._remember(frame_set, boxes)
        return frame_set

    def _remember(self, frame_set: FrameSet, boxes: tuple[TruthBox, ...]) -> None:
        self._collided.update(self.world.world.now().touched_ids)
        self.speed_mps, self.truths = frame_set.ego.speed_mps, boxes
        self.progress_m += self.speed_mps / self.world.rate_hz
        self.log.append(
            TruthFrame(
                stamp_ns=frame_set.stamp_ns,
                world_from_ego=frame_set.ego.world_from_ego,
                boxes=boxes,
            )
        )


def simulated_vehicle(settings: VehicleSettings) -> VehicleSettings:
    """Return the settings of a simulated vehicle: its images may leave it, for they show no real person."""
    return replace(settings, recorder=replace(settings.recorder, privacy="synthetic"))


def identity_of(order: DriveOrder) -> DriveIdentity:
    """Return the identity that a drive's clips carry."""
    return DriveIdentity(
        vehicle_id=order.vehicle_id,
        drive_id=order.drive_id,
        seed=order.seed,
        rate_hz=order.rate_hz,
        software=SOFTWARE,
    )


@contextmanager
def open_road(order: DriveOrder, truth_folder: Path) -> Iterator[SimulatedRoad]:
    """Open the world of a drive; closing it checks that the scenario took place.

    Args:
        order: Where, how long, among what.
        truth_folder: Where the truth goes, for the annotator alone.

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
    log_path, mounted = truth_path(truth_folder, order.vehicle_id), load_rig(order.vehicle.rig)
    with (
        simulate(trip, order.world, mounted.rig, rate_hz=mounted.rate_hz) as world,
        TruthLog.open(log_path, order.vehicle_id) as log,
    ):
        yield SimulatedRoad(world, log, order.ticks)
        world.world.require_placed()
