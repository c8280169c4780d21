"""Turn examples into weights: a fixed number of steps, the same ones every time for a seed.

The schedule counts steps and never seconds, so that a slower machine learns the same model. In a fine-tune
BatchNorm is frozen: live statistics move to the rare domain and cost several times as much accuracy on
ordinary classes as the new class gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.contracts.classes import Category
from edge.contracts.errors import RingroadError
from edge.contracts.rig import Rig
from edge.perceive.tensors import (
    NetSpec,
    Recollection,
    calibration_table,
    memory_inputs,
    mirrored_rig,
    radar_raster,
    radar_tokens,
    recollect,
)
from models.bev import HEADS, RARE_LOGIT, BevNet
from models.examples import (
    PLAIN_VIEW,
    Example,
    ExampleSource,
    Lighting,
    Senses,
    View,
    clean_senses,
    daylight,
    night,
)
from models.losses import LossWeights, Targets, loss_of, make_targets
from models.settings import FitSettings

_TURNS = 24


class TrainingFault(RingroadError):
    """A loss or a gradient is not finite; the next step would make every weight so."""


@dataclass(frozen=True)
class FitProgress:
    """Progress of a training run; losses are means since the last report."""

    step: int
    steps: int
    losses: dict[str, float]


def fit(
    net: BevNet,
    fresh: ExampleSource,
    settings: FitSettings,
    *,
    replay: ExampleSource | None = None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
) -> BevNet:
    """Train for ``settings.steps`` steps and return the averaged weights.

    With ``torch.distributed`` initialised, gradients are averaged over the processes and each draws
    its own examples.

    Raises:
        TrainingFault: A loss or the gradient is not finite; there are no weights then.
    """
    rank = dist.get_rank() if dist.is_initialized() else 0
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, rank, 20])
    _reset_classes(net, settings.reset_classes)
    net = net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = deepcopy(net)
    optimiser = _optimiser(net, settings)
    positive = torch.tensor([settings.positive_weights.get(c, 1.0) for c in net.categories])
    batches = _batches(fresh, replay, settings, net.categories, rng)
    history: list[dict[str, float]] = []
    for step in range(settings.steps):
        if settings.is_batchnorm_frozen:
            _freeze_batchnorm(net)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, settings) * group["rate_ratio"]
        inputs, targets = _prepare(net, next(batches), settings, rng)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = net(*inputs)
        loss, parts = loss_of(outputs, targets, positive, LossWeights())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        _average_gradients(net)
        norm = nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_clip)
        _expect_finite(step, settings.steps, parts, float(norm))
        optimiser.step()
        _update_average(average, net, step, settings.ema_decay)
        history.append(parts)
        if (step + 1) % settings.log_every == 0 or step + 1 == settings.steps:
            means = {k: float(np.mean([h[k] for h in history])) for k in parts}
            on_progress(FitProgress(step + 1, settings.steps, means))
            history = []
    return average.eval()


def _expect_finite(step: int, steps: int, losses: Mapping[str, float], gradient: float) -> None:
    """Stop before a step with a loss or gradient that is not finite."""
    values = {**losses, "gradient norm": gradient}
    bad = ", ".join(f"{name} is {v}" for name, v in values.items() if not math.isfinite(v))
    if bad:
        raise TrainingFault(
            f"training stopped in step {step + 1} of {steps}: {bad}; no weights are kept"
        )


def learning_rate_at(step: int, settings: FitSettings) -> float:
    """Return the rate of a step: linear warm-up, then a half cosine to nearly nothing."""
    done = step / settings.steps
    if done < settings.warmup_ratio:
        return settings.learning_rate * max(done / settings.warmup_ratio, 1e-3)
    rest = (done - settings.warmup_ratio) / (1.0 - settings.warmup_ratio)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * rest)) + 1e-6


def _optimiser(net: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices and kernels only, shared layers at their own rate."""
    groups = []
    for is_head, rate_ratio in ((True, 1.0), (False, settings.shared_rate_ratio)):
        parameters = [p for n, p in net.named_parameters() if (n.split(".")[0] in HEADS) is is_head]
        matrices = [p for p in parameters if p.ndim > 1]
        vectors = [p for p in parameters if p.ndim <= 1]
        for params, decay in ((matrices, settings.weight_decay), (vectors, 0.0)):
            groups.append({"params": params, "weight_decay": decay, "rate_ratio": rate_ratio})
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def _reset_classes(net: BevNet, names: list[str]) -> None:
    """Start the heat-map row of a class from the mean of the others, at the prior of a rare thing."""
    out = net.heatmap[1]
    assert isinstance(out, nn.Conv2d) and out.bias is not None
    with torch.no_grad():
        for name in names:
            row = net.categories.index(name)
            others = [k for k in range(len(net.categories)) if k != row]
            out.weight[row] = out.weight[others].mean(dim=0) * 0.1
            out.bias[row] = RARE_LOGIT


