"""Every message between vehicle and fleet, in one table; read it as the architecture document.

A message is one ZeroMQ multipart: a header frame (msgpack, tagged with its kind) and, where the table
says so, a payload frame of raw bytes. What is hashed, signed and stored is the received bytes, never a
re-encoding. A kind this side does not know is counted and skipped, so that a newer peer does not break
an older one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from edge.contracts.campaign import Campaign
from edge.contracts.errors import SchemaError
from edge.contracts.fields import Count, Name, OpenEnum, Sha256, StampNs, Text
from edge.contracts.scene import Rung

WIRE_SCHEMA = 1
CHUNK_BYTES = 256 * 1024
MAX_HEADER_BYTES = 256 * 1024
MAX_CLIP_BYTES = 512 * 1024 * 1024


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Part of every message: the version of this table that its sender was built with."""

    schema: Count = WIRE_SCHEMA


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """A vehicle's id and what it runs; the CURVE key, not this text, proves the id."""

    vehicle_id: Name
    boot_id: Name
    profile: Name
    bundle_id: Name
    release_counter: Count


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The answer to a known vehicle: its campaigns until the next Welcome."""

    campaigns: tuple[Campaign, ...] = ()


class ClipOffer(Message, frozen=True, kw_only=True, tag="clip_offer"):
    """A sealed clip is ready. The payload frame is the manifest, as sealed."""

    clip_id: Sha256
    blob_id: Sha256
    blob_bytes: Count
    key_id: Name | None = None
    """Key of the envelope; None while clips travel and rest unencrypted inside CURVE and the store."""


class ClipCredit(Message, frozen=True, kw_only=True, tag="clip_credit"):
    """Send chunks from here, this many bytes ahead of the last acknowledged one."""

    blob_id: Sha256
    offset: Count
    credit_bytes: Count


class ClipChunk(Message, frozen=True, kw_only=True, tag="clip_chunk"):
    """A piece of a clip at an offset. The payload frame is the piece."""

    blob_id: Sha256
    offset: Count
    crc32: Count


class AdmissionAnswer(OpenEnum):
    """Ingest's two answers."""

    ADMITTED = "admitted"
    QUARANTINED = "quarantined"
    UNKNOWN = "unknown"


class ClipDone(Message, frozen=True, kw_only=True, tag="clip_done"):
    """The blob is durable and the catalog committed; the vehicle may forget the clip."""

    clip_id: Sha256
    blob_id: Sha256
    answer: AdmissionAnswer
    reasons: tuple[Text, ...] = ()


class InstallPhase(OpenEnum):
    """State of a vehicle's newest bundle."""

    IDLE = "idle"
    TRIAL = "trial"
    COMMITTED = "committed"
    REVERTED = "reverted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's report on the bundle that it runs; a rollout decides by reports, and by their absence."""

    schema: Count = WIRE_SCHEMA
    vehicle_id: Name
    boot_id: Name
    sequence: Count
    """Grows by one per report and boot: a replayed report is recognised."""
    bundle_id: Name
    release_counter: Count = 0
    """Distinguishes a bundle that was released again from its earlier release."""
    phase: InstallPhase
    ticks: Count
    faults: Count
    """Ticks whose network output was unusable."""
    is_golden_passed: bool
    rungs: dict[Rung, Count]
    stamp_ns: StampNs
    reason: Text = ""


class SignedReport(Message, frozen=True, kw_only=True, tag="signed_report"):
    """A health report as signed bytes, so that a gateway cannot forge the fleet's health."""

    payload: bytes
    """msgpack of ``HealthReport``, exactly as signed."""
    signature: bytes
    """Ed25519 by the vehicle's report key."""


class ReportAck(Message, frozen=True, kw_only=True, tag="report_ack"):
    """The report is in the catalog."""

    sequence: Count


class UpdateNotice(Message, frozen=True, kw_only=True, tag="update_notice"):
    """Look at the repositories now; a hint that carries no trust."""


class Bye(Message, frozen=True, kw_only=True, tag="bye"):
    """The fleet will not serve this peer, and why."""

    reason: Text


class Direction(StrEnum):
    """Which side sends a message."""

    UP = "vehicle to fleet"
    DOWN = "fleet to vehicle"


@dataclass(frozen=True)
class MessageRow:
    """One line of the message table."""

    record: type[Message]
    direction: Direction
    rate: str
    is_logged: bool
    has_payload: bool = False


TABLE: dict[str, MessageRow] = {
    "hello": MessageRow(Hello, Direction.UP, "once per connection", is_logged=True),
    "welcome": MessageRow(Welcome, Direction.DOWN, "answer to hello", is_logged=True),
    "clip_offer": MessageRow(ClipOffer, Direction.UP, "per clip", is_logged=True, has_payload=True),
    "clip_credit": MessageRow(ClipCredit, Direction.DOWN, "per offer and chunk", is_logged=False),
    "clip_chunk": MessageRow(
        ClipChunk, Direction.UP, "per 256 KiB", is_logged=False, has_payload=True
    ),
    "clip_done": MessageRow(ClipDone, Direction.DOWN, "per clip", is_logged=True),
    "signed_report": MessageRow(SignedReport, Direction.UP, "per trial and minute", is_logged=True),
    "report_ack": MessageRow(ReportAck, Direction.DOWN, "per report", is_logged=False),
    "update_notice": MessageRow(
        UpdateNotice, Direction.DOWN, "per rollout decision", is_logged=True
    ),
    "bye": MessageRow(Bye, Direction.DOWN, "when refused", is_logged=True),
}


@dataclass(frozen=True)
class UnknownMessage:
    """A message of a kind that this side was built without; it is counted and skipped."""

    kind: str


_encoder = msgspec.msgpack.Encoder()
_decoders = {kind: msgspec.msgpack.Decoder(row.record) for kind, row in TABLE.items()}
_kind_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])

_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What hostile bytes can make msgspec raise; nesting a thousand deep is a RecursionError."""


def encode(message: Message) -> bytes:
    """Encode a message's header frame."""
    return _encoder.encode(message)


def decode(header: bytes | memoryview) -> Message | UnknownMessage:
    """Decode a header frame.

    Raises:
        SchemaError: It is not a message, or a value in it is out of bounds.
    """
    if len(header) > MAX_HEADER_BYTES:
        raise SchemaError(f"header of {len(header)} bytes refused: at most {MAX_HEADER_BYTES}")
    try:
        kind = msgspec.msgpack.decode(_kind_decoder.decode(header)["kind"], type=str)
        if kind not in _decoders:
            return UnknownMessage(kind)
        return _decoders[kind].decode(header)
    except (*_UNDECODABLE, KeyError) as error:
        raise SchemaError(f"not a message: {error}") from error


def decode_record(payload: bytes | memoryview, record: type[Any], what: str) -> Any:
    """Decode a bare record that is not a message (a manifest, a report).

    Raises:
        SchemaError: It does not decode; the text names ``what``.
    """
    try:
        return msgspec.msgpack.decode(payload, type=record)
    except _UNDECODABLE as error:
        raise SchemaError(f"{what} does not decode: {error}") from error


def decode_json(payload: bytes | memoryview, record: type[Any], what: str) -> Any:
    """Decode a bare record that was written as JSON, for viewers.

    Raises:
        SchemaError: It does not decode; the text names ``what``.
    """
    try:
        return msgspec.json.decode(payload, type=record)
    except _UNDECODABLE as error:
        raise SchemaError(f"{what} does not decode: {error}") from error
