"""The durable state of the two slots, and every step from one state to the next.

    idle ──► staged ──► trial ──► committed          any of idle, committed, reverted may stage again
      ▲        │          └─────► reverted
      └────────┘ probe refused, or taken back

Each step is a pure function from state to state, and the report to the fleet about it is part of the new
state: what is installed and what is reported cannot differ. Tries fall only in a trial (and while a staged
bundle is probed), and any progress gives them back, so that power cuts in daily use never undo a good bundle.
The inactive slot is remembered only while it is a way forward (staged) or a proven way back: a bundle that
was refused or reverted is forgotten, so that it never drives again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import msgspec

from edge.contracts.errors import OperatorError
from edge.contracts.fields import Count, Name, Sha256, StampNs, Text
from edge.contracts.wire import InstallPhase
from edge.ota.refusal import RefusalKind

STATE_SCHEMA = 1
KEPT_BAD = 64
KEPT_EVENTS = 64
REASON_CHARACTERS = 400
UNKNOWN_SHA256 = "0" * 64

Slot = Literal["a", "b"]


class BundlePhase(StrEnum):
    """Phase of the newest bundle."""

    IDLE = "idle"
    STAGED = "staged"
    TRIAL = "trial"
    COMMITTED = "committed"
    REVERTED = "reverted"


@dataclass
class TrialRule:
    """Conditions under which a new bundle is committed."""

    ticks: int = 360
    """Good ticks before it is committed; ten seconds of driving."""
    max_faults: int = 0
    """Ticks with unusable output that are still forgiven."""
    tries: int = 3
    """Starts without progress before it is given up."""


class SlotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which bundle a slot holds."""

    manifest_sha256: Sha256
    bundle_id: Name
    release_counter: Count
    is_golden_passed: bool = False


class InstallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that is reported to the fleet; kept until it is acknowledged."""

    event_id: Count
    phase: InstallPhase
    bundle_id: Name
    release_counter: Count
    reason: Text
    stamp_ns: StampNs
    ticks: Count = 0
    faults: Count = 0
    is_golden_passed: bool = False


class InstallState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the agent remembers; one durable record."""

    schema: Count = STATE_SCHEMA
    active: Slot
    a: SlotRecord | None = None
    b: SlotRecord | None = None
    phase: BundlePhase = BundlePhase.IDLE
    tries_left: Count = 0
    ticks: Count = 0
    """Of the active bundle since it became active."""
    faults: Count = 0
    floor_counter: Count
    """Highest release counter ever committed here; nothing older is installed."""
    floor_manifest: Sha256
    bad: tuple[Sha256, ...] = ()
    """Manifests that failed here, newest last. A re-release has another manifest and may be tried."""
    events: tuple[InstallEvent, ...] = ()
    next_event_id: Count = 0
    refusal_key: Text = ""
    """The last refusal that was reported; it is not reported again at every look."""

    @property
    def inactive(self) -> Slot:
        """The slot that may be written."""
        return "b" if self.active == "a" else "a"

    @property
    def driving(self) -> SlotRecord:
        """The bundle that drives."""
        record = self.slot(self.active)
        if record is None:
            raise OperatorError(f"slot {self.active} is active and empty; install a factory bundle")
        return record

    def slot(self, slot: Slot) -> SlotRecord | None:
        """Return what a slot holds."""
        return self.a if slot == "a" else self.b


def first(record: SlotRecord, slot: Slot = "a") -> InstallState:
    """Start with the factory's bundle, which needs no trial."""
    state = InstallState(
        active=slot,
        floor_counter=record.release_counter,
        floor_manifest=record.manifest_sha256,
    )
    return _with_slot(state, slot, record)


def is_acceptable(state: InstallState, release_counter: int, manifest_sha256: str) -> bool:
    """Return whether a release is newer than all committed here, or the committed one itself again."""
    if release_counter == state.floor_counter:
        return manifest_sha256 == state.floor_manifest
    return release_counter > state.floor_counter


def staged(state: InstallState, record: SlotRecord, rule: TrialRule) -> InstallState:
    """A complete, verified bundle lies in the inactive slot."""
    if state.phase is BundlePhase.TRIAL:
        raise OperatorError("a bundle cannot be staged while another is on trial")
    state = _with_slot(state, state.inactive, record)
    return msgspec.structs.replace(state, phase=BundlePhase.STAGED, tries_left=rule.tries)


def probing(state: InstallState, now_ns: int) -> InstallState:
    """One attempt at the staged bundle's probe begins; one that killed too many processes is bad."""
    if state.tries_left == 0:
        return unstaged(state, "the probe never came back", now_ns, is_bad=True)
    return msgspec.structs.replace(state, tries_left=state.tries_left - 1)


def unstaged(state: InstallState, reason: str, now_ns: int, *, is_bad: bool) -> InstallState:
    """Give the staged bundle up; the driving one is unchanged."""
    record = state.slot(state.inactive)
    state = _with_slot(state, state.inactive, None)
    state = msgspec.structs.replace(state, phase=BundlePhase.IDLE, tries_left=0)
    if record is None or not is_bad:
        return state
    return _with_event(_with_bad(state, record), InstallPhase.REFUSED, record, reason, now_ns)


def proven(state: InstallState, rule: TrialRule) -> InstallState:
    """The staged bundle passed its probe and may wait for its switch."""
    record = state.slot(state.inactive)
    if state.phase is not BundlePhase.STAGED or record is None:
        raise OperatorError(f"nothing staged to prove in phase {state.phase}")
    state = _with_slot(
        state, state.inactive, msgspec.structs.replace(record, is_golden_passed=True)
    )
    return msgspec.structs.replace(state, tries_left=rule.tries)