def _freeze_batchnorm(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _average_gradients(net: nn.Module) -> None:
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


@torch.no_grad()
def _update_average(average: nn.Module, net: nn.Module, step: int, decay: float) -> None:
    """Follow the weights with an exponential moving average that forgets its start quickly."""
    rate = 1.0 - min(decay, (2 + step) / (11 + step))
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), rate)
    for kept, live in zip(average.buffers(), net.buffers(), strict=True):
        kept.copy_(live)


def _batches(
    fresh: ExampleSource,
    replay: ExampleSource | None,
    settings: FitSettings,
    categories: Sequence[Category],
    rng: np.random.Generator,
) -> Iterator[list[Example]]:
    """Draw batches for ever: each kind of example in shuffled passes of its own, mixed by ratios."""
    new = _passes(fresh, range(len(fresh)), rng)
    old = _passes(replay, range(len(replay)), rng) if replay is not None else new
    wanted = [k for k, name in enumerate(categories) if name in settings.positive_weights]
    showing = _showing(fresh, wanted) if settings.rare_ratio > 0.0 else []
    rare = _passes(fresh, showing, rng) if showing else new
    balanced = draws_by_class(replay, rng) if replay is not None else old
    balance = settings.replay_balance_ratio

    def draw() -> Example:
        if rng.uniform() >= settings.fresh_ratio:
            is_balanced = balance > 0.0 and rng.uniform() < balance
            return next(balanced if is_balanced else old)
        return next(rare if rng.uniform() < settings.rare_ratio else new)

    while True:
        yield [draw() for _ in range(settings.batch)]


def _showing(source: ExampleSource, rows: Sequence[int]) -> list[int]:
    """Number the examples that have a box of one of these classes."""
    return [k for k in range(len(source)) if np.isin(source[k].labels.boxes[:, 0], rows).any()]


def draws_by_class(source: ExampleSource, rng: np.random.Generator) -> Iterator[Example]:
    """Draw for ever with replacement: a class, all alike, then one of its objects, then its example.

    An example with many bicycles therefore comes more often than one with as many pedestrians, which most
    examples show.
    """
    shown = [source[k].labels.boxes[:, 0].astype(np.int64) for k in range(len(source))]
    if not any(len(categories) for categories in shown):
        yield from _passes(source, range(len(source)), rng)
    classes = 1 + max(int(s.max(initial=0)) for s in shown)
    counts = np.stack([np.bincount(s, minlength=classes) for s in shown])  # (N, C)
    occurring = counts[:, counts.any(axis=0)]
    chance = (occurring / occurring.sum(axis=0)).mean(axis=1)
    while True:
        yield source[int(rng.choice(len(source), p=chance))]


def _passes(
    source: ExampleSource, numbers: Sequence[int], rng: np.random.Generator
) -> Iterator[Example]:
    """Go through these examples for ever, each pass in a new order."""
    if len(numbers) == 0:
        raise ValueError("nothing to learn from: the source holds no examples")
    while True:
        for number in rng.permutation(np.asarray(numbers)):
            yield source[int(number)]


