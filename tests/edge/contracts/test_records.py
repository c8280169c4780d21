"""Every record of `edge.contracts`, found by walking the package, against the same claims.

A record added tomorrow is tested tomorrow: strategies and examples are derived from its types, and
only the few records with a rule of their own (a unit quaternion, eight cameras in order) say how to
satisfy it.
"""

import contextlib
import importlib
import math
import pkgutil
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

import edge.contracts
from edge.contracts.bundle import BundleManifest
from edge.contracts.campaign import ArmedRule
from edge.contracts.classes import SHIPPED_CLASSES, UNKNOWN
from edge.contracts.clip import ClipManifest, Privacy
from edge.contracts.errors import SchemaError
from edge.contracts.fields import OpenEnum
from edge.contracts.geometry import Pose
from edge.contracts.rig import Body, Intrinsics, Rig
from edge.contracts.time import ClockKind, NamedClock
from edge.contracts.wire import Message, decode_record
from edge.perceive.tensors import IMAGE_SLOTS

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

Path = tuple[str | int, ...]


def defined_in_contracts(root: type) -> list[type[Any]]:
    modules = [
        importlib.import_module(f"edge.contracts.{module.name}")
        for module in pkgutil.iter_modules(edge.contracts.__path__)
    ]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, root)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]


RECORDS = [record for record in defined_in_contracts(msgspec.Struct) if record is not Message]
OPEN_ENUMS = [enum for enum in defined_in_contracts(OpenEnum) if enum is not OpenEnum]


def fields_of(record: type) -> dict[str, inspect.Type]:
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field.type for field in info.fields}


def plain(kind: inspect.Type, rng: random.Random) -> Any:
    """Draw the plain (msgpack-able) form of a value; every container holds at least one element."""
    match kind:
        case inspect.FloatType():
            low, high = float_bounds(kind)
            return rng.uniform(low, high)
        case inspect.IntType():
            low, high = int_bounds(kind)
            return rng.choice([low, high, rng.randint(low, high)])
        case inspect.StrType():
            return text_for(kind, rng)
        case inspect.BytesType():
            return rng.randbytes(rng.randrange(80))
        case inspect.BoolType():
            return rng.random() < 0.5
        case inspect.NoneType():
            return None
        case inspect.EnumType(cls=cls):
            return rng.choice([member.value for member in cls])
        case inspect.VarTupleType(item_type=item):
            return [plain(item, rng) for _ in range(rng.randint(1, 3))]
        case inspect.TupleType(item_types=items):
            return [plain(item, rng) for item in items]
        case inspect.DictType(key_type=key, value_type=value):
            return {plain(key, rng): plain(value, rng) for _ in range(2)}
        case inspect.UnionType(types=options):
            return plain(next(o for o in options if not isinstance(o, inspect.NoneType)), rng)
        case inspect.StructType():
            return plain_record(kind, rng)
    raise TypeError(f"no example for {kind}")


def plain_record(kind: inspect.StructType, rng: random.Random) -> Any:
    values = {field.encode_name: plain(field.type, rng) for field in kind.fields}
    satisfy = RULES.get(kind.cls)
    if satisfy is not None:
        satisfy(values, rng)
    if kind.array_like:
        return list(values.values())
    tag = {kind.tag_field: kind.tag} if kind.tag_field is not None else {}
    return tag | values


def unit_quaternion(values: dict[str, Any], rng: random.Random) -> None:
    q = [rng.gauss(0.0, 1.0) for _ in range(4)]
    values |= {
        name: v / math.hypot(*q) for name, v in zip(("qw", "qx", "qy", "qz"), q, strict=True)
    }


def eight_cameras(values: dict[str, Any], rng: random.Random) -> None:
    camera = fields_of(Rig)["cameras"]
    assert isinstance(camera, inspect.VarTupleType)
    values["cameras"] = [plain(camera.item_type, rng) | {"name": name} for name in CAMERAS]


def lens(values: dict[str, Any], rng: random.Random) -> None:
    values |= {"fx_px": rng.uniform(1.0, 1e4), "fy_px": rng.uniform(1.0, 1e4)}
    values |= {"projection": "fisheye", "distortion": [rng.uniform(-1.0, 1.0) for _ in range(4)]}


def body_longer_than_its_wheelbase(values: dict[str, Any], rng: random.Random) -> None:
    values["length_m"] = rng.uniform(10.0, 20.0)
    values["wheelbase_m"] = rng.uniform(1.0, 5.0)
    values["rear_overhang_m"] = rng.uniform(0.0, 5.0)


def clip_of_images_that_may_leave(values: dict[str, Any], rng: random.Random) -> None:
    end_after_start(values, rng)
    values["privacy"] = Privacy.SYNTHETIC.value


def boot_when_monotonic(values: dict[str, Any], rng: random.Random) -> None:
    if values["kind"] != ClockKind.MONOTONIC.value:
        values["boot_id"] = None


def end_after_start(values: dict[str, Any], rng: random.Random) -> None:
    values["start_ns"], values["end_ns"] = sorted((values["start_ns"], values["end_ns"]))


