"""Measure how often the class guards err, with equal models and with one that has lost a class.

The answers of three real models supply the spread. A trial draws the gate's places anew and assigns the
models at random: at each place chance decides whose answers are the candidate's, the incumbent's and the
anchor's. All three are then equal by construction, as noisy as real models are, and their classes fail
together where real ones do. The guards decide as in a lap, resamples and Holm's correction included, so every
refusal is wrong. For power the candidate then also misses truths of one class, as many as cost the wanted AP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.contracts.classes import Category
from edge.contracts.errors import OperatorError
from fleet.evaluate.bootstrap import (
    Weights,
    ap_difference,
    once_and_draws,
    weighted_average_precision,
)
from fleet.evaluate.gate import GateSettings, lost_classes
from fleet.evaluate.guard import ApChange, ClassGuard
from fleet.evaluate.matching import MATCH_DISTANCES_M, UNMATCHED, Bools, Floats, Ints, Matches

_CANDIDATE, _INCUMBENT, _ANCHOR = range(3)
_ROLES = 3
_HALVINGS, _TRIES = 10, 4
"""How closely the share of missed truths is found that costs the wanted AP."""


@dataclass(frozen=True)
class Trial:
    """The guards' decisions in one simulated lap, for each class in order."""

    difference: tuple[float, ...]
    """AP of two equal models, one minus the other."""
    refused: tuple[tuple[bool, bool], ...]
    """Whether the equal model was refused: in a lap whose incumbent is the anchor, in one that has both."""
    caught: tuple[tuple[bool, bool], ...]
    """Whether the model that lost this class was refused, in the same two laps."""


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes of one class and model that count at one distance, sorted by place."""

    start: Ints  # (P + 1,) where the boxes of each place begin
    score: Floats  # (N,)
    is_hit: Bools  # (N,)
    truth: Ints  # (N,) number of the found truth within its place, UNMATCHED for none


@dataclass(frozen=True, eq=False)
class _Class:
    """One class: its truths, and each model's boxes at each distance."""

    truths_at: Ints  # (P,)
    boxes: tuple[tuple[_Boxes, ...], ...]


@dataclass(frozen=True, eq=False)
class _Deal:
    """Which places were drawn, each draw a cluster of its own, and whose answers each role has there."""

    place: Ints  # (C,)
    model: Ints  # (3, C)
    weights: Weights  # (1 + R, C) what the guards themselves draw


def rehearse(
    models: Sequence[Matches],
    categories: Sequence[Category],
    settings: GateSettings,
    *,
    drop: float,
    seed: int = 0,
) -> Iterator[Trial]:
    """Run the guards on equal models, and on models that lost one class, without end.

    Args:
        models: Match tables of three models, of the same gate frames.
        categories: The classes to guard; each needs counted truths.
        settings: The gate's.
        drop: AP that the damaged model loses in its class, on average.
        seed: Of places, coins and ties.

    Raises:
        OperatorError: Not three models, or not of the same frames.
    """
    if len(models) != _ROLES or len({m.frames.frame_ids for m in models}) != 1:
        raise OperatorError(f"a rehearsal needs {_ROLES} models that answered the same frames")
    rng = np.random.default_rng(seed)
    classes = [_class_of(models, category) for category in categories]
    places = len(models[0].frames.places)
    missed = [missed_share(part, drop, rng) for part in classes]
    while True:
        deal = _deal(places, settings, rng)
        ap = np.array(
            [[_ap(part, deal, role, 0.0, rng) for role in range(_ROLES)] for part in classes]
        )
        equal = [
            _guard(category, found, places, settings)
            for category, found in zip(categories, ap, strict=True)
        ]
        caught = []
        for k, category in enumerate(categories):
            damaged = ap[k].copy()
            damaged[_CANDIDATE] = _ap(classes[k], deal, _CANDIDATE, missed[k], rng)
            row = _guard(category, damaged, places, settings)
            caught.append(_accused([*equal[:k], row, *equal[k + 1 :]], settings)[k])
        yield Trial(
            difference=tuple(float(found[_CANDIDATE, 0] - found[_INCUMBENT, 0]) for found in ap),
            refused=_accused(equal, settings),
            caught=tuple(caught),
        )


def missed_share(part: _Class, drop: float, rng: np.random.Generator) -> float:
    """Find the share of truths that a model must miss to lose that much AP, on average over the models."""

    def mean_ap(share: float) -> float:
        return float(
            np.mean(
                [_ap(part, deal, role, share, rng)[0] for deal in deals for role in range(_ROLES)]
            )
        )

    whole = np.arange(len(part.truths_at))
    once = np.ones((1, len(whole)), np.int32)
    deals = [_Deal(whole, np.tile(np.arange(_ROLES)[:, None], len(whole)), once)] * _TRIES
    low, high, wanted = 0.0, 1.0, mean_ap(0.0) - drop
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if mean_ap(middle) > wanted else (low, middle)
    return 0.5 * (low + high)


