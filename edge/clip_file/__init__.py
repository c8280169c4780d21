"""The clip format: one MCAP file that vehicle and fleet write and read, and that viewers open as it is.

Inside are Foxglove's schemas (images, calibration, radar, transforms, boxes) for people and their
viewers, the tick's own records (ego, route, ultrasonics, perception, plan) as msgpack on ``/tick``, and
the manifest as the file's first record, byte for byte as it travels ahead of the clip. Nothing is
stored twice that is read back: images and radar come from the Foxglove channels; boxes and transforms
there are only for looking at.

The same manifest and frames give the same bytes: no wall-clock time, no library version, no
compression. Every byte is under a checksum, and a reader refuses what it cannot check.
"""

from edge.clip_file.frames import Clip, ClipFrame
from edge.clip_file.jpeg import decode_jpegs, decode_whole_jpeg, encode_jpegs
from edge.clip_file.read import decode_clip, read_clip
from edge.clip_file.write import PART_SUFFIX, encode_clip, encode_manifest, write_clip

__all__ = [
    "PART_SUFFIX",
    "Clip",
    "ClipFrame",
    "decode_clip",
    "decode_jpegs",
    "decode_whole_jpeg",
    "encode_clip",
    "encode_jpegs",
    "encode_manifest",
    "read_clip",
    "write_clip",
]
