"""Turn plain values into a settings record, and write one.

What a record holds is decided by the dataclass beside the code it sets. A key that it lacks, a value of
another type, a number out of bounds is refused by name. Nothing here needs Hydra, so a board has it.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import operator
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from conf.units import absurdity_of
from edge.contracts.errors import OperatorError

T = TypeVar("T")


def type_of(schema: Any) -> inspect.Type:
    """Describe a schema with all that it holds, once; the description of a root takes 40 ms."""
    return _type_of(schema)


_type_of = cache(inspect.type_info)


def settings_from(values: object, schema: type[T], *, origin: str) -> T:
    """Turn plain values (of a YAML file, say) into a settings record.

    Args:
        values: Dicts, lists and scalars; None is an empty dict.
        schema: A dataclass or msgspec record; keys that ``values`` lacks keep their defaults, also
            inside a record that ``values`` names in part.
        origin: Where the values came from, for the error message.

    Raises:
        OperatorError: An unknown key, a value of the wrong type, or a number that is not finite or
            out of the bounds of its type.
    """
    kind = type_of(schema)
    try:
        values = {} if values is None else _with_text_keys(values)
        _refuse_unknown(values, kind, at="")
        return msgspec.convert(_with_defaults(values, kind), schema, str_keys=True)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise OperatorError(f"{origin} refused: {one_line(error)}") from error


def with_options(settings: T, **options: object) -> T:
    """Set what the command line's own options said on a composed record; no value passes a parser.

    Args:
        settings: A dataclass, as ``compose`` gives it.
        options: Fields of the record by name, for instance ``state=str(path)``.

    Raises:
        OperatorError: A value is of the wrong type.
    """
    changed: T = dataclasses.replace(settings, **options)  # type: ignore[type-var]
    return settings_from(msgspec.to_builtins(changed), type(settings), origin="command line")


def write_resolved(settings: object, path: Path) -> str:
    """Write settings as indented JSON beside a run's results and give the SHA-256 of the file."""
    compact = msgspec.json.encode(settings, order="deterministic")
    text = msgspec.json.format(compact, indent=2) + b"\n"
    path.write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def one_line(error: Exception) -> str:
    """Write an error's words as one line."""
    return " ".join(str(error).split())


def joined(at: str, key: object) -> str:
    """Put one more key behind a dotted key."""
    return f"{at}.{key}" if at else str(key)


def nearest(word: str, valid: Iterable[object]) -> str:
    """Propose the valid word that is nearest, or else name them all."""
    names = [str(name) for name in valid]
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there is {', '.join(sorted(names))}"


def _with_text_keys(values: object) -> object:
    """Turn the keys of mappings into text, as JSON has them; YAML and enumerations have numbers too."""
    if isinstance(values, dict):
        return {str(key): _with_text_keys(inner) for key, inner in values.items()}
    return [_with_text_keys(inner) for inner in values] if isinstance(values, list) else values


def _refuse_unknown(value: object, kind: inspect.Type, *, at: str) -> None:
    """Walk values and schema side by side; msgspec itself lets unknown keys and open enums pass."""
    match kind:
        case inspect.DataclassType() | inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field.type for field in kind.fields}
            for key, inner in value.items():
                if key not in fields:
                    raise ValueError(f"no key {joined(at, key)}{nearest(str(key), fields)}")
                _refuse_unknown(inner, fields[key], at=joined(at, key))
                if not _holds_records(fields[key]):
                    _refuse_absurd(inner, str(key), at=joined(at, key))
        case inspect.DictType() if isinstance(value, dict):
            for key, inner in value.items():
                _refuse_unknown(key, kind.key_type, at=at)
                _refuse_unknown(inner, kind.value_type, at=joined(at, key))
        case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
            for index, inner in enumerate(value):
                _refuse_unknown(inner, kind.item_type, at=f"{at}[{index}]")
        case inspect.TupleType() if isinstance(value, list):
            for index, (inner, item_type) in enumerate(zip(value, kind.item_types, strict=False)):
                _refuse_unknown(inner, item_type, at=f"{at}[{index}]")
        case inspect.UnionType():
            options = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
            if value is not None and len(options) == 1:
                _refuse_unknown(value, options[0], at=at)
        case inspect.EnumType():
            names = [str(member.value) for member in kind.cls]
            if str(value) not in names:
                raise ValueError(f"{at}: no {value!r}{nearest(str(value), names)}")
        case inspect.FloatType() if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{at}: {value} is not a finite number")
        case inspect.IntType() | inspect.FloatType() if type(value) in (int, float):
            _refuse_out_of_bounds(value, kind, at=at)


def _holds_records(kind: inspect.Type) -> bool:
    """Return whether a field holds records, whose own fields say what their numbers mean."""
    match kind:
        case inspect.DataclassType() | inspect.StructType():
            return True
        case inspect.DictType():
            return _holds_records(kind.value_type)
        case inspect.ListType() | inspect.VarTupleType():
            return _holds_records(kind.item_type)
        case inspect.UnionType():
            return any(map(_holds_records, kind.types))
    return False


def _refuse_absurd(value: Any, name: str, *, at: str) -> None:
    """Refuse a number that makes no sense in the unit of its field, also within a list or a mapping."""
    if isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_absurd(inner, name, at=f"{at}[{index}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_absurd(inner, name, at=joined(at, key))
    elif type(value) in (int, float) and (expected := absurdity_of(value, name)):
        raise ValueError(f"{at} is {value}, expected {expected}")


def _refuse_out_of_bounds(
    value: Any, kind: inspect.IntType | inspect.FloatType, *, at: str
) -> None:
    """Name what was got beside what was expected; msgspec itself names the bound alone."""
    bounds = (
        ("at least", kind.ge, operator.ge),
        ("more than", kind.gt, operator.gt),
        ("at most", kind.le, operator.le),
        ("less than", kind.lt, operator.lt),
    )
    for words, bound, holds in bounds:
        if bound is not None and not holds(value, bound):
            raise ValueError(f"{at} is {value}, expected {words} {bound}")


def _with_defaults(value: object, kind: inspect.Type, default: object = None) -> object:
    """Put a record that is named in part over the default of its own field, not of its class."""
    if not isinstance(kind, inspect.DataclassType | inspect.StructType):
        return value
    if not isinstance(value, dict):
        return value
    filled = (
        dict(value) if default is None else {**msgspec.to_builtins(default, str_keys=True), **value}
    )
    for field in kind.fields:
        if field.encode_name in value:
            owned = _default_of(field) if default is None else getattr(default, field.name)
            inner = value[field.encode_name]
            filled[field.encode_name] = _with_defaults(inner, field.type, owned)
    return filled


def _default_of(field: inspect.Field) -> object:
    """Make a field's default; None where it has none or where it is no record."""
    has_factory = field.default_factory is not msgspec.NODEFAULT
    made = field.default_factory() if has_factory else field.default
    return made if dataclasses.is_dataclass(made) or isinstance(made, msgspec.Struct) else None