def _deal(places: int, settings: GateSettings, rng: np.random.Generator) -> _Deal:
    order = rng.permuted(np.tile(np.arange(_ROLES)[:, None], places), axis=0)
    place = rng.integers(0, places, places)
    return _Deal(place, order, once_and_draws(places, settings.bootstrap))


def _ap(part: _Class, deal: _Deal, role: int, missed: float, rng: np.random.Generator) -> Floats:
    """Compute AP of a role, as dealt and then per resample, (1 + R,)."""
    truths_at = part.truths_at[deal.place]
    is_missed = rng.random((len(deal.place), int(part.truths_at.max()))) < missed
    total = np.zeros(len(deal.weights))
    for k in range(len(MATCH_DISTANCES_M)):
        score, is_hit, cluster = _dealt(part, deal, role, k, is_missed)
        order = np.lexsort((rng.random(len(score)), -score))
        total += weighted_average_precision(is_hit[order], cluster[order], deal.weights, truths_at)
    return total / len(MATCH_DISTANCES_M)


def _dealt(
    part: _Class, deal: _Deal, role: int, distance: int, is_missed: Bools
) -> tuple[Floats, Bools, Ints]:
    """Put a role's boxes together, cluster by cluster: score, hit and cluster of each, (n,)."""
    scores, hits, clusters = [], [], []
    for cluster, (place, model) in enumerate(zip(deal.place, deal.model[role], strict=True)):
        boxes = part.boxes[model][distance]
        here = slice(boxes.start[place], boxes.start[place + 1])
        truth = boxes.truth[here]
        is_kept = (truth == UNMATCHED) | ~is_missed[cluster, truth]
        scores.append(boxes.score[here][is_kept])
        hits.append(boxes.is_hit[here][is_kept])
        clusters.append(np.full(int(is_kept.sum()), cluster))
    return np.concatenate(scores), np.concatenate(hits), np.concatenate(clusters)


def _guard(category: Category, ap: Floats, clusters: int, settings: GateSettings) -> ClassGuard:
    """Compare the candidate's AP with the others', from (3, 1 + R)."""
    changes = []
    for other in (_INCUMBENT, _ANCHOR):
        found = ap_difference(category, ap[_CANDIDATE], ap[other], clusters, settings.bootstrap)
        changes.append(
            ApChange(ap=found.second, difference=found.difference, p_value=found.p_value)
        )
    return ClassGuard(
        category=str(category), truths=0, candidate_ap=None, incumbent=changes[0], anchor=changes[1]
    )


def _accused(rows: Sequence[ClassGuard], settings: GateSettings) -> tuple[tuple[bool, bool], ...]:
    laps = ([msgspec.structs.replace(row, anchor=None) for row in rows], rows)
    fallen = [{row.category for row, _, _ in lost_classes(lap, settings)} for lap in laps]
    return tuple((row.category in fallen[0], row.category in fallen[1]) for row in rows)


def _class_of(models: Sequence[Matches], category: Category) -> _Class:
    frames = models[0].frames
    rows = models[0].truth_rows(category)
    place = frames.place[models[0].truths.frame[rows]]
    truths_at = np.bincount(place, minlength=len(frames.places))
    number = np.full(len(models[0].truths.frame), UNMATCHED)
    for k in np.unique(place):
        number[rows[place == k]] = np.arange(truths_at[k])
    boxes = tuple(
        tuple(_boxes_of(m, category, distance_m, number) for distance_m in MATCH_DISTANCES_M)
        for m in models
    )
    return _Class(truths_at, boxes)


def _boxes_of(matches: Matches, category: Category, distance_m: float, number: Ints) -> _Boxes:
    rows, is_hit = matches.outcomes(category, distance_m)
    place = matches.frames.place[matches.predictions.frame[rows]]
    order = np.argsort(place, kind="stable")
    rows, is_hit, place = rows[order], is_hit[order], place[order]
    truth = matches.truth_of[rows, MATCH_DISTANCES_M.index(distance_m)]
    return _Boxes(
        start=np.searchsorted(place, np.arange(len(matches.frames.places) + 1)),
        score=matches.predictions.score[rows],
        is_hit=is_hit,
        truth=np.where(is_hit, number[truth], UNMATCHED),
    )
