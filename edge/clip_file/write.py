"""A manifest and its frames into one MCAP file, the same bytes each time, whole or not at all."""

from __future__ import annotations

import functools
import hashlib
import io
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from google.protobuf.message import Message
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import CompressionType, Writer
from mcap_protobuf.schema import build_file_descriptor_set

from edge.clip_file import foxglove
from edge.clip_file.frames import (
    EGO_TOPIC,
    MANIFEST_ATTACHMENT,
    PERCEPTION_TOPIC,
    PLAN_TOPIC,
    RADAR_TOPIC,
    ROUTE_TOPIC,
    SCENE_TOPIC,
    TICK_TOPIC,
    TRANSFORM_TOPIC,
    ULTRASONICS_TOPIC,
    CameraTick,
    ClipFrame,
    Ranges,
    Tick,
    calibration_topic,
    check_clip,
    image_topic,
)
from edge.clip_file.instant import Instant
from edge.clip_file.read import decode_clip
from edge.contracts.clip import ClipManifest
from edge.contracts.errors import SchemaError
from edge.contracts.files import sync_file, sync_folder
from edge.contracts.rig import Rig
from edge.contracts.scene import Perception, Plan
from edge.contracts.sensors import EgoState, Route

LIBRARY = "ringroad"
"""In place of the writing library's name and version, which would change the bytes."""
MCAP_CHUNK_BYTES = 1024 * 1024
PART_SUFFIX = ".part"
"""Ends the name of a file that is still being written."""

_JSON_TOPICS: dict[str, type[msgspec.Struct]] = {
    TICK_TOPIC: Tick,
    EGO_TOPIC: EgoState,
    ROUTE_TOPIC: Route,
    ULTRASONICS_TOPIC: Ranges,
    PERCEPTION_TOPIC: Perception,
    PLAN_TOPIC: Plan,
}


def encode_clip_manifest(manifest: ClipManifest) -> bytes:
    """Return the bytes of a manifest, as sealed into the clip and sent ahead of it."""
    return msgspec.msgpack.encode(manifest)


def encode_clip(manifest: ClipManifest, frames: Sequence[ClipFrame]) -> bytes:
    """Return the bytes of a clip.

    Raises:
        SchemaError: The frames are not what the manifest says.
    """
    check_clip(manifest, frames)
    buffer = io.BytesIO()
    writer = Writer(
        buffer, chunk_size=MCAP_CHUNK_BYTES, compression=CompressionType.NONE, enable_data_crcs=True
    )
    writer.start(library=LIBRARY)
    writer.add_attachment(
        create_time=manifest.start_ns,
        log_time=manifest.start_ns,
        name=MANIFEST_ATTACHMENT,
        media_type="application/msgpack",
        data=encode_clip_manifest(manifest),
    )
    topics = _Topics(writer, manifest.rig)
    topics.put_rig(manifest.start_ns)
    for sequence, frame in enumerate(frames):
        topics.put_frame(frame, sequence)
    writer.finish()  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def write_clip(path: Path, manifest: ClipManifest, frames: Sequence[ClipFrame]) -> str:
    """Write a clip to ``path``, whole or not at all, and durably, once it has been read back.

    A record does not check its fields when it is made, but a reader does. Without reading back, a clip that
    cannot be read would be found only after the vehicle has deleted it.


    Returns:
        The ``blob_id``: SHA-256 of the file.

    Raises:
        SchemaError: The frames are not what the manifest says, or do not read back.
        OSError: The disk refused; only a power cut can leave a ``.part`` file behind.
    """
    try:
        content = encode_clip(manifest, frames)
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise SchemaError(f"clip {manifest.clip_id[:12]} cannot be encoded: {error}") from error
    decode_clip(content)
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        with part.open("wb") as file:
            file.write(content)
            sync_file(file)
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)  # half a clip would keep the room that others need
        raise
    sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


