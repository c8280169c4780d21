"""Builders of small evaluation sets: everything a test does not name is plain and perfect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge.contracts.classes import BARRIER, CAR, PEDESTRIAN, TRAFFIC_CONE
from edge.contracts.scene import Box3D
from fleet.evaluate import EvalFrame, TruthLabel

_CLASSES = (CAR, PEDESTRIAN, BARRIER, TRAFFIC_CONE)
_PLAIN: dict[str, Any] = {
    "category": CAR,
    "x_m": 10.0,
    "y_m": 0.0,
    "z_m": 0.8,
    "length_m": 4.0,
    "width_m": 2.0,
    "height_m": 1.6,
    "yaw_rad": 0.0,
}


def _box(**fields: Any) -> Box3D:
    return Box3D(**(_PLAIN | fields))


def _truth(
    *,
    visible_px: int = 100,
    encounter_id: str | None = None,
    is_ignored: bool = False,
    **fields: Any,
) -> TruthLabel:
    return TruthLabel(_box(**fields), visible_px, encounter_id, is_ignored)


def _drive(
    seed: int,
    frames: int = 40,
    places: int = 8,
    *,
    truths_per_frame: int = 12,
    skill: float = 0.8,
    noise_m: float = 0.6,
    false_alarms_per_frame: float = 4.0,
    model_seed: int = 0,
) -> list[EvalFrame]:
    """Random traffic by ``seed``, and a model by ``model_seed`` that finds a share of it, with noise."""
    world, model = np.random.default_rng(seed), np.random.default_rng([seed, model_seed])
    drive = []
    for k in range(frames):
        truths = [
            _truth(
                category=_CLASSES[int(world.integers(len(_CLASSES)))],
                x_m=float(world.uniform(-32, 32)),
                y_m=float(world.uniform(-20, 20)),
                yaw_rad=float(world.uniform(-3.1, 3.1)),
                vx_mps=float(world.normal(0, 5)),
                attribute="moving",
                visible_px=int(world.integers(5, 200)),
            )
            for _ in range(truths_per_frame)
        ]
        found = [t.box for t in truths if model.random() < skill]
        ghosts = [
            _box(
                category=_CLASSES[int(model.integers(len(_CLASSES)))],
                x_m=float(model.uniform(-30, 30)),
                y_m=float(model.uniform(-20, 20)),
            )
            for _ in range(int(model.poisson(false_alarms_per_frame)))
        ]
        boxes = [
            _box(
                category=b.category,
                x_m=b.x_m + float(model.normal(0, noise_m)),
                y_m=b.y_m + float(model.normal(0, noise_m)),
                length_m=b.length_m * float(model.uniform(0.8, 1.2)),
                yaw_rad=b.yaw_rad + float(model.normal(0, 0.4)),
                vx_mps=b.vx_mps + float(model.normal(0, 1)),
                attribute="moving" if model.random() < 0.7 else "parked",
                score=float(model.beta(5, 2) if is_true else model.beta(2, 5)),
            )
            for is_true, group in ((True, found), (False, ghosts))
            for b in group
        ]
        drive.append(EvalFrame(f"f{k}", f"p{k % places}", tuple(truths), tuple(boxes)))
    return drive


@pytest.fixture
def box() -> Callable[..., Box3D]:
    """A car 10 m ahead, unless told otherwise."""
    return _box


@pytest.fixture
def truth() -> Callable[..., TruthLabel]:
    """The label of a well visible car 10 m ahead, unless told otherwise."""
    return _truth


@pytest.fixture
def frame() -> Callable[..., EvalFrame]:
    """One frame of truths and predictions at one place."""

    def build(truths: Any = (), predictions: Any = (), **fields: Any) -> EvalFrame:
        known = {"frame_id": "f0", "place_id": "p0"} | fields
        return EvalFrame(truths=tuple(truths), predictions=tuple(predictions), **known)

    return build


@pytest.fixture
def drive() -> Callable[..., list[EvalFrame]]:
    """Random traffic and a model that finds a share of it."""
    return _drive
