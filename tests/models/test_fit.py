"""Training: the same seed gives the same weights, and a scene can be learnt by heart."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from edge.contracts.classes import ANIMAL, BICYCLE, SHIPPED_CLASSES
from edge.perceive.tensors import PICO
from models.bev import HEADS, BevNet
from models.examples import Example, Labels
from models.fit import (
    FitProgress,
    TrainingFault,
    draws_by_class,
    fit,
    learning_rate_at,
)
from models.settings import FitSettings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _net() -> BevNet:
    torch.manual_seed(0)
    return BevNet(PICO)


def test_the_same_seed_gives_the_same_weights(example: Example) -> None:
    settings = FitSettings(steps=3, seed=7)
    first, second = (fit(_net(), [example], settings).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_scene_is_learnt_by_heart(example: Example) -> None:
    losses: list[FitProgress] = []
    settings = FitSettings(steps=40, log_every=10, mirror_ratio=0, turn_ratio=0, night_ratio=0)
    fit(_net(), [example], settings, on_progress=losses.append)
    assert [p.step for p in losses] == [10, 20, 30, 40]
    assert losses[-1].losses["boxes"] < 0.5 * losses[0].losses["boxes"]


def test_a_frozen_batchnorm_keeps_its_statistics(example: Example) -> None:
    net = _net()
    before = net.backbone.stem[1].running_mean.clone()
    settings = FitSettings(steps=2, is_batchnorm_frozen=True)
    after = fit(net, [example], settings).backbone.stem[1].running_mean
    assert torch.equal(before, after)


def test_a_class_that_never_occurred_starts_anew() -> None:
    net = _net()
    row = SHIPPED_CLASSES.index(ANIMAL)
    out = net.heatmap[1]
    with torch.no_grad():
        out.bias[row] = -9.0
    settings = FitSettings(steps=0, reset_classes=["animal"])
    assert fit(net, [], settings).heatmap[1].bias[row].item() == pytest.approx(-3.5)


def test_the_rate_warms_up_and_ends_near_nothing() -> None:
    settings = FitSettings(steps=1000)
    rates = np.array([learning_rate_at(step, settings) for step in range(1000)])
    assert rates.argmax() == pytest.approx(60, abs=1)
    assert rates[0] < 0.01 * rates.max()
    assert rates[-1] < 0.01 * rates.max()


class _Watched(list[Example]):
    """Examples that remember which of them was asked for."""

    def __init__(self, examples: list[Example]) -> None:
        super().__init__(examples)
        self.asked: list[int] = []

    def __getitem__(self, number):  # type: ignore[no-untyped-def, override]
        self.asked.append(number)
        return super().__getitem__(number)


@pytest.mark.parametrize(("shows_one", "expected"), [(True, {2}), (False, {0, 1, 2, 3})])
def test_what_shows_a_rare_class_is_drawn_first(
    example: Example, shows_one: bool, expected: set[int]
) -> None:
    """With a ratio of 1 nothing but what shows an animal is drawn; if nothing does, all are."""
    boxes = example.labels.boxes[:1].copy()
    boxes[0, 0] = SHIPPED_CLASSES.index(ANIMAL)
    rare = replace(
        example, labels=replace(example.labels, boxes=boxes, futures=example.labels.futures[:1])
    )
    source = _Watched([example, example, rare if shows_one else example, example])
    settings = FitSettings(steps=2, rare_ratio=1.0, positive_weights={"animal": 4.0})
    fit(_net(), source, settings)
    assert set(source.asked[len(source) :]) == expected


@pytest.mark.parametrize("point", [(1e30, 1, 0, 5), (5, 1, 0, 1e30), (np.nan,) * 4, (np.inf,) * 4])
def test_a_radar_point_that_makes_no_sense_teaches_nothing(
    example: Example, point: tuple[float, ...]
) -> None:
    def with_points(points: np.ndarray) -> Example:
        senses = replace(example.senses, radar_points=points)
        return replace(example, senses=senses, earlier=senses)

    good = example.senses.radar_points
    wild = np.vstack([point, good]).astype(np.float32)
    settings = FitSettings(steps=2, radar_drop_ratio=0.0, memory_ratio=1.0)
    first, second = (
        fit(_net(), [with_points(points)], settings).state_dict() for points in (wild, good)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_stops_at_a_loss_that_is_not_finite(example: Example) -> None:
    boxes = example.labels.boxes.copy()
    boxes[0, 8] = np.nan
    poisoned = replace(example, labels=replace(example.labels, boxes=boxes))
    said: list[FitProgress] = []
    with pytest.raises(TrainingFault, match=r"stopped in step 1 of 3: .*boxes is nan"):
        fit(_net(), [poisoned], FitSettings(steps=3, log_every=1), on_progress=said.append)
    assert said == []


def test_training_stops_at_a_gradient_that_is_not_finite(example: Example) -> None:
    net = _net()
    net.heatmap[1].bias.register_hook(lambda gradient: gradient * np.inf)
    with pytest.raises(TrainingFault, match="gradient norm is"):
        fit(net, [example], FitSettings(steps=1))


def test_replay_balanced_by_class_draws_what_shows_the_rare_one(example: Example) -> None:
    """Nine examples of two cars and one of a bicycle: each class is half of the draws."""
    bicycle = example.labels.boxes[:1].copy()
    bicycle[0, 0] = SHIPPED_CLASSES.index(BICYCLE)
    rare = replace(
        example, labels=replace(example.labels, boxes=bicycle, futures=example.labels.futures[:1])
    )
    replay = _Watched([example] * 9 + [rare])
    drawn = islice(draws_by_class(replay, np.random.default_rng(0)), 400)
    assert np.mean([len(example.labels.boxes) == 1 for example in drawn]) == pytest.approx(
        0.5, abs=0.08
    )


def test_replay_is_balanced_only_where_it_is_asked_for(example: Example) -> None:
    """A replay of one empty and one full example: passes show both, a balanced draw only the full one."""
    empty = replace(example, labels=Labels())
    for ratio, expected in ((0.0, {0, 1}), (1.0, {1})):
        replay = _Watched([empty, example])
        settings = FitSettings(steps=2, fresh_ratio=0.0, replay_balance_ratio=ratio)
        fit(_net(), [example], settings, replay=replay)
        asked = replay.asked[2:] if ratio else replay.asked
        assert set(asked) == expected


def test_replay_that_shows_nothing_comes_in_passes(example: Example) -> None:
    source = [replace(example, labels=Labels())]
    assert next(draws_by_class(source, np.random.default_rng(0))) is source[0]


def test_shared_layers_move_at_their_own_rate(example: Example) -> None:
    """At a ratio of 0 a fine-tune moves the heads and nothing that they stand on."""
    before = dict(_net().named_parameters())
    settings = FitSettings(steps=2, shared_rate_ratio=0.0, ema_decay=0.0, memory_ratio=0.0)
    after = dict(fit(_net(), [example], settings).named_parameters())
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(HEADS)


def test_nothing_to_learn_from_is_said(example: Example) -> None:
    with pytest.raises(ValueError, match="no examples"):
        fit(_net(), [], FitSettings(steps=1))
