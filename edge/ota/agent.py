"""Fetch the bundle that the fleet assigned to this vehicle, and keep it only if it passes its trial.

    check ─► fetch ─► verify ─► stage ─► probe ─► switch (trial) ─► commit, or back

A failure in any step leaves the slot that drives untouched. Each step ends in one durable record (see
``state``), and a process that starts again goes on from there, even when the last one died in the middle.
"""

from __future__ import annotations

import fcntl
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge.contracts.bundle import BundleManifest
from edge.contracts.errors import OperatorError, RingroadError
from edge.contracts.release import Release
from edge.contracts.scene import Rung
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import HealthReport, InstallPhase
from edge.ota import state as states
from edge.ota.deliver import deliver
from edge.ota.disk import Disk, LocalDisk
from edge.ota.fetch import FetchSettings, HttpLink, Link, trim_partials
from edge.ota.install import STATE_FILE, is_whole, read_active, recovered
from edge.ota.metadata import Identity, Offer, Repositories, TrustAnchors
from edge.ota.probe import BundleProbe
from edge.ota.record import DurableRecord
from edge.ota.refusal import Refusal, RefusalKind, refusal_of
from edge.ota.slots import fill_slot, read_slot, slot_folder
from edge.ota.state import BundlePhase, InstallEvent, InstallState, SlotRecord, TrialRule

logger = logging.getLogger(__name__)

UpdateCheck = Callable[[int], Offer | Refusal | None]
"""Look at the repositories at a UTC time in nanoseconds."""

PHASES = {
    BundlePhase.IDLE: InstallPhase.IDLE,
    BundlePhase.STAGED: InstallPhase.IDLE,
    BundlePhase.TRIAL: InstallPhase.TRIAL,
    BundlePhase.COMMITTED: InstallPhase.COMMITTED,
    BundlePhase.REVERTED: InstallPhase.REVERTED,
}


REMEMBERED_REPORTS = 1024
"""How many sent reports can still be acknowledged."""


@dataclass
class AgentSettings:
    """Source of updates, and the rules of their trial."""

    base_url: str = "http://127.0.0.1:8400"
    """Where the tree of both repositories is served."""
    reserve_bytes: int = 64 * 1024 * 1024
    """Free space that an update never touches."""
    progress_s: float = 1.0
    """How often a trial's count is made durable; a power loss forgets at most so much of it."""
    trial: TrialRule = field(default_factory=TrialRule)
    fetch: FetchSettings = field(default_factory=FetchSettings)


@dataclass(frozen=True)
class UpdateOutcome:
    """Result of one look at the repositories."""

    phase: BundlePhase
    bundle_id: str
    """The bundle that drives now."""
    refusal: Refusal | None = None


