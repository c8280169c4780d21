"""From frames to boxes: the one interface to a network.

A perceiver owns what a network needs between ticks (engine, calibration table, memory, thresholds). The
runtime reads named outputs and opens no engine, and a test or a cheaper rung can take the perceiver's place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edge.contracts.bundle import (
    CALIBRATION_TABLE_VERSION,
    BundleManifest,
    DeviceProfile,
    EngineFile,
)
from edge.contracts.errors import ContractError, OperatorError
from edge.contracts.release import MANIFEST_FILE, decode_manifest
from edge.contracts.rig import Rig
from edge.contracts.scene import Rung
from edge.contracts.sensors import FrameSet
from edge.perceive.engine import Engine, open_engine
from edge.perceive.tensors import (
    SPECS,
    NetOutput,
    NetSpec,
    calibration_table,
    empty_memory,
    network_inputs,
    read_outputs,
)

StageWatch = Callable[[str], AbstractContextManager[None]]
"""Watches the stages of a tick: a context that is entered when a stage begins and left when it ends."""


def unwatched(stage: str) -> AbstractContextManager[None]:
    """Watch no stage."""
    return nullcontext()


class Perceiver(Protocol):
    """Turns one tick's frames into a network's outputs."""

    def perceive(self, frame_set: FrameSet, watch: StageWatch = unwatched) -> NetOutput:
        """Run the network on one frame set, in the stages preprocess, infer and decode.

        Raises:
            OutputFault: The network's answer cannot be used; the next tick starts from the same memory.
        """
        ...


@dataclass(eq=False)
class NetworkPerceiver:
    """A network on one vehicle's rig, with its memory of the last moments."""

    engine: Engine
    rig: Rig
    manifest: BundleManifest
    spec: NetSpec = field(init=False)

    def __post_init__(self) -> None:
        self.spec = _spec_of(self.manifest)
        self._table = calibration_table(self.rig, self.spec)
        self._memory = empty_memory(self.spec)

    def perceive(self, frame_set: FrameSet, watch: StageWatch = unwatched) -> NetOutput:
        """See ``Perceiver.perceive``."""
        with watch("preprocess"):
            inputs = network_inputs(frame_set, self._table, self._memory, self.spec)
        with watch("infer"):
            outputs = self.engine.run(inputs)
        with watch("decode"):
            seen = read_outputs(
                outputs,
                frame_set,
                self.spec,
                categories=self.manifest.categories,
                thresholds=self.manifest.thresholds,
            )
        self._memory = self._memory.with_(seen.recollection)
        return seen


def read_manifest(folder: Path) -> BundleManifest:
    """Read what the bundle in a folder is; its other files are not looked at.

    Raises:
        OperatorError: There is none.
        SchemaError: Its manifest does not decode.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise OperatorError(f"{folder} holds no bundle: it has no {MANIFEST_FILE}")
    return decode_manifest(path.read_bytes())


def load_perceivers(
    manifest: BundleManifest, folder: Path, rig: Rig, profile: DeviceProfile
) -> dict[Rung, Perceiver]:
    """Load every rung that a bundle serves on a board, warm.

    Args:
        manifest: The bundle.
        folder: Where its files lie, each under its SHA-256.
        rig: Calibration of this vehicle.
        profile: The board: which engines it prefers, how many threads it gives them.

    Raises:
        ContractError: A file does not load, or the bundle was made for another calibration table or
            network than this software knows.
        OperatorError: The bundle has no file of a kind that this board runs.
    """
    perceivers: dict[Rung, Perceiver] = {}
    for rung, graph in ((Rung.FULL, "full"), (Rung.SMALL, "small")):
        file = _preferred(manifest, graph, profile)
        if file is not None:
            engine = open_engine(file, folder / file.sha256, manifest, profile.threads)
            perceivers[rung] = NetworkPerceiver(engine, rig, manifest)
    if Rung.FULL not in perceivers:
        kinds = ", ".join(str(kind) for kind in profile.engines)
        raise OperatorError(
            f"bundle {manifest.bundle_id} has no full graph for board {profile.name}, "
            f"which runs {kinds}"
        )
    return perceivers


def _preferred(manifest: BundleManifest, graph: str, profile: DeviceProfile) -> EngineFile | None:
    """Choose the file of a graph that the board prefers."""
    files = [f for f in manifest.engines if f.graph == graph and f.kind in profile.engines]
    return min(files, key=lambda f: profile.engines.index(f.kind), default=None)


def _spec_of(manifest: BundleManifest) -> NetSpec:
    """Find the spec of a bundle's network, and refuse one that this software would misread."""
    refused = f"bundle {manifest.bundle_id} refused"
    if manifest.model not in SPECS:
        raise ContractError(f"{refused}: no network {manifest.model} here, there is {list(SPECS)}")
    if manifest.calibration_table_version != CALIBRATION_TABLE_VERSION:
        raise ContractError(
            f"{refused}: calibration table version {manifest.calibration_table_version}, "
            f"expected {CALIBRATION_TABLE_VERSION}"
        )
    return SPECS[manifest.model]
