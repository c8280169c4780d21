"""Images to JPEG and back.

What is checked and what is decoded must be the same picture. libjpeg accepts files that another reader
understands differently, so that one file could be two pictures, or one of 400 MB. Therefore only what a
camera's encoder writes is decoded: one baseline frame of three 8-bit components, one scan, no restart
markers, and an end (ITU-T T.81, B.1 and B.2). Everything else is refused before memory is allocated for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import SchemaError

JPEG_QUALITY = 90
MAX_IMAGE_PIXELS = 16 * 1024 * 1024
"""Largest image that is decoded, twice what today's cameras for vehicles have; 48 MiB as RGB."""

_FRAMES = frozenset({0xC0, 0xC1})
"""Markers of frames in one pass: baseline, and extended with wider tables."""
_PASSED = frozenset({0xC4, 0xDB, 0xFE, *range(0xE0, 0xF0)})
"""Markers of segments that do not change what the frame is: tables, comments, applications' own."""
_SCAN = 0xDA
_FRAME_BYTES = 15
"""Of a frame header with three components, without marker and length."""
_SCAN_HEADER = re.compile(rb"\x03.{6}\x00\x3f\x00", re.DOTALL)
"""Three components, all coefficients, in one pass."""
_MAX_SEGMENTS = 64
_SEGMENT = re.compile(rb"\xff+([^\x00\xff])(..)", re.DOTALL)
"""Fill bytes, marker, length (B.1.1.2, B.1.1.4)."""
_MARKER = re.compile(rb"\xff[^\x00\xff]")
"""In a scan's data, where 0xFF 0x00 is a byte of the data (B.1.1.5)."""
_END = b"\xff\xd9"
_FILLER = bytes(range(7, 247)) * 4
"""Scan data that no picture ends in; see ``_is_cut``."""
_LUMA = np.array([0.114, 0.587, 0.299])
_GREY, _GREY_TOLERANCE = 128.0, 2.0


