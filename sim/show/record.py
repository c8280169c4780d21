"""Drive a simulated vehicle with any rig, at any rate, and record the whole drive as one clip."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge.board.profile import device_profile
from edge.board.rig import VehicleRig
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Plan
from edge.contracts.sensors import FrameSet
from edge.perceive.loaded import load_bundle, recorded_boxes
from edge.perceive.perceiver import read_manifest
from edge.vehicle import DriveIdentity, VehicleSettings, start_vehicle
from sim.simulation.settings import WorldSettings
from sim.simulation.simulation import Simulation, simulate
from sim.world.trip import EgoMode, Trip

VEHICLE_ID = "sim"
_MOST_S = 60.0
"""Longest window that a campaign can ask for."""


def record_drive(
    out: Path,
    trip: Trip,
    *,
    mounted: VehicleRig,
    seconds: float,
    bundle: Path | None = None,
    world: WorldSettings | None = None,
    vehicle: VehicleSettings | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> Path:
    """Record a drive and return the clip's path.

    Args:
        out: The clip to write.
        trip: Where, among what.
        mounted: What the vehicle carries, and how often it senses.
        seconds: How long it drives.
        bundle: Folder of the bundle that drives; without one the vehicle follows its route on radar and
            ultrasonics.
        world: Settings of the world.
        vehicle: Settings of the vehicle.
        on_frame: Called for each frame set.

    Raises:
        OperatorError: The drive is too long for one clip, or the world or the bundle cannot be opened.
    """
    if not 0.0 < seconds <= _MOST_S:
        raise OperatorError(f"a clip of {seconds:g} s cannot be recorded: at most {_MOST_S:g} s")
    settings = vehicle or VehicleSettings()
    recorder = replace(settings.recorder, privacy="synthetic", max_clip_s=_MOST_S + 1.0)
    profile = device_profile(settings.profile)
    rig = mounted.rig
    driving = (
        recorded_boxes({}, bundle_id="none")
        if bundle is None
        else load_bundle(read_manifest(bundle), bundle, rig, profile)
    )
    drive_id = _drive_id(trip, mounted, seconds, driving.bundle_id, world, settings)
    with (
        tempfile.TemporaryDirectory(dir=out.parent) as folder,
        simulate(
            replace(trip, ego_mode=EgoMode.PLAN), world, rig, rate_hz=mounted.rate_hz
        ) as simulation,
    ):
        driver = start_vehicle(
            replace(settings, recorder=recorder),
            DriveIdentity(vehicle_id=VEHICLE_ID, drive_id=drive_id, rate_hz=mounted.rate_hz),
            rig=rig,
            bundle=driving,
            profile=profile,
            campaigns=(_whole(),),
            clips_folder=Path(folder),
        )
        for _ in driver.drive(_Driven(simulation, round(seconds * mounted.rate_hz))):
            on_frame()
        (clip,) = driver.end().kept
        return clip.path.rename(out)


def _drive_id(trip: Trip, mounted: VehicleRig, *told: object) -> str:
    """Name a drive by what made it: another rig, scenario or seed is another clip, the same is the same."""
    what = repr((trip, mounted.rig.rig_id, mounted.rate_hz, *told))
    return f"recorded-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


@dataclass
class _Driven:
    """A simulated world as the runtime's source of frame sets."""

    simulation: Simulation
    frames_left: int

    def next_frame_set(self, plan: Plan | None) -> FrameSet | None:
        """Move the world by the last plan and sense it; None when the drive is over."""
        if self.frames_left <= 0:
            return None
        self.frames_left -= 1
        return self.simulation.step(plan)[0]


def _whole() -> Campaign:
    """Ask for everything: a random event in every tick, whose windows become one."""
    return Campaign(
        campaign_id="c-whole-drive",
        purpose="record a whole drive",
        rules=(ArmedRule(rule=TriggerRule.RANDOM, threshold=1.0, min_interval_s=0.5),),
        before_s=0.5,
        after_s=0.5,
        max_clips_per_drive=1,
        max_bytes_per_drive=2**40,
        until_ns=2**62,
    )
