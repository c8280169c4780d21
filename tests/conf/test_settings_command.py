"""`ringroad settings` lists what can be set, and everything that is listed can be."""

import json
from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from msgspec import Meta
from typer.testing import CliRunner

from conf.command import matching, settings
from conf.fields import FieldNote, fields_of
from conf.roots import ROOTS, root_of
from conf.words import with_words
from edge.contracts.errors import OperatorError


@dataclass
class Wheel:
    """A wheel."""

    radius_m: Annotated[float, Meta(gt=0.0, le=2.0)] = 0.3
    """From the hub to
    the road."""
    speed: float = 0.0


@dataclass
class Cart:
    wheels: list[Wheel] = field(default_factory=lambda: [Wheel(0.4)])
    spare: Wheel = field(default_factory=lambda: Wheel(0.5))
    names: dict[str, Wheel] = field(default_factory=dict)
    colour: str | None = None
    """Of the paint."""


def notes(schema: type) -> dict[str, FieldNote]:
    return {note.key: note for note in fields_of(schema)}


def test_field_is_listed_with_type_default_unit_bounds_and_sentence() -> None:
    assert notes(Wheel)["radius_m"] == FieldNote(
        "radius_m", "number", 0.3, "m", "> 0.0, <= 2.0", "From the hub to the road."
    )


def test_nested_records_are_listed_with_the_default_of_their_own_field() -> None:
    found = notes(Cart)
    assert set(found) == {
        *("wheels.N.radius_m", "wheels.N.speed", "spare.radius_m", "spare.speed"),
        *("names.NAME.radius_m", "names.NAME.speed", "colour"),
    }
    assert found["spare.radius_m"].default == 0.5
    assert found["colour"].type == "text or null"


def test_number_whose_name_says_no_unit_is_marked() -> None:
    assert notes(Wheel)["speed"].unit == "?"


@pytest.mark.parametrize(
    ("pattern", "count"), [(None, 7), ("radius", 3), ("*.speed", 3), ("spare", 2), ("x", 0)]
)
def test_keys_are_found_by_a_part_or_by_a_pattern(pattern: str | None, count: int) -> None:
    assert len(list(matching(Cart, pattern))) == count


def run(*words: str) -> str:
    app = typer.Typer()
    app.command()(settings)
    said = CliRunner().invoke(app, words)
    if said.exception is not None and not isinstance(said.exception, SystemExit):
        raise said.exception
    return said.output


def test_command_lists_one_root_as_json() -> None:
    rows = json.loads(run("gate", "match.", "--json"))
    assert [row["key"] for row in rows] == ["match.max_range_m", "match.min_visible_px"]
    assert rows[0]["default"] == 30.0


def test_table_shows_every_digit_of_a_default_and_where_it_is_set() -> None:
    said = run("train", "learning_rate")
    assert "0.003" in said
    assert "ringroad train KEY=VALUE" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["gates"], "no root of settings 'gates'; did you mean gate"),
        (["gate", "xyz"], "no key of gate is like 'xyz'"),
    ],
)
def test_root_or_key_that_is_not_there_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(OperatorError, match=complaint):
        run(*words)


BY_WORDS = [name for name, root in ROOTS.items() if "KEY=VALUE" in root.command]


@pytest.mark.parametrize("root", BY_WORDS)
def test_every_listed_default_can_be_typed_and_gives_the_default(root: str) -> None:
    schema = root_of(root).schema()
    record = schema()
    words = [
        f"{note.key}={note.default if isinstance(note.default, str) else json.dumps(note.default)}"
        for note in fields_of(schema)
        if "NAME" not in note.key and ".N." not in note.key
    ]
    assert words
    assert with_words(record, words) == record
