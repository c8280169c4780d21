"""A campaign reaches a vehicle when somebody with a name approved it, and until it is over."""

from pathlib import Path

import pytest

from conf.named import load
from conf.records import settings_from
from edge.contracts.campaign import Campaign
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import OperatorError
from edge.trigger import RULES
from fleet.campaign import (
    CampaignSettings,
    RuleSettings,
    approve,
    campaign_from,
    campaigns_for,
    end,
    issue,
    propose,
)
from fleet.catalog import Catalog, create_catalog

NOW_NS = 1_800_000_000 * 10**9
BRAKES = {TriggerRule.HARD_BRAKE: RuleSettings(threshold=4.0)}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return create_catalog(tmp_path / "catalog.sqlite")


def campaign(name: str = "brakes", **changes: object) -> Campaign:
    return campaign_from(name, CampaignSettings(rules=BRAKES, **changes))  # type: ignore[arg-type]


def test_a_proposed_campaign_reaches_nobody_before_it_is_approved(catalog: Catalog) -> None:
    propose(catalog, campaign(), at_ns=NOW_NS)
    assert campaigns_for(catalog, "v-01", now_ns=NOW_NS) == ()
    approve(catalog, "brakes", by="ada", at_ns=NOW_NS)
    assert campaigns_for(catalog, "v-01", now_ns=NOW_NS) == (campaign(),)


def test_an_approval_names_who_gave_it(catalog: Catalog) -> None:
    propose(catalog, campaign(), at_ns=NOW_NS)
    assert approve(catalog, "brakes", by="ada", at_ns=NOW_NS).approved_by == "ada"
    last = catalog.events("campaign/brakes")[-1]
    assert (last.schema, last.actor) == ("campaign_approved.1", "ada")
    with pytest.raises(OperatorError, match="say who approves"):
        approve(catalog, "brakes", by="", at_ns=NOW_NS)


def test_a_campaign_ends_at_its_time(catalog: Catalog) -> None:
    dated = campaign(until="2027-01-15T08:00:01+00:00")
    assert dated.until_ns == NOW_NS + 10**9
    propose(catalog, dated, at_ns=NOW_NS)
    approve(catalog, "brakes", by="ada", at_ns=NOW_NS)
    assert campaigns_for(catalog, "v-01", now_ns=NOW_NS) == (dated,)
    assert campaigns_for(catalog, "v-01", now_ns=NOW_NS + 10**9) == ()


def test_an_ended_campaign_reaches_nobody_and_stays_ended(catalog: Catalog) -> None:
    propose(catalog, campaign(), at_ns=NOW_NS)
    approve(catalog, "brakes", by="ada", at_ns=NOW_NS)
    assert end(catalog, "brakes", by="ada", at_ns=NOW_NS, cause="enough").state == "ended"
    assert campaigns_for(catalog, "v-01", now_ns=NOW_NS) == ()
    with pytest.raises(OperatorError, match="it is ended"):
        approve(catalog, "brakes", by="ada", at_ns=NOW_NS)


def test_a_campaign_can_be_for_some_vehicles_only(catalog: Catalog) -> None:
    propose(catalog, campaign(), vehicles=("v-02",), at_ns=NOW_NS)
    approve(catalog, "brakes", by="ada", at_ns=NOW_NS)
    assert campaigns_for(catalog, "v-01", now_ns=NOW_NS) == ()
    assert campaigns_for(catalog, "v-02", now_ns=NOW_NS) == (campaign(),)


def test_another_content_needs_another_id(catalog: Catalog) -> None:
    propose(catalog, campaign(), at_ns=NOW_NS)
    assert propose(catalog, campaign(), at_ns=NOW_NS + 1).at_ns == NOW_NS
    with pytest.raises(OperatorError, match="another content"):
        propose(catalog, campaign(before_s=9.0), at_ns=NOW_NS)
    with pytest.raises(OperatorError, match="another content"):
        propose(catalog, campaign(), vehicles=("v-02",), at_ns=NOW_NS)


def test_what_nobody_proposed_cannot_be_approved(catalog: Catalog) -> None:
    with pytest.raises(OperatorError, match="it is unknown"):
        approve(catalog, "brakes", by="ada", at_ns=NOW_NS)


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": {}},
        {"before_s": 61.0},
        {"max_clips_per_drive": -1},
        {"until": "tomorrow"},
        {"until": "2027-01-15T08:00:00"},
        {"rules": {TriggerRule.LOW_TTC: RuleSettings(weight=1.5)}},
        {"rules": {TriggerRule.LOW_TTC: RuleSettings(threshold=float("nan"))}},
    ],
)
def test_settings_that_make_no_campaign_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(OperatorError, match="brakes"):
        campaign_from("brakes", CampaignSettings(**{"rules": BRAKES, **changes}))  # type: ignore[arg-type]


def configured() -> dict[str, CampaignSettings]:
    return load("campaign", "lap", dict[str, CampaignSettings])


def test_the_laps_campaigns_are_issued_once_and_carried_by_every_vehicle(catalog: Catalog) -> None:
    campaigns = issue(catalog, configured(), by="ladder-3", at_ns=NOW_NS)
    assert issue(catalog, configured(), by="ladder-3", at_ns=NOW_NS + 1) == campaigns
    carried = campaigns_for(catalog, "v-01", now_ns=NOW_NS)
    assert [c.campaign_id for c in carried] == ["control", "edge_cases"]
    assert set(carried) == set(campaigns)
    assert catalog.verify_chain("campaign/edge_cases") == 2


def test_the_laps_campaigns_arm_rules_as_the_vehicle_knows_them() -> None:
    settings = configured()
    assert set(settings["control"].rules) == {TriggerRule.RANDOM}
    for rule, armed in settings["edge_cases"].rules.items():
        assert (armed.version, armed.threshold) == (
            RULES[rule].version,
            RULES[rule].usual_threshold,
        )


def test_a_misspelt_key_in_a_campaign_is_refused() -> None:
    with pytest.raises(OperatorError, match="max_clips_per_drive"):
        settings_from(
            {"brakes": {"max_clip_per_drive": 3}}, dict[str, CampaignSettings], origin="brakes.yaml"
        )
    with pytest.raises(OperatorError, match="hard_brake"):
        settings_from(
            {"brakes": {"rules": {"hard_break": {}}}}, dict[str, CampaignSettings], origin="b.yaml"
        )
