"""The truth: boxes, the pixels that show each of them, and the log that keeps it out of the loop.

A simulated vehicle writes its truth to a file that is no clip and enters no store; only the annotator opens
it, and only behind the ``Labeler`` protocol. A lap may be killed at any moment, so every record carries its
length and a checksum, and a reader stops at the first record that is cut off.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import msgspec

from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.fields import Count, Name, Ratio, StampNs
from edge.contracts.files import sync_file
from edge.contracts.geometry import Pose, wrap_rad
from edge.contracts.scene import Box3D, BoxSource
from sim.sense.sight import Surroundings

TRUTH_MAGIC = b"RRTRUTH2"
_HEAD = struct.Struct("<II")
"""Length and CRC-32 of the deflated msgpack that follows."""
MAX_RECORD_BYTES = 1 << 20
"""A longer record is a torn one."""

T = TypeVar("T")


class TruthBox(msgspec.Struct, frozen=True, kw_only=True):
    """The truth about one road user, in the ego frame."""

    box: Box3D
    entity_id: Count
    visible_px: Count
    """Pixels that show it, over all cameras."""
    hidden_ratio: Ratio
    """The share of it that something nearer covers, judged by geometry."""
    encounter_id: str | None = None
    """The encounter of the scenario that put it there, if one did."""


class TruthFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Everything around one vehicle at one stamp."""

    stamp_ns: StampNs
    world_from_ego: Pose
    boxes: tuple[TruthBox, ...]


class _Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The first record of a log."""

    vehicle_id: Name


def truth_boxes(
    around: Surroundings,
    visible_px: Mapping[int, int],
    encounter_of: Mapping[int, str] | None = None,
) -> tuple[TruthBox, ...]:
    """Return the truth about every entity around the ego, seen or not.

    Args:
        around: The entities in the ego frame.
        visible_px: Pixels by entity_id; an entity that is missing shows none.
        encounter_of: Encounter by entity_id, for those that a scenario placed.
    """
    encounter_of = encounter_of or {}
    rows = zip(
        around.entities,
        around.boxes_ego.tolist(),
        around.velocities_ego.tolist(),
        around.hidden_ratio.tolist(),
        strict=True,
    )
    return tuple(
        TruthBox(
            box=Box3D(
                category=entity.category,
                x_m=x,
                y_m=y,
                z_m=entity.z_m + 0.5 * height,
                length_m=length,
                width_m=width,
                height_m=height,
                yaw_rad=wrap_rad(yaw),
                vx_mps=vx,
                vy_mps=vy,
                attribute=entity.attribute,
                source=BoxSource.UNKNOWN,
                track_id=entity.entity_id,
            ),
            entity_id=entity.entity_id,
            visible_px=visible_px.get(entity.entity_id, 0),
            hidden_ratio=hidden,
            encounter_id=encounter_of.get(entity.entity_id),
        )
        for entity, (x, y, yaw, length, width, height), (vx, vy), hidden in rows
    )


class TruthLog:
    """An append-only file of one vehicle's truth; open it, append frames in order, close it."""

    def __init__(self, file: BinaryIO) -> None:
        """Take over an open file that stands at its end; use ``open``."""
        self._file = file

    @classmethod
    def open(cls, path: Path, vehicle_id: str) -> Self:
        """Begin a log, or go on with one after cutting off a torn end.

        Raises:
            OperatorError: The file is the log of another vehicle.
            SchemaError: The file is no truth log.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("r+b" if path.exists() else "w+b")
        try:
            payloads = list(_payloads(file, path)) if path.stat().st_size else []
            if payloads:
                _check_owner(payloads[0], path, vehicle_id)
                file.truncate()
            else:
                file.truncate(0)
                file.seek(0)
                file.write(TRUTH_MAGIC)
                file.write(_record(msgspec.msgpack.encode(_Owner(vehicle_id=vehicle_id))))
        except BaseException:
            file.close()
            raise
        return cls(file)

    def append(self, frame: TruthFrame) -> None:
        """Write one frame."""
        self._file.write(_record(msgspec.msgpack.encode(frame)))

    def close(self) -> None:
        """Flush to the disk and close."""
        sync_file(self._file)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_truth(path: Path, vehicle_id: str) -> dict[int, TruthFrame]:
    """Read a vehicle's log up to its last whole record; the later of two frames of one stamp counts.

    Returns:
        Frames by stamp_ns, oldest record first.

    Raises:
        OperatorError: The file is the log of another vehicle.
        SchemaError: The file is no truth log, or a whole record does not decode.
    """
    with path.open("rb") as file:
        payloads = _payloads(file, path)
        owner = next(payloads, None)
        if owner is None:
            return {}
        _check_owner(owner, path, vehicle_id)
        frames = (_decoded(payload, TruthFrame, path) for payload in payloads)
        return {frame.stamp_ns: frame for frame in frames}


def _record(payload: bytes) -> bytes:
    packed = zlib.compress(payload, level=1)
    return _HEAD.pack(len(packed), zlib.crc32(packed)) + packed


def _payloads(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield whole records, and leave the file behind the last one; end at the first torn one."""
    file.seek(0)
    magic = file.read(len(TRUTH_MAGIC))
    if not TRUTH_MAGIC.startswith(magic):
        raise SchemaError(f"{path} is no truth log: it begins with {magic!r}, not {TRUTH_MAGIC!r}")
    end = file.tell()
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        packed = file.read(min(length, MAX_RECORD_BYTES))
        if len(packed) < length or zlib.crc32(packed) != checksum:
            break
        end = file.tell()
        yield zlib.decompress(packed)
    file.seek(end)


def _check_owner(payload: bytes, path: Path, vehicle_id: str) -> None:
    owner = _decoded(payload, _Owner, path).vehicle_id
    if owner != vehicle_id:
        raise OperatorError(f"truth log {path} is of vehicle {owner}, not of {vehicle_id}")


def _decoded(payload: bytes, record: type[T], path: Path) -> T:
    try:
        return msgspec.msgpack.decode(payload, type=record)
    except msgspec.MsgspecError as error:
        raise SchemaError(f"truth log {path}: a record does not decode: {error}") from error
