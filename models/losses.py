"""Targets of the network, and the loss between them and its outputs.

Heat maps are trained as in CenterNet and CenterPoint (Zhou 2019; Yin 2021): a Gaussian peak per object,
penalty-reduced focal loss, written with log-sigmoid so that a class that never occurred still has a gradient
(a clamped sigmoid has none below 1e-4, and a class never seen sinks far below that). Boxes are regressed on
the 3x3 cells round the centre. Headings are learnt as the double angle, which has one answer for two nearly
symmetric views, plus a vote for the front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edge.contracts.classes import SHIPPED_CLASSES, Category, ClassRow, row_of
from edge.perceive.tensors import BOX_CHANNELS, NetSpec
from models.examples import Labels

Floats = NDArray[np.float32]

_CENTRE_WEIGHT, _RING_WEIGHT = 1.0, 0.3
_CHANNEL_WEIGHT = np.array([1, 1, 0.5, 1, 1, 1, 1, 1, 0, 0, 0.15, 0.15], np.float32)
_HEADING = slice(6, 8)
_FRONT = slice(8, 10)


@dataclass(frozen=True)
class LossWeights:
    """Weight of each head beside the heat map."""

    boxes: float = 0.4
    front: float = 0.5
    segmentation: float = 0.3
    futures: float = 0.05
    plans: float = 0.05


MISTAKEN = 5.0
"""Weight of a false peak on another object, for each unit above 1 that the peaks of its class weigh."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Dense and sparse targets of one batch; every leading cell index is over (B * n * n)."""

    heatmap: Tensor  # (B, C, n, n)
    is_counted: Tensor  # (B, C, n, n) bool: negatives count here
    cells: Tensor  # (P,)
    boxes: Tensor  # (P, 12)
    weights: Tensor  # (P, 12)
    centre_cells: Tensor  # (G,) flat cell of each object with a known future
    centre_futures: Tensor  # (G, 12, 2)
    segmentation: Tensor  # (B, n, n) int64, -1 unknown
    ego_futures: Tensor  # (B, 12, 3), NaN unknown


def make_targets(
    batch: list[Labels], spec: NetSpec, categories: Sequence[Category] = SHIPPED_CLASSES
) -> Targets:
    """Draw the targets of a batch of labels for a network of these sizes and classes."""
    n = spec.bev_cells
    rows = tuple(map(row_of, categories))
    heatmap = np.zeros((len(batch), len(rows), n, n), np.float32)
    is_counted = np.ones(heatmap.shape, np.bool_)
    sparse: list[tuple[int, Floats, Floats]] = []
    futures: list[tuple[int, Floats]] = []
    segmentation = np.full((len(batch), n, n), -1, np.int64)
    ego_futures = np.full((len(batch), spec.plan_steps, 3), np.nan, np.float32)
    for number, labels in enumerate(batch):
        is_counted[number] = _counted_cells(labels, spec)
        for box, future in zip(labels.boxes, labels.futures, strict=True):
            row = rows[int(box[0])]
            centre = _draw_box(box, row, heatmap[number], sparse, number * n * n, spec)
            if centre is not None and np.isfinite(future).all():
                futures.append((number * n * n + centre, future))
        if labels.segmentation is not None:
            segmentation[number] = labels.segmentation
        if labels.ego_future is not None:
            ego_futures[number] = labels.ego_future
    empty = np.zeros((0, BOX_CHANNELS), np.float32)
    return Targets(
        heatmap=torch.from_numpy(heatmap),
        is_counted=torch.from_numpy(is_counted),
        cells=torch.tensor([c for c, _, _ in sparse], dtype=torch.int64),
        boxes=torch.from_numpy(np.stack([b for _, b, _ in sparse]) if sparse else empty),
        weights=torch.from_numpy(np.stack([w for _, _, w in sparse]) if sparse else empty),
        centre_cells=torch.tensor([c for c, _ in futures], dtype=torch.int64),
        centre_futures=torch.from_numpy(
            np.stack([f for _, f in futures]) if futures else np.zeros((0, 12, 2), np.float32)
        ),
        segmentation=torch.from_numpy(segmentation),
        ego_futures=torch.from_numpy(ego_futures),
    )


