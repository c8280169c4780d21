import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import SchemaError
from edge.contracts.wire import (
    MAX_HEADER_BYTES,
    TABLE,
    Bye,
    Direction,
    Hello,
    Message,
    UnknownMessage,
    Welcome,
    decode,
    encode,
)

HELLO = Hello(vehicle_id="v1", boot_id="b1", profile="laptop", bundle_id="b-0", release_counter=0)


def header(**fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


def test_table_names_every_message_by_its_tag() -> None:
    tags = {kind: row.record for kind, row in TABLE.items()}
    assert tags == {record.__struct_config__.tag: record for record in Message.__subclasses__()}


def test_table_says_of_every_message_where_it_goes_and_how_often() -> None:
    assert {row.direction for row in TABLE.values()} == set(Direction)
    assert all(row.rate for row in TABLE.values())


def test_message_comes_back_as_what_it_was() -> None:
    armed = ArmedRule(rule=TriggerRule.LOW_TTC, threshold=1.5, ticks_of=(3, 5))
    campaign = Campaign(campaign_id="night", rules=(armed,), until_ns=9)
    for message in (HELLO, Welcome(campaigns=(campaign,)), Bye(reason="revoked key")):
        assert decode(encode(message)) == message
        assert decode(memoryview(encode(message))) == message


def test_kind_of_a_newer_peer_is_an_unknown_message() -> None:
    assert decode(header(kind="lidar_offer", points=[1, 2])) == UnknownMessage("lidar_offer")


def test_older_vehicle_ignores_the_rule_it_does_not_know() -> None:
    rule = {"rule": "moose_shadow", "threshold": 0.5}
    campaign = {"campaign_id": "c", "rules": [rule], "until_ns": 1}
    message = decode(header(kind="welcome", schema=99, campaigns=[campaign]))
    assert isinstance(message, Welcome)
    assert message.campaigns[0].rules[0].rule is TriggerRule.UNKNOWN


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xc1",
        header(),
        header(kind=7),
        header(kind=None),
        header(kind="hello"),
        msgspec.msgpack.encode(["hello"]),
        encode(HELLO)[:-1],
        encode(HELLO) + b"\x00",
        header(kind="bye", reason="x" * 2001),
        b"\x81\xa4kind\xa1\xff",
        b"\x82\xa4kind\xa5hello\xa1a" + b"\x91" * 100_000 + b"\xc0",
    ],
)
def test_header_that_is_no_message_is_refused(bad: bytes) -> None:
    with pytest.raises(SchemaError, match="not a message"):
        decode(bad)


def test_header_larger_than_the_limit_is_refused_unread() -> None:
    with pytest.raises(SchemaError, match=f"at most {MAX_HEADER_BYTES}"):
        decode(encode(HELLO) + bytes(MAX_HEADER_BYTES))


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_a_refusal(noise: bytes) -> None:
    try:
        assert isinstance(decode(noise), Message | UnknownMessage)
    except SchemaError as error:
        assert str(error).startswith("not a message")  # noqa: PT017 - either outcome is right


def test_campaign_that_asks_for_more_ticks_than_it_looks_at_is_refused() -> None:
    rule = {"rule": "low_ttc", "threshold": 1.0, "ticks_of": [4, 3]}
    campaign = {"campaign_id": "c", "rules": [rule], "until_ns": 1}
    with pytest.raises(SchemaError, match="4 of 3 ticks"):
        decode(header(kind="welcome", campaigns=[campaign]))
