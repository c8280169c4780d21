"""Describe the fields of a settings record: key, type, default, unit, bounds, and what each means.

The unit is read off the end of a name (``_m``, ``_mps``, ``_ratio``), the sentence is the docstring below
the field, or that of a nested record, as they stand in the source.
"""

from __future__ import annotations

import ast
import inspect as source
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import inspect

from conf.records import joined, type_of
from conf.units import MOST_WHOLE, unit_of


@dataclass(frozen=True)
class FieldNote:
    """One field of a settings record, in words."""

    key: str
    """Dotted, as on a command line; NAME and N stand for the keys of a mapping and a list."""
    type: str
    default: Any
    """As plain values; None where a value has to be given."""
    unit: str
    """Empty where there is none, ``?`` where the name does not say it."""
    bounds: str
    sentence: str


def fields_of(schema: Any, default: object = None) -> Iterator[FieldNote]:
    """Describe every field of a record, and those of the records that are nested in it.

    Args:
        schema: A dataclass or msgspec record.
        default: An instance whose values are the defaults; those of the class otherwise.
    """
    return _described(type_of(schema), default, at="")


def _described(kind: inspect.Type, holder: object, *, at: str) -> Iterator[FieldNote]:
    assert isinstance(kind, inspect.DataclassType | inspect.StructType)
    sentences = sentences_of(kind.cls)
    for field in kind.fields:
        key = joined(at, field.encode_name)
        default = getattr(holder, field.name) if holder is not None else _default_of(field)
        nested = record_in(field.type)
        if nested is None:
            yield FieldNote(
                key=key,
                type=_words(field.type),
                default=msgspec.to_builtins(default, str_keys=True),
                unit=unit_of(field.name, field.type),
                bounds=", ".join(_bounds(field.type)),
                sentence=sentences.get(field.name, ""),
            )
            continue
        inner, step = nested
        is_held = step == "" and type(default) is inner.cls
        yield from _described(
            inner, default if is_held else None, at=joined(key, step) if step else key
        )


def records_of(schema: Any) -> Iterator[type]:
    """List the class of a record and of every record that is nested in it."""
    kind = type_of(schema)
    assert isinstance(kind, inspect.DataclassType | inspect.StructType)
    yield kind.cls
    for field in kind.fields:
        if nested := record_in(field.type):
            yield from records_of(nested[0].cls)


def record_in(kind: inspect.Type) -> tuple[inspect.DataclassType | inspect.StructType, str] | None:
    """Find the record that a field holds, and the step to it: none, ``NAME`` or ``N``."""
    match kind:
        case inspect.DataclassType() | inspect.StructType():
            return kind, ""
        case inspect.UnionType():
            found = [nested for option in kind.types if (nested := record_in(option))]
            return found[0] if found else None
        case inspect.DictType():
            inner, step = kind.value_type, "NAME"
        case inspect.ListType() | inspect.VarTupleType():
            inner, step = kind.item_type, "N"
        case _:
            return None
    nested = record_in(inner)
    return nested and (nested[0], joined(step, nested[1]) if nested[1] else step)


@cache
def sentences_of(record: type) -> dict[str, str]:
    """Read what the source says below each field of a record, as one line; absent where it says nothing."""
    tree = ast.parse(textwrap.dedent(source.getsource(record)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    found: dict[str, str] = {}
    for field, below in pairwise(body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                found[name] = " ".join(words.split())
    return found


def _words(kind: inspect.Type) -> str:
    """Name a type as people do."""
    match kind:
        case inspect.StrType():
            return "text"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "whole number"
        case inspect.FloatType():
            return "number"
        case inspect.EnumType():
            return " | ".join(str(member.value) for member in kind.cls)
        case inspect.LiteralType():
            return " | ".join(map(str, kind.values))
        case inspect.ListType() | inspect.VarTupleType():
            return f"list of {_words(kind.item_type)}"
        case inspect.TupleType():
            return f"[{', '.join(map(_words, kind.item_types))}]"
        case inspect.DictType():
            return f"mapping to {_words(kind.value_type)}"
        case inspect.UnionType():
            return " or ".join(map(_words, kind.types))
        case inspect.NoneType():
            return "null"
    return type(kind).__name__.removesuffix("Type").lower()


def _bounds(kind: inspect.Type) -> Iterator[str]:
    """Name the bounds that a number or a text has to keep."""
    if isinstance(kind, inspect.UnionType):
        for option in kind.types:
            yield from _bounds(option)
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    for name, sign in signs:
        bound = getattr(kind, name, None)
        if bound is not None and bound != MOST_WHOLE:
            yield f"{sign} {bound}"
    if isinstance(kind, inspect.StrType) and kind.max_length is not None:
        yield f"at most {kind.max_length} characters"


def _default_of(field: inspect.Field) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default
