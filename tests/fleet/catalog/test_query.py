"""A read names its rows by prefix, time, set, order and limit, and the database does the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from edge.contracts.errors import OperatorError
from fleet.catalog import (
    Catalog,
    KeyPurpose,
    KeyRow,
    RunRow,
    VehicleRow,
    among,
    before,
    create_catalog,
    prefix,
    since,
)
from fleet.catalog.query import narrowed
from fleet.catalog.tables import TABLES

NAMES = ("V-1", "v-1", "v-10", "v-2", "v_1", "v%1", "é-1")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Seven keys, of which the first was registered at 0 ns, the second at 1 ns, and so on."""
    catalog = create_catalog(tmp_path / "catalog.sqlite")
    with catalog.write(at_ns=0, actor="test") as tx:
        tx.add(VehicleRow(vehicle_id="v-01", profile="laptop", rig_id=None, at_ns=0))
        for at_ns, name in enumerate(NAMES):
            tx.add(KeyRow(key=name, purpose=KeyPurpose.CURVE, vehicle_id="v-01", at_ns=at_ns))
    return catalog


def names(rows: list[KeyRow]) -> list[str]:
    return [row.key for row in rows]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("v-1",), ["v-1", "v-10"]),
        (("V",), ["V-1"]),
        (("v%",), ["v%1"]),
        (("v_",), ["v_1"]),
        (("v-2", "é"), ["v-2", "é-1"]),
        (("x",), []),
        ((), []),
    ],
)
def test_prefix_is_text_and_no_pattern_and_minds_case(
    catalog: Catalog, words: tuple[str, ...], found: list[str]
) -> None:
    assert names(catalog.all(KeyRow, prefix("key", *words))) == found
    assert catalog.count(KeyRow, prefix("key", *words)) == len(found)


def test_empty_prefix_means_every_row(catalog: Catalog) -> None:
    assert catalog.count(KeyRow, prefix("key", "")) == len(NAMES)


def test_time_range_takes_its_beginning_and_not_its_end(catalog: Catalog) -> None:
    assert names(catalog.all(KeyRow, since(2), before(4), order="at_ns")) == ["v-10", "v-2"]


def test_newest_rows_come_first_and_no_more_than_the_limit(catalog: Catalog) -> None:
    assert names(catalog.all(KeyRow, order="-at_ns", limit=2)) == ["é-1", "v%1"]
    assert catalog.all(KeyRow, limit=0) == []


def test_rows_of_one_value_stand_in_the_order_of_their_key(catalog: Catalog) -> None:
    assert names(catalog.all(KeyRow, prefix("key", "v-"), order="purpose")) == [
        "v-1",
        "v-10",
        "v-2",
    ]


def test_rows_of_a_set_are_found_and_of_an_empty_set_none(catalog: Catalog) -> None:
    wanted = among("key", {"v-2", "v-1", "v-99"})
    assert names(catalog.all(KeyRow, wanted)) == ["v-1", "v-2"]
    assert catalog.all(KeyRow, among("key", ())) == []


def test_largest_value_is_of_the_rows_that_are_meant(catalog: Catalog) -> None:
    assert catalog.largest(KeyRow, "at_ns") == 6
    assert catalog.largest(KeyRow, "at_ns", prefix("key", "v-")) == 3
    assert catalog.largest(RunRow, "at_ns") is None


def test_unknown_column_is_refused_with_those_there_are(catalog: Catalog) -> None:
    complaint = "table keys has no column 'speed'; there are key, "
    for read in (
        lambda: catalog.all(KeyRow, speed=1),
        lambda: catalog.all(KeyRow, order="-speed"),
        lambda: catalog.count(KeyRow, since(1, "speed")),
    ):
        with pytest.raises(OperatorError, match=complaint):
            read()


def test_prefix_in_postgresql_follows_no_collation() -> None:
    table = TABLES[KeyRow]
    query = narrowed(select(table), table, "postgresql", [prefix("key", "v-")], {})
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    assert "substr(keys.key" in str(query.compile(dialect=dialect))