class _Topics:
    """The channels of one clip being written, by topic."""

    def __init__(self, writer: Writer, rig: Rig) -> None:
        self._writer = writer
        self._rig = rig
        self._channels: dict[str, int] = {}
        names = [camera.name for camera in rig.cameras]
        protobuf: dict[type[Message], tuple[str, ...]] = {
            CompressedImage: tuple(map(image_topic, names)),
            CameraCalibration: tuple(map(calibration_topic, names)),
            PointCloud: (RADAR_TOPIC,),
            FrameTransform: (TRANSFORM_TOPIC,),
            SceneUpdate: (SCENE_TOPIC,),
        }
        for message, topics in protobuf.items():
            schema = writer.register_schema(
                name=message.DESCRIPTOR.full_name,
                encoding=SchemaEncoding.Protobuf,
                data=build_file_descriptor_set(message).SerializeToString(deterministic=True),
            )
            for topic in topics:
                self._register(topic, MessageEncoding.Protobuf, schema)
        for topic, record in _JSON_TOPICS.items():
            schema = writer.register_schema(
                name=f"ringroad.{record.__name__}",
                encoding=SchemaEncoding.JSONSchema,
                data=json_schema(record),
            )
            self._register(topic, MessageEncoding.JSON, schema)

    def put_rig(self, stamp_ns: int) -> None:
        """Write what holds for the whole clip: calibrations, and where the cameras sit."""
        for camera in self._rig.cameras:
            topic = calibration_topic(camera.name)
            self._put(topic, foxglove.calibration(camera, stamp_ns), stamp_ns, 0)
            self._put(TRANSFORM_TOPIC, foxglove.camera_transform(camera, stamp_ns), stamp_ns, 0)

    def put_frame(self, frame: ClipFrame, sequence: int) -> None:
        """Write one frame; its tick comes first, and everything that follows belongs to it."""
        sensed, stamp_ns = frame.sensed, frame.stamp_ns
        cameras = [camera.name for camera in self._rig.cameras]
        records: dict[str, msgspec.Struct | None] = {
            TICK_TOPIC: _tick(sensed, cameras),
            EGO_TOPIC: sensed.ego,
            ROUTE_TOPIC: sensed.route,
            ULTRASONICS_TOPIC: Ranges(ranges_m=tuple(sensed.ranges_m.tolist())),
            PERCEPTION_TOPIC: frame.perception,
            PLAN_TOPIC: frame.plan,
        }
        for topic, record in records.items():
            if record is not None:
                self._put_bytes(topic, msgspec.json.encode(record), stamp_ns, sequence)
        self._put(RADAR_TOPIC, foxglove.point_cloud(sensed, stamp_ns), stamp_ns, sequence)
        self._put(TRANSFORM_TOPIC, foxglove.ego_transform(sensed.ego, stamp_ns), stamp_ns, sequence)
        for name, image in zip(cameras, sensed.frames, strict=True):
            if image.jpeg:
                message = foxglove.compressed_image(image.jpeg, name, image.stamp_ns)
                self._put(image_topic(name), message, stamp_ns, sequence)
        if frame.perception is not None:
            scene = foxglove.scene_update(frame.perception, frame.plan, stamp_ns)
            self._put(SCENE_TOPIC, scene, stamp_ns, sequence)

    def _register(self, topic: str, encoding: str, schema: int) -> None:
        self._channels[topic] = self._writer.register_channel(
            topic=topic, message_encoding=encoding, schema_id=schema
        )

    def _put(self, topic: str, message: Message, stamp_ns: int, sequence: int) -> None:
        self._put_bytes(topic, message.SerializeToString(deterministic=True), stamp_ns, sequence)

    def _put_bytes(self, topic: str, payload: bytes, stamp_ns: int, sequence: int) -> None:
        self._writer.add_message(
            channel_id=self._channels[topic],
            log_time=stamp_ns,
            publish_time=stamp_ns,
            sequence=sequence,
            data=payload,
        )


@functools.cache
def json_schema(record: type[msgspec.Struct]) -> bytes:
    """Return the JSON schema of a record, its own fields at the top, as viewers expect them."""
    schema = msgspec.json.schema(record)
    definitions = dict(schema["$defs"])
    own = definitions.pop(record.__name__)
    whole = own | ({"$defs": definitions} if definitions else {})
    return msgspec.json.encode(whole, order="deterministic")


def _tick(sensed: Instant, cameras: Sequence[str]) -> Tick:
    states = tuple(
        CameraTick(camera=name, stamp_ns=image.stamp_ns, status=image.status)
        for name, image in zip(cameras, sensed.frames, strict=True)
    )
    return Tick(
        index=sensed.index, stamp_ns=sensed.stamp_ns, cameras=states, dropped=sensed.dropped
    )
