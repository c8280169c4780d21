"""Start a vehicle: from its settings, rig and bundle to a runtime and a recorder that fit each other.

Simulated vehicles, gate episodes, replays and benchmarks all start here, so that they run the same vehicle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.budget import Charge
from edge.budget import Clock as StageClock
from edge.clip import Drive, DriveClips, DriveIdentity, Recorder
from edge.contracts.bundle import DeviceProfile
from edge.contracts.campaign import Campaign
from edge.contracts.rig import Rig
from edge.perceive.loaded import LoadedBundle
from edge.runtime import Runtime, TickResult, TickSource, drive
from edge.trigger import ControlStream
from edge.vehicle.settings import VehicleSettings


@dataclass(frozen=True, eq=False)
class Vehicle:
    """A vehicle that has been started and has not driven yet."""

    runtime: Runtime
    recorder: Recorder | None = None

    def drive(self, source: TickSource) -> Iterator[TickResult]:
        """Run a source to its end in lockstep; see ``edge.runtime.drive``."""
        return drive(self.runtime, source)

    def end(self) -> DriveClips:
        """End the drive: seal what is open and return the clips that were kept."""
        return DriveClips((), 0, 0, 0, 0) if self.recorder is None else self.recorder.close()


def start_vehicle(
    settings: VehicleSettings,
    identity: DriveIdentity,
    *,
    rig: Rig,
    bundle: LoadedBundle,
    profile: DeviceProfile,
    campaigns: Sequence[Campaign] = (),
    clips_folder: Path | None = None,
    charge: Charge | None = None,
    clock: StageClock | None = None,
) -> Vehicle:
    """Compose a vehicle.

    Args:
        settings: Numbers; ``settings.profile`` is not read, for ``profile`` is it.
        identity: What every clip says about its drive.
        rig: Calibration of this vehicle.
        bundle: The bundle that drives.
        profile: The board and what each stage costs on it.
        campaigns: Rules to arm; fixed before the first tick.
        clips_folder: Where clips are sealed; None records nothing.
        charge: Time that stages are charged: modelled unless given.
        clock: Clock that stages are measured by; the machine's unless given.

    Raises:
        OperatorError: The profile lacks a cost of this bundle, or the recorder's settings make no sense.
    """
    recorder = None
    if clips_folder is not None:
        about = Drive(identity, bundle.bundle_id, rig)
        recorder = Recorder(settings.recorder, about, campaigns, clips_folder)
    runtime = Runtime(
        settings.runtime,
        rig=rig,
        bundle=bundle,
        profile=profile,
        control=ControlStream(identity.seed, identity.vehicle_id, identity.drive_id),
        campaigns=campaigns,
        recorder=recorder,
        charge=charge,
        clock=clock,
        rate_hz=identity.rate_hz,
    )
    return Vehicle(runtime, recorder)
