"""`ringroad settings` lists what can be set, and everything that is listed can be."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
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


@dataclass
class Odd:
    timeout_s: float = 1.0
    share_ratio: float = 0.5
    count: int = 1
    offset_m: float = 0.0
    sizes_bytes: dict[str, int] = field(default_factory=dict)
    bounds_m: tuple[float, float] = (0.0, 1.0)


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
def test_every_listed_default_can_be_typed_and_gives_the_default(
    root: str, words_of: Callable[[Any], list[str]]
) -> None:
    schema = root_of(root).schema()
    words = words_of(schema())
    listed = {note.key.partition(".N")[0].partition(".NAME")[0] for note in fields_of(schema)}
    assert {word.partition("=")[0] for word in words} == listed
    assert with_words(schema(), words) == schema()


def numbers(value: object, at: str = "") -> Iterator[tuple[str, int | float]]:
    """Keys of the numbers of a record, also within its lists and mappings."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from numbers(inner, f"{at}.{index}")
    elif type(value) in (int, float):
        yield at, value  # type: ignore[misc]


@pytest.mark.parametrize("root", BY_WORDS)
def test_no_number_of_any_root_takes_what_no_number_can_be(root: str) -> None:
    record = root_of(root).schema()()
    for key, held in numbers(msgspec.to_builtins(record, str_keys=True)):
        absurd = (str(10**30), ".nan", ".inf") if isinstance(held, float) else (str(10**30), "-1")
        for value in absurd:
            with pytest.raises(OperatorError, match=r"expected|Expected|finite"):
                with_words(record, [f"{key}={value}"])


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("timeout_s=-1", "timeout_s is -1, expected at least 0"),
        ("share_ratio=-0.1", "share_ratio is -0.1, expected at least 0"),
        ("count=-1", "count is -1, expected at least 0"),
        ("offset_m=1e10", "offset_m is 10000000000.0, expected at most 1e+09"),
        ("sizes_bytes={a: -1}", "sizes_bytes.a is -1, expected at least 0"),
        ("bounds_m=[0, 1e10]", r"bounds_m\[1\] is 10000000000.0, expected at most 1e\+09"),
    ],
)
def test_number_that_its_unit_rules_out_is_refused(word: str, complaint: str) -> None:
    with pytest.raises(OperatorError, match=complaint.replace("1e+09", r"1e\+09")):
        with_words(Odd(), [word])


def test_place_may_be_negative() -> None:
    assert with_words(Odd(), ["offset_m=-2.5"]).offset_m == -2.5
