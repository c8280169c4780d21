"""Records of columns: every field is an array with one row per thing."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Columns:
    """Base of a dataclass whose fields are arrays (N, ...) with the same N, and nothing else."""

    def select(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """Return the rows that a mask (N,) keeps, or those of these numbers, in their order."""
        return type(self)(*[column[index] for column in self._columns()])

    def followed_by(self, other: Self) -> Self:
        """Return these rows and then those of another record."""
        pairs = zip(self._columns(), other._columns(), strict=True)
        return type(self)(*map(np.concatenate, pairs))

    def _columns(self) -> list[NDArray[Any]]:
        kind: type = type(self)
        return [getattr(self, name) for name in _names(kind)]


@cache
def _names(kind: type) -> tuple[str, ...]:
    """List the fields of a record, once: ``dataclasses.fields`` costs more than the arrays do."""
    return tuple(field.name for field in fields(kind))
