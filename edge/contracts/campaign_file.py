"""A campaign as a person writes it into a file, and the record that vehicles receive.

The fleet proposes what such a file asks for; a board tries it on recorded clips before it is approved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import OperatorError
from edge.contracts.time import NS_PER_S


@dataclass
class RuleSettings:
    """One armed trigger rule; see ``edge.contracts.campaign.ArmedRule``."""

    threshold: float = 0.0
    """In the rule's own unit, see ``edge/trigger/rules.py``; for ``random`` the probability per tick
    of 1/36 s."""
    version: int = 1
    """Version of the rule; a vehicle that knows another one does not arm it."""
    ticks_of: tuple[int, int] = (1, 1)
    """(N, M): the condition must hold in N of the last M ticks of 1/36 s; converted at other rates."""
    min_interval_s: float = 2.0
    """Shortest time between two events of this rule."""
    weight: float = 0.5
    """Factor on the worth of its events."""


@dataclass
class CampaignSettings:
    """One campaign as configured; its name is its id."""

    purpose: str = ""
    """What the clips are for, in a few words."""
    rules: dict[TriggerRule, RuleSettings] = field(default_factory=dict)
    """The armed trigger rules, by name."""
    before_s: float = 3.0
    """Seconds recorded before an event."""
    after_s: float = 2.0
    """Seconds recorded after an event."""
    max_clips_per_drive: int = 8
    """Most clips that one drive keeps for this campaign."""
    max_bytes_per_drive: int = 256 * 1024 * 1024
    """Most bytes that one drive keeps for this campaign."""
    until: str = "2040-01-01T00:00:00+00:00"
    """When it ends, ISO 8601 with its offset from UTC."""
    vehicles: tuple[str, ...] = ()
    """Vehicles that it is for, by id; empty means every vehicle."""


def campaign_from(campaign_id: str, settings: CampaignSettings) -> Campaign:
    """Turn settings into the record that vehicles receive.

    Raises:
        OperatorError: It arms no rule, or a value is out of bounds.
    """
    if not settings.rules:
        raise OperatorError(f"campaign {campaign_id} arms no rule; it would record nothing")
    try:
        rules = tuple(
            ArmedRule(
                rule=rule,
                version=armed.version,
                threshold=armed.threshold,
                ticks_of=armed.ticks_of,
                min_interval_s=armed.min_interval_s,
                weight=armed.weight,
            )
            for rule, armed in settings.rules.items()
        )
        campaign = Campaign(
            campaign_id=campaign_id,
            purpose=settings.purpose,
            rules=rules,
            before_s=settings.before_s,
            after_s=settings.after_s,
            max_clips_per_drive=settings.max_clips_per_drive,
            max_bytes_per_drive=settings.max_bytes_per_drive,
            until_ns=_until_ns(campaign_id, settings.until),
        )
        return msgspec.convert(msgspec.to_builtins(campaign), Campaign)
    except (ValueError, msgspec.ValidationError) as error:
        raise OperatorError(f"campaign {campaign_id} refused: {error}") from error


def _until_ns(campaign_id: str, until: str) -> int:
    try:
        moment = datetime.fromisoformat(until)
    except ValueError as error:
        raise OperatorError(
            f"campaign {campaign_id}: until {until!r} is no ISO 8601 time"
        ) from error
    if moment.tzinfo is None:
        raise OperatorError(f"campaign {campaign_id}: until {until!r} lacks its offset from UTC")
    return round(moment.timestamp()) * NS_PER_S
