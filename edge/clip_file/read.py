"""An MCAP file back into a clip, from a sender that is not trusted.

The records are walked here and not by the mcap library, for three reasons: no declared length may reach
beyond the bytes that are there, nothing is decompressed, and every checksum is required (the library skips
absent ones). Layout: https://mcap.dev/spec.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.clip_file import foxglove
from edge.clip_file.frames import (
    EGO_TOPIC,
    MANIFEST_ATTACHMENT,
    PERCEPTION_TOPIC,
    PLAN_TOPIC,
    RADAR_TOPIC,
    ROUTE_TOPIC,
    TICK_TOPIC,
    ULTRASONICS_TOPIC,
    Clip,
    ClipFrame,
    FirstTick,
    Ranges,
    Tick,
    check_clip,
)
from edge.clip_file.instant import EncodedFrame, Instant, cleaned, frame_without_status
from edge.contracts.clip import decode_clip_manifest
from edge.contracts.errors import SchemaError
from edge.contracts.rig import Rig
from edge.contracts.scene import Perception, Plan
from edge.contracts.sensors import EgoState, RadarScan, Route
from edge.contracts.wire import MAX_CLIP_BYTES, decode_json, decode_record

MAX_TICK_BYTES = 1024 * 1024
MAX_CLIP_MANIFEST_BYTES = 1024 * 1024

_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")
_FOOTER = struct.Struct("<BQQQI")
_DATA_END = struct.Struct("<BQI")
_CHANNEL, _MESSAGE, _CHUNK, _ATTACHMENT, _DATA_END_CODE, _FOOTER_CODE = 4, 5, 6, 9, 15, 2

_IMAGE_TOPIC = re.compile(r"/camera/([^/]{1,64})/image")
_JSON = "json"


def read_clip(source: Path | bytes) -> Clip:
    """Read a clip from a file or from its bytes.

    Raises:
        SchemaError: It is not a whole clip, byte for byte as sealed.
        OSError: The file cannot be read.
    """
    if isinstance(source, bytes):
        return decode_clip(source)
    size_bytes = source.stat().st_size
    if size_bytes > MAX_CLIP_BYTES:
        raise SchemaError(f"{source.name} has {size_bytes} bytes, a clip at most {MAX_CLIP_BYTES}")
    return decode_clip(source.read_bytes())


def decode_clip(content: bytes) -> Clip:
    """Read a clip from its bytes.

    Raises:
        SchemaError: It is not a whole clip, byte for byte as sealed.
    """
    if len(content) > MAX_CLIP_BYTES:
        raise SchemaError(f"clip of {len(content)} bytes refused: at most {MAX_CLIP_BYTES}")
    view = memoryview(content)
    assembly = _Assembly()
    for code, body in _records(view, len(_MAGIC), _data_end(view)):
        assembly.take(code, body)
    return assembly.clip()


@dataclass
class _Draft:
    """A frame while its messages come in."""

    sequence: int
    tick: Tick
    ego: EgoState | None = None
    route: Route = field(default_factory=Route)
    ranges_m: tuple[float, ...] = ()
    perception: Perception | None = None
    plan: Plan | None = None
    jpegs: dict[str, bytes] = field(default_factory=dict)
    radar: RadarScan = field(default_factory=RadarScan)

    def frame(self, rig: Rig) -> ClipFrame:
        """Put the messages together and clean what was measured.

        Raises:
            SchemaError: The tick is without own motion, or has images of a camera that the rig lacks.
        """
        if self.ego is None:
            raise SchemaError(f"tick {self.sequence} has no own motion")
        names = [camera.name for camera in rig.cameras]
        strange = sorted(self.jpegs.keys() - set(names))
        if strange:
            raise SchemaError(
                f"tick {self.sequence} has images of {strange[0]!r}, its rig has none"
            )
        sensor = self.radar.sensor
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is dropped
            ranges = np.array(self.ranges_m, np.float64).astype("<f4")
        instant = Instant(
            index=self.tick.index,
            stamp_ns=self.tick.stamp_ns,
            frames=tuple(self._image(name) for name in names),
            radar=self.radar.points_ego.astype("<f4").tobytes(),
            radar_sensor=b"" if sensor is None else sensor.tobytes(),
            ultrasonics=ranges.tobytes(),
            ego=self.ego,
            route=self.route,
            dropped=self.tick.dropped,
        )
        return ClipFrame(cleaned(instant, rig), self.perception, self.plan)

    def _image(self, camera: str) -> EncodedFrame:
        jpeg = self.jpegs.get(camera, b"")
        state = next((c for c in self.tick.cameras if c.camera == camera), None)
        if state is None:
            return frame_without_status(jpeg, self.tick.stamp_ns)
        return EncodedFrame(jpeg, state.stamp_ns, state.status)


@dataclass
class _Assembly:
    """A clip while its records come in; what is not known (a newer writer's topic) is passed over."""

    manifest_bytes: bytes | None = None
    topics: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Topic and message encoding, by channel."""
    drafts: list[_Draft] = field(default_factory=list)

    def take(self, code: int, body: memoryview) -> None:
        if code == _CHUNK:
            for inner_code, inner_body in _chunk_records(body):
                self.take_inner(inner_code, inner_body)
        elif code == _ATTACHMENT:
            self._take_attachment(_Cursor(body))
        else:
            self.take_inner(code, body)

    def take_inner(self, code: int, body: memoryview) -> None:
        """Take a record that may stand inside a chunk."""
        cursor = _Cursor(body)
        if code == _CHANNEL:
            channel, _schema = cursor.unpack("<HH")
            self.topics[channel] = cursor.text(), cursor.text()
        elif code == _MESSAGE:
            channel, sequence, _log_ns, _publish_ns = cursor.unpack("<HIQQ")
            topic, encoding = self.topics.get(channel, ("", ""))
            self._take_message(topic, encoding, sequence, cursor.rest())

    def clip(self) -> Clip:
        if self.manifest_bytes is None:
            raise SchemaError("the file holds no manifest; it is not a clip")
        manifest = decode_clip_manifest(self.manifest_bytes)
        frames = tuple(draft.frame(manifest.rig) for draft in self.drafts)
        check_clip(manifest, frames)
        return Clip(manifest=manifest, manifest_bytes=self.manifest_bytes, frames=frames)

    def _take_attachment(self, cursor: _Cursor) -> None:
        cursor.unpack("<QQ")
        name, _media = cursor.text(), cursor.text()
        (size_bytes,) = cursor.unpack("<Q")
        content = cursor.take(size_bytes)
        if name != MANIFEST_ATTACHMENT:
            return
        if self.manifest_bytes is not None:
            raise SchemaError("the file holds two manifests")
        if size_bytes > MAX_CLIP_MANIFEST_BYTES:
            raise SchemaError(
                f"manifest of {size_bytes} bytes refused: at most {MAX_CLIP_MANIFEST_BYTES}"
            )
        self.manifest_bytes = bytes(content)

    def _take_message(self, topic: str, encoding: str, sequence: int, payload: memoryview) -> None:
        image = _IMAGE_TOPIC.fullmatch(topic)
        if topic in _RECORDS:
            if len(payload) > MAX_TICK_BYTES:
                raise SchemaError(
                    f"{topic} of {len(payload)} bytes refused: at most {MAX_TICK_BYTES}"
                )
            self._take_record(topic, encoding, sequence, payload)
        elif topic == RADAR_TOPIC:
            self._draft(topic, sequence).radar = foxglove.scan_from_message(bytes(payload))
        elif image is not None:
            jpegs, camera = self._draft(topic, sequence).jpegs, image[1]
            if camera in jpegs:
                raise SchemaError(f"{topic} has two images for tick {sequence}")
            jpegs[camera] = foxglove.jpeg_from_message(bytes(payload))

    def _take_record(self, topic: str, encoding: str, sequence: int, payload: memoryview) -> None:
        what = f"{topic} of tick {sequence}"
        if topic == TICK_TOPIC and encoding != _JSON:
            self.drafts.append(_of_first_schema(sequence, decode_record(payload, FirstTick, what)))
            return
        record = decode_json(payload, _RECORDS[topic], what)
        if topic == TICK_TOPIC:
            self.drafts.append(_Draft(sequence, record))
            return
        draft = self._draft(topic, sequence)
        if topic == ULTRASONICS_TOPIC:
            draft.ranges_m = record.ranges_m
        else:
            setattr(draft, topic.removeprefix("/"), record)

    def _draft(self, topic: str, sequence: int) -> _Draft:
        """Return the frame that a message belongs to: the latest, or the message is out of place."""
        if not self.drafts or self.drafts[-1].sequence != sequence:
            raise SchemaError(
                f"a message on {topic} names tick {sequence}, which it does not follow"
            )
        return self.drafts[-1]


_RECORDS: dict[str, type[Any]] = {
    TICK_TOPIC: Tick,
    EGO_TOPIC: EgoState,
    ROUTE_TOPIC: Route,
    ULTRASONICS_TOPIC: Ranges,
    PERCEPTION_TOPIC: Perception,
    PLAN_TOPIC: Plan,
}


def _of_first_schema(sequence: int, tick: FirstTick) -> _Draft:
    return _Draft(
        sequence,
        Tick(index=tick.index, stamp_ns=tick.stamp_ns, cameras=()),
        ego=tick.ego,
        route=tick.route,
        ranges_m=tick.ultrasonics_m,
        perception=tick.perception,
        plan=tick.plan,
    )


class _Cursor:
    """Takes fields off a record's body, never more than it has."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0

    def take(self, count: int) -> memoryview:
        if count > len(self._body) - self._at:
            raise SchemaError(
                f"a field claims {count} bytes, its record has {len(self._body) - self._at} left"
            )
        self._at += count
        return self._body[self._at - count : self._at]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self) -> str:
        (size_bytes,) = self.unpack("<I")
        try:
            return str(self.take(size_bytes), "utf-8")
        except UnicodeDecodeError as error:
            raise SchemaError(f"a name is not UTF-8: {error}") from error

    def rest(self) -> memoryview:
        return self.take(len(self._body) - self._at)


