"""Format numbers and names for the page."""

from __future__ import annotations

from fleet.evaluate import Decision
from sim.lap.record import BoundedScore

NOTHING = "–"
BOUND = "\u00a0"
"""A blank at which no line breaks."""


def number(value: float) -> str:
    """Write a score."""
    return _minus(f"{value:.2f}")


def signed(value: float | None) -> str:
    """Write a difference of scores."""
    if value is None:
        return NOTHING
    return _minus(f"{value:+.2f}") if abs(value) >= 0.005 else number(0.0)


def interval(score: BoundedScore | None) -> str:
    """Write a score with its bounds, where it has any."""
    if score is None:
        return NOTHING
    if score.low == score.high:
        return number(score.value)
    return f"{number(score.value)}{BOUND}[{number(score.low)},{BOUND}{number(score.high)}]"


def change(score: BoundedScore | None) -> str:
    """Write a difference of AP with its bounds, as closely as the gate's rules do."""
    if score is None:
        return NOTHING
    low, high = _minus(f"{score.low:+.3f}"), _minus(f"{score.high:+.3f}")
    return f"{_minus(f'{score.value:+.3f}')}{BOUND}[{low},{BOUND}{high}]"


def precise(value: float | None) -> str:
    """Write a score beside such a difference."""
    return NOTHING if value is None else _minus(f"{value:.3f}")


def count(value: int) -> str:
    """Write a count."""
    return f"{value:,}"


def many(value: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def megabytes(size_bytes: int) -> str:
    """Write a size in decimal units."""
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1e3:.1f} kB"
    return (
        f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1_000_000_000 else f"{size_bytes / 1e9:.2f} GB"
    )


def duration(seconds: float) -> str:
    """Write a duration in the units that people use."""
    if seconds < 60.0:
        return f"{seconds:.1f}{BOUND}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{BOUND}min {rest}{BOUND}s"
    return f"{minutes // 60}{BOUND}h {minutes % 60}{BOUND}min"


def named(name: str) -> str:
    """Write a name of the code as words."""
    return name.replace("_", " ")


def metric(name: str) -> str:
    """Write a metric as people do."""
    return {"ap": "AP", "map": "mAP"}.get(name, name)


def short(identity: str) -> str:
    """Cut an id to the part that tells it from its neighbours."""
    return identity if len(identity) <= 14 else f"{identity[:12]}…"


def answer_text(decision: str) -> str:
    """Write the answer of a rule, or of the whole gate."""
    return {
        Decision.PASS: "passed",
        Decision.FAIL: "failed",
        Decision.NOT_ENOUGH_EVIDENCE: "not enough evidence",
    }[Decision(decision)]


def _minus(text: str) -> str:
    """Put the minus sign that is as wide as a plus in place of the hyphen."""
    return text.replace("-", "−")
