"""Set ``key=value`` words of a command line on a settings record.

Dots stand between the keys: ``fit.steps=400``, ``scenes.0.is_night=true``. The value of a text field is the
text as it was typed: quotes, ``$``, ``#`` and ``=`` in it mean themselves. Every other value is read as YAML:
``3``, ``true``, ``[0.5, 1]``, ``{steps: 7}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from conf.records import joined, nearest, one_line, settings_from, type_of
from conf.text import read_yaml
from edge.contracts.errors import OperatorError

T = TypeVar("T")


def with_words(
    settings: T,
    words: Iterable[str],
    *,
    schema: type[T] | None = None,
    origin: str = "command line",
) -> T:
    """Set the ``key=value`` words of a command line on a record; the last one wins.

    Args:
        settings: What they change; it stays as it is, and a changed copy is returned.
        words: For instance ``fit.steps=400``, ``scenes.0.is_night=true``, ``gate.match={max_range_m: 20}``.
            A mapping that is set on a record changes the keys that it names.
        schema: The type of ``settings`` where its class does not say it, as of a dict.
        origin: Where the words came from, for the error message.

    Raises:
        OperatorError: A key is misspelt, or a value makes no sense.
    """
    kind: type[T] = schema or type(settings)
    values = msgspec.to_builtins(settings, str_keys=True)
    try:
        for word in words:
            key, equals, text = word.partition("=")
            if not (equals and key):
                raise ValueError(f"{word!r}, expected key=value")
            values = _set(values, type_of(kind), key.split("."), text, at="")
    except (ValueError, OperatorError) as error:
        raise OperatorError(f"{origin} refused: {one_line(error)}") from error
    return settings_from(values, kind, origin=origin)


def is_text(schema: type, path: Sequence[str]) -> bool:
    """Return whether this place of a schema holds text and nothing else."""
    kind: inspect.Type | None = type_of(schema)
    for name in path:
        kind = _inside(kind, name)
    return isinstance(kind, inspect.StrType)


def _inside(kind: inspect.Type | None, name: str) -> inspect.Type | None:
    """Give the type of one key of a record or of a dict; None where there is no such key."""
    match kind:
        case inspect.DataclassType() | inspect.StructType():
            return next((f.type for f in kind.fields if f.encode_name == name), None)
        case inspect.DictType():
            return kind.value_type
    return None


def _set(value: Any, kind: inspect.Type, path: Sequence[str], text: str, *, at: str) -> Any:
    """Set one leaf of nested plain values and give them back; ``at`` is the key so far."""
    if not path:
        return _leaf(value, kind, text, at=at)
    kind = _without_none(kind)
    name, *rest = path
    here = joined(at, name)
    match kind:
        case inspect.DataclassType() | inspect.StructType():
            fields = {field.encode_name: field.type for field in kind.fields}
            if name not in fields:
                raise ValueError(f"no key {here}{nearest(name, fields)}")
            inner = fields[name]
        case inspect.ListType() | inspect.VarTupleType() | inspect.TupleType():
            return _set_item(list(value), kind, path, text, at=at)
        case inspect.DictType():
            inner = kind.value_type
        case inspect.AnyType():
            inner = kind
        case _:
            raise ValueError(f"no key {here}: {at} holds one value")
    held = value if isinstance(value, dict) else {}
    return {**held, name: _set(held.get(name), inner, rest, text, at=here)}


def _set_item(items: list[Any], kind: Any, path: Sequence[str], text: str, *, at: str) -> list[Any]:
    """Set one leaf inside one entry of a list; entries count from 0."""
    name, *rest = path
    here = joined(at, name)
    if not (name.isascii() and name.isdigit() and int(name) < len(items)):
        raise ValueError(f"no key {here}: {at} has {len(items)} entries, counted from 0")
    index = int(name)
    inner = kind.item_types[index] if isinstance(kind, inspect.TupleType) else kind.item_type
    items[index] = _set(items[index], inner, rest, text, at=here)
    return items


def _without_none(kind: inspect.Type) -> inspect.Type:
    """Give the one type that a value has where it is not None; the same type where there are more."""
    if isinstance(kind, inspect.UnionType):
        options = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
        return options[0] if len(options) == 1 else kind
    return kind


def _leaf(old: Any, kind: inspect.Type, text: str, *, at: str) -> Any:
    """Read one value as its type wants it: text is itself, all else is YAML."""
    inner = _without_none(kind)
    if isinstance(inner, inspect.StrType | inspect.EnumType | inspect.LiteralType):
        return None if text == "null" and inner is not kind else text
    return _merged(old, read_yaml(text, f"value of {at}"), inner)


def _merged(old: Any, new: Any, kind: inspect.Type) -> Any:
    """Put a record that is named in part over what it holds now; everything else is replaced."""
    kind = _without_none(kind)
    is_record = isinstance(kind, inspect.DataclassType | inspect.StructType)
    if not (is_record and isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {
        **old,
        **{
            name: _merged(old.get(name), value, _inside(kind, name) or inspect.AnyType())
            for name, value in new.items()
        },
    }