def threshold_per_category(values: dict[str, Any], rng: random.Random) -> None:
    values["categories"] = list(SHIPPED_CLASSES)
    values["thresholds"] = {name: rng.random() for name in (*SHIPPED_CLASSES, UNKNOWN)}


def some_of_more(values: dict[str, Any], rng: random.Random) -> None:
    window = rng.randint(1, 36)
    values["ticks_of"] = [rng.randint(1, window), window]


RULES: dict[type, Callable[[dict[str, Any], random.Random], None]] = {
    ArmedRule: some_of_more,
    BundleManifest: threshold_per_category,
    Rig: eight_cameras,
    ClipManifest: clip_of_images_that_may_leave,
    NamedClock: boot_when_monotonic,
    Intrinsics: lens,
    Body: body_longer_than_its_wheelbase,
    Pose: unit_quaternion,
}


def float_bounds(kind: inspect.FloatType) -> tuple[float, float]:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    assert low is not None and high is not None, f"a float without bounds lets NaN through: {kind}"
    return math.nextafter(low, math.inf), math.nextafter(high, -math.inf)


def int_bounds(kind: inspect.IntType) -> tuple[int, int]:
    low = kind.ge if kind.ge is not None else kind.gt + 1 if kind.gt is not None else None
    assert low is not None and kind.le is not None, f"an integer without bounds: {kind}"
    return low, kind.le


def text_for(kind: inspect.StrType, rng: random.Random) -> str:
    if kind.pattern is None:
        assert kind.max_length is not None, "text without a bound"
        return "".join(rng.choices("aZ9 ,.é漢\n", k=rng.randrange(20)))
    if "{64}" in kind.pattern:
        return "".join(rng.choices("0123456789abcdef", k=64))
    if kind.pattern.startswith("^(uint8"):
        return rng.choice(["uint8", "int32", "int64", "float32"])
    return "".join(rng.choices("abcxyz019", k=rng.randint(1, 40)))


def examples_of(record: type) -> st.SearchStrategy[Any]:
    info = inspect.type_info(record)
    return st.integers(0, 2**32).map(lambda seed: plain(info, random.Random(seed)))


def example_of(record: type) -> Any:
    return plain(inspect.type_info(record), random.Random(4))


def pack(values: Any) -> bytes:
    return msgspec.msgpack.encode(values)


def leaves(kind: inspect.Type, value: Any, at: Path = ()) -> Iterator[tuple[Path, inspect.Type]]:
    """Walk one record's own fields through its containers, stopping at records of their own."""
    match kind:
        case inspect.StructType():
            return
        case inspect.VarTupleType(item_type=item):
            yield from leaves(item, value[0], (*at, 0))
        case inspect.TupleType(item_types=items):
            for index, item in enumerate(items):
                yield from leaves(item, value[index], (*at, index))
        case inspect.DictType(value_type=item):
            key = next(iter(value))
            yield from leaves(item, value[key], (*at, key))
        case inspect.UnionType(types=options):
            option = next(o for o in options if not isinstance(o, inspect.NoneType))
            yield from leaves(option, value, at)
        case _:
            yield at, kind


def own_leaves(record: type) -> list[tuple[Path, inspect.Type]]:
    example = example_of(record)
    found: list[tuple[Path, inspect.Type]] = []
    for index, (name, kind) in enumerate(fields_of(record).items()):
        key: str | int = index if isinstance(example, list) else name
        found += leaves(kind, example[key], (key,))
    return found


def leaf_cases(*kinds: type[inspect.Type]) -> list[Any]:
    return [
        pytest.param(record, path, kind, id=f"{record.__name__}.{'.'.join(map(str, path))}")
        for record in RECORDS
        for path, kind in own_leaves(record)
        if isinstance(kind, kinds)
    ]


def with_leaf(record: type, path: Path, value: Any) -> bytes:
    example = example_of(record)
    inner = example
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return pack(example)


def refusal(record: type, path: Path, value: Any) -> str:
    with pytest.raises(SchemaError) as caught:
        decode_record(with_leaf(record, path, value), record, record.__name__)
    message = str(caught.value)
    assert message.startswith(f"{record.__name__} does not decode: ")
    return message


def place(path: Path) -> str:
    """How msgspec names the field: by name in a record, by index in an array-like one."""
    return f"`$.{path[0]}" if isinstance(path[0], str) else f"`$[{path[0]}]"


def test_all_records_are_found() -> None:
    names = {record.__name__ for record in RECORDS}
    assert {"Pose", "Box3D", "Rig", "ClipManifest", "Campaign", "Hello", "Bye"} <= names
    assert len(RECORDS) >= 35


@pytest.mark.parametrize("record", RECORDS)
@settings(max_examples=25)
@given(data=st.data())
def test_record_survives_the_wire(record: type, data: st.DataObject) -> None:
    sent = decode_record(pack(data.draw(examples_of(record))), record, "it")
    assert decode_record(pack(sent), record, "it") == sent
    assert pack(decode_record(pack(sent), record, "it")) == pack(sent)