def _counted_cells(labels: Labels, spec: NetSpec) -> NDArray[np.bool_]:
    """Mark where an empty cell is evidence of absence: (C, n, n)."""
    is_empty = _inside(labels.looked, spec)
    if labels.signs is not None:
        is_empty |= ~_inside(labels.signs, spec)
    is_known = labels.is_absence_known[:, None, None] | is_empty[None]
    return is_known & ~_inside(labels.ignored, spec)[None]


def _inside(discs: Floats, spec: NetSpec) -> NDArray[np.bool_]:
    """Mark the cells whose centre lies in a disc, (n, n)."""
    centres = (np.arange(spec.bev_cells) + 0.5) * spec.cell_m - spec.bev_range_m
    dx2 = (centres[None, :] - discs[:, 0:1]) ** 2  # (M, n)
    dy2 = (centres[None, :] - discs[:, 1:2]) ** 2
    is_near = dx2[:, :, None] + dy2[:, None, :] <= (discs[:, 2] ** 2)[:, None, None]
    return np.asarray(is_near.any(axis=0), np.bool_)


def _draw_box(
    box: Floats,
    class_row: ClassRow,
    heatmap: Floats,
    sparse: list[tuple[int, Floats, Floats]],
    offset: int,
    spec: NetSpec,
) -> int | None:
    """Draw one object's peak and its regression targets; give its centre cell, None if outside."""
    category, x, y, z, length, width, height, yaw, vx, vy, weight = (float(v) for v in box)
    n = spec.bev_cells
    row, column = ((v + spec.bev_range_m) / spec.cell_m - 0.5 for v in (x, y))
    i, j = round(row), round(column)
    if not (0 <= i < n and 0 <= j < n):
        return None
    sigma = max(0.75, min(length, 5.0) / spec.cell_m / 4.5)
    reach = math.ceil(2.5 * sigma)
    rows = np.arange(max(0, i - reach), min(n, i + reach + 1))
    columns = np.arange(max(0, j - reach), min(n, j + reach + 1))
    squared = (rows[:, None] - i) ** 2 + (columns[None, :] - j) ** 2
    window = heatmap[int(category), rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.maximum(window, np.exp(-squared / (2 * sigma**2)), out=window)

    channel = _CHANNEL_WEIGHT.copy()
    channel[_HEADING] *= class_row.heading_weight
    channel[_FRONT] = class_row.heading_weight
    for p in range(max(0, i - 1), min(n, i + 2)):
        for q in range(max(0, j - 1), min(n, j + 2)):
            target = np.array(
                [row - p, column - q, z, math.log(length), math.log(width), math.log(height),
                 math.sin(2 * yaw), math.cos(2 * yaw), math.cos(yaw), math.sin(yaw), vx, vy],
                np.float32,
            )  # fmt: skip
            at_centre = p == i and q == j
            scale = (_CENTRE_WEIGHT if at_centre else _RING_WEIGHT) * weight
            sparse.append((offset + p * n + q, target, channel * np.float32(scale)))
    return i * n + j


def loss_of(
    outputs: dict[str, Tensor],
    targets: Targets,
    positive_weight: Tensor,
    weights: LossWeights,
) -> tuple[Tensor, dict[str, float]]:
    """Add up the heads' losses.

    Args:
        outputs: What ``BevNet.forward`` returned.
        targets: Of the same batch.
        positive_weight: (C,) factor on the peaks of each class.
        weights: Of the heads.

    Returns:
        The loss to minimise, and its parts for the log.
    """
    parts = {
        "heatmap": _focal(outputs["heatmap"].float(), targets, positive_weight),
        "boxes": weights.boxes * _box_loss(outputs["boxes"].float(), targets),
        "front": weights.front * _front_loss(outputs["boxes"].float(), targets),
        "segmentation": weights.segmentation
        * F.cross_entropy(
            outputs["segmentation"].float(), targets.segmentation, ignore_index=-1
        ).nan_to_num(0.0),
        "futures": weights.futures * _future_loss(outputs, targets),
        "plans": weights.plans * _plan_loss(outputs, targets),
    }
    total = torch.stack(list(parts.values())).sum()
    return total, {name: float(value.detach()) for name, value in parts.items()}


def _focal(logits: Tensor, targets: Targets, positive_weight: Tensor) -> Tensor:
    """Reward peaks and punish false ones (CenterNet's focal loss, Zhou et al. 2019, equation 1).

    A false peak of a class with peak weight w on another object weighs 1 + ``MISTAKEN`` (w - 1). Otherwise a
    class of few examples learns to fire at whatever is similar, as animals once did at bicycles.
    """
    score = torch.sigmoid(logits)
    weight = positive_weight[None, :, None, None]
    is_peak = (targets.heatmap > 0.999).to(logits.dtype)
    found = F.logsigmoid(logits) * (1 - score) ** 2 * is_peak * weight
    something = targets.heatmap.amax(dim=1, keepdim=True)
    absent = (1 - targets.heatmap) ** 4 * (1 - is_peak) * targets.is_counted
    absent = absent * (1 + MISTAKEN * (weight - 1) * something)
    rejected = F.logsigmoid(-logits) * score**2 * absent
    return -(found.sum() + rejected.sum()) / is_peak.sum().clamp(min=1)


def _at_cells(dense: Tensor, cells: Tensor) -> Tensor:
    """Pick (P, channels) from (B, channels, n, n) by flat cell."""
    return dense.permute(0, 2, 3, 1).reshape(-1, dense.shape[1])[cells]


def _box_loss(boxes: Tensor, targets: Targets) -> Tensor:
    if len(targets.cells) == 0:
        return boxes.sum() * 0.0
    error = (_at_cells(boxes, targets.cells) - targets.boxes).abs()
    square = torch.zeros(BOX_CHANNELS, dtype=torch.bool)
    square[_HEADING] = True
    linear = targets.weights.clone()
    linear[:, _FRONT] = 0.0
    error = torch.where(square, error**2, error)
    return (error * linear).sum() / targets.weights[:, 0].sum().clamp(min=1)


def _front_loss(boxes: Tensor, targets: Targets) -> Tensor:
    """Push the front vector to the front's side of the axis (logistic loss on the projection)."""
    if len(targets.cells) == 0:
        return boxes.sum() * 0.0
    vote = (_at_cells(boxes, targets.cells)[:, _FRONT] * targets.boxes[:, _FRONT]).sum(dim=1)
    weight = targets.weights[:, _FRONT.start]
    return (F.softplus(-2.0 * vote) * weight).sum() / targets.weights[:, 0].sum().clamp(min=1)


def _future_loss(outputs: dict[str, Tensor], targets: Targets) -> Tensor:
    """Take the loss of the best mode alone, of the query that stands on the object."""
    futures, scores = outputs["futures"], outputs["future_scores"]
    if len(targets.centre_cells) == 0:
        return futures.sum() * 0.0 + scores.sum() * 0.0
    batch, count = outputs["query_cells"].shape
    n = outputs["heatmap"].shape[-1]
    query_cells = outputs["query_cells"] + n * n * torch.arange(batch)[:, None]
    flat = query_cells.reshape(-1)
    near = _is_near(flat[:, None], targets.centre_cells[None, :], n)
    query, wanted = near.nonzero(as_tuple=True)
    if len(query) == 0:
        return futures.sum() * 0.0 + scores.sum() * 0.0
    predicted = futures.reshape(batch * count, *futures.shape[2:])[query]  # (M, modes, 12, 2)
    error = (predicted - targets.centre_futures[wanted][:, None]).norm(dim=-1).mean(dim=-1)
    best, winner = error.min(dim=1)
    choice = F.cross_entropy(scores.reshape(batch * count, -1)[query], winner)
    loss: Tensor = best.mean() + choice
    return loss


def _is_near(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Return which flat cells of the same image are at most one cell apart."""
    same = (a // (n * n)) == (b // (n * n))
    rows = ((a % (n * n)) // n - (b % (n * n)) // n).abs()
    columns = (a % n - b % n).abs()
    return same & (rows <= 1) & (columns <= 1)


def _plan_loss(outputs: dict[str, Tensor], targets: Targets) -> Tensor:
    """Take the loss of the best of the sixteen proposals alone, against the driven path."""
    is_known = torch.isfinite(targets.ego_futures).all(dim=-1).all(dim=-1)
    plans, scores = outputs["plans"], outputs["plan_scores"]
    if not bool(is_known.any()):
        return plans.sum() * 0.0 + scores.sum() * 0.0
    wanted = targets.ego_futures[is_known][:, None]  # (K, 1, 12, 3)
    error = plans[is_known] - wanted
    distance = error[..., :2].norm(dim=-1).mean(dim=-1)
    turn = (1 - torch.cos(error[..., 2])).mean(dim=-1)
    best, winner = (distance + 2.0 * turn).min(dim=1)
    loss: Tensor = best.mean() + F.cross_entropy(scores[is_known], winner)
    return loss
