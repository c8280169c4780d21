"""Decide what vehicles record: a campaign is proposed, approved by a named person, and ends.

Its content never changes under its id: vehicles, clips and reports refer to it by that id alone. A change is
a new campaign.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge.contracts.campaign import Campaign
from edge.contracts.campaign_file import CampaignSettings, RuleSettings, campaign_from
from edge.contracts.errors import OperatorError
from fleet.catalog import CampaignRow, CampaignState, Catalog, StreamKind, since

__all__ = [
    "CampaignSettings",
    "RuleSettings",
    "approve",
    "campaign_from",
    "campaigns_for",
    "end",
    "issue",
    "propose",
]


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
        OperatorError: There is no such campaign, it has ended, or no person is named.
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
    """End a campaign; vehicles drop it with their next Welcome.

    Raises:
        OperatorError: There is no such campaign.
    """
    with catalog.write(at_ns=at_ns, actor=by) as tx:
        row = tx.change(CampaignRow, campaign_id, state=CampaignState.ENDED)
        tx.append(StreamKind.CAMPAIGN, campaign_id, "campaign_ended.1", cause=cause)
    return row


def campaigns_for(catalog: Catalog, vehicle_id: str, *, now_ns: int) -> tuple[Campaign, ...]:
    """Return the approved campaigns that are for this vehicle and not over, in order of their ids.

    Args:
        now_ns: UTC. A vehicle on a virtual clock is in the past and judges ``until_ns`` by itself.
    """
    running = since(now_ns + 1, "until_ns")
    rows = catalog.all(CampaignRow, running, state=CampaignState.APPROVED)
    return tuple(
        msgspec.msgpack.decode(row.record, type=Campaign)
        for row in rows
        if (not row.vehicles or vehicle_id in row.vehicles)
    )