def switched(state: InstallState, rule: TrialRule, now_ns: int) -> InstallState:
    """The staged bundle drives, on trial; the other slot stays as the way back."""
    record = state.slot(state.inactive)
    if state.phase is not BundlePhase.STAGED or record is None or not record.is_golden_passed:
        raise OperatorError(f"nothing proven to switch to in phase {state.phase}")
    state = msgspec.structs.replace(
        state,
        active=state.inactive,
        phase=BundlePhase.TRIAL,
        tries_left=rule.tries,
        ticks=0,
        faults=0,
    )
    return _with_event(state, InstallPhase.TRIAL, record, "", now_ns)


def booted(state: InstallState, now_ns: int) -> InstallState:
    """Count the start of a process: a bundle on trial loses one try, until it makes progress."""
    if state.phase is not BundlePhase.TRIAL:
        return state
    if state.tries_left == 0:
        return reverted(state, "no progress in any of its tries", now_ns, is_bad=True)
    return msgspec.structs.replace(state, tries_left=state.tries_left - 1)


def ticked(
    state: InstallState, ticks: int, faults: int, rule: TrialRule, now_ns: int
) -> InstallState:
    """Count ticks of the driving bundle; on trial they commit it, or too many faults revert it."""
    state = msgspec.structs.replace(state, ticks=state.ticks + ticks, faults=state.faults + faults)
    if state.phase is not BundlePhase.TRIAL:
        return state
    if state.faults > rule.max_faults:
        reason = f"{state.faults} faults in {state.ticks} ticks, at most {rule.max_faults}"
        return reverted(state, reason, now_ns, is_bad=True)
    if state.ticks - state.faults >= rule.ticks:
        return _committed(state, now_ns)
    return msgspec.structs.replace(state, tries_left=rule.tries) if ticks else state


def reverted(state: InstallState, reason: str, now_ns: int, *, is_bad: bool) -> InstallState:
    """Go back to the other slot.

    Raises:
        OperatorError: There is nothing in the other slot.
    """
    failed = state.driving
    if state.slot(state.inactive) is None:
        raise OperatorError(f"bundle {failed.bundle_id} gave up and no other slot is filled")
    event = (InstallPhase.REVERTED, failed, reason, now_ns)
    state = _with_event(_with_bad(state, failed) if is_bad else state, *event)
    state = _with_slot(state, state.active, None)
    return msgspec.structs.replace(
        state, active=state.inactive, phase=BundlePhase.REVERTED, tries_left=0, ticks=0, faults=0
    )


def refused(
    state: InstallState,
    kind: RefusalKind,
    reason: str,
    now_ns: int,
    *,
    bundle_id: str | None = None,
    release_counter: int = 0,
) -> InstallState:
    """Report a refusal once; nothing else changes.

    Without a bundle the report is about the repositories: it carries the driving bundle's name, and judges no
    bundle.
    """
    key = refusal_key(kind, bundle_id, release_counter)
    if key == state.refusal_key:
        return state
    phase, about = InstallPhase.IDLE, state.driving
    if bundle_id is not None:
        phase = InstallPhase.REFUSED
        about = SlotRecord(
            manifest_sha256=UNKNOWN_SHA256, bundle_id=bundle_id, release_counter=release_counter
        )
    state = msgspec.structs.replace(state, refusal_key=key)
    return _with_event(state, phase, about, reason, now_ns)


def unrefused(state: InstallState) -> InstallState:
    """Forget the last refusal after a look without one, so that the same refusal is reported again."""
    return msgspec.structs.replace(state, refusal_key="")


def refusal_key(kind: RefusalKind, bundle_id: str | None, release_counter: int) -> str:
    """Tell two refusals apart."""
    return f"{kind}:{bundle_id or ''}:{release_counter}"


def acknowledged(state: InstallState, event_id: int) -> InstallState:
    """The fleet holds this event; forget it."""
    events = tuple(e for e in state.events if e.event_id != event_id)
    return msgspec.structs.replace(state, events=events)


def _committed(state: InstallState, now_ns: int) -> InstallState:
    record = state.driving
    state = msgspec.structs.replace(
        state,
        phase=BundlePhase.COMMITTED,
        tries_left=0,
        floor_counter=max(record.release_counter, state.floor_counter),
        floor_manifest=record.manifest_sha256,
    )
    return _with_event(state, InstallPhase.COMMITTED, record, "", now_ns)


def _with_slot(state: InstallState, slot: Slot, record: SlotRecord | None) -> InstallState:
    if slot == "a":
        return msgspec.structs.replace(state, a=record)
    return msgspec.structs.replace(state, b=record)


def _with_bad(state: InstallState, record: SlotRecord) -> InstallState:
    others = tuple(sha for sha in state.bad if sha != record.manifest_sha256)
    return msgspec.structs.replace(
        state,
        bad=(*others, record.manifest_sha256)[-KEPT_BAD:],
        refusal_key=refusal_key(RefusalKind.BAD_BUNDLE, record.bundle_id, record.release_counter),
    )


def _with_event(
    state: InstallState, phase: InstallPhase, record: SlotRecord, reason: str, now_ns: int
) -> InstallState:
    event = InstallEvent(
        event_id=state.next_event_id,
        phase=phase,
        bundle_id=record.bundle_id,
        release_counter=record.release_counter,
        reason=reason[:REASON_CHARACTERS],
        stamp_ns=now_ns,
        ticks=state.ticks if record == state.slot(state.active) else 0,
        faults=state.faults if record == state.slot(state.active) else 0,
        is_golden_passed=record.is_golden_passed,
    )
    events = (*state.events, event)[-KEPT_EVENTS:]
    return msgspec.structs.replace(state, events=events, next_event_id=state.next_event_id + 1)
