"""Together the class guards seldom refuse an equal model, and seldom miss one that lost a class.

The figures are of one default lap, seed 0: 1,600 gate frames of 180 places, candidate minus incumbent, the
spread of the paired bootstrap over places. On the answers themselves, place by place: `ringroad bench gate`.
"""

from itertools import islice
from statistics import NormalDist

import numpy as np
import pytest

from edge.contracts.classes import CAR, PEDESTRIAN
from edge.contracts.errors import OperatorError
from fleet.evaluate import (
    ApChange,
    BootstrapSettings,
    ClassGuard,
    Evidence,
    GateSettings,
    Guard,
    Interval,
    judge_candidate,
    match,
)
from fleet.evaluate.power import rehearse

SETTINGS = GateSettings()
SPREAD = {
    "car": (4718, 0.0051),
    "truck": (1079, 0.0122),
    "bus": (538, 0.0142),
    "trailer": (653, 0.0153),
    "construction_vehicle": (591, 0.0181),
    "pedestrian": (9025, 0.0050),
    "motorcycle": (810, 0.0158),
    "bicycle": (767, 0.0181),
    "traffic_cone": (3464, 0.0074),
    "barrier": (422, 0.0180),
}
"""Counted truths, and the standard error of the difference of AP."""
BETWEEN_CLASSES, BETWEEN_FAMILIES = 0.17, 0.32
"""Mean correlations: of two classes' differences, and of one class' difference to incumbent and to anchor."""
SMALLEST_P = 1 / (1 + SETTINGS.bootstrap.resamples)


def _differences(laps, rng):
    """Draw AP differences of an equal model, (laps, 2 families, 10 classes)."""
    shares = rng.normal(size=(laps, 2, 1)), rng.normal(size=(laps, 1, 10))
    alone = rng.normal(size=(laps, 2, 10))
    rest = 1.0 - BETWEEN_CLASSES - BETWEEN_FAMILIES
    standard = (
        np.sqrt(BETWEEN_CLASSES) * shares[0]
        + np.sqrt(BETWEEN_FAMILIES) * shares[1]
        + np.sqrt(rest) * alone
    )
    return standard * np.array([error for _, error in SPREAD.values()])


def _accused(differences, has_anchor):
    """Name what the gate's reasons accuse in one lap, from differences (2 families, 10 classes)."""
    normal, zero = NormalDist(), Interval(estimate=0.0, lower=-0.01, upper=0.01, clusters=180)
    changes = [
        [
            ApChange(
                ap=0.5,
                difference=Interval(
                    estimate=d, lower=d - 1.96 * error, upper=d + 1.96 * error, clusters=180
                ),
                p_value=max(SMALLEST_P, normal.cdf(d / error)),
            )
            for d, (_, error) in zip(family, SPREAD.values(), strict=True)
        ]
        for family in differences.tolist()
    ]
    guard = Guard(
        frames=1600,
        places=180,
        categories=tuple(SPREAD),
        candidate_map=0.6,
        incumbent_map=0.6,
        difference=zero,
        over_anchor=zero if has_anchor else None,
        classes=tuple(
            ClassGuard(
                category=name,
                truths=truths,
                candidate_ap=0.5,
                incumbent=changes[0][k],
                anchor=changes[1][k] if has_anchor else None,
            )
            for k, (name, (truths, _)) in enumerate(SPREAD.items())
        ),
    )
    reasons = judge_candidate(Evidence(claims=(), guard=guard, episodes=None), SETTINGS).reasons
    said = [r.got for r in reasons if "every class" in r.rule and r.outcome == "fail"]
    return {name for name in SPREAD if any(f"{name} fell" in got for got in said)}


@pytest.mark.parametrize("has_anchor", [False, True])
def test_an_equal_model_is_refused_in_at_most_one_lap_of_twenty(has_anchor):
    laps = _differences(2000, np.random.default_rng(1))
    refused = [bool(_accused(lap, has_anchor)) for lap in laps]
    assert 0.002 < np.mean(refused) <= 0.05  # a guard that never errs would never catch anything


@pytest.mark.parametrize("has_anchor", [False, True])
@pytest.mark.parametrize("name", SPREAD)
def test_a_class_that_lost_eight_points_is_caught_in_four_laps_of_five(name, has_anchor):
    laps = _differences(300, np.random.default_rng(2))
    laps[:, :, list(SPREAD).index(name)] -= 0.08
    caught = [name in _accused(lap, has_anchor) for lap in laps]
    assert np.mean(caught) >= 0.8


def test_a_guard_without_correction_would_refuse_too_many_equal_models():
    laps = _differences(2000, np.random.default_rng(1))
    errors = np.array([error for _, error in SPREAD.values()])
    naive = (laps < -0.03) & (laps + 1.96 * errors < 0.0)
    assert np.mean(naive.any(axis=(1, 2))) > 0.1


CLASSES = (CAR, PEDESTRIAN)
FEW = GateSettings(bootstrap=BootstrapSettings(resamples=300))


def test_guards_that_meet_real_answers_spare_equal_models_and_catch_a_damaged_one(drive):
    models = [match(drive(5, 60, 30, noise_m=0.3, model_seed=k)) for k in range(3)]
    trials = list(islice(rehearse(models, CLASSES, FEW, drop=0.3, seed=3), 12))
    refused = np.array([trial.refused for trial in trials])  # (trials, classes, lap)
    caught = np.array([trial.caught for trial in trials])
    assert refused.any(axis=1).mean() <= 0.1
    assert caught.mean(axis=0).min() >= 0.8
    differences = np.array([trial.difference for trial in trials])
    assert np.abs(differences.mean(axis=0)).max() < differences.std(axis=0).max()


def test_models_that_are_one_are_never_accused(drive):
    one = match(drive(5, 40, 20))
    for trial in islice(rehearse([one] * 3, CLASSES, FEW, drop=0.0, seed=0), 5):
        assert trial.refused == ((False, False), (False, False))


def test_a_rehearsal_needs_three_models_on_the_same_frames(drive):
    one = match(drive(5, 40, 20))
    with pytest.raises(OperatorError, match="3 models that answered the same frames"):
        next(rehearse([one, one], CLASSES, FEW, drop=0.1))
