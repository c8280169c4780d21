"""Run a model over a frozen dataset through the vehicle's own code: its engine, its tensors, its decoding.

Each sample comes with the instant before it, so the network runs with the memory that it would have on the
road. Boxes are kept down to a low score; thresholds are applied later, where they are chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from edge.clip_file import decode_instant
from edge.contracts.classes import Category
from edge.contracts.fields import Name, Sha256
from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D
from edge.perceive.engine import Engine
from edge.perceive.tensors import (
    Memory,
    NetOutput,
    NetSpec,
    calibration_table,
    network_inputs,
    read_outputs,
)
from fleet.dataset.frozen import Dataset
from fleet.evaluate.matching import EvalFrame, TruthLabel
from fleet.evaluate.open_loop import (
    MOVING_MPS,
    OpenLoop,
    forecast_ade_m,
    mean_distance_m,
    straight_on,
)
from fleet.sample.row import MIN_VISIBLE_PX, NIGHT, Sample, SampleBox, SampleLabels

ANSWERS_VERSION = 2
"""To be raised when decoding or inputs change, so that no cache returns answers of older code."""
SCORE_FLOOR = 0.05

_SEEN_PX = 1_000
"""Stands for visible pixels that were not counted."""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """One model's answers for every sample of one dataset, down to ``SCORE_FLOOR``."""

    model_sha256: Sha256
    dataset_id: Name
    boxes: dict[str, tuple[Box3D, ...]]
    """By sample_id."""
    open_loop: dict[str, OpenLoop] = {}
    """By sample_id, of the samples whose future is known."""


def predict_dataset(
    dataset: Dataset,
    engine: Engine,
    spec: NetSpec,
    *,
    categories: Sequence[Category],
    has_radar: bool = True,
) -> Iterator[tuple[str, tuple[Box3D, ...], OpenLoop | None]]:
    """Run a model over every sample of a dataset, in its order: id, boxes, open-loop errors.

    Args:
        dataset: Frozen and labelled.
        engine: The model.
        spec: Its sizes.
        categories: Its classes in the order of its channels.
        has_radar: False shows the model no radar at all, to learn what cameras alone give.

    Raises:
        OutputFault: The model's output was unusable; such a model is not evaluated further.
    """
    for number in range(len(dataset)):
        sample = dataset[number]
        seen = sample if has_radar else without_radar(sample)
        said = look(seen, dataset.rig_of(sample), engine, spec, categories)
        yield sample.sample_id, said.boxes, open_loop(sample, said, spec)


def eval_frames(dataset: Dataset, answers: Mapping[str, tuple[Box3D, ...]]) -> Iterator[EvalFrame]:
    """Join a dataset's truth with a model's answers."""
    for number in range(len(dataset)):
        sample = dataset[number]
        yield EvalFrame(
            frame_id=sample.sample_id,
            place_id=sample.place_id,
            truths=truths_of(sample.labels),
            predictions=answers[sample.sample_id],
            is_night=NIGHT in sample.tags,
            tags=frozenset(sample.tags),
            ignored_discs_ego=tuple((d.x_m, d.y_m, d.radius_m) for d in sample.labels.ignored),
        )


def without_radar(sample: Sample) -> Sample:
    """Take the radar away from a sample."""
    earlier = sample.earlier
    return replace(
        sample,
        now=msgspec.structs.replace(sample.now, radar=b""),
        earlier=msgspec.structs.replace(earlier, radar=b"") if earlier else None,
    )


def look(
    sample: Sample,
    rig: Rig,
    engine: Engine,
    spec: NetSpec,
    categories: Sequence[Category],
) -> NetOutput:
    """Run a model on one sample, with the memory of the instant before where there is one."""
    floors = dict.fromkeys(categories, SCORE_FLOOR)
    table = calibration_table(rig, spec)
    memory = Memory()
    if sample.earlier is not None:
        before = decode_instant(sample.earlier, rig)
        outputs = engine.run(network_inputs(before, table, memory, spec))
        read = read_outputs(outputs, before, spec, categories=categories, thresholds={})
        memory = memory.with_(read.recollection)
    now = decode_instant(sample.now, rig)
    outputs = engine.run(network_inputs(now, table, memory, spec))
    return read_outputs(outputs, now, spec, categories=categories, thresholds=floors)


def open_loop(sample: Sample, said: NetOutput, spec: NetSpec) -> OpenLoop | None:
    """Compare a model's plan and forecasts with what happened; None where a sample's future is not known."""
    steps, driven = spec.plan_steps, np.array(sample.labels.ego_future)
    if len(driven) != steps:
        return None
    top = said.plans[int(said.plan_scores.argmax())]
    straight = straight_on(sample.now.ego.speed_mps, steps=steps, step_s=spec.plan_step_s)
    forecasts = (
        forecast_ade_m(label.box, label.future, said.boxes, said.futures)
        for label in sample.labels.boxes
        if len(label.future) == steps and _is_seen_moving(label)
    )
    return OpenLoop(
        place_id=sample.place_id,
        plan_l2_m=mean_distance_m(top[:, :2], driven[:, :2]),
        straight_l2_m=mean_distance_m(straight, driven[:, :2]),
        forecast_ade_m=tuple(error_m for error_m in forecasts if error_m is not None),
    )


def _is_seen_moving(label: SampleBox) -> bool:
    is_seen = label.visible_px is None or label.visible_px >= MIN_VISIBLE_PX
    return is_seen and math.hypot(label.box.vx_mps, label.box.vy_mps) > MOVING_MPS


def truths_of(labels: SampleLabels) -> tuple[TruthLabel, ...]:
    """Convert labels to truth."""
    return tuple(
        TruthLabel(
            box=labelled.box,
            visible_px=_SEEN_PX if labelled.visible_px is None else labelled.visible_px,
            encounter_id=labelled.encounter_id,
        )
        for labelled in labels.boxes
    )
