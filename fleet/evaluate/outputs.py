"""Compare the outputs of a network with the best constant answer; a worse one is dead.

The score of a set hides an output that has died: NDS lost one point in ten to a velocity that was always
zero, and the tracker used that zero as a measurement. So each output is compared with the best constant:
"nothing moves" for velocity, the commonest attribute for attribute. An output that does not surely and
materially beat its constant is dead, and a vehicle does not read it.

The choice to question: both conditions must hold. With thousands of boxes a gain of 0.001 % is sure, and with
ten boxes a gain of half is chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
import numpy as np

from edge.contracts.classes import Category, row_of
from edge.contracts.fields import Count, Finite
from edge.contracts.scene import Attribute
from fleet.evaluate.bootstrap import BootstrapSettings, mean_interval
from fleet.evaluate.matching import Floats, Ints, Matches, attribute_index, distance_column
from fleet.evaluate.metrics import ERROR_DISTANCE_M

_SMALLEST_SIGMA_MPS = 0.05
"""Least velocity error that a bundle may state: a filter must not treat a velocity as exact."""


class Output(StrEnum):
    """An output of the network that a constant could stand in for."""

    VELOCITY = "velocity"
    """Error: root mean square per axis, m/s. Constant: zero."""
    ATTRIBUTE = "attribute"
    """Error: share of wrong answers. Constant: the commonest attribute of the class."""


@dataclass
class OutputSettings:
    """Conditions under which an output is alive."""

    max_error_ratio: float = 0.8
    """Largest ratio of its error to the constant's."""
    min_found: int = 50
    """Fewest found road users."""
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    """The upper bound of the paired difference of the errors, places drawn again, must be below zero."""


class OutputVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One output of one class against its constant, over the same found road users."""

    output: Output
    category: Category
    found: Count
    error: Finite
    """In the unit that ``Output`` names; 0 where nothing was found."""
    constant_error: Finite
    is_alive: bool

    def __str__(self) -> str:
        unit = " m/s" if self.output is Output.VELOCITY else ""
        constant = "zero" if self.output is Output.VELOCITY else "the commonest answer"
        return (
            f"{self.output} of {self.category}: {'alive' if self.is_alive else 'dead'}, error "
            f"{self.error:.3f}{unit} against {self.constant_error:.3f}{unit} of {constant}, "
            f"{self.found} found"
        )


def judge_outputs(
    matches: Matches,
    thresholds: Mapping[Category, float],
    settings: OutputSettings | None = None,
    categories: Sequence[Category] = (),
) -> tuple[OutputVerdict, ...]:
    """Compare velocity and attribute of the boxes that a vehicle would see with their constants.

    Args:
        matches: Of the tune set.
        thresholds: Score from which a box counts; a class without one is not judged.
        settings: What is asked of an output.
        categories: Classes to judge, without any all that were matched; those without motion have
            neither output.
    """
    settings = settings or OutputSettings()
    verdicts = []
    for category in categories or matches.categories:
        if not row_of(category).moves or category not in thresholds:
            continue
        rows, is_hit = matches.outcomes(category, ERROR_DISTANCE_M)
        rows = rows[is_hit & (matches.predictions.score[rows] >= thresholds[category])]
        for output, errors_of in _ERRORS_OF.items():
            verdicts.append(_judge(output, category, errors_of(matches, rows), settings))
    return tuple(verdicts)


def believed_velocities(verdicts: Sequence[OutputVerdict]) -> dict[Category, float]:
    """Return the root-mean-square error per axis of every velocity output that is alive, m/s."""
    alive = [v for v in verdicts if v.output is Output.VELOCITY and v.is_alive]
    return {v.category: max(v.error, _SMALLEST_SIGMA_MPS) for v in alive}


@dataclass(frozen=True, eq=False)
class _Errors:
    """Errors of an output and of its constant, about the same found road users."""

    said: Floats  # (N,) squared error per axis, or 1 for a wrong answer
    of_constant: Floats  # (N,) the same of the constant
    place: Ints  # (N,)


def _velocity_errors(matches: Matches, rows: Ints) -> _Errors:
    truth = matches.truth_of[rows, distance_column(ERROR_DISTANCE_M)]
    moved, said = matches.truths.velocity_mps[truth], matches.predictions.velocity_mps[rows]
    return _Errors(
        said=0.5 * ((said - moved) ** 2).sum(axis=1),
        of_constant=0.5 * (moved**2).sum(axis=1),
        place=_places(matches, rows),
    )


def _attribute_errors(matches: Matches, rows: Ints) -> _Errors:
    truth = matches.truths.attribute[matches.truth_of[rows, distance_column(ERROR_DISTANCE_M)]]
    is_labelled = truth != attribute_index(Attribute.UNKNOWN)
    rows, truth = rows[is_labelled], truth[is_labelled]
    commonest = np.bincount(truth).argmax() if len(truth) else 0
    return _Errors(
        said=(matches.predictions.attribute[rows] != truth).astype(np.float64),
        of_constant=(truth != commonest).astype(np.float64),
        place=_places(matches, rows),
    )


_ERRORS_OF = {Output.VELOCITY: _velocity_errors, Output.ATTRIBUTE: _attribute_errors}


def _judge(
    output: Output, category: Category, errors: _Errors, settings: OutputSettings
) -> OutputVerdict:
    error, constant_error = _mean(errors.said), _mean(errors.of_constant)
    if output is Output.VELOCITY:
        error, constant_error = math.sqrt(error), math.sqrt(constant_error)
    return OutputVerdict(
        output=output,
        category=category,
        found=len(errors.said),
        error=error,
        constant_error=constant_error,
        is_alive=_beats(
            error, constant_error, errors.said - errors.of_constant, errors.place, settings
        ),
    )


def _beats(
    error: float, constant_error: float, difference: Floats, place: Ints, settings: OutputSettings
) -> bool:
    is_material = error <= settings.max_error_ratio * constant_error and constant_error > 0.0
    if len(difference) < settings.min_found or not is_material:
        return False
    bound = mean_interval(difference, place, settings.bootstrap)
    return bound.clusters > 1 and bound.upper < 0.0


def _places(matches: Matches, rows: Ints) -> Ints:
    return matches.frames.place[matches.predictions.frame[rows]]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
