"""Training: the same seed gives the same weights, and a scene can be learnt by heart."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from edge.contracts.scene import CATEGORIES, Category
from edge.perceive.tensors import PICO
from models.bev import BevNet
from models.examples import Example
from models.fit import FitProgress, FitSettings, fit, learning_rate_at


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


def test_nothing_to_learn_from_is_said(example: Example) -> None:
    with pytest.raises(ValueError, match="no examples"):
        fit(_net(), [], FitSettings(steps=1))
