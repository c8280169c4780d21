"""The clip format: one MCAP file that vehicle and fleet write and read, and that viewers open as it is.

Inside are Foxglove's schemas (images, calibration, radar, transforms, boxes) and JSON with a JSON schema
(``/tick``, ``/ego``, ``/route``, ``/ultrasonics``, ``/perception``, ``/plan``), for viewers to show and plot.
The manifest is the file's first record, byte for byte as it travels ahead of the clip. Nothing
is stored twice that is read back: boxes and transforms in Foxglove's schemas are only for looking at.

The same manifest and frames give the same bytes: no wall-clock time, no library version, no
compression. Every byte is under a checksum, and a reader refuses what it cannot check.
"""

from edge.clip_file.frames import Clip, ClipFrame
from edge.clip_file.instant import (
    EncodedFrame,
    Instant,
    decode_instant,
    encode_instant,
    frame_without_status,
    is_usable,
    stored_radar_scan,
)
from edge.clip_file.jpeg import decode_jpeg, decode_whole_jpeg, encode_jpeg
from edge.clip_file.read import decode_clip, read_clip
from edge.clip_file.write import PART_SUFFIX, encode_clip, encode_clip_manifest, write_clip

__all__ = [
    "PART_SUFFIX",
    "Clip",
    "ClipFrame",
    "EncodedFrame",
    "Instant",
    "decode_clip",
    "decode_instant",
    "decode_jpeg",
    "decode_whole_jpeg",
    "encode_clip",
    "encode_clip_manifest",
    "encode_instant",
    "encode_jpeg",
    "frame_without_status",
    "is_usable",
    "read_clip",
    "stored_radar_scan",
    "write_clip",
]
