"""Many named arrays in one file, without pickle: bytes, dtype and shape, nothing that can run.

The same arrays always give the same bytes, whatever order they were put in, so that a container can be
named by its hash. Reading is bounded before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import SchemaError
from edge.contracts.fields import Count

ARRAYS_SCHEMA = 1
DTYPES = ("uint8", "int32", "int64", "float32")
"""What a container may hold, little-endian; the dtypes of ``TensorSpec``."""

AnyArray = NDArray[Any]
ArrayName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_./-]{1,200}$")]
Shape = Annotated[
    tuple[Annotated[int, msgspec.Meta(ge=0, le=2**31)], ...], msgspec.Meta(max_length=8)
]


@dataclass
class ArrayLimits:
    """Bounds of a container that a reader accepts."""

    max_bytes: int = 256 * 1024 * 1024
    max_arrays: int = 4096


class _PackedArray(msgspec.Struct, frozen=True, kw_only=True):
    dtype: str
    shape: Shape
    data: bytes


class _Container(msgspec.Struct, frozen=True, kw_only=True):
    schema: Count
    arrays: dict[ArrayName, _PackedArray]


def pack_arrays(arrays: Mapping[str, AnyArray]) -> bytes:
    """Write named arrays of any shape into one deterministic container.

    Raises:
        SchemaError: An array has a dtype outside ``DTYPES``.
    """
    packed = {}
    for name, array in sorted(arrays.items()):
        if array.dtype.name not in DTYPES:
            raise SchemaError(
                f"array {name} not packed: dtype {array.dtype.name}, expected one of {DTYPES}"
            )
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        packed[name] = _PackedArray(
            dtype=array.dtype.name, shape=array.shape, data=little.tobytes()
        )
    return msgspec.msgpack.encode(_Container(schema=ARRAYS_SCHEMA, arrays=packed))


def unpack_arrays(
    container: bytes | memoryview, limits: ArrayLimits | None = None
) -> dict[str, AnyArray]:
    """Read a container back; the arrays are writable copies in native byte order.

    Raises:
        SchemaError: It is larger than ``limits``, does not decode, or an array's bytes do not fill its
            shape.
    """
    limits = limits or ArrayLimits()
    if len(container) > limits.max_bytes:
        raise SchemaError(
            f"array container refused: {len(container)} bytes, at most {limits.max_bytes}"
        )
    try:
        packed = msgspec.msgpack.decode(container, type=_Container)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SchemaError(f"not an array container: {error}") from error
    if packed.schema != ARRAYS_SCHEMA:
        raise SchemaError(f"array container of schema {packed.schema}, expected {ARRAYS_SCHEMA}")
    if len(packed.arrays) > limits.max_arrays:
        raise SchemaError(
            f"array container of {len(packed.arrays)} arrays, at most {limits.max_arrays}"
        )
    return {name: _unpack(name, array) for name, array in packed.arrays.items()}


def _unpack(name: str, array: _PackedArray) -> AnyArray:
    if array.dtype not in DTYPES:
        raise SchemaError(f"array {name} has dtype {array.dtype!r}, expected one of {DTYPES}")
    dtype = np.dtype(array.dtype).newbyteorder("<")
    expected_bytes = math.prod(array.shape) * dtype.itemsize
    if len(array.data) != expected_bytes:
        raise SchemaError(
            f"array {name} of shape {array.shape} and dtype {array.dtype} needs {expected_bytes} bytes, "
            f"got {len(array.data)}"
        )
    return np.frombuffer(array.data, dtype).reshape(array.shape).astype(array.dtype)