def add_unknown_fields(kind: inspect.Type, value: Any) -> Any:
    """Grow every record inside ``value`` by a field that this side does not know."""
    match kind:
        case inspect.StructType(fields=fields, array_like=True):
            known = [add_unknown_fields(f.type, v) for f, v in zip(fields, value, strict=True)]
            return [*known, {"of": 2031}]
        case inspect.StructType(fields=fields):
            kinds = {field.encode_name: field.type for field in fields}
            known_fields = {
                k: add_unknown_fields(kinds[k], v) for k, v in value.items() if k in kinds
            }
            return {"lidar_of_2031": [1.5, None]} | value | known_fields
        case inspect.VarTupleType(item_type=item):
            return [add_unknown_fields(item, v) for v in value]
        case inspect.UnionType(types=options) if value is not None:
            option = next(o for o in options if not isinstance(o, inspect.NoneType))
            return add_unknown_fields(option, value)
    return value


@pytest.mark.parametrize("record", RECORDS)
def test_unknown_fields_of_a_newer_peer_are_tolerated(record: type) -> None:
    today = example_of(record)
    tomorrow = add_unknown_fields(inspect.type_info(record), today)
    assert tomorrow != today
    assert decode_record(pack(tomorrow), record, "it") == decode_record(pack(today), record, "it")


@pytest.mark.parametrize("enum", OPEN_ENUMS)
def test_unknown_member_of_a_newer_peer_reads_as_unknown(enum: type[OpenEnum]) -> None:
    for read in (enum("of_2031"), msgspec.msgpack.decode(pack("of_2031"), type=enum)):
        assert read is enum.__members__["UNKNOWN"]
        assert read.value == "unknown"


@pytest.mark.parametrize(("record", "path", "kind"), leaf_cases(inspect.EnumType))
def test_record_with_an_unknown_member_decodes(record: type, path: Path, kind: Any) -> None:
    assert decode_record(with_leaf(record, path, "of_2031"), record, "it") is not None
    assert issubclass(kind.cls, OpenEnum)


@pytest.mark.parametrize(("record", "path", "kind"), leaf_cases(inspect.FloatType))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_float_that_makes_no_sense_is_refused_by_name(
    record: type, path: Path, kind: inspect.FloatType, value: float
) -> None:
    assert place(path) in refusal(record, path, value)


@pytest.mark.parametrize(("record", "path", "kind"), leaf_cases(inspect.FloatType))
def test_float_just_outside_its_bounds_is_refused_by_name(
    record: type, path: Path, kind: inspect.FloatType
) -> None:
    low, high = float_bounds(kind)
    for value in (low - max(1e-6, abs(low) * 1e-9), high + max(1e-6, abs(high) * 1e-9)):
        assert place(path) in refusal(record, path, value)


@pytest.mark.parametrize(("record", "path", "kind"), leaf_cases(inspect.IntType))
def test_integer_outside_its_bounds_is_refused_by_name(
    record: type, path: Path, kind: inspect.IntType
) -> None:
    low, high = int_bounds(kind)
    for value in (low - 1, high + 1, True, 1.5):
        assert place(path) in refusal(record, path, value)


@pytest.mark.parametrize(("record", "path", "kind"), leaf_cases(inspect.StrType))
def test_text_of_the_wrong_form_is_refused_by_name(
    record: type, path: Path, kind: inspect.StrType
) -> None:
    good = text_for(kind, random.Random(4))
    bad = ["x" * 2001] if kind.pattern is None else ["", "../../etc", good + "\n", "x" * 65]
    for value in bad:
        assert place(path) in refusal(record, path, value)


@pytest.mark.parametrize(
    ("record", "path", "kind"),
    leaf_cases(
        inspect.BoolType,
        inspect.BytesType,
        inspect.EnumType,
        inspect.FloatType,
        inspect.IntType,
        inspect.StrType,
    ),
)
def test_value_of_the_wrong_type_is_refused_by_name(record: type, path: Path, kind: Any) -> None:
    assert place(path) in refusal(record, path, {"not": ["a", "leaf"]})


@pytest.mark.parametrize("record", RECORDS)
def test_record_that_lacks_a_required_field_is_refused_by_name(record: type) -> None:
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)
    for index, field in enumerate(info.fields):
        if not field.required:
            continue
        values = example_of(record)
        values = values[:index] if info.array_like else values
        if not info.array_like:
            del values[field.encode_name]
        with pytest.raises(SchemaError) as caught:
            decode_record(pack(values), record, "it")
        assert info.array_like or f"`{field.encode_name}`" in str(caught.value)


@pytest.mark.parametrize("record", RECORDS)
@settings(max_examples=25)
@given(data=st.data())
def test_damaged_bytes_are_refused_and_nothing_worse(record: type, data: st.DataObject) -> None:
    good = pack(example_of(record))
    at = data.draw(st.integers(0, len(good)))
    bad = (
        good[:at] + data.draw(st.binary(max_size=8)) + good[data.draw(st.integers(at, len(good))) :]
    )
    with contextlib.suppress(SchemaError):
        decode_record(bad, record, "it")
