"""The network of a benchmark: a bundle from disk, the shipped one, or one of random numbers.

Random numbers take as long to multiply as trained ones. Their boxes are meaningless, so the threshold is set
where about as many boxes come out as in traffic, and tracker and planner have work to do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.contracts.bundle import EngineKind, Precision
from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import OperatorError
from edge.contracts.rig import Rig
from edge.contracts.sensors import FrameSet
from edge.perceive.engine import OnnxEngine
from edge.perceive.tensors import (
    SPECS,
    NetSpec,
    calibration_table,
    decode_boxes,
    empty_memory,
    input_specs,
    network_inputs,
    output_specs,
)
from fleet.bundle.bundle import BundleSpec, EngineKey, answered, build_bundle, write_bundle

if TYPE_CHECKING:
    from models.bev import BevNet

BOXES = 16
"""Number of boxes that a random network shall report."""
BENCH_CALIBRATION_FRAMES = 8

Inputs = Mapping[str, NDArray[np.generic]]


def write_bench_bundle(
    model: str, frames: Sequence[FrameSet], rig: Rig, *, profile: str, out: Path
) -> str:
    """Write a bundle of a network size: of the weights that ship, else of random ones.

    Args:
        model: A key of ``SPECS``.
        frames: What int8 ranges and golden answers of random weights are measured on.
        rig: Calibration of the vehicle that recorded them.
        profile: The board.
        out: Folder of the bundle.

    Returns:
        What the weights are, in words.

    Raises:
        OperatorError: Torch is not installed.
    """
    try:
        inputs = _inputs(frames, rig, SPECS[model])
        shipped = _shipped(model)
        if shipped is not None:
            _write(shipped, inputs, SPECS[model], profile, out)
            return "as shipped"
        with tempfile.TemporaryDirectory() as folder:
            _write(_random(inputs, SPECS[model], Path(folder)), inputs, SPECS[model], profile, out)
        return "random: latency is real, boxes are not"
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"a bundle of {model} is made with {error.name}, which is not installed: "
            "pip install 'ringroad[fleet]' and torch, or give --bundle"
        ) from error


@dataclass(frozen=True)
class _Network:
    """Files of one network: the one for the golden answers, the one that drives, and its threshold."""

    fp32: Path
    files: Mapping[EngineKey, Path]
    thresholds: Mapping[Category, float]
    velocity_sigma_mps: Mapping[Category, float] = field(default_factory=dict)
    categories: tuple[Category, ...] = SHIPPED_CLASSES


def _shipped(model: str) -> _Network | None:
    from fleet.bundle.assemble import FP32, INT8, every_threshold
    from fleet.zoo import TFLITE, read_card, zoo_folder

    try:
        folder = zoo_folder(model)
    except OperatorError:
        return None
    files = {EngineKey(EngineKind.ONNX, Precision.INT8): folder / INT8}
    if (folder / TFLITE).is_file():
        files[EngineKey(EngineKind.TFLITE, Precision.FP32)] = folder / TFLITE
    card = read_card(folder)
    thresholds = every_threshold(card.thresholds, card.categories)
    return _Network(folder / FP32, files, thresholds, card.velocity_sigma_mps, card.categories)


def _random(inputs: Sequence[Inputs], spec: NetSpec, folder: Path) -> _Network:
    """Export a network that was never trained, in int8."""
    from models.export import export_onnx, quantize

    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    export_onnx(_random_weights(inputs, spec), fp32)
    quantize(fp32, int8, inputs)
    threshold = _threshold(OnnxEngine(int8), inputs, spec)
    files = {EngineKey(EngineKind.ONNX, Precision.INT8): int8}
    return _Network(fp32, files, dict.fromkeys(SHIPPED_CLASSES, threshold))


def _write(
    network: _Network, inputs: Sequence[Inputs], spec: NetSpec, profile: str, out: Path
) -> None:
    bundle_spec = BundleSpec(
        model=spec.name,
        inputs=input_specs(spec),
        outputs=output_specs(spec, len(network.categories)),
        categories=network.categories,
        thresholds=network.thresholds,
        velocity_sigma_mps=network.velocity_sigma_mps,
    )
    golden = answered(OnnxEngine(network.fp32), inputs[:1])
    bundle = build_bundle(
        network.files, bundle_spec, golden, tolerance=1.0, profile=profile, release_counter=1
    )
    write_bundle(bundle, out)


def _inputs(frames: Sequence[FrameSet], rig: Rig, spec: NetSpec) -> list[Inputs]:
    table = calibration_table(rig, spec)
    chosen = np.linspace(0, len(frames) - 1, min(BENCH_CALIBRATION_FRAMES, len(frames))).astype(int)
    return [network_inputs(frames[k], table, empty_memory(spec), spec) for k in chosen.tolist()]


def _random_weights(inputs: Sequence[Inputs], spec: NetSpec) -> BevNet:
    """Draw a network, and settle its batch normalisation on inputs so that signals reach its heads."""
    import torch

    from models.bev import BevNet, Deployed

    torch.manual_seed(0)
    net = BevNet(spec).train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all inputs
    names = [tensor.name for tensor in input_specs(spec)]
    with torch.no_grad():
        for one in inputs:
            Deployed(net)(*(torch.from_numpy(np.ascontiguousarray(one[name])) for name in names))
    return net.eval()


def _threshold(engine: OnnxEngine, inputs: Sequence[Inputs], spec: NetSpec) -> float:
    """Find the score that ``BOXES`` boxes of a middling tick reach."""
    scores = []
    for one in inputs:
        outputs = engine.run(one)
        heatmap, regression = (np.asarray(outputs[k][0], np.float32) for k in ("heatmap", "boxes"))
        _, boxes = decode_boxes(
            heatmap,
            regression,
            spec,
            categories=SHIPPED_CLASSES,
            thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.0),
        )
        scores.append(min(box.score for box in boxes[:BOXES]))
    return float(np.median(scores))
