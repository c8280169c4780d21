"""Golden frames: inputs of a network and the answers it gave where it was built.

Fleet writes them into a bundle, the vehicle runs them before it drives on that bundle. They rest in an
array container under ``<index>/<graph>/in/<tensor>`` and ``<index>/<graph>/out/<tensor>``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from edge.contracts.arrays import AnyArray, ArrayLimits, pack_arrays, unpack_arrays
from edge.contracts.errors import SchemaError

SELECTED_OUTPUTS = frozenset({"queries", "query_cells", "query_scores", "futures", "future_scores"})
"""Outputs that follow from *which* peaks the network picked, in order of their score. Rounding may
exchange two peaks of nearly the same score, and then every row differs though nothing is wrong: of
these only shape and finiteness are checked, of all others also the values."""


@dataclass(frozen=True, eq=False)
class GoldenFrame:
    """One question to a network and its answer, tensors by name, in the network's own shapes."""

    inputs: dict[str, AnyArray] = field(default_factory=dict)
    outputs: dict[str, AnyArray] = field(default_factory=dict)
    graph: str = "full"
    """Which engine files must answer it, see ``EngineFile.graph``."""


def pack_golden(frames: Iterable[GoldenFrame]) -> bytes:
    """Write golden frames into one deterministic container.

    Raises:
        SchemaError: A frame has no inputs or no outputs, or a tensor of a dtype no container holds.
    """
    arrays: dict[str, AnyArray] = {}
    for index, frame in enumerate(frames):
        if not frame.inputs or not frame.outputs:
            raise SchemaError(f"golden frame {index} not packed: it has no inputs or no outputs")
        for name, array in frame.inputs.items():
            arrays[f"{index:04d}/{frame.graph}/in/{name}"] = array
        for name, array in frame.outputs.items():
            arrays[f"{index:04d}/{frame.graph}/out/{name}"] = array
    return pack_arrays(arrays)


def unpack_golden(
    container: bytes | memoryview, limits: ArrayLimits | None = None
) -> tuple[GoldenFrame, ...]:
    """Read golden frames back, in the order they were written.

    Raises:
        SchemaError: It is no container, a name in it is not of the form above, or a frame lacks its
            inputs or outputs.
    """
    frames: dict[tuple[str, str], GoldenFrame] = {}
    for name, array in sorted(unpack_arrays(container, limits).items()):
        match name.split("/"):
            case [index, graph, "in" | "out" as side, tensor]:
                frame = frames.setdefault((index, graph), GoldenFrame(graph=graph))
                (frame.inputs if side == "in" else frame.outputs)[tensor] = array
            case _:
                raise SchemaError(f"golden set holds {name!r}: not <index>/<graph>/in|out/<tensor>")
    for (index, graph), frame in frames.items():
        if not frame.inputs or not frame.outputs:
            raise SchemaError(f"golden frame {index} of {graph} has no inputs or no outputs")
    return tuple(frames.values())


def largest_error(output: AnyArray, golden: AnyArray) -> float:
    """Measure how far an output is from the golden one of the same shape: what ``tolerance`` bounds.

    Returns:
        The largest absolute difference, relative to the range (maximum minus minimum) of the golden
        output; absolute where that is constant; NaN when a number in either is.
    """
    if golden.size == 0:
        return 0.0
    reference = golden.astype(np.float64)
    span = float(reference.max() - reference.min()) or 1.0
    return float(np.abs(output.astype(np.float64) - reference).max()) / span
