"""The unit of a setting by the end of its name, and the numbers that are out of bounds for it.

A type may bound a number more closely. Where it does not, an amount of time, bytes or pixels, a share and a
whole number are not negative, and no number is so large that nothing in the world has that size.
"""

from __future__ import annotations

from msgspec import inspect

UNITS = {
    "m": "m",
    "m2": "m2",
    "km": "km",
    "per_km": "1/km",
    "per_km2": "1/km2",
    "mps": "m/s",
    "mps2": "m/s2",
    "m2ps3": "m2/s3",
    "radps": "rad/s",
    "rad": "rad",
    "deg": "degrees",
    "s": "s",
    "ms": "ms",
    "ns": "ns",
    "days": "days",
    "hz": "Hz",
    "px": "pixels",
    "pixels": "pixels",
    "bytes": "bytes",
    "bytes_per_s": "bytes/s",
    "bytes_per_window": "bytes",
    "bytes_per_drive": "bytes",
    "per_scan": "per scan",
    "per_clean_frame": "per frame",
    "per_frame": "per frame",
    "db": "dB",
    "dbsm": "dBsm",
    "sigmas": "standard deviations",
    "ticks": "ticks",
    "hits": "hits",
    "kmph": "km/h",
}
"""What the end of a name says about its unit."""

NEVER_NEGATIVE = {
    *("s", "ms", "ns", "days", "Hz", "pixels", "bytes", "bytes/s"),
    *("1/km", "1/km2", "per scan", "per frame", "ticks", "hits", "standard deviations"),
}
"""Units of amounts."""

SIGNED = {"m", "m/s", "m/s2", "rad", "rad/s", "degrees", "dB", "dBsm"}
"""Units of places, motions and levels, in which a whole number may be negative."""

UNITLESS = {
    *(
        "ratio",
        "share",
        "shares",
        "probability",
        "score",
        "scores",
        "confidence",
        "weight",
        "weights",
    ),
    *(
        "factor",
        "factors",
        "gain",
        "decay",
        "memory",
        "worth",
        "price",
        "rate",
        "gate",
        "scale",
        "clip",
    ),
    *("difference", "drop", "min", "max", "threshold", "rgb", "floor", "floors", "random"),
    *("level", "contrast", "correlation"),
}
"""Last words of the names of plain numbers."""

MOST = 1e9
"""Largest amount of a number that has a fraction: as a time in seconds 30 years."""
MOST_WHOLE = 2**53 - 1
"""Largest whole number that JSON carries exactly."""


def unit_of(name: str, kind: inspect.Type) -> str:
    """Read a number's unit off the end of its name.

    Returns:
        Empty for what is no number, for a count and for a plain number by its last word; ``?`` where the
        name says neither.
    """
    words = name.split("_")
    if words[0] == "seconds":  # seconds_per_track
        return "s"
    for start in range(len(words)):
        if unit := UNITS.get("_".join(words[start:])) if start or len(words) == 1 else None:
            return unit
    return "?" if _is_fraction(kind) and words[-1] not in UNITLESS else ""


def _is_fraction(kind: inspect.Type) -> bool:
    match kind:
        case inspect.FloatType():
            return True
        case inspect.ListType() | inspect.VarTupleType():
            return _is_fraction(kind.item_type)
        case inspect.TupleType():
            return any(map(_is_fraction, kind.item_types))
        case inspect.DictType():
            return _is_fraction(kind.value_type)
        case inspect.UnionType():
            return any(map(_is_fraction, kind.types))
    return False


def absurdity_of(value: float, name: str) -> str:
    """Return what a number has to be where its name rules it out; empty where it may be.

    Args:
        value: Finite.
        name: Of the field that holds it.
    """
    unit = unit_of(name, inspect.FloatType())
    is_amount = unit in NEVER_NEGATIVE or name.endswith("_ratio")
    is_count = isinstance(value, int) and unit not in SIGNED
    if value < 0 and (is_amount or is_count):
        return "at least 0"
    most = MOST_WHOLE if isinstance(value, int) else MOST
    return f"at most {most:g}" if abs(value) > most else ""
