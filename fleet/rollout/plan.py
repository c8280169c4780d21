"""Records of a rollout: its plan, its rule, and its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.fields import Count, Name, Ratio, Seconds, StampNs, Text
from edge.contracts.release import Release


class CanaryRule(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions under which a vehicle passes the candidate."""

    ticks: Count = 360
    """Ticks it must have driven on the candidate."""
    max_faults: Count = 0
    """Faults that it may have reported on the candidate."""
    full_ratio: Ratio = 0.5
    """Share of ticks on the richest rung that it must not fall below."""
    report_s: Seconds = 600.0
    """Longest silence of a vehicle of the running wave."""
    wave_s: Seconds = 86_400.0
    """Longest life of a wave, reports or not."""


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which bundle goes to which vehicles, in which order, and by which rule it is judged."""

    rollout_id: Name
    candidate: Release
    heal: Release
    """The incumbent, released again above the candidate."""
    waves: tuple[tuple[Name, ...], ...]
    report_keys: dict[Name, bytes]
    """Per vehicle, the raw Ed25519 public key of its reports."""
    rule: CanaryRule = CanaryRule()

    def __post_init__(self) -> None:
        vehicles = [vehicle for wave in self.waves for vehicle in wave]
        if not vehicles or not all(self.waves):
            raise ValueError(f"rollout {self.rollout_id} has an empty wave")
        if len(set(vehicles)) != len(vehicles):
            raise ValueError(f"rollout {self.rollout_id} names a vehicle twice")
        lacking = sorted(set(vehicles) - set(self.report_keys))
        if lacking:
            raise ValueError(f"rollout {self.rollout_id} has no report key of {', '.join(lacking)}")
        if self.heal.release_counter <= self.candidate.release_counter:
            raise ValueError(
                f"rollout {self.rollout_id}: heal counter {self.heal.release_counter} is not above "
                f"candidate {self.candidate.release_counter}; no vehicle would take it back"
            )


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened to a rollout, at a UTC time of the fleet."""

    at_ns: StampNs


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """A person started the first wave."""

    actor: Name


class WaveOpened(_Event, frozen=True, kw_only=True, tag="wave_opened"):
    """The wave before has passed; this one begins."""

    wave: Count


class Reported(_Event, frozen=True, kw_only=True, tag="reported"):
    """A report arrived under a vehicle's connection; whether it counts is decided here."""

    vehicle_id: Name
    payload: bytes
    signature: bytes


class Halted(_Event, frozen=True, kw_only=True, tag="halted"):
    """The rollout stops, by the rule or by a person; vehicles that switched go back."""

    reasons: tuple[Text, ...]


class Passed(_Event, frozen=True, kw_only=True, tag="passed"):
    """Every wave has passed."""


RolloutEvent = Started | WaveOpened | Reported | Halted | Passed

_event_decoder: msgspec.msgpack.Decoder[RolloutEvent] = msgspec.msgpack.Decoder(RolloutEvent)


def plan_waves(vehicles: Iterable[str], canaries: int = 1) -> tuple[tuple[str, ...], ...]:
    """Order the fleet: the first vehicles by id are the canary, the rest follow together.

    Raises:
        OperatorError: There is no vehicle, or no canary.
    """
    ordered = tuple(sorted(set(vehicles)))
    if not ordered or canaries < 1:
        raise OperatorError(f"{len(ordered)} vehicles and {canaries} canaries make no rollout")
    rest = ordered[canaries:]
    return (ordered[:canaries], rest) if rest else (ordered,)


def event_facts(event: RolloutEvent) -> dict[str, Any]:
    """Turn an event into facts of the catalog: plain values, bytes in base64.

    Raises:
        OperatorError: A value in it is out of bounds, the name of who did it for instance.
    """
    facts: dict[str, Any] = msgspec.to_builtins(event)
    try:
        event_from(facts)
    except SchemaError as error:
        raise OperatorError(f"rollout step not recorded: {error}") from error
    return facts


def event_from(facts: Mapping[str, object]) -> RolloutEvent:
    """Read an event from the facts of the catalog, where bytes are base64.

    Raises:
        SchemaError: It does not decode.
    """
    try:
        event: RolloutEvent = msgspec.convert(facts, RolloutEvent)
        return event
    except msgspec.ValidationError as error:
        raise SchemaError(f"rollout event does not decode: {error}") from error


def decode_event(data: bytes) -> RolloutEvent:
    """Decode an event from msgpack, which is how the first lap recorded it.

    Raises:
        SchemaError: It does not decode.
    """
    try:
        return _event_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SchemaError(f"rollout event does not decode: {error}") from error
