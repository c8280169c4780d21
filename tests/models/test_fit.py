"""Training: the same seed gives the same weights, and a scene can be learnt by heart."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from edge.contracts.scene import CATEGORIES, Category
from edge.perceive.tensors import PICO
from models.bev import BevNet
from models.examples import Example
from models.fit import FitProgress, FitSettings, TrainingFault, fit, learning_rate_at


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
    row = CATEGORIES.index(Category.ANIMAL)
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
    boxes[0, 0] = CATEGORIES.index(Category.ANIMAL)
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


def test_nothing_to_learn_from_is_said(example: Example) -> None:
    with pytest.raises(ValueError, match="no examples"):
        fit(_net(), [], FitSettings(steps=1))
