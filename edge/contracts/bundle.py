"""All that an engine must know about a model: files, tensors, label map, thresholds, golden answers."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from edge.contracts.classes import Category
from edge.contracts.fields import (
    Count,
    Finite,
    Milliseconds,
    Name,
    OpenEnum,
    Ratio,
    Sha256,
    Size,
    SpeedError,
    Text,
)

BUNDLE_SCHEMA = 1
CALIBRATION_TABLE_VERSION = 1
"""Version of the calibration table's layout; a model only runs with the version it was trained on."""


class EngineKind(OpenEnum):
    """Which runtime reads the file."""

    ONNX = "onnx"
    TFLITE = "tflite"
    UNKNOWN = "unknown"


class Precision(OpenEnum):
    """Arithmetic of the network's convolutions."""

    FP32 = "fp32"
    INT8 = "int8"
    UNKNOWN = "unknown"


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output of the network, by name."""

    name: Name
    dtype: Annotated[str, msgspec.Meta(pattern=r"^(uint8|int32|int64|float32)\Z")]
    shape: tuple[Size, ...]


class EngineFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that holds the network for one runtime."""

    kind: EngineKind
    precision: Precision
    sha256: Sha256
    size_bytes: Count
    graph: Name = "full"
    """Which rung this file serves: ``full`` or ``small``."""


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of board: which engine it prefers, and the latency that lockstep time charges it."""

    name: Name
    """Name of the kind of board, as in its file name."""
    engines: tuple[EngineKind, ...]
    """Inference engines in order of preference."""
    modelled_ms: dict[Name, Milliseconds]
    """Per stage, what a tick costs on this board in virtual time."""
    threads: Size = 1
    """Threads that inference may use."""


class GoldenSet(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs with known outputs; a board that answers differently does not drive on this bundle."""

    sha256: Sha256
    size_bytes: Count
    frames: Count
    tolerance: Finite
    """Largest allowed difference from the recorded outputs, relative to each output's range."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Origin of the model; free of personal data."""

    parent_bundle_id: Name | None = None
    dataset_id: Name | None = None
    run_id: Name | None = None
    verdict_sha256: Sha256 | None = None
    recipe: Text = ""


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A model as vehicles install it."""

    schema: Count = BUNDLE_SCHEMA
    bundle_id: Name
    model: Name
    profile: Name
    release_counter: Count
    """Grows with every release to a profile; a vehicle never goes back."""
    engines: tuple[EngineFile, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    categories: tuple[Category, ...]
    """The class of each channel of the heat map; vehicles decode by this list, whatever it holds."""
    thresholds: dict[Category, Ratio]
    """The score above which a box counts, per class: evaluated and shipped as one."""
    velocity_sigma_mps: dict[Category, SpeedError] = {}
    """Root-mean-square error per axis of the network's velocity on the tune set, for the classes for which
    it surely beats the answer that nothing moves. Vehicles ignore the velocity of a class not listed."""
    calibration_table_version: Count = CALIBRATION_TABLE_VERSION
    golden: GoldenSet
    provenance: Provenance = Provenance()

    def __post_init__(self) -> None:
        if not self.engines:
            raise ValueError(f"bundle {self.bundle_id} lists no engine file")
        twice = sorted({c for c in self.categories if self.categories.count(c) > 1})
        if twice:
            raise ValueError(f"bundle {self.bundle_id} lists {', '.join(twice)} more than once")
        lacking = [c for c in self.categories if c not in self.thresholds]
        if lacking:
            raise ValueError(f"bundle {self.bundle_id} has no threshold for {', '.join(lacking)}")

    def content_id(self) -> str:
        """Hash what the model is (files, tensors, labels, tune figures), not who signed or released it."""
        tensors = (self.engines, self.inputs, self.outputs, self.calibration_table_version)
        labels = (self.categories, sorted(self.thresholds.items()))
        believed = sorted(self.velocity_sigma_mps.items())
        spec = (self.model, tensors, labels, self.golden)
        # A bundle without stated velocity errors keeps the id that it had before there were any.
        spec_bytes = msgspec.msgpack.encode((*spec, believed) if believed else spec)
        return "b-" + hashlib.sha256(spec_bytes).hexdigest()[:16]
