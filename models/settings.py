"""Settings of training; reading them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from edge.contracts.fields import Count, Ratio, Size

Steps = Annotated[int, Meta(ge=1, le=100_000_000)]
LearningRate = Annotated[float, Meta(gt=0.0, le=1.0)]
Factor = Annotated[float, Meta(gt=0.0, le=1e6)]


@dataclass
class FitSettings:
    """Settings of training; the defaults are the recipe of a baseline."""

    steps: Steps = 9600
    """Number of optimiser steps."""
    batch: Size = 2
    """Examples in one step."""
    learning_rate: LearningRate = 3e-3
    """Rate of AdamW after the warm-up, from where it falls along half a cosine."""
    weight_decay: Ratio = 0.01
    """Weight decay of AdamW on matrices and kernels."""
    warmup_ratio: Ratio = 0.06
    """Share of the steps in which the rate rises to ``learning_rate``."""
    gradient_clip: Factor = 5.0
    """Largest norm of the gradient; a larger one is scaled down to it."""
    ema_decay: Ratio = 0.998
    """Share that the average of the weights keeps in each step; the average is what is exported."""
    mirror_ratio: Ratio = 0.5
    """Share of the examples that are mirrored left to right."""
    turn_ratio: Ratio = 0.3
    """Share of the examples that are turned about the vertical axis."""
    gain_min: Factor = 0.5
    """Smallest brightness factor of a day image."""
    gain_max: Factor = 1.3
    """Largest brightness factor of a day image."""
    night_ratio: Ratio = 0.25
    """Share of the examples whose images are darkened to night."""
    radar_drop_ratio: Ratio = 0.3
    """Share of the examples that lose all radar points."""
    memory_ratio: Ratio = 0.5
    """Share of the batches that get the queries of an earlier instant."""
    fresh_ratio: Ratio = 1.0
    """Share of a batch drawn from the fresh examples; the rest is replay."""
    rare_ratio: Ratio = 0.0
    """Share of the fresh examples drawn among those that show a class of ``positive_weights``."""
    replay_balance_ratio: Ratio = 0.0
    """Share of the replay drawn by class, see ``draws_by_class``; the rest comes in passes over all of it."""
    shared_rate_ratio: Ratio = 1.0
    """Rate of the layers that all heads share, as a ratio of ``learning_rate``; below 1 a fine-tune changes
    them less than the heads."""
    is_batchnorm_frozen: bool = False
    """Keep the statistics of BatchNorm as the parent had them."""
    positive_weights: dict[str, Factor] = field(default_factory=dict)
    """Factor on the heat-map peaks of a class, by category name."""
    reset_classes: list[str] = field(default_factory=list)
    """Classes whose heat-map output starts anew, because the parent never saw one."""
    log_every: Steps = 50
    """Steps between two reports of progress."""
    seed: Count = 0
    """Seed of everything random in the training."""
