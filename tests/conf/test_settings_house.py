"""Every settings record of the four packages can be set from a root, and says what it holds."""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import conf
from conf.fields import fields_of, records_of
from conf.roots import ROOTS

HOUSE = Path(conf.__file__).parents[1]

NOT_FROM_A_ROOT = {
    "BenchSettings": "the flags of `ringroad bench edge` set all of it",
}
"""Records that no root nests, and why."""


def settings_records() -> Iterator[tuple[str, str]]:
    """Module and name of every class that is called settings, read from the source."""
    for package in ("edge", "fleet", "models", "sim"):
        for file in sorted((HOUSE / package).rglob("*.py")):
            module = ".".join(file.relative_to(HOUSE).with_suffix("").parts)
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef) and node.name.endswith("Settings"):
                    yield module.removesuffix(".__init__"), node.name


RECORDS = tuple(settings_records())


@cache
def reachable() -> frozenset[tuple[str, str]]:
    return frozenset(
        (record.__module__, record.__qualname__)
        for root in ROOTS.values()
        for record in records_of(root.schema())
    )


def test_there_are_as_many_records_as_one_would_think() -> None:
    assert len(RECORDS) > 40


@pytest.mark.parametrize("record", RECORDS, ids=".".join)
def test_settings_record_is_nested_in_a_root_or_says_why_not(record: tuple[str, str]) -> None:
    assert (record in reachable()) != (record[1] in NOT_FROM_A_ROOT)


@pytest.mark.parametrize("record", RECORDS, ids=".".join)
def test_every_field_has_a_sentence_and_a_name_that_says_its_unit(record: tuple[str, str]) -> None:
    module, name = record
    notes = list(fields_of(getattr(importlib.import_module(module), name)))
    assert [note.key for note in notes if not note.sentence] == []
    assert [note.key for note in notes if note.unit == "?"] == []


@pytest.mark.parametrize("root", ROOTS)
def test_every_field_of_a_root_has_a_sentence_and_a_name_that_says_its_unit(root: str) -> None:
    notes = list(fields_of(ROOTS[root].schema()))
    assert [note.key for note in notes if not note.sentence] == []
    assert [note.key for note in notes if note.unit == "?"] == []


def test_every_exception_is_a_record_that_exists() -> None:
    assert set(NOT_FROM_A_ROOT) <= {name for _, name in RECORDS}
