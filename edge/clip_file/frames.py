"""What a clip holds in memory, what is stored of a tick, and what must be true of a whole clip."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.clip_file.jpeg import check_jpeg, check_size
from edge.contracts.clip import ClipManifest
from edge.contracts.errors import SchemaError
from edge.contracts.fields import Count, StampNs
from edge.contracts.scene import Perception, Plan
from edge.contracts.sensors import (
    CAMERAS,
    CameraRig,
    Dropped,
    EgoState,
    RadarScan,
    Route,
    UltrasonicScan,
)

CAMERA_COUNT = len(CAMERAS)

TICK_TOPIC = "/tick"
RADAR_TOPIC = "/radar"
IMAGE_TOPICS = tuple(f"/camera/{name}/image" for name in CAMERAS)
CALIBRATION_TOPICS = tuple(f"/camera/{name}/calibration" for name in CAMERAS)
TRANSFORM_TOPIC = "/tf"
SCENE_TOPIC = "/scene"

MANIFEST_ATTACHMENT = "manifest"


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One recorded instant: the sensed, with images still encoded, and what was concluded from it."""

    index: int
    stamp_ns: int
    jpegs: tuple[bytes | None, ...]
    """In ``CAMERAS`` order; None where the camera gave nothing."""
    radar: RadarScan
    ultrasonics: UltrasonicScan
    ego: EgoState
    route: Route
    perception: Perception | None = None
    plan: Plan | None = None
    dropped: Dropped = ()
    """Readings that were dropped when it was recorded, or when it was read."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as read: the manifest, its bytes as sealed, and the frames, oldest first."""

    manifest: ClipManifest
    manifest_bytes: bytes
    frames: tuple[ClipFrame, ...]


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/tick`` carries: all of a frame that has no Foxglove schema to be read back from."""

    index: Count
    stamp_ns: StampNs
    ego: EgoState
    route: Route
    ultrasonics_m: tuple[float, ...]
    """Unbounded, as radar points are: a reader cleans both."""
    perception: Perception | None = None
    plan: Plan | None = None


def check_clip(manifest: ClipManifest, frames: Sequence[ClipFrame]) -> None:
    """Refuse frames that are not what the manifest says.

    Raises:
        SchemaError: Count, order, span, cameras, image sizes or radar values do not fit.
    """
    if len(frames) != manifest.frame_count:
        raise SchemaError(
            f"clip {manifest.clip_id[:12]} holds {len(frames)} frames, "
            f"its manifest says {manifest.frame_count}"
        )
    for camera in manifest.rig.cameras:
        check_size(height_px=camera.intrinsics.height_px, width_px=camera.intrinsics.width_px)
    for earlier, later in itertools.pairwise(frames):
        if later.index <= earlier.index or later.stamp_ns <= earlier.stamp_ns:
            raise SchemaError(f"frame {later.index} does not follow frame {earlier.index}")
    for frame in frames:
        if not manifest.start_ns <= frame.stamp_ns <= manifest.end_ns:
            raise SchemaError(
                f"frame {frame.index} is at {frame.stamp_ns} ns, outside its clip's "
                f"{manifest.start_ns} to {manifest.end_ns} ns"
            )
        _check_frame(frame, manifest.rig)


def _check_frame(frame: ClipFrame, rig: CameraRig) -> None:
    if len(frame.jpegs) != CAMERA_COUNT:
        raise SchemaError(
            f"frame {frame.index} has {len(frame.jpegs)} camera slots, expected {CAMERA_COUNT}"
        )
    for camera, jpeg in zip(rig.cameras, frame.jpegs, strict=True):
        if jpeg is not None:
            size = camera.intrinsics
            try:
                check_jpeg(jpeg, height_px=size.height_px, width_px=size.width_px)
            except SchemaError as error:
                raise SchemaError(f"{camera.name} of frame {frame.index}: {error}") from error
    if not np.isfinite(frame.radar.points_ego).all():
        raise SchemaError(f"radar points of frame {frame.index} are not finite")
