"""Bounded number and text types, so that a record that decodes is a record that makes sense.

msgspec checks a bound with two comparisons, and every comparison with NaN is false, so a *bounded*
float refuses NaN and both infinities while an unbounded one lets them through. Therefore no contract
uses a bare ``float``: each field names its unit through one of the types below.
"""

import enum
from typing import Annotated, Self

from msgspec import Meta

Metres = Annotated[float, Meta(ge=-1e7, le=1e7)]
Length = Annotated[float, Meta(gt=0.0, le=200.0)]
Range = Annotated[float, Meta(ge=0.0, le=1e4)]
Radians = Annotated[float, Meta(ge=-7.0, le=7.0)]
Speed = Annotated[float, Meta(ge=-200.0, le=200.0)]
SpeedError = Annotated[float, Meta(gt=0.0, le=200.0)]
Acceleration = Annotated[float, Meta(ge=-200.0, le=200.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Hertz = Annotated[float, Meta(gt=0.0, le=1e4)]
Milliseconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Ratio = Annotated[float, Meta(ge=0.0, le=1.0)]
Unit = Annotated[float, Meta(ge=-1.001, le=1.001)]
"""Part of a unit quaternion, which rounding leaves a little longer than one."""
Pixels = Annotated[float, Meta(ge=-1e5, le=1e5)]
Finite = Annotated[float, Meta(ge=-1e12, le=1e12)]

StampNs = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Size = Annotated[int, Meta(gt=0, le=2**16)]

# \Z, because $ also matches before a newline at the end.
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
Text = Annotated[str, Meta(max_length=2000)]


class OpenEnum(enum.StrEnum):
    """An enumeration that an older program survives: an unknown member reads as ``UNKNOWN``.

    Every subclass defines ``UNKNOWN = "unknown"``.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls.__members__.get("UNKNOWN")