def _data_end(view: memoryview) -> int:
    """Check magic bytes and both checksums; give where the data section's records end.

    Raises:
        SchemaError: The file is cut, changed, or without checksums.
    """
    magic_bytes, footer_at = len(_MAGIC), len(view) - len(_MAGIC) - _FOOTER.size
    least_bytes = 2 * magic_bytes + _DATA_END.size + _FOOTER.size
    if len(view) < least_bytes or view[:magic_bytes] != _MAGIC or view[-magic_bytes:] != _MAGIC:
        raise SchemaError(f"{len(view)} bytes are not a whole MCAP file")
    code, size_bytes, summary_at, _offsets_at, crc = _FOOTER.unpack_from(view, footer_at)
    if code != _FOOTER_CODE or size_bytes != _FOOTER.size - _RECORD.size:
        raise SchemaError("the MCAP file does not end in a footer")
    if not magic_bytes + _DATA_END.size <= summary_at <= footer_at:
        raise SchemaError(f"the footer points to byte {summary_at}, outside the file")
    _check_crc(view[summary_at : footer_at + _FOOTER.size - 4], crc, "summary")

    end_at: int = summary_at - _DATA_END.size
    code, size_bytes, crc = _DATA_END.unpack_from(view, end_at)
    if code != _DATA_END_CODE or size_bytes != _DATA_END.size - _RECORD.size:
        raise SchemaError("the data section does not end where the footer says")
    _check_crc(view[:end_at], crc, "data section")
    return end_at


def _check_crc(view: memoryview, crc: int, what: str) -> None:
    actual = zlib.crc32(view)
    if actual != crc:
        raise SchemaError(
            f"{what}: checksum {actual:08x}, expected {crc:08x}; the file was changed"
        )


def _records(view: memoryview, at: int, end: int) -> Iterator[tuple[int, memoryview]]:
    """Walk the records of ``view[at:end]``: opcode and body."""
    while at < end:
        if end - at < _RECORD.size:
            raise SchemaError(f"a record is cut at byte {at}")
        code, size_bytes = _RECORD.unpack_from(view, at)
        at += _RECORD.size
        if size_bytes > end - at:
            raise SchemaError(f"a record claims {size_bytes} bytes, {end - at} are left")
        yield code, view[at : at + size_bytes]
        at += size_bytes


def _chunk_records(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    cursor = _Cursor(body)
    cursor.unpack("<QQQI")
    compression = cursor.text()
    if compression:
        raise SchemaError(f"a chunk is compressed with {compression[:16]!r}; clips are not")
    (size_bytes,) = cursor.unpack("<Q")
    content = cursor.take(size_bytes)
    return _records(content, 0, len(content))
