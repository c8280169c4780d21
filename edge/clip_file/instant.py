"""One sensed instant as it is stored, and the only way from a frame set to it and back.

A clip, a training row and a rendered set keep the same record: images as JPEG, readings as they came through
``edge.contracts.clean``.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.clip_file.jpeg import JPEG_QUALITY, decode_jpeg, encode_jpeg
from edge.contracts.clean import (
    DropKey,
    as_dropped,
    clean_radar,
    clean_ultrasonics,
    total_dropped,
)
from edge.contracts.fields import Count, StampNs
from edge.contracts.rig import Intrinsics, Rig
from edge.contracts.sensors import (
    RADAR_FIELDS,
    USABLE,
    Dropped,
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    Route,
    UltrasonicScan,
)

_NO_IMAGE = b""


class EncodedFrame(msgspec.Struct, frozen=True, array_like=True):
    """One camera's image as JPEG; an empty one is no image."""

    jpeg: bytes
    stamp_ns: StampNs
    status: FrameStatus = FrameStatus.FRESH


class Instant(msgspec.Struct, frozen=True, kw_only=True):
    """One frame set as it is stored; arrays are little-endian bytes."""

    index: Count = 0
    stamp_ns: StampNs
    frames: tuple[EncodedFrame, ...]
    """One per camera of the rig, in its order."""
    radar: bytes
    """float32 (N, 4), see ``RADAR_FIELDS``."""
    radar_sensor: bytes = b""
    """uint8 (N,), which radar of the rig measured each point; empty: the first measured all."""
    ultrasonics: bytes
    """float32 (K,), in metres, one per ultrasonic sensor of the rig."""
    ego: EgoState
    route: Route
    dropped: Dropped = ()
    """Readings that were dropped when it was recorded, or when it was read."""

    @property
    def radar_points(self) -> NDArray[np.float32]:
        """The radar points, (N, 4)."""
        return np.frombuffer(self.radar, "<f4").reshape(-1, len(RADAR_FIELDS))

    @property
    def ranges_m(self) -> NDArray[np.float32]:
        """The ultrasonic ranges, (K,)."""
        return np.frombuffer(self.ultrasonics, "<f4")


def frame_without_status(jpeg: bytes, stamp_ns: int) -> EncodedFrame:
    """Return a camera's image as schema 1 stored it: with no status, at the stamp of its frame set."""
    return EncodedFrame(jpeg, stamp_ns, FrameStatus.FRESH if jpeg else FrameStatus.MISSING)


def is_usable(frame: EncodedFrame) -> bool:
    """Return whether a network may look at a stored image."""
    return bool(frame.jpeg) and frame.status in USABLE


def encode_instant(frame_set: FrameSet, quality: int = JPEG_QUALITY) -> Instant:
    """Encode a frame set that ``clean`` has seen."""
    sensor = frame_set.radar.sensor
    return Instant(
        index=frame_set.index,
        stamp_ns=frame_set.stamp_ns,
        frames=tuple(_encoded(frame, quality) for frame in frame_set.frames),
        radar=frame_set.radar.points_ego.astype("<f4").tobytes(),
        radar_sensor=b"" if sensor is None else sensor.tobytes(),
        ultrasonics=frame_set.ultrasonics.ranges_m.astype("<f4").tobytes(),
        ego=frame_set.ego,
        route=frame_set.route,
        dropped=frame_set.dropped,
    )


def decode_instant(instant: Instant, rig: Rig) -> FrameSet:
    """Decode to what the vehicle sensed, but for the losses of JPEG.

    Raises:
        SchemaError: An image does not decode, or is of another size than its camera's.
    """
    pairs = zip(rig.cameras, instant.frames, strict=True)
    frames = tuple(
        Frame(_image(frame.jpeg, camera.intrinsics), frame.stamp_ns, frame.status)
        for camera, frame in pairs
    )
    return FrameSet(
        index=instant.index,
        stamp_ns=instant.stamp_ns,
        frames=frames,
        radar=stored_radar_scan(instant, rig),
        ultrasonics=clean_ultrasonics(UltrasonicScan(instant.ranges_m), len(rig.ultrasonics)),
        ego=instant.ego,
        route=instant.route,
        dropped=instant.dropped,
    )


def stored_radar_scan(instant: Instant, rig: Rig) -> RadarScan:
    """Read the radar points, clean: what is stored may be older than the cleaning."""
    return clean_radar(RadarScan(instant.radar_points, _sensor(instant)), rig)


def cleaned(instant: Instant, rig: Rig) -> Instant:
    """Return an instant whose readings are clean, with what was dropped counted.

    The writer may be a foreign recorder, or an older one. Own motion and route were checked when
    they were decoded; images are not looked at.
    """
    counts: Counter[DropKey] = Counter()
    radar = clean_radar(RadarScan(instant.radar_points, _sensor(instant)), rig, counts)
    ranges = clean_ultrasonics(UltrasonicScan(instant.ranges_m), len(rig.ultrasonics), counts)
    if not counts:
        return instant
    return msgspec.structs.replace(
        instant,
        radar=radar.points_ego.astype("<f4").tobytes(),
        radar_sensor=b"" if radar.sensor is None else radar.sensor.tobytes(),
        ultrasonics=ranges.ranges_m.astype("<f4").tobytes(),
        dropped=total_dropped(instant.dropped, as_dropped(counts)),
    )


def _sensor(instant: Instant) -> NDArray[np.uint8] | None:
    return np.frombuffer(instant.radar_sensor, np.uint8) if instant.radar_sensor else None


def _image(jpeg: bytes, size: Intrinsics) -> NDArray[np.uint8] | None:
    if not jpeg:
        return None
    return decode_jpeg(jpeg, height_px=size.height_px, width_px=size.width_px)


def _encoded(frame: Frame, quality: int) -> EncodedFrame:
    jpeg = _NO_IMAGE if frame.image is None else encode_jpeg(frame.image, quality)
    return EncodedFrame(jpeg, frame.stamp_ns, frame.status)
