"""Turn the outputs of a network into boxes, futures, a segmentation and plans, or refuse them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import Category
from edge.contracts.errors import RingroadError
from edge.contracts.scene import Box3D, Trajectory
from edge.contracts.sensors import FrameSet
from edge.perceive.tensors.boxes import decode_boxes
from edge.perceive.tensors.memory import Recollection, recollect
from edge.perceive.tensors.spec import Floats, NetSpec, output_specs

LARGEST_OUTPUT = 1e6
"""No output means anything beyond it; a box a million cells away could not even be written down."""


class OutputFault(RingroadError):
    """The network's outputs cannot be used: one is missing, misshapen, not finite or absurdly large."""


@dataclass(frozen=True, eq=False)
class NetOutput:
    """A network's outputs for one tick, as records of the contracts.

    ``boxes``: best score first. ``futures``: per box, up to six modes. ``segmentation``: uint8 (n, n).
    ``plans``: float32 (16, 12, 3) of x, y, yaw in the ego frame. ``plan_scores``: float32 (16,).
    """

    boxes: tuple[Box3D, ...]
    futures: tuple[tuple[Trajectory, ...], ...]
    segmentation: NDArray[np.uint8]
    plans: Floats
    plan_scores: Floats
    recollection: Recollection


def read_outputs(
    outputs: Mapping[str, NDArray[np.generic]],
    frame_set: FrameSet,
    spec: NetSpec,
    *,
    categories: Sequence[Category],
    thresholds: Mapping[Category, float],
) -> NetOutput:
    """Turn raw tensors into boxes, futures, a segmentation and plan proposals.

    Args:
        outputs: Named tensors as ``output_specs`` lists them; heat map and scores already in [0, 1].
        frame_set: The tick they belong to.
        spec: The network they came from.
        categories: The network's classes in the order of its channels.
        thresholds: Lowest score that counts, per class; a class left out is not reported.

    Raises:
        OutputFault: An output is missing, has another shape, or holds a NaN, an infinity or a value
            beyond ``LARGEST_OUTPUT``.
    """
    checked = _checked(outputs, spec, len(categories))
    cells, boxes = decode_boxes(
        checked["heatmap"][0],
        checked["boxes"][0],
        spec,
        categories=categories,
        thresholds=thresholds,
    )
    slot_of_cell = {int(c): k for k, c in enumerate(checked["query_cells"][0])}
    futures = tuple(
        _futures(checked, slot_of_cell.get(cell), box)
        for cell, box in zip(cells, boxes, strict=True)
    )
    return NetOutput(
        boxes=boxes,
        futures=futures,
        segmentation=checked["segmentation"][0].argmax(axis=0).astype(np.uint8),
        plans=checked["plans"][0],
        plan_scores=checked["plan_scores"][0],
        recollection=recollect(
            checked["queries"][0],
            checked["query_cells"][0],
            checked["query_scores"][0],
            stamp_ns=frame_set.stamp_ns,
            world_from_ego=frame_set.ego.world_from_ego,
            spec=spec,
        ),
    )


def _checked(
    outputs: Mapping[str, NDArray[np.generic]], spec: NetSpec, classes: int
) -> dict[str, Floats]:
    checked: dict[str, Floats] = {}
    for wanted in output_specs(spec, classes):
        if wanted.name not in outputs:
            raise OutputFault(
                f"network output {wanted.name} is missing; the tick goes on without it"
            )
        value = np.asarray(outputs[wanted.name], np.float32)
        if value.shape != wanted.shape:
            raise OutputFault(
                f"network output {wanted.name}: expected {wanted.shape}, got {value.shape}"
            )
        if not (np.abs(value) <= LARGEST_OUTPUT).all():
            raise OutputFault(
                f"network output {wanted.name} holds a NaN or infinity, or is beyond {LARGEST_OUTPUT:g}"
            )
        checked[wanted.name] = value
    return checked


def _futures(outputs: Mapping[str, Floats], slot: int | None, box: Box3D) -> tuple[Trajectory, ...]:
    """Read the six futures of a box from its query; offsets are relative to the box centre."""
    if slot is None:
        return ()
    offsets, scores = outputs["futures"][0, slot], outputs["future_scores"][0, slot]
    centre = np.array([box.x_m, box.y_m])
    points = np.clip(offsets, -200.0, 200.0) + centre
    return tuple(
        Trajectory(
            points_ego=tuple(map(tuple, points[mode].tolist())),
            step_s=0.25,
            probability=float(min(max(scores[mode], 0.0), 1.0)),
        )
        for mode in np.argsort(-scores, kind="stable")
    )
