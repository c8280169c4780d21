"""From weights to a bundle that can be signed: files for every engine, thresholds, golden answers.

The baseline of the zoo and every candidate are assembled by the same code. Golden questions are a few real
frames of the tune split; their answers are the fp32 network's, and the tolerance is measured, not chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.clip_file import decode_instant
from edge.contracts.bundle import EngineKind, Precision, Provenance
from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.perceive.engine import OnnxEngine
from edge.perceive.tensors import (
    NetSpec,
    calibration_table,
    empty_memory,
    input_specs,
    network_inputs,
    output_specs,
)
from fleet.bundle.bundle import (
    Bundle,
    BundleSpec,
    EngineKey,
    Tuned,
    answered,
    build_bundle,
    measured_tolerance,
)
from fleet.dataset.frozen import Dataset
from models.export import classes_in, export_onnx, quantize, swap_weights
from models.weights import load_weights

GOLDEN_FRAMES = 2
CALIBRATION_FRAMES = 64
FP32, INT8 = "fp32.onnx", "int8.onnx"

Inputs = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class ModelFiles:
    """One trained network in the files that ship."""

    fp32: Path
    int8: Path


def export_weights(
    weights: Path,
    spec: NetSpec,
    graph: Path,
    calibration: Dataset,
    out: Path,
    *,
    categories: tuple[Category, ...] = SHIPPED_CLASSES,
) -> ModelFiles:
    """Write a network's fp32 and int8 ONNX files.

    Args:
        weights: As ``models.weights`` saves them.
        spec: The network's size.
        graph: Any fp32 ONNX file of the same size; its numbers are replaced, unless it has another number
            of classes: then the graph is exported anew, which takes half a minute.
        calibration: Frames that set the int8 ranges.
        out: Folder of the two files.
        categories: The network's classes in the order of its channels.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = ModelFiles(out / FP32, out / INT8)
    net = load_weights(weights, spec, categories)
    if classes_in(graph) == len(categories):
        swap_weights(graph, net, files.fp32)
    else:
        export_onnx(net, files.fp32)
    quantize(files.fp32, files.int8, real_inputs(calibration, spec, CALIBRATION_FRAMES))
    return files


def real_inputs(dataset: Dataset, spec: NetSpec, count: int) -> Iterator[Inputs]:
    """Return the network inputs of ``count`` samples, spread over a dataset."""
    for number in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int):
        sample = dataset[int(number)]
        rig = dataset.rig_of(sample)
        frame_set = decode_instant(sample.now, rig)
        yield network_inputs(frame_set, calibration_table(rig, spec), empty_memory(spec), spec)


def assemble(
    files: ModelFiles,
    spec: NetSpec,
    tuned: Tuned,
    questions: Dataset,
    *,
    profile: str,
    release_counter: int,
    provenance: Provenance,
    categories: tuple[Category, ...],
    tflite: Path | None = None,
) -> Bundle:
    """Build the bundle of a network: its int8 file for driving, and TFLite where there is one.

    Args:
        files: The network.
        spec: Its sizes.
        tuned: What the tune set says of it.
        questions: Frames for the golden answers.
        profile: The kind of board.
        release_counter: Above every earlier one of this profile.
        provenance: Where the network comes from.
        categories: Its classes in the order of its channels.
        tflite: The same network for TFLite.
    """
    fp32 = OnnxEngine(files.fp32)
    golden = answered(fp32, real_inputs(questions, spec, GOLDEN_FRAMES))
    shipped: dict[EngineKey, Path] = {EngineKey(EngineKind.ONNX, Precision.INT8): files.int8}
    if tflite is not None:
        shipped[EngineKey(EngineKind.TFLITE, Precision.FP32)] = tflite
    tolerance = measured_tolerance(golden, {"full": [OnnxEngine(files.int8)]})
    bundle_spec = BundleSpec(
        model=spec.name,
        inputs=input_specs(spec),
        outputs=output_specs(spec, len(categories)),
        categories=categories,
        thresholds=every_threshold(tuned.thresholds, categories),
        velocity_sigma_mps=tuned.velocity_sigma_mps,
    )
    return build_bundle(
        shipped,
        bundle_spec,
        golden,
        tolerance=tolerance,
        profile=profile,
        release_counter=release_counter,
        provenance=provenance,
    )


def every_threshold(
    thresholds: Mapping[Category, float], categories: Sequence[Category]
) -> dict[Category, float]:
    """Give every class of a network a threshold; one that was never chosen reports nothing."""
    return {category: thresholds.get(category, 1.0) for category in categories}


def known_categories(
    instances: Mapping[str, int], categories: Sequence[Category], minimum: int = 20
) -> Sequence[Category]:
    """List what a model can have learnt: its classes that have enough labelled instances."""
    return [c for c in categories if instances.get(c, 0) >= minimum]
