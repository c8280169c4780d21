"""One life of a vehicle, as between two ignitions: ``prepare``, ``drive``, ``finish``.

Prepare: learn the campaigns, send what waits, look for an update. Drive: run a source to its end in lockstep
and report the bundle's health to the update agent. Finish: send clips and reports. What the fleet has not
acknowledged stays in the spool for the next life, and so do clips that a killed drive had sealed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from edge.board.profile import device_profile
from edge.budget import Clock, DeadlineSummary, MonotonicClock
from edge.clip import CLIP_SUFFIX, DriveClips, DriveIdentity
from edge.contracts.campaign import Campaign
from edge.contracts.errors import LinkDownError, RingroadError
from edge.contracts.rig import Rig
from edge.contracts.scene import Rung
from edge.contracts.time import NS_PER_S
from edge.health import BundleHealth
from edge.perceive.loaded import LoadedBundle, load_bundle
from edge.runtime import TickResult, TickSource
from edge.upload import SpoolItem, UplinkCounts
from edge.vehicle.exchange import Exchange, ignore_count
from edge.vehicle.home import VehicleHome
from edge.vehicle.settings import VehicleSettings
from edge.vehicle.start import Vehicle, start_vehicle

_log = logging.getLogger(__name__)

ProgressReport = Callable[[int, str], None]
"""Called with the ticks driven and a note; no decision depends on it."""
OnTick = Callable[[TickResult], None]
"""Called with each tick of a drive as it ends; no decision of the vehicle depends on it."""


class RigSource(TickSource, Protocol):
    """A source of frame sets, and the rig that they come from."""

    @property
    def rig(self) -> Rig:
        """Calibration of the vehicle."""
        ...


@dataclass(frozen=True, eq=False)
class LifeOutcome:
    """The result of one life."""

    phase: str
    """Of the installed bundle, at the end."""
    refusal: str
    """Why an offered update was not taken; empty if none was refused."""
    health: BundleHealth
    """Of the bundle that drove last."""
    ticks: int
    faults: int
    rungs: dict[Rung, int]
    clips: DriveClips
    deadline: DeadlineSummary
    measured_ms: dict[str, tuple[float, ...]]
    """Time that this process took, per stage and tick; a side log in lockstep."""
    counts: UplinkCounts
    bytes_sent: int
    """Of the clips that the fleet took; greetings and repeated chunks depend on the clock."""


@dataclass(eq=False)
class Life:
    """Runs one life of the vehicle whose home folder is open."""

    home: VehicleHome
    settings: VehicleSettings
    identity: DriveIdentity
    utc_ns: Callable[[], int]
    """Current UTC, for updates and reports."""
    report: ProgressReport = lambda ticks, note: None
    clock: Clock = field(default_factory=MonotonicClock)
    """A clock that only goes forward, by which the waits for the fleet are measured."""

    def __post_init__(self) -> None:
        self._profile = device_profile(self.settings.profile)
        self._campaigns: Sequence[Campaign] = ()
        self._exchange = Exchange(self.home.uplink, self.settings, self.clock)
        self._waiting: list[SpoolItem] = []
        self._refusal = ""
        self._ticks = self._earlier_faults = 0
        self._noted_ns: int | None = None
        self._unloadable = ""
        """Installed bundle that did not load in this drive."""

    def prepare(self) -> None:
        """Learn the campaigns, send what waits, take in what lies sealed, look for an update.

        Raises:
            LinkDownError: The fleet did not answer.
        """
        self.report(0, "asks its fleet")
        self._waiting = self.home.spool.pending()
        self._campaigns = self._exchange.wait_for_campaigns()
        with suppress(LinkDownError):  # first, so that a full disk empties before more is written
            self._send(len(self._waiting))
        self._waiting += self.home.spool.take(self.home.left_over())
        found = self.home.agent.step(self.utc_ns())
        self._refusal = str(found.refusal or "")

    def drive(self, source: RigSource, on_tick: OnTick = lambda result: None) -> None:
        """Run a source to its end in lockstep.

        Raises:
            ContractError: The installed bundle does not load.
            OperatorError: It has no file for this board, or the profile does not know its costs.
        """
        bundle = self._installed(source.rig)
        self.report(0, f"starts on {bundle.bundle_id}")
        self._vehicle = start_vehicle(
            self.settings,
            self.identity,
            rig=source.rig,
            bundle=bundle,
            profile=self._profile,
            campaigns=self._campaigns,
            clips_folder=self.home.clips_folder(self.identity.drive_id),
        )
        for result in self._vehicle.drive(source):
            self._ticks += 1
            on_tick(result)
            self.follow(self._vehicle, result, source.rig)
            self._note(result)
        self._clips = self._vehicle.end()

    def follow(self, vehicle: Vehicle, result: TickResult, rig: Rig) -> None:
        """Report a tick to the update agent, and swap to the bundle that it then chooses.

        A tick that is excused says nothing about the bundle. A bundle that fails its trial is left at once.
        """
        if result.is_excused:
            return
        agent = self.home.agent
        agent.on_ticks(1, int(result.perception.has_fault), self.utc_ns())
        wanted = agent.state.driving.bundle_id
        if wanted not in (result.perception.bundle_id, self._unloadable):
            self._swap(vehicle, wanted, rig)

    def _swap(self, vehicle: Vehicle, bundle_id: str, rig: Rig) -> None:
        """Load the installed bundle and drive on it; one that does not load leaves the last one driving."""
        try:
            bundle = self._installed(rig)
        except (RingroadError, OSError) as error:
            self._unloadable = bundle_id
            _log.error("bundle_not_loaded", extra={"bundle_id": bundle_id, "reason": str(error)})
            return
        self._earlier_faults += vehicle.runtime.health.faults
        vehicle.runtime.swap(bundle)

    def finish(self) -> LifeOutcome:
        """Send clips and health reports, and sum up.

        Raises:
            LinkDownError: The fleet took nothing for too long; what was not sent stays in the spool.
        """
        home, health = self.home, self._vehicle.runtime.health
        self._waiting += home.spool.take(self._clips.kept)
        reports = home.agent.reports(health.rungs, self.utc_ns())
        for report in reports:
            home.uplink.report(report)
        self._send(len(home.spool.pending()))
        while found_room := home.spool.take(home.left_over()):
            self._waiting += found_room
            self._send(len(found_room))
        for report in reports:
            home.agent.acknowledge(report.sequence)
        self.report(self._ticks, f"home, clips uploaded: {self._exchange.acknowledged}")
        return self._outcome(health)

    def _send(self, waiting: int) -> None:
        """Send what may leave, and report how many of the waiting clips were acknowledged."""

        def note(acknowledged: int) -> None:
            self.report(self._ticks, f"uploads, clips: {acknowledged} of {waiting}")

        self._exchange.send(note if waiting else ignore_count)

    def _installed(self, rig: Rig) -> LoadedBundle:
        manifest, folder = self.home.agent.active()
        return load_bundle(manifest, folder, rig, self._profile)

    def _note(self, result: TickResult) -> None:
        """Report progress once a second of the drive."""
        stamp_ns = result.perception.stamp_ns
        if self._noted_ns is None:
            self._noted_ns = stamp_ns
        if not 0 <= stamp_ns - self._noted_ns < NS_PER_S:
            self._noted_ns = stamp_ns
            folder = self.home.clips_folder(self.identity.drive_id)
            self.report(
                self._ticks, f"drives, clips kept: {sum(1 for _ in folder.glob('*' + CLIP_SUFFIX))}"
            )

    def _outcome(self, health: BundleHealth) -> LifeOutcome:
        ledger = self._vehicle.runtime.ledger
        taken = {
            item.clip_id: item.blob_bytes
            for item in self._waiting
            if not self.home.spool.get(item.clip_id)
        }
        return LifeOutcome(
            phase=str(self.home.agent.state.phase),
            refusal=self._refusal,
            health=health,
            ticks=self._ticks,
            faults=self._earlier_faults + health.faults,
            rungs=dict(ledger.rungs),
            clips=self._clips,
            deadline=ledger.summary(),
            measured_ms={stage: tuple(values) for stage, values in ledger.measured.items()},
            counts=self.home.uplink.counts,
            bytes_sent=sum(taken.values()),
        )
