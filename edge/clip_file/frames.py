"""Records of a clip in memory and of its channels, and the checks of a whole clip."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.clip_file.instant import Instant
from edge.clip_file.jpeg import check_jpeg, check_size
from edge.contracts.clip import ClipManifest
from edge.contracts.errors import SchemaError
from edge.contracts.fields import Count, StampNs
from edge.contracts.rig import Rig
from edge.contracts.scene import Perception, Plan
from edge.contracts.sensors import Dropped, EgoState, FrameStatus, Route

TICK_TOPIC = "/tick"
EGO_TOPIC = "/ego"
ROUTE_TOPIC = "/route"
ULTRASONICS_TOPIC = "/ultrasonics"
PERCEPTION_TOPIC = "/perception"
PLAN_TOPIC = "/plan"
RADAR_TOPIC = "/radar"
TRANSFORM_TOPIC = "/tf"
SCENE_TOPIC = "/scene"

MANIFEST_ATTACHMENT = "manifest"


def image_topic(camera: str) -> str:
    """Name the channel of a camera's images."""
    return f"/camera/{camera}/image"


def calibration_topic(camera: str) -> str:
    """Name the channel of a camera's calibration."""
    return f"/camera/{camera}/calibration"


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One recorded instant: the sensed, and what was concluded from it."""

    sensed: Instant
    perception: Perception | None = None
    plan: Plan | None = None

    @property
    def index(self) -> int:
        """Number of the frame set in its drive."""
        return self.sensed.index

    @property
    def stamp_ns(self) -> int:
        """Reference stamp of the frame set."""
        return self.sensed.stamp_ns


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as read: the manifest, its bytes as sealed, and the frames, oldest first."""

    manifest: ClipManifest
    manifest_bytes: bytes
    frames: tuple[ClipFrame, ...]


class CameraTick(msgspec.Struct, frozen=True, kw_only=True):
    """Stamp and status of one camera's image in one tick."""

    camera: str
    stamp_ns: StampNs
    status: FrameStatus


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A message of ``/tick``: the frame set's index and stamp, and the state of its images and readings."""

    index: Count
    stamp_ns: StampNs
    cameras: tuple[CameraTick, ...]
    dropped: Dropped = ()


class Ranges(msgspec.Struct, frozen=True, kw_only=True):
    """A message of ``/ultrasonics``."""

    ranges_m: tuple[float, ...]
    """Unbounded, as radar points are: a reader cleans both."""


class FirstTick(msgspec.Struct, frozen=True, kw_only=True):
    """A message of ``/tick`` in schema 1, as msgpack: all of a frame that had no Foxglove schema."""

    index: Count
    stamp_ns: StampNs
    ego: EgoState
    route: Route
    ultrasonics_m: tuple[float, ...]
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


def _check_frame(frame: ClipFrame, rig: Rig) -> None:
    images = frame.sensed.frames
    if len(images) != len(rig.cameras):
        raise SchemaError(
            f"frame {frame.index} has {len(images)} images, its rig {len(rig.cameras)} cameras"
        )
    for camera, image in zip(rig.cameras, images, strict=True):
        if image.jpeg:
            size = camera.intrinsics
            try:
                check_jpeg(image.jpeg, height_px=size.height_px, width_px=size.width_px)
            except SchemaError as error:
                raise SchemaError(f"{camera.name} of frame {frame.index}: {error}") from error
    if not np.isfinite(frame.sensed.radar_points).all():
        raise SchemaError(f"radar points of frame {frame.index} are not finite")
