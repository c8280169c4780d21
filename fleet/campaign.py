"""Decide what vehicles record: a campaign is proposed, approved by somebody with a name, and ends.

Its content never changes under its id: vehicles, clips and reports refer to it by that id alone. A
changed mind is a new campaign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import OperatorError
from edge.contracts.time import NS_PER_S
from fleet.catalog import CampaignRow, CampaignState, Catalog, StreamKind


@dataclass
class RuleSettings:
    """One armed trigger rule; see ``edge.contracts.campaign.ArmedRule``."""

    threshold: float = 0.0
    """In the rule's own unit, see ``edge/trigger/rules.py``; for ``random`` the probability per tick."""
    version: int = 1
    ticks_of: tuple[int, int] = (1, 1)
    """(N, M): the condition must hold in N of the last M ticks."""
    min_interval_s: float = 2.0
    weight: float = 0.5


@dataclass
class CampaignSettings:
    """One campaign as configured; its name is its id."""

    purpose: str = ""
    rules: dict[TriggerRule, RuleSettings] = field(default_factory=dict)
    before_s: float = 3.0
    after_s: float = 2.0
    max_clips_per_drive: int = 8
    max_bytes_per_drive: int = 256 * 1024 * 1024
    until: str = "2040-01-01T00:00:00+00:00"
    """When it ends, ISO 8601 with its offset from UTC."""
    vehicles: tuple[str, ...] = ()
    """Whom it is for; empty means every vehicle."""


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


def issue(
    catalog: Catalog, configured: Mapping[str, CampaignSettings], *, by: str, at_ns: int
) -> tuple[Campaign, ...]:
    """Propose and approve every configured campaign; doing it again changes nothing.

    Args:
        configured: Settings by campaign id, as in ``conf/campaign``.
        by: Who approves: a person, or the rung of the ladder that may.

    Raises:
        OperatorError: A campaign is malformed, or its id stands for another content already.
    """
    campaigns = {name: campaign_from(name, settings) for name, settings in configured.items()}
    for name, campaign in campaigns.items():
        propose(catalog, campaign, vehicles=configured[name].vehicles, at_ns=at_ns, actor=by)
        approve(catalog, name, by=by, at_ns=at_ns)
    return tuple(campaigns.values())


def propose(
    catalog: Catalog,
    campaign: Campaign,
    *,
    vehicles: tuple[str, ...] = (),
    at_ns: int,
    actor: str = "operator",
) -> CampaignRow:
    """Put a campaign up for approval; doing it again changes nothing.

    Raises:
        OperatorError: The id stands for another campaign already.
    """
    row = CampaignRow(
        campaign_id=campaign.campaign_id,
        state=CampaignState.PROPOSED,
        record=msgspec.msgpack.encode(campaign),
        vehicles=vehicles,
        until_ns=campaign.until_ns,
        at_ns=at_ns,
    )
    with catalog.write(at_ns=at_ns, actor=actor) as tx:
        if tx.add(row):
            rules = tuple(str(armed.rule) for armed in campaign.rules)
            tx.append(
                StreamKind.CAMPAIGN,
                campaign.campaign_id,
                "campaign_proposed.1",
                cause=campaign.purpose or "operator",
                rules=rules,
                vehicles=vehicles,
            )
            return row
        before = tx.get(CampaignRow, campaign.campaign_id)
        assert before is not None
    if (before.record, before.vehicles) != (row.record, vehicles):
        raise OperatorError(
            f"campaign {campaign.campaign_id} exists with another content; give the new one a new id"
        )
    return before


def approve(
    catalog: Catalog, campaign_id: str, *, by: str, at_ns: int, cause: str = "approval"
) -> CampaignRow:
    """Let a proposed campaign reach vehicles; approving it again changes nothing.

    Raises:
        OperatorError: There is no such campaign, it has ended, or nobody is named.
    """
    if not by:
        raise OperatorError(f"campaign {campaign_id} not approved: say who approves it")
    with catalog.write(at_ns=at_ns, actor=by) as tx:
        row = tx.get(CampaignRow, campaign_id)
        if row is None or row.state is CampaignState.ENDED:
            state = row.state if row else "unknown"
            raise OperatorError(f"campaign {campaign_id} not approved: it is {state}")
        if row.state is CampaignState.APPROVED:
            return row
        tx.append(StreamKind.CAMPAIGN, campaign_id, "campaign_approved.1", cause=cause)
        return tx.change(CampaignRow, campaign_id, state=CampaignState.APPROVED, approved_by=by)


def end(catalog: Catalog, campaign_id: str, *, by: str, at_ns: int, cause: str) -> CampaignRow:
    """Stop a campaign; vehicles forget it with their next Welcome.

    Raises:
        OperatorError: There is no such campaign.
    """
    with catalog.write(at_ns=at_ns, actor=by) as tx:
        row = tx.change(CampaignRow, campaign_id, state=CampaignState.ENDED)
        tx.append(StreamKind.CAMPAIGN, campaign_id, "campaign_ended.1", cause=cause)
    return row


def campaigns_for(catalog: Catalog, vehicle_id: str, *, now_ns: int) -> tuple[Campaign, ...]:
    """Give the approved campaigns that are for this vehicle and not over, in order of their ids.

    Args:
        now_ns: UTC. A vehicle on a virtual clock is in the past and judges ``until_ns`` by itself.
    """
    rows = catalog.all(CampaignRow, state=CampaignState.APPROVED)
    return tuple(
        msgspec.msgpack.decode(row.record, type=Campaign)
        for row in rows
        if row.until_ns > now_ns and (not row.vehicles or vehicle_id in row.vehicles)
    )


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