def _prepare(
    net: BevNet, batch: list[Example], settings: FitSettings, rng: np.random.Generator
) -> tuple[list[Tensor], Targets]:
    """Vary a batch, give half of it a memory, and build network inputs and targets."""
    spec = net.spec
    with_memory = settings.memory_ratio > 0 and rng.uniform() < settings.memory_ratio
    viewed: list[Example] = []
    views: list[View] = []
    lights: list[Lighting] = []
    for example in batch:
        view = _draw_view(settings, rng)
        has_radar = rng.uniform() >= settings.radar_drop_ratio
        senses = view.senses(clean_senses(example.senses, example.rig))
        earlier = example.earlier
        if earlier is not None:
            earlier = view.senses(clean_senses(earlier, example.rig))
        if not has_radar:
            senses = replace(senses, radar_points=senses.radar_points[:0])
            earlier = replace(earlier, radar_points=earlier.radar_points[:0]) if earlier else None
        viewed.append(Example(example.rig, senses, view.labels(example.labels), earlier))
        views.append(view)
        is_night = rng.uniform() < settings.night_ratio
        gain = (settings.gain_min, settings.gain_max)
        lights.append(night(rng) if is_night else daylight(rng, gain))
    recollections: list[Recollection | None] = [None] * len(batch)
    if with_memory and all(e.earlier is not None for e in viewed):
        recollections = list(_recall(net, viewed, views, lights, rng))
    senses_now = [e.senses for e in viewed]
    rigs = [e.rig for e in viewed]
    inputs = collate(senses_now, rigs, views, lights, recollections, spec, rng)
    return inputs, make_targets([e.labels for e in viewed], spec, net.categories)


def _draw_view(settings: FitSettings, rng: np.random.Generator) -> View:
    is_mirrored = bool(rng.uniform() < settings.mirror_ratio)
    is_turned = rng.uniform() < settings.turn_ratio
    turn_rad = 2.0 * math.pi * int(rng.integers(1, _TURNS)) / _TURNS if is_turned else 0.0
    return View(is_mirrored, turn_rad)


@torch.no_grad()
def _recall(
    net: BevNet,
    batch: list[Example],
    views: list[View],
    lights: list[Lighting],
    rng: np.random.Generator,
) -> Iterator[Recollection]:
    """Run the earlier instants to get the queries that the network would remember."""
    earlier = [e.earlier for e in batch if e.earlier is not None]
    blank: list[Recollection | None] = [None] * len(batch)
    inputs = collate(earlier, [e.rig for e in batch], views, lights, blank, net.spec, rng)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(*inputs)
    for number, senses in enumerate(earlier):
        yield recollect(
            outputs["queries"][number].float().numpy(),
            outputs["query_cells"][number].numpy(),
            outputs["query_scores"][number].float().numpy(),
            stamp_ns=senses.stamp_ns,
            world_from_ego=senses.world_from_ego,
            spec=net.spec,
        )


def collate(
    batch: list[Senses],
    rigs: list[Rig],
    views: list[View] | None,
    lights: list[Lighting] | None,
    recollections: list[Recollection | None],
    spec: NetSpec,
    rng: np.random.Generator,
) -> list[Tensor]:
    """Stack senses into the network's inputs, in the order of ``input_specs``."""
    columns: list[list[NDArray[np.generic]]] = [[] for _ in range(9)]
    for number, senses in enumerate(batch):
        view = views[number] if views else PLAIN_VIEW
        rig = mirrored_rig(rigs[number]) if view.is_mirrored else rigs[number]
        table = calibration_table(rig, spec, view.turn_rad, senses.absent)
        images = lights[number].images(senses.images, rng) if lights else senses.images
        if senses.absent and lights:
            images[list(senses.absent)] = 0.0
        memory, pose = memory_inputs(
            recollections[number], senses.stamp_ns, senses.world_from_ego, spec
        )
        row = (images, table.index[None], table.geometry, radar_raster(senses.radar_points, spec),
               radar_tokens(senses.radar_points, spec), senses.ultrasonics, senses.ego, memory,
               pose)  # fmt: skip
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return [torch.from_numpy(np.concatenate(column)) for column in columns]
