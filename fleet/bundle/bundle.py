"""Put a trained network, its labels, thresholds and golden answers into one bundle that vehicles install.

The same inputs always give the same bytes and the same ``bundle_id``. A bundle that a vehicle's probe would
refuse for lack of answers is refused here already, before it is signed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from edge.contracts.arrays import AnyArray
from edge.contracts.bundle import (
    CALIBRATION_TABLE_VERSION,
    BundleManifest,
    EngineFile,
    EngineKind,
    GoldenSet,
    Precision,
    Provenance,
    TensorSpec,
)
from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import HashMismatchError, OperatorError
from edge.contracts.golden import SELECTED_OUTPUTS, GoldenFrame, largest_error, pack_golden
from edge.contracts.release import MANIFEST_FILE, blob_sizes, decode_manifest, encode_manifest


class EngineKey(NamedTuple):
    """Which engine file of a bundle."""

    kind: EngineKind
    precision: Precision
    graph: str = "full"


@dataclass(frozen=True)
class Tuned:
    """Figures of the tune set that the bundle carries to vehicles."""

    thresholds: Mapping[Category, float]
    """Score from which a box counts."""
    velocity_sigma_mps: Mapping[Category, float] = field(default_factory=dict)
    """Error of the velocities that vehicles use; see ``BundleManifest.velocity_sigma_mps``."""


@dataclass(frozen=True)
class BundleSpec:
    """Description of a network, apart from its weights."""

    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    thresholds: Mapping[Category, float]
    categories: tuple[Category, ...] = SHIPPED_CLASSES
    velocity_sigma_mps: Mapping[Category, float] = field(default_factory=dict)
    calibration_table_version: int = CALIBRATION_TABLE_VERSION


@dataclass(frozen=True)
class Bundle:
    """A manifest, as it will be signed, and its blobs by SHA-256."""

    manifest: BundleManifest
    manifest_bytes: bytes
    blobs: Mapping[str, bytes]


class RunnableNetwork(Protocol):
    """A loaded network."""

    def run(self, inputs: Mapping[str, AnyArray]) -> Mapping[str, AnyArray]:
        """Execute the network once on named tensors."""
        ...


def build_bundle(
    files: Mapping[EngineKey, Path],
    spec: BundleSpec,
    golden: Sequence[GoldenFrame],
    *,
    tolerance: float,
    profile: str,
    release_counter: int,
    provenance: Provenance | None = None,
) -> Bundle:
    """Assemble a bundle.

    Args:
        golden: At least one frame for every graph of ``files``.
        tolerance: Largest error of any engine on any golden output, see ``measured_tolerance``.
        release_counter: Above every earlier one of this profile.

    Raises:
        OperatorError: A golden frame is lacking, not finite, or not of the tensors of ``spec``.
        ValueError: The manifest makes no sense (no engine, a category without a threshold).
    """
    _expect_answers(files, spec, golden)
    blobs: dict[str, bytes] = {}
    engines = tuple(_engine_file(key, files[key], blobs) for key in sorted(files))
    golden_bytes = pack_golden(golden)
    golden_sha256 = _keep(blobs, golden_bytes)
    manifest = BundleManifest(
        bundle_id="unnamed",
        model=spec.model,
        profile=profile,
        release_counter=release_counter,
        engines=engines,
        inputs=spec.inputs,
        outputs=spec.outputs,
        categories=spec.categories,
        thresholds={category: spec.thresholds[category] for category in sorted(spec.thresholds)},
        velocity_sigma_mps={c: spec.velocity_sigma_mps[c] for c in sorted(spec.velocity_sigma_mps)},
        calibration_table_version=spec.calibration_table_version,
        golden=GoldenSet(
            sha256=golden_sha256,
            size_bytes=len(golden_bytes),
            frames=len(golden),
            tolerance=float(tolerance),
        ),
        provenance=provenance or Provenance(),
    )
    return _bundle(msgspec.structs.replace(manifest, bundle_id=manifest.content_id()), blobs)


def rereleased(bundle: Bundle, release_counter: int) -> Bundle:
    """Release the same model again under a higher counter: so a fleet returns to it without a rollback."""
    if release_counter <= bundle.manifest.release_counter:
        raise OperatorError(
            f"{bundle.manifest.bundle_id} was released as {bundle.manifest.release_counter}; "
            f"{release_counter} is not higher, and no vehicle would take it"
        )
    manifest = msgspec.structs.replace(bundle.manifest, release_counter=release_counter)
    return _bundle(manifest, bundle.blobs)


def answered(
    network: RunnableNetwork, inputs: Iterable[Mapping[str, AnyArray]], graph: str = "full"
) -> tuple[GoldenFrame, ...]:
    """Run a network (by rule the fp32 ONNX one) and keep its answers as golden frames."""
    return tuple(GoldenFrame(dict(asked), dict(network.run(asked)), graph) for asked in inputs)


def measured_tolerance(
    frames: Sequence[GoldenFrame],
    engines: Mapping[str, Sequence[RunnableNetwork]],
    margin: float = 1.5,
) -> float:
    """Measure how far the engines to be shipped deviate from the golden answers, with a margin.

    Args:
        engines: The engines of each graph.

    Raises:
        OperatorError: An engine answers with something that is not finite.
    """
    worst = 0.0
    for frame in frames:
        for engine in engines.get(frame.graph, ()):
            outputs = engine.run(frame.inputs)
            for name, golden in frame.outputs.items():
                error = largest_error(outputs[name], golden)
                if not math.isfinite(error):
                    raise OperatorError(
                        f"output {name} is not finite; this engine cannot be shipped"
                    )
                if name not in SELECTED_OUTPUTS:
                    worst = max(worst, error)
    return worst * margin + 1e-6


def write_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle as files: the manifest, and each blob under its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    for sha256, data in bundle.blobs.items():
        (folder / sha256).write_bytes(data)
    (folder / MANIFEST_FILE).write_bytes(bundle.manifest_bytes)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle back.

    Raises:
        OperatorError: There is none.
        SchemaError: Its manifest does not decode.
        HashMismatchError: A blob is not what the manifest says.
    """
    if not (folder / MANIFEST_FILE).is_file():
        raise OperatorError(f"{folder} holds no {MANIFEST_FILE}")
    manifest_bytes = (folder / MANIFEST_FILE).read_bytes()
    manifest = decode_manifest(manifest_bytes)
    blobs: dict[str, bytes] = {}
    for sha256 in blob_sizes(manifest):
        path = folder / sha256
        found = _keep(blobs, path.read_bytes()) if path.is_file() else "nothing"
        if found != sha256:
            raise HashMismatchError(
                f"bundle {manifest.bundle_id}: blob {sha256[:12]} is {found[:12]}"
            )
    return Bundle(manifest, manifest_bytes, blobs)


