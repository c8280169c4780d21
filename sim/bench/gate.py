"""Measure how often the class guards of the gate err, on the answers that a lap has left.

A lap judges three models on the same frames: candidate, control and incumbent. Their answers are assigned at
random, so the guards judge models that are equal, and models that lost one class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import Category
from edge.contracts.errors import OperatorError
from fleet.catalog import EvaluateFacts, RunRow
from fleet.dataset.shelf import files_of, find_dataset
from fleet.evaluate import GateSettings
from fleet.evaluate.order import CANDIDATE, CONTROL, INCUMBENT, contend
from fleet.evaluate.power import Trial, rehearse
from fleet.model import find_model
from fleet.work.workspace import Workspace

BenchRow = dict[str, object]


@dataclass(frozen=True)
class Rehearsed:
    """The trials of one lap's models."""

    classes: tuple[Category, ...]
    truths: tuple[int, ...]
    trials: tuple[Trial, ...]


def rehearse_lap(
    workspace: Workspace,
    settings: GateSettings,
    *,
    replicates: int,
    drop: float,
    seed: int,
    on_steps: Callable[[int], None],
) -> Rehearsed:
    """Run the guards on the models of the fleet's last judged lap.

    Raises:
        OperatorError: No candidate was ever judged beside a control.
    """
    roles = (CANDIDATE, CONTROL, INCUMBENT)
    rows = workspace.catalog.all(RunRow, order="-at_ns", stage="evaluate")
    judged = (row.facts for row in rows if isinstance(row.facts, EvaluateFacts))
    facts = next((facts for facts in judged if CONTROL in facts.models), None)
    if facts is None:
        raise OperatorError(
            "no candidate was judged beside a control here: run `ringroad lap` first"
        )
    trained = find_model(workspace, facts.models[CANDIDATE])
    shipped = find_model(workspace, trained.size)
    models = {
        role: shipped if word == shipped.run_id else find_model(workspace, word)
        for role, word in facts.models.items()
        if role in roles
    }
    sets = {name: find_dataset(workspace, word) for name, word in facts.sets.items()}
    contenders = contend(
        workspace,
        models,
        files_of(sets, workspace.store, workspace.cache),
        size=models[INCUMBENT].size,
    )
    gate = contenders[INCUMBENT].gate
    classes = tuple(
        category
        for category in gate.categories
        if category in models[INCUMBENT].known
        and len(gate.truth_rows(category)) >= settings.min_instances
    )
    trials = []
    tables = [contenders[role].gate for role in roles]
    for trial in islice(rehearse(tables, classes, settings, drop=drop, seed=seed), replicates):
        trials.append(trial)
        on_steps(1)
    truths = tuple(len(gate.truth_rows(category)) for category in classes)
    return Rehearsed(classes, truths, tuple(trials))


def power_rows(found: Rehearsed) -> list[BenchRow]:
    """Sum up: a row per class, and one for all of them together.

    ``first_lap`` is a lap whose incumbent is the anchor, ``later_lap`` one that compares with both.
    """
    spread = np.std([trial.difference for trial in found.trials], axis=0)  # (K,)
    refused = np.array([trial.refused for trial in found.trials])  # (trials, K, 2)
    caught = np.array([trial.caught for trial in found.trials])
    rows = [
        _row(str(category), found.truths[k], float(spread[k]), refused[:, k], caught[:, k])
        for k, category in enumerate(found.classes)
    ]
    return [*rows, _row("any", sum(found.truths), None, np.any(refused, axis=1), None)]


def _row(
    name: str,
    truths: int,
    spread: float | None,
    refused: NDArray[np.bool_],
    caught: NDArray[np.bool_] | None,
) -> BenchRow:
    shares: Sequence[tuple[str, object]] = [
        (f"{word}_{lap}", None if said is None else float(said[:, k].mean()))
        for word, said in (("refused", refused), ("caught", caught))
        for k, lap in enumerate(("first_lap", "later_lap"))
    ]
    return {"class": name, "truths": truths, "standard_error": spread, **dict(shares)}
