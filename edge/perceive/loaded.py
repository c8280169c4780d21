"""A bundle as it drives: its perceivers, and the facts about it that tracking, planning and costs use.

The rest of a manifest (files, signatures, golden answers) ends here. Boxes that a clip recorded can
therefore drive as well, without a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from edge.contracts.bundle import BundleManifest, DeviceProfile
from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D, Rung
from edge.perceive.perceiver import Perceiver, load_perceivers
from edge.perceive.recorded import RecordedPerceiver
from edge.perceive.tensors import PICO, SPECS


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """The part of a bundle that the runtime uses."""

    bundle_id: str
    model: str | None
    """Network size, under which a device profile lists costs; None when no network runs."""
    perceivers: Mapping[Rung, Perceiver]
    """One per rung that looks at images."""
    bev_range_m: float
    """Half the side of the segmentation raster, which is centred on the ego."""
    velocity_sigma_mps: Mapping[str, float] = field(default_factory=dict)
    """See ``BundleManifest.velocity_sigma_mps``."""
    categories: tuple[str, ...] = ()
    """The classes that it distinguishes."""

    @classmethod
    def of(cls, manifest: BundleManifest, perceivers: Mapping[Rung, Perceiver]) -> Self:
        """Take a manifest's facts beside perceivers that were made from it."""
        return cls(
            bundle_id=manifest.bundle_id,
            model=manifest.model,
            perceivers=perceivers,
            bev_range_m=SPECS[manifest.model].bev_range_m,
            velocity_sigma_mps=manifest.velocity_sigma_mps,
            categories=manifest.categories,
        )


def load_bundle(
    manifest: BundleManifest, folder: Path, rig: Rig, profile: DeviceProfile
) -> LoadedBundle:
    """Load every rung that a bundle serves on a board, warm.

    Args:
        manifest: The bundle.
        folder: Folder of its files, each under its SHA-256.
        rig: Calibration of this vehicle.
        profile: The board: its engines in order of preference, and their threads.

    Raises:
        ContractError: As ``load_perceivers``.
        OperatorError: As ``load_perceivers``.
    """
    return LoadedBundle.of(manifest, load_perceivers(manifest, folder, rig, profile))


def recorded_boxes(
    boxes_of: Mapping[int, tuple[Box3D, ...]], *, bundle_id: str = "recorded"
) -> LoadedBundle:
    """Give recorded boxes again instead of running a network.

    Args:
        boxes_of: Boxes by ``FrameSet.stamp_ns``.
        bundle_id: Bundle that found them.
    """
    return LoadedBundle(
        bundle_id=bundle_id,
        model=None,
        perceivers={Rung.FULL: RecordedPerceiver(boxes_of, PICO)},
        bev_range_m=PICO.bev_range_m,
    )