def _bundle(manifest: BundleManifest, blobs: Mapping[str, bytes]) -> Bundle:
    data = encode_manifest(manifest)
    return Bundle(decode_manifest(data), data, blobs)


def _engine_file(key: EngineKey, path: Path, blobs: dict[str, bytes]) -> EngineFile:
    data = path.read_bytes()
    return EngineFile(
        kind=key.kind,
        precision=key.precision,
        sha256=_keep(blobs, data),
        size_bytes=len(data),
        graph=key.graph,
    )


def _keep(blobs: dict[str, bytes], data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    blobs[sha256] = data
    return sha256


def _expect_answers(
    files: Mapping[EngineKey, Path], spec: BundleSpec, golden: Sequence[GoldenFrame]
) -> None:
    lacking = {key.graph for key in files} - {frame.graph for frame in golden}
    if lacking:
        raise OperatorError(
            f"no golden frame for graph {', '.join(sorted(lacking))}; bundle not built"
        )
    for index, frame in enumerate(golden):
        for name, array in frame.outputs.items():
            if not np.isfinite(array).all():
                raise OperatorError(f"golden frame {index}: output {name} is not finite; not built")
        if frame.graph == "full":
            _expect_tensors(index, "inputs", frame.inputs, spec.inputs)
            _expect_tensors(index, "outputs", frame.outputs, spec.outputs)


def _expect_tensors(
    index: int, side: str, tensors: Mapping[str, AnyArray], specs: tuple[TensorSpec, ...]
) -> None:
    found = {name: (array.dtype.name, array.shape) for name, array in tensors.items()}
    expected = {spec.name: (spec.dtype, spec.shape) for spec in specs}
    if found != expected:
        raise OperatorError(f"golden frame {index}: {side} are {found}, expected {expected}")
