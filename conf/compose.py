"""Compose a run's settings from YAML and the command line, checked against the plain dataclass.

Hydra chooses and merges files; the dataclass beside the code has the last word on which keys exist
and what they hold. Every ``key=value`` is therefore handed to Hydra as "add or override" and judged
afterwards by the schema, so that a default which no YAML file repeats can still be set by hand, and a
misspelt key is refused wherever it came from.

Text is no grammar: the value of a text field is taken as it is typed, and what the command line's own
options say is set on the finished record (``with_options``). So ``store.root=jörg/a (copy),b``
means that folder, and neither quotes nor interpolation are read in it.

Call it once, in a main; what comes out is a typed record and no Hydra type passes below. Hydra's state
is process-wide: never call it from a thread of a service.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib.resources
import itertools
import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from edge.contracts.errors import OperatorError

T = TypeVar("T")


def compose(
    config_name: str, overrides: Sequence[str], schema: type[T], *, config_module: str = "conf"
) -> T:
    """Build the settings of a run.

    Args:
        config_name: A file at the root of ``conf``, without ``.yaml``.
        overrides: As on the command line: ``model=nano`` chooses a file of a group, ``seed=3`` sets
            a value. The last one wins.
        schema: The dataclass that the result is.
        config_module: The package that holds the YAML files.

    Raises:
        OperatorError: A file, a key or a value makes no sense; one line names it and the nearest
            valid one.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    is_text = [_is_text_override(word, schema) for word in overrides]
    forced = [
        _add_or_override(word, config_module)
        for word, is_taken in zip(overrides, is_text, strict=True)
        if not is_taken
    ]
    try:
        with initialize_config_module(config_module, version_base="1.3"):
            config = hydra_compose(config_name, forced)
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise OperatorError(f"configuration {config_name} refused: {_one_line(error)}") from error
    for word in itertools.compress(overrides, is_text):
        key, _, text = word.removeprefix("++").partition("=")
        _set(values, key.split("."), text)
    return settings_from(values, schema, origin=f"configuration {config_name}")


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


def settings_from(values: object, schema: type[T], *, origin: str) -> T:
    """Turn plain values (of a YAML file, say) into a settings record.

    Args:
        values: Dicts, lists and scalars.
        schema: A dataclass or msgspec record; keys that ``values`` lacks keep their defaults, also
            inside a record that ``values`` names in part.
        origin: Where the values came from, for the error message.

    Raises:
        OperatorError: An unknown key, a value of the wrong type, or a number that is not finite or
            out of the bounds of its type.
    """
    kind = inspect.type_info(schema)
    try:
        _refuse_unknown(values, kind, at="")
        return msgspec.convert(_with_defaults(values, kind), schema)
    except (ValueError, msgspec.ValidationError) as error:
        raise OperatorError(f"{origin} refused: {_one_line(error)}") from error


def write_resolved(settings: object, path: Path) -> str:
    """Write settings as indented JSON beside a run's results and give the SHA-256 of the file."""
    compact = msgspec.json.encode(settings, order="deterministic")
    text = msgspec.json.format(compact, indent=2) + b"\n"
    path.write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def _add_or_override(word: str, config_module: str) -> str:
    """Prefix a plain ``key=value`` with ``++``; leave group choices and explicit prefixes alone."""
    key = word.partition("=")[0]
    if not key.strip() or key[0] in "+~" or "@" in key:
        return word
    is_group = importlib.resources.files(config_module).joinpath(key).is_dir()
    return word if is_group else f"++{word}"


def _is_text_override(word: str, schema: type) -> bool:
    """Tell whether a word is a ``key=value``, or ``++key=value``, that sets a text field.

    A text field may be called like a folder of ``conf``: its value is then a name that the code looks
    up, and no file to be merged.
    """
    key, equals, _ = word.removeprefix("++").partition("=")
    is_plain = bool(equals and key) and key[0] not in "+~" and "@" not in key
    return is_plain and _is_text(inspect.type_info(schema), key.split("."))


def _is_text(kind: inspect.Type, path: Sequence[str]) -> bool:
    """Tell whether this place of a schema holds text and nothing else."""
    match kind, path:
        case inspect.StrType(), []:
            return True
        case ((inspect.DataclassType() | inspect.StructType()), [name, *rest]):
            return any(f.encode_name == name and _is_text(f.type, rest) for f in kind.fields)
        case inspect.DictType(), [_, *rest]:
            return _is_text(kind.value_type, rest)
    return False


def _set(values: Any, path: Sequence[str], text: str) -> None:
    """Set one leaf of nested dicts, which are made where there are none."""
    *parents, leaf = path
    for name in parents:
        if not isinstance(values.get(name), dict):
            values[name] = {}
        values = values[name]
    values[leaf] = text


def _refuse_unknown(value: object, kind: inspect.Type, *, at: str) -> None:
    """Walk values and schema side by side; msgspec itself lets unknown keys and open enums pass."""
    match kind:
        case inspect.DataclassType() | inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field.type for field in kind.fields}
            for key, inner in value.items():
                if key not in fields:
                    raise ValueError(f"no key {_join(at, key)}{_nearest(str(key), fields)}")
                _refuse_unknown(inner, fields[key], at=_join(at, key))
        case inspect.DictType() if isinstance(value, dict):
            for key, inner in value.items():
                _refuse_unknown(key, kind.key_type, at=at)
                _refuse_unknown(inner, kind.value_type, at=_join(at, key))
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
            names = [member.value for member in kind.cls]
            if value not in names:
                raise ValueError(f"{at}: no {value!r}{_nearest(str(value), names)}")
        case inspect.FloatType() if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{at}: {value} is not a finite number")
        case inspect.IntType() | inspect.FloatType() if type(value) in (int, float):
            _refuse_out_of_bounds(value, kind, at=at)


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
    if not (isinstance(kind, inspect.DataclassType) and isinstance(value, dict)):
        return value
    filled = dict(value) if default is None else {**msgspec.to_builtins(default), **value}
    for field in kind.fields:
        if field.encode_name in value:
            owned = _default_of(field) if default is None else getattr(default, field.name)
            inner = value[field.encode_name]
            filled[field.encode_name] = _with_defaults(inner, field.type, owned)
    return filled


def _default_of(field: inspect.Field) -> object:
    """Make a field's default; None where it has none or where it is no record."""
    made = None if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return made if dataclasses.is_dataclass(made) else None


def _join(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)


def _nearest(word: str, valid: Any) -> str:
    names = [str(name) for name in valid]
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there is {', '.join(sorted(names))}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split("Config search path")[0].split())
