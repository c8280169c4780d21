"""Training recipes: a file of ``conf/train``, and what the order adds to it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from conf.named import load
from models.settings import FitSettings

_NEW_CLASS_WEIGHT = 4.0
"""Factor on the peaks of a class that the parent never saw, unless the recipe names another."""


def read_fit(name: str) -> FitSettings:
    """Read ``conf/train/<name>.yaml``, or a recipe of one's own by the path of its file.

    Raises:
        OperatorError: There is no such recipe, or a key or value in it makes no sense.
    """
    return load("train", name, FitSettings, what="training recipe")


def fine_tune(new_classes: Sequence[str] = (), recipe: str = "fine_tune") -> FitSettings:
    """Read a recipe that teaches new classes.

    The output of a new class starts anew and its few peaks are weighted: without both, the score of a class
    that never occurred is too low to recover.

    Args:
        new_classes: Categories that the parent never saw.
        recipe: A file of ``conf/train``, or the path of one.

    Raises:
        OperatorError: There is no such recipe, or a key or value in it makes no sense.
    """
    fit = read_fit(recipe)
    return replace(
        fit,
        positive_weights=dict.fromkeys(new_classes, _NEW_CLASS_WEIGHT) | fit.positive_weights,
        reset_classes=list(dict.fromkeys([*fit.reset_classes, *new_classes])),
    )