class UpdateAgent:
    """One per vehicle; ``open_agent`` builds it with its lock, disk and link."""

    def __init__(
        self,
        *,
        settings: AgentSettings,
        identity: Identity,
        disk: Disk,
        check: UpdateCheck,
        link: Link,
        probe: BundleProbe,
        boot_id: str,
        now_ns: int,
    ) -> None:
        """Start on what the last process left: recover, and count the try of a bundle on trial.

        Raises:
            OperatorError: No bundle was ever installed.
            HashMismatchError: No slot holds a whole bundle any more.
        """
        self._settings = settings
        self._identity = identity
        self._disk = disk
        self._check = check
        self._link = link
        self._probe = probe
        self._boot_id = boot_id
        self._counted_ns = now_ns
        self._next_sequence = 0
        self._sent: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_REPORTS)
        trim_partials(disk, settings.fetch.chunk_bytes)
        self._record = DurableRecord(disk, STATE_FILE, InstallState)
        self._stored = self._record.load()
        self._state = recovered(disk, self._stored, now_ns)
        self._save(states.booted(self._state, now_ns))

    @property
    def state(self) -> InstallState:
        """What the agent remembers."""
        return self._state

    def active(self) -> tuple[BundleManifest, Path]:
        """Return the bundle that drives and its folder, where each blob lies under its SHA-256.

        Raises:
            HashMismatchError: The slot was damaged since this agent started.
        """
        return read_active(self._disk, self._state)

    def step(self, now_ns: int, *, may_switch: bool = True) -> UpdateOutcome:
        """Look once at the repositories and go as far as possible.

        Args:
            now_ns: UTC.
            may_switch: Whether the vehicle stands where it may change its model; else the new bundle
                waits, probed, until a later step.
        """
        release: Release | None = None
        try:
            found = self._check(now_ns)
            if isinstance(found, Refusal):
                return self._refuse(found, release, now_ns)
            release = found.release if found else None
            refusal = self._advance(found, now_ns, may_switch=may_switch)
            if refusal is None:
                self._save(states.unrefused(self._state))
        except (RingroadError, OSError) as error:
            refusal = refusal_of(error, release.bundle_id if release else None)
        if refusal is not None:
            return self._refuse(refusal, release, now_ns)
        return self._outcome()

    def on_ticks(self, ticks: int, faults: int, now_ns: int) -> BundlePhase:
        """Count what the runtime drove on the active bundle since the last call.

        Args:
            ticks: All ticks, good and bad, without those that ``TickResult.is_excused``.
            faults: Those whose network output was unusable.
            now_ns: UTC.
        """
        self._state = states.ticked(self._state, ticks, faults, self._settings.trial, now_ns)
        if self._is_worth_saving(now_ns):
            try:
                self._save(self._state)
                self._counted_ns = now_ns
            except OSError as error:
                logger.warning("trial_not_saved", extra={"error": str(error)})
        return self._state.phase

    def reports(self, rungs: Mapping[Rung, int], stamp_ns: int) -> tuple[HealthReport, ...]:
        """List the reports for the fleet, in the order to send them.

        First every decision that was not acknowledged, oldest first; last, how the driving bundle does now.
        Each report takes a new sequence number, a repeated one too: a report that was lost on the way must
        not look like a replay.


        Args:
            rungs: Ticks per rung since the driving bundle became active.
        """
        state = self._state
        first = self._next_sequence
        self._sent.extend((first + i, event.event_id) for i, event in enumerate(state.events))
        decisions = [self._report(event, {}) for event in state.events]
        now = InstallEvent(
            event_id=state.next_event_id,
            phase=PHASES[state.phase],
            bundle_id=state.driving.bundle_id,
            release_counter=state.driving.release_counter,
            reason="",
            stamp_ns=stamp_ns,
            ticks=state.ticks,
            faults=state.faults,
            is_golden_passed=state.driving.is_golden_passed,
        )
        return (*decisions, self._report(now, rungs))

    def acknowledge(self, sequence: int) -> None:
        """Forget the decision that was reported under ``sequence``; others are left alone.

        Where the disk refuses, it is remembered and reported again, which changes nothing.
        """
        for sent, event_id in self._sent:
            if sent == sequence and any(e.event_id == event_id for e in self._state.events):
                try:
                    self._save(states.acknowledged(self._state, event_id))
                except OSError as error:
                    logger.warning("acknowledgement_not_saved", extra={"error": str(error)})

    def _is_worth_saving(self, now_ns: int) -> bool:
        """Tell whether the phase has changed, or a trial was last saved ``progress_s`` ago.

        A clock that was put back says nothing of how long ago that was: then it is saved.
        """
        now, stored = self._state, self._stored
        if stored is None or now.phase is not stored.phase:
            return True
        is_recent = 0 <= now_ns - self._counted_ns < self._settings.progress_s * NS_PER_S
        return now.phase is BundlePhase.TRIAL and not is_recent

    def _advance(self, offer: Offer | None, now_ns: int, *, may_switch: bool) -> Refusal | None:
        state = self._state
        if offer is None or offer.manifest_sha256 == state.driving.manifest_sha256:
            self._take_back_staged("taken back by the director", now_ns)
            return None
        refusal = self._unwanted(offer)
        if refusal is not None or offer.not_before_ns > now_ns:
            return refusal
        if state.phase is BundlePhase.TRIAL and not may_switch:
            return None
        if state.phase is BundlePhase.TRIAL:
            self._save(states.reverted(state, "superseded while on trial", now_ns, is_bad=False))
        if not self._is_staged(offer):
            self._take_back_staged("superseded before its switch", now_ns)
            self._stage(offer)
        return self._prove(now_ns, may_switch=may_switch)

    def _unwanted(self, offer: Offer) -> Refusal | None:
        state, release = self._state, offer.release
        if offer.manifest_sha256 in state.bad:
            reason = f"bundle {release.bundle_id} failed here before; waiting for another release"
            return Refusal(RefusalKind.BAD_BUNDLE, reason, release.bundle_id)
        if not states.is_acceptable(state, release.release_counter, offer.manifest_sha256):
            reason = (
                f"bundle {release.bundle_id} refused: counter {release.release_counter} is not newer "
                f"than installed {state.floor_counter} (rollback)"
            )
            return Refusal(RefusalKind.ROLLBACK, reason, release.bundle_id)
        return None

    def _is_staged(self, offer: Offer) -> bool:
        state = self._state
        record = state.slot(state.inactive)
        return (
            state.phase is BundlePhase.STAGED
            and record is not None
            and record.manifest_sha256 == offer.manifest_sha256
            and is_whole(self._disk, state, state.inactive)
        )

    def _take_back_staged(self, reason: str, now_ns: int) -> None:
        if self._state.phase is BundlePhase.STAGED:
            self._save(states.unstaged(self._state, reason, now_ns, is_bad=False))

    def _stage(self, offer: Offer) -> None:
        data, manifest = deliver(
            offer,
            disk=self._disk,
            link=self._link,
            base_url=self._settings.base_url,
            reserve_bytes=self._settings.reserve_bytes,
            chunk_bytes=self._settings.fetch.chunk_bytes,
        )
        slot = self._state.inactive
        record = SlotRecord(
            manifest_sha256=offer.manifest_sha256,
            bundle_id=manifest.bundle_id,
            release_counter=manifest.release_counter,
        )
        fill_slot(self._disk, slot, data, manifest)
        read_slot(self._disk, slot, record)
        self._save(states.staged(self._state, record, self._settings.trial))

    def _prove(self, now_ns: int, *, may_switch: bool) -> Refusal | None:
        slot = self._state.inactive
        staged = self._state.slot(slot)
        if staged is None:
            raise OperatorError(f"slot {slot} was staged and is empty")
        if not staged.is_golden_passed:
            refusal = self._probe_staged(staged, now_ns)
            if refusal is not None:
                return refusal
        if may_switch:
            self._save(states.switched(self._state, self._settings.trial, now_ns))
        return None

    def _probe_staged(self, staged: SlotRecord, now_ns: int) -> Refusal | None:
        slot = self._state.inactive
        self._save(states.probing(self._state, now_ns))
        if self._state.phase is not BundlePhase.STAGED:
            reason = f"bundle {staged.bundle_id} refused: its probe never came back"
            return Refusal(RefusalKind.PROBE, reason, staged.bundle_id)
        manifest = read_slot(self._disk, slot, staged)
        outcome = self._probe(self._disk.locate(slot_folder(slot)), manifest)
        if outcome.is_passed:
            self._save(states.proven(self._state, self._settings.trial))
            return None
        reason = f"bundle {staged.bundle_id} refused by the probe: {outcome.reason}"
        self._save(states.unstaged(self._state, reason, now_ns, is_bad=True))
        return Refusal(RefusalKind.PROBE, reason, staged.bundle_id)

    def _refuse(self, refusal: Refusal, release: Release | None, now_ns: int) -> UpdateOutcome:
        """Report what is worth reporting; a probe's refusal already is, a dead link will be retried."""
        reason = f"{refusal.reason}; keeping slot {self._state.active}"
        refusal = replace(refusal, reason=reason)
        logger.info("update_refused", extra={"kind": refusal.kind, "reason": refusal.reason})
        if refusal.is_temporary or refusal.kind is RefusalKind.PROBE:
            return self._outcome(refusal)
        state = states.refused(
            self._state,
            refusal.kind,
            refusal.reason,
            now_ns,
            bundle_id=refusal.bundle_id if refusal.is_verdict else None,
            release_counter=release.release_counter if release else 0,
        )
        try:
            self._save(state)
        except OSError as error:
            logger.warning("refusal_not_saved", extra={"error": str(error)})
        return self._outcome(refusal)

    def _outcome(self, refusal: Refusal | None = None) -> UpdateOutcome:
        return UpdateOutcome(self._state.phase, self._state.driving.bundle_id, refusal)

    def _save(self, state: InstallState) -> None:
        if state != self._stored:
            self._record.save(state)
        if self._stored is not None and state.phase is not self._stored.phase:
            fields = {"phase": state.phase, "bundle_id": state.driving.bundle_id}
            logger.info("install_phase_changed", extra=fields)
        self._state = self._stored = state

    def _report(self, event: InstallEvent, rungs: Mapping[Rung, int]) -> HealthReport:
        self._next_sequence += 1
        return HealthReport(
            vehicle_id=self._identity.vehicle_id,
            boot_id=self._boot_id,
            sequence=self._next_sequence - 1,
            bundle_id=event.bundle_id,
            release_counter=event.release_counter,
            phase=event.phase,
            ticks=event.ticks,
            faults=event.faults,
            is_golden_passed=event.is_golden_passed,
            rungs=dict(rungs),
            stamp_ns=event.stamp_ns,
            reason=event.reason,
        )


@contextmanager
def open_agent(
    root: Path,
    *,
    settings: AgentSettings,
    identity: Identity,
    anchors: TrustAnchors,
    probe: BundleProbe,
    boot_id: str,
    now_ns: int,
) -> Iterator[UpdateAgent]:
    """Run the one agent of an installation; a second one is turned away.

    Raises:
        OperatorError: Another agent holds the installation, or no bundle was ever installed.
        HashMismatchError: No slot holds a whole bundle any more.
    """
    disk = LocalDisk(root)
    link = HttpLink(settings.fetch)
    repositories = Repositories(
        base_url=settings.base_url,
        identity=identity,
        anchors=anchors,
        disk=disk,
        link=link,
    )
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OperatorError(f"another agent already runs on {root}; this one ends") from error
        yield UpdateAgent(
            settings=settings,
            identity=identity,
            disk=disk,
            check=repositories.check,
            link=link,
            probe=probe,
            boot_id=boot_id,
            now_ns=now_ns,
        )
