"""What a candidate must not lose: the ordinary mean, and every class by itself.

A mean over ten classes hides one that is lost, so each class that the other model has learnt is compared
alone, with the incumbent and with the anchor, the shipped baseline. The anchor stays the same from lap to
lap: ten small losses, each within what one lap may lose, add up against it.

A class is lost when two conditions hold. It is *surely* worse: the upper bound of the paired difference lies
below zero, at a level that Holm's method (Holm 1979, *A simple sequentially rejective multiple test
procedure*) tightens by the number of comparisons, those with the incumbent and those with the anchor counted
together, so that a lap with all of them refuses an equal model no more often than one interval would. And the
loss is large enough: the estimate is down by more than the settings allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from fleet.evaluate.bootstrap import Interval


class Other(StrEnum):
    """The model that the candidate is compared with, class by class."""

    INCUMBENT = "incumbent"
    ANCHOR = "anchor"


class ApChange(msgspec.Struct, frozen=True, kw_only=True):
    """AP of one class beside that of another model."""

    ap: float
    """The other model's."""
    difference: Interval
    """Candidate minus the other, paired by place."""
    p_value: float
    """One-sided, before Holm's correction: the share of resamples in which the candidate is not worse."""


class ClassGuard(msgspec.Struct, frozen=True, kw_only=True):
    """One class that must not fall."""

    category: str
    truths: int
    candidate_ap: float | None
    """None where the gate split has too few counted truths; then nothing is compared either."""
    incumbent: ApChange | None
    """None where the incumbent does not know the class, or nothing can be compared."""
    anchor: ApChange | None
    """None where the anchor does not know the class, is the incumbent itself, or nothing can be compared.

    A class that an earlier lap taught is unknown to the shipped baseline: it has the incumbent alone."""

    def against(self, other: Other) -> ApChange | None:
        """Give one of the two comparisons."""
        return self.incumbent if other is Other.INCUMBENT else self.anchor


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """Comparisons of what must not fall: known classes, and the mean over those that are not claimed."""

    frames: int
    places: int
    categories: tuple[str, ...]
    """Of the mean: what the incumbent knows and the candidate does not claim to have improved."""
    candidate_map: float
    incumbent_map: float
    difference: Interval
    anchor_map: float | None = None
    """Over those of the categories that the anchor knows; None where the anchor is the incumbent."""
    over_anchor: Interval | None = None
    """mAP over the same classes, candidate minus anchor."""
    classes: tuple[ClassGuard, ...] = ()


Compared = tuple[ClassGuard, Other, ApChange]


def compared(classes: Sequence[ClassGuard]) -> tuple[Compared, ...]:
    """List every comparison of a class with another model."""
    pairs = ((row, other, row.against(other)) for other in Other for row in classes)
    return tuple((row, other, change) for row, other, change in pairs if change is not None)


def lost(rows: Sequence[Compared], *, level: float, max_drop: float) -> tuple[Compared, ...]:
    """Choose the comparisons in which the candidate is surely worse and down by more than allowed.

    Args:
        rows: All comparisons of a lap; Holm's method counts them.
        level: Chance to refuse an equal model in any of them, one-sided.
        max_drop: AP that a class may lose, as a positive number.
    """
    adjusted = holm([change.p_value for _, _, change in rows])
    return tuple(
        (row, other, change)
        for (row, other, change), p_value in zip(rows, adjusted, strict=True)
        if p_value <= level and change.difference.estimate < -max_drop
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values for their number by Holm's step-down method, in the order given.

    What is at most a level afterwards can be rejected with that chance of any false rejection at all,
    however the tests depend on each other.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[k]))
        adjusted[k] = highest
    return tuple(adjusted)
