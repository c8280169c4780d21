"""Events that cannot be rewritten unnoticed: a hash chain per stream, a Merkle root over the chains.

Each event's hash covers the hash before it, so changing, removing or reordering one breaks every later
hash. A chain alone does not show that its end was cut off; a checkpoint kept elsewhere does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from edge.contracts.errors import HashMismatchError, OperatorError
from edge.contracts.fields import Count, Sha256, StampNs, Text

FIRST_HASH = "0" * 64
"""The hash before the first event of a stream."""

Fact = str | int | bool | None | Sequence[str]
"""What an event may carry: ids, counts, states. No personal data, nothing a sensor saw."""


class StreamKind(StrEnum):
    """Kind of thing that a stream is about."""

    VEHICLE = "vehicle"
    CAMPAIGN = "campaign"
    DATASET = "dataset"
    ROLLOUT = "rollout"
    RUN = "run"
    BUNDLE = "bundle"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; ``schema`` names its kind and version (for instance ``clip_admitted.1``)."""

    stream: Text
    seq: Count
    schema: Text
    at_ns: StampNs
    actor: Text
    """Who did it: ``gateway``, ``operator``, a stage."""
    cause: Text
    """What made it happen: an id, a command, another event's hash."""
    payload: bytes
    """JSON with sorted keys, exactly as hashed."""
    hash: Sha256

    @property
    def facts(self) -> dict[str, object]:
        """The payload, decoded."""
        return msgspec.json.decode(self.payload, type=dict[str, object])


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest event of a stream at some instant."""

    stream: Text
    seq: Count
    hash: Sha256


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The state of every stream in one hash; to be kept where the catalog's owner cannot write."""

    root: Sha256
    heads: tuple[Head, ...]

    @classmethod
    def of(cls, heads: Iterable[Head]) -> Checkpoint:
        """Make the checkpoint of these heads; their order does not matter."""
        ordered = tuple(sorted(heads, key=lambda head: head.stream))
        leaves = [msgspec.msgpack.encode((h.stream, h.seq, h.hash)) for h in ordered]
        return cls(root=merkle_root(leaves), heads=ordered)


def stream_name(kind: StreamKind, name: str) -> str:
    """Name a stream, for instance ``vehicle/v-01``.

    Raises:
        OperatorError: The name is empty.
    """
    if not name:
        raise OperatorError(f"a {kind} stream needs the name of what it is about")
    return f"{kind}/{name}"


def next_event(
    stream: str,
    last: Event | None,
    schema: str,
    facts: Mapping[str, Fact],
    *,
    at_ns: int,
    actor: str,
    cause: str,
) -> Event:
    """Make the event that follows ``last`` in its stream."""
    seq = last.seq + 1 if last else 0
    payload = msgspec.json.encode(facts, order="deterministic")
    unsealed = Event(
        stream=stream,
        seq=seq,
        schema=schema,
        at_ns=at_ns,
        actor=actor,
        cause=cause,
        payload=payload,
        hash=FIRST_HASH,
    )
    previous = last.hash if last else FIRST_HASH
    return msgspec.structs.replace(unsealed, hash=event_hash(previous, unsealed))


def event_hash(previous: str, event: Event) -> str:
    """Hash an event (all but its own hash) together with the hash before it: SHA-256 of msgpack."""
    parts = (
        previous,
        event.stream,
        event.seq,
        event.schema,
        event.at_ns,
        event.actor,
        event.cause,
        event.payload,
    )
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()


def verify_events(stream: str, events: Iterable[Event]) -> int:
    """Check a whole stream, oldest first, and count its events.

    Raises:
        HashMismatchError: An event was changed, removed, added or moved; names the first bad place.
    """
    previous, count = FIRST_HASH, 0
    for event in events:
        if event.stream != stream or event.seq != count:
            raise HashMismatchError(
                f"stream {stream} is broken: expected event {count}, got {event.stream} event {event.seq}"
            )
        expected = event_hash(previous, event)
        if event.hash != expected:
            raise HashMismatchError(
                f"stream {stream} is broken at event {count}: hash is {event.hash}, content gives {expected}"
            )
        previous, count = event.hash, count + 1
    return count


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Return the root of a Merkle tree over ``leaves``, as in RFC 6962 section 2.1 (SHA-256)."""
    return _tree_hash(leaves).hex()


def _tree_hash(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)  # largest power of two below the count
    return hashlib.sha256(
        b"\x01" + _tree_hash(leaves[:split]) + _tree_hash(leaves[split:])
    ).digest()
