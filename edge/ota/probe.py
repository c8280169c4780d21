"""The health gate before a switch: check that a bundle answers on this board as where it was built.

A probe is a callable that the agent is given, so that it can move into a process of its own. The one here
checks in order of cost: label map and calibration version, load, shapes and types, finite values, golden
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edge.contracts.arrays import AnyArray
from edge.contracts.bundle import (
    CALIBRATION_TABLE_VERSION,
    BundleManifest,
    EngineFile,
    EngineKind,
    TensorSpec,
)
from edge.contracts.errors import RingroadError
from edge.contracts.golden import SELECTED_OUTPUTS, GoldenFrame, largest_error, unpack_golden


@dataclass(frozen=True)
class ProbeOutcome:
    """The gate's answer; ``reason`` says why not."""

    is_passed: bool
    reason: str = ""


BundleProbe = Callable[[Path, BundleManifest], ProbeOutcome]
"""Judge the bundle whose manifest and blobs (each under its SHA-256) lie in a folder."""


class Runnable(Protocol):
    """A loaded network, as far as the probe needs it."""

    def run(self, inputs: Mapping[str, AnyArray]) -> Mapping[str, AnyArray]:
        """Execute the network once on named tensors."""
        ...


OpenEngine = Callable[[EngineFile, Path, BundleManifest], Runnable]


def golden_probe(
    open_engine: OpenEngine,
    kinds: tuple[EngineKind, ...] = (EngineKind.ONNX, EngineKind.TFLITE),
) -> BundleProbe:
    """Make a probe of whatever opens engines here.

    Args:
        open_engine: Loads one file of a bundle; a ``RingroadError`` or ``OSError`` of it or of the
            engine refuses the bundle.
        kinds: Which engine files this board will run; the others are not tried.
    """

    def probe(folder: Path, manifest: BundleManifest) -> ProbeOutcome:
        complaint = wrong_labels(manifest)
        if complaint:
            return ProbeOutcome(False, complaint)
        engines = [engine for engine in manifest.engines if engine.kind in kinds]
        if not engines:
            return ProbeOutcome(False, f"no engine file for {', '.join(kinds)}")
        try:
            frames = unpack_golden((folder / manifest.golden.sha256).read_bytes())
            for engine in engines:
                complaint = _try_engine(open_engine, folder, manifest, engine, frames)
                if complaint:
                    name = f"{engine.kind} {engine.precision} {engine.graph}"
                    return ProbeOutcome(False, f"{name}: {complaint}")
        except (RingroadError, OSError) as error:
            return ProbeOutcome(False, str(error))
        return ProbeOutcome(True)

    return probe


def wrong_labels(manifest: BundleManifest) -> str:
    """Name how a manifest's classes or calibration table differ from what can be decoded, or ''."""
    channels = [spec.shape[1] for spec in manifest.outputs if spec.name == "heatmap"]
    if channels not in ([], [len(manifest.categories)]):
        return (
            f"its heat map has {channels[0]} channels and its label map names "
            f"{len(manifest.categories)} classes"
        )
    if manifest.calibration_table_version != CALIBRATION_TABLE_VERSION:
        return (
            f"calibration table version {manifest.calibration_table_version}, "
            f"this software makes {CALIBRATION_TABLE_VERSION}"
        )
    return ""


def wrong_answer(
    found: Mapping[str, AnyArray], expected: Mapping[str, AnyArray], tolerance: float
) -> str:
    """Name how an engine's outputs differ from the golden ones; '' if they do not.

    Args:
        tolerance: Largest allowed ``largest_error``.
    """
    for name, golden in sorted(expected.items()):
        if name not in found:
            return f"output {name} is missing"
        output = np.asarray(found[name])
        if output.shape != golden.shape or output.dtype != golden.dtype:
            return (
                f"output {name} is {output.dtype} {output.shape}, "
                f"expected {golden.dtype} {golden.shape}"
            )
        if not np.isfinite(output).all():
            return f"output {name} is not finite"
        if name in SELECTED_OUTPUTS:
            continue
        error = largest_error(output, golden)
        if not error <= tolerance:
            return f"output {name} is off by {error:.3g} of its range, at most {tolerance:.3g}"
    return ""


def _try_engine(
    open_engine: OpenEngine,
    folder: Path,
    manifest: BundleManifest,
    engine: EngineFile,
    frames: tuple[GoldenFrame, ...],
) -> str:
    asked = [frame for frame in frames if frame.graph == engine.graph]
    if not asked:
        return "no golden frame asks it anything"
    loaded = open_engine(engine, folder / engine.sha256, manifest)
    for frame in asked:
        complaint = _wrong_tensors(frame, manifest) if engine.graph == "full" else ""
        outputs = {} if complaint else loaded.run(frame.inputs)
        complaint = complaint or wrong_answer(outputs, frame.outputs, manifest.golden.tolerance)
        if complaint:
            return complaint
    return ""


def _wrong_tensors(frame: GoldenFrame, manifest: BundleManifest) -> str:
    sides = ((frame.inputs, manifest.inputs, "input"), (frame.outputs, manifest.outputs, "output"))
    for tensors, specs, side in sides:
        found = {name: (array.dtype.name, array.shape) for name, array in tensors.items()}
        if found != _promised(specs):
            return f"golden {side}s are {sorted(found)}, the manifest promises {sorted(_promised(specs))}"
    return ""


def _promised(specs: tuple[TensorSpec, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {spec.name: (spec.dtype, spec.shape) for spec in specs}
