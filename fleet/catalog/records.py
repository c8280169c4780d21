"""The catalog's rows, one record per table: plain values in, plain values out.

Every record is identified by what it is about (an id that derives from content wherever there is content), so
that writing it twice leaves one row. ``facts`` (see ``fleet.catalog.facts``) holds what is not searched;
large content lives in the store under ``blob_id``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from edge.contracts.fields import Count, Name, Ratio, Sha256, StampNs, Text
from edge.contracts.wire import InstallPhase
from fleet.catalog.facts import DatasetFacts, LabelCounts, RunFacts


class TrustState(StrEnum):
    """Whether a vehicle or a key is served."""

    ACTIVE = "active"
    REVOKED = "revoked"


class KeyPurpose(StrEnum):
    """What a vehicle's public key proves."""

    CURVE = "curve"
    """Which vehicle is at the other end of a connection; 40 characters of Z85."""
    REPORT = "report"
    """Which vehicle signed a report; Ed25519, 64 hex digits."""


class CampaignState(StrEnum):
    """State of a campaign; only an approved one reaches vehicles."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    ENDED = "ended"


class VehicleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the fleet."""

    vehicle_id: Name
    state: TrustState = TrustState.ACTIVE
    profile: Name
    rig_id: Sha256 | None
    """The calibration it was registered with; clips recorded with another one are quarantined."""
    at_ns: StampNs


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of a vehicle. A key belongs to one vehicle for ever."""

    key: str
    purpose: KeyPurpose
    vehicle_id: Name
    state: TrustState = TrustState.ACTIVE
    at_ns: StampNs


class CampaignRow(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign as proposed; its content never changes under its id."""

    campaign_id: Name
    state: CampaignState
    record: bytes
    """msgpack of ``edge.contracts.campaign.Campaign``."""
    vehicles: tuple[Name, ...] = ()
    """Vehicles that it is for; empty means every vehicle."""
    until_ns: StampNs
    approved_by: Text = ""
    at_ns: StampNs


class ClipRow(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted clip."""

    clip_id: Sha256
    blob_id: Sha256
    blob_bytes: Count
    vehicle_id: Name
    drive_id: Name
    bundle_id: Name
    campaign_ids: tuple[Name, ...]
    rules: tuple[Name, ...]
    """The trigger rules that fired, in order of their events."""
    worth: Ratio
    """The highest worth among its events."""
    start_ns: StampNs
    end_ns: StampNs
    frame_count: Count
    manifest: bytes
    """As sealed and sent."""
    at_ns: StampNs


class QuarantineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A clip that was received and not admitted, with everything needed to judge it again."""

    offer_id: Sha256
    """Hash of vehicle, claimed clip, promised blob and manifest: the same offer twice is one row."""
    clip_id: Sha256
    """As claimed; nothing proves it."""
    offered_blob_id: Sha256
    blob_id: Sha256
    """What was received, as it lies in the store."""
    blob_bytes: Count
    vehicle_id: Name
    """The vehicle that sent it, proved by its key."""
    reasons: tuple[Text, ...]
    manifest: bytes
    at_ns: StampNs


class LabelRow(msgspec.Struct, frozen=True, kw_only=True):
    """The labels of one clip from one source."""

    label_id: Name
    clip_id: Sha256
    source: Name
    blob_id: Sha256
    facts: LabelCounts
    at_ns: StampNs


class DatasetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen dataset; ``blob_id`` is its manifest."""

    dataset_id: Name
    purpose: Name
    blob_id: Sha256
    facts: DatasetFacts
    at_ns: StampNs


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a stage that takes a while: labelling, training, evaluation."""

    run_id: Name
    stage: Name
    """As in its facts, to search for."""
    state: Name
    dataset_id: Name | None = None
    facts: RunFacts
    at_ns: StampNs


class BundleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model as vehicles install it."""

    bundle_id: Name
    profile: Name
    release_counter: Count
    run_id: Name | None = None
    manifest: bytes
    """As signed."""
    at_ns: StampNs


class RolloutRow(msgspec.Struct, frozen=True, kw_only=True):
    """A staged installation of a bundle."""

    rollout_id: Name
    bundle_id: Name
    state: Name
    plan: dict[str, Any]
    """``fleet.rollout.RolloutPlan`` as JSON, keys in base64."""
    at_ns: StampNs


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    """A health report whose signature was verified."""

    vehicle_id: Name
    boot_id: Name
    sequence: Count
    bundle_id: Name
    release_counter: Count
    phase: InstallPhase
    payload: bytes
    """msgpack of ``edge.contracts.wire.HealthReport``, as signed."""
    signature: bytes
    at_ns: StampNs