def encode_jpeg(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """Encode an image with 4:2:0 chroma.

    Args:
        image: (H, W, 3), RGB.
        quality: libjpeg's, 1 to 100.
    """
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    is_encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not is_encoded:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return jpeg.tobytes()


def decode_jpeg(jpeg: bytes, *, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Decode one image of a known size.

    Returns:
        (H, W, 3), RGB.

    Raises:
        SchemaError: It is not a JPEG of that size, or the size is more than is decoded.
    """
    bgr = _decode(jpeg, height_px=height_px, width_px=width_px)
    return cast(NDArray[np.uint8], cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def decode_whole_jpeg(jpeg: bytes, *, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Decode one image as ``decode_jpeg`` does, and refuse one that was cut and given a new end.

    For admission: a picture that ends in grey is decoded twice, and libjpeg may then write a line of its
    own to stderr.

    Raises:
        SchemaError: It is not a whole JPEG of that size, or the size is more than is decoded.
    """
    bgr = _decode(jpeg, height_px=height_px, width_px=width_px)
    if _is_cut(jpeg[: _end_of_scan(jpeg)], bgr):
        raise SchemaError(f"an image of {len(jpeg)} bytes ends before its last pixels")
    return cast(NDArray[np.uint8], cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def check_size(*, height_px: int, width_px: int) -> None:
    """Refuse a camera whose images are larger than what is decoded.

    Raises:
        SchemaError: They are.
    """
    if height_px * width_px > MAX_IMAGE_PIXELS:
        raise SchemaError(
            f"an image of {width_px}x{height_px} pixels is refused: at most {MAX_IMAGE_PIXELS}"
        )


def check_jpeg(jpeg: bytes, *, height_px: int, width_px: int) -> None:
    """Refuse what does not say, in a JPEG's header, that it has this size; nothing is decoded.

    Raises:
        SchemaError: It is not a JPEG as cameras write them, or of another size.
    """
    for marker, segment, _ in _segments(jpeg):
        if marker in _FRAMES:
            size = _size_px(segment)
            if size != (height_px, width_px):
                raise SchemaError(
                    f"an image is {size[1]}x{size[0]} pixels, its camera is {width_px}x{height_px}"
                )
            return
    raise SchemaError(f"an image of {len(jpeg)} bytes has no JPEG header of a baseline frame")


def _decode(jpeg: bytes, *, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Decode one image of a known size: (H, W, 3), BGR as OpenCV has it."""
    check_size(height_px=height_px, width_px=width_px)
    check_jpeg(jpeg, height_px=height_px, width_px=width_px)
    _end_of_scan(jpeg)
    bgr = _decoded(jpeg)
    if bgr is None or bgr.shape != (height_px, width_px, 3):
        raise SchemaError(f"an image of {len(jpeg)} bytes is not a JPEG that decodes")
    return bgr


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Walk the marker segments up to the scan's data: marker, content, where what follows begins.

    Raises:
        SchemaError: There are more than a camera writes.
    """
    if jpeg[:2] != b"\xff\xd8":
        return
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _SEGMENT.match(jpeg, at)
        if found is None:
            return
        at = found.end() - 2 + int.from_bytes(found[2])
        if not found.end() <= at <= len(jpeg):
            return
        marker = found[1][0]
        yield marker, jpeg[found.end() : at], at
        if marker not in _PASSED and marker not in _FRAMES:
            return
    raise SchemaError(f"an image of {len(jpeg)} bytes has more than {_MAX_SEGMENTS} segments")


def _size_px(frame: bytes) -> tuple[int, int]:
    """Read (height, width) from a frame header (B.2.2)."""
    if len(frame) != _FRAME_BYTES or frame[0] != 8 or frame[5] != 3:
        raise SchemaError("an image is not of three components of 8 bits")
    return int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])


def _end_of_scan(jpeg: bytes) -> int:
    """Return where the only scan's data end, once it is sure that there is nothing else in the file.

    Zeros may follow, for encoders in hardware pad; another picture may not.

    Raises:
        SchemaError: The file has another frame, another scan, no end, or something behind it.
    """
    segments = list(_segments(jpeg))
    marker, header, at = segments[-1]
    frames = sum(marker in _FRAMES for marker, _, _ in segments)
    if frames != 1 or marker != _SCAN or not _SCAN_HEADER.fullmatch(header):
        raise SchemaError(f"an image of {len(jpeg)} bytes is not one frame in one scan")
    found = _MARKER.search(jpeg, at)
    if found is None:
        raise SchemaError(f"an image of {len(jpeg)} bytes is cut: it has no end")
    if found[0] != _END or jpeg[found.end() :].strip(b"\0"):
        raise SchemaError(f"an image of {len(jpeg)} bytes goes on behind its scan")
    return found.start()


def _decoded(jpeg: bytes) -> NDArray[np.uint8] | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cast(NDArray[np.uint8] | None, cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags))
    except (cv2.error, MemoryError) as error:
        raise SchemaError(f"an image of {len(jpeg)} bytes does not decode: {error}") from error


def _is_cut(data: bytes, bgr: NDArray[np.uint8]) -> bool:
    """Return whether the scan's data, ``data`` without the end, ran out before the last block of pixels.

    libjpeg fills up with grey and does not say so. Data that are whole are not read any further when
    something is put behind them, so that the same picture comes out; data that ran out are. A cut within
    the last block is not seen.
    """
    height_px, width_px = bgr.shape[:2]
    last = bgr[(height_px - 1) // 8 * 8 :, (width_px - 1) // 8 * 8 :]
    if np.abs(last @ _LUMA - _GREY).max() > _GREY_TOLERANCE:
        return False
    again = _decoded(data.rstrip(b"\xff") + _FILLER + _END)
    return again is None or not np.array_equal(again, bgr)
