"""Classes are names, and one table holds all that code knows of them."""

from dataclasses import asdict, fields

import msgspec
import pytest

from edge.contracts.classes import (
    BARRIER,
    CAR,
    CLASSES,
    SHIPPED_CLASSES,
    TRAFFIC_CONE,
    UNKNOWN,
    UNKNOWN_ROW,
    ClassRow,
    HeadingPeriod,
    Kind,
    class_named,
    row_of,
)
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Box3D

PLACE = {"x_m": 10.0, "y_m": 0.0, "z_m": 0.8, "yaw_rad": 0.0}
SIZE = {"length_m": 2.0, "width_m": 1.0, "height_m": 1.6}


@pytest.mark.parametrize("column", [field.name for field in fields(ClassRow)])
def test_a_row_that_lacks_a_column_does_not_start(column: str) -> None:
    columns = asdict(CLASSES[CAR])
    del columns[column]
    with pytest.raises(TypeError, match=column):
        ClassRow(**columns)


def test_every_shipped_class_has_a_row_under_its_own_name() -> None:
    assert [CLASSES[name].name for name in SHIPPED_CLASSES] == list(SHIPPED_CLASSES)


@pytest.mark.parametrize("row", CLASSES.values(), ids=str)
def test_a_row_is_within_bounds_and_is_mistaken_for_a_class_that_exists(row: ClassRow) -> None:
    assert min(*row.size_m, row.suppression_m) > 0.0
    assert all(
        0.0 <= n <= 1.0 for n in (row.heading_weight, row.radar_return_ratio, *row.color_rgb)
    )
    assert row.looks_like in CLASSES
    assert row.heading_weight == 0.0 or row.heading is not HeadingPeriod.NONE


def test_a_class_without_a_row_is_treated_as_carefully_as_somebody_on_foot() -> None:
    row = row_of("tuk_tuk")
    assert row is UNKNOWN_ROW
    assert (row.kind, row.is_on_foot, row.moves) == (Kind.VULNERABLE, True, True)
    assert UNKNOWN not in CLASSES


def test_cones_have_no_heading_and_barriers_one_in_half_a_turn() -> None:
    assert row_of(TRAFFIC_CONE).heading is HeadingPeriod.NONE
    assert row_of(BARRIER).heading is HeadingPeriod.HALF


def test_a_box_of_a_class_without_a_row_keeps_its_name() -> None:
    sent = msgspec.json.encode(Box3D(category="tuk_tuk", **PLACE, **SIZE))
    assert b'"category":"tuk_tuk"' in sent
    assert msgspec.json.decode(sent, type=Box3D).category == "tuk_tuk"


def test_a_box_that_an_earlier_version_wrote_reads_as_the_same_class() -> None:
    written = msgspec.json.encode({"category": "car", **PLACE, **SIZE})
    assert msgspec.json.decode(written, type=Box3D).category == CAR


@pytest.mark.parametrize("name", ["", "Tuk Tuk", "tuk\n", "a" * 65])
def test_a_class_whose_name_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({"category": name, **PLACE, **SIZE}), type=Box3D)


def test_an_operator_who_misspells_a_class_is_told_which_there_are() -> None:
    assert class_named("car") == CAR
    with pytest.raises(OperatorError, match="there is no class 'cra'; there are car, truck"):
        class_named("cra")
