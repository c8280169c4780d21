"""Images to JPEG and back. A JPEG's size is read from its header before anything is allocated for it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import SchemaError

JPEG_QUALITY = 90

_FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2})
"""Markers of baseline, extended and progressive frames: the kinds that libjpeg decodes to 8 bits."""
_SCAN_START = 0xDA


def encode_jpegs(images: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> tuple[bytes, ...]:
    """Encode images with 4:2:0 chroma.

    Args:
        images: (N, H, W, 3), RGB.
        quality: libjpeg's, 1 to 100.
    """
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    return tuple(_encode(image, options) for image in images)


def decode_jpegs(
    jpegs: Sequence[bytes | None], *, height_px: int, width_px: int
) -> NDArray[np.uint8]:
    """Decode images of one known size; a missing one is black.

    Returns:
        (N, H, W, 3), RGB.

    Raises:
        SchemaError: One is not a JPEG, or not of that size.
    """
    images = np.zeros((len(jpegs), height_px, width_px, 3), np.uint8)
    for image, jpeg in zip(images, jpegs, strict=True):
        if jpeg is None:
            continue
        check_jpeg(jpeg, height_px=height_px, width_px=width_px)
        bgr = cv2.imdecode(
            np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
        if bgr is None:
            raise SchemaError(f"an image of {len(jpeg)} bytes is not a JPEG that decodes")
        cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=image)
    return images


def check_jpeg(jpeg: bytes, *, height_px: int, width_px: int) -> None:
    """Refuse what does not say, in a JPEG's header, that it has this size.

    Raises:
        SchemaError: It is not a JPEG, or of another size.
    """
    size = _size_px(jpeg)
    if size is None:
        raise SchemaError(f"an image of {len(jpeg)} bytes has no JPEG header")
    if size != (height_px, width_px):
        raise SchemaError(
            f"an image is {size[1]}x{size[0]} pixels, its camera is {width_px}x{height_px}"
        )


def _encode(image: NDArray[np.uint8], options: list[int]) -> bytes:
    is_encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not is_encoded:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return jpeg.tobytes()


def _size_px(jpeg: bytes) -> tuple[int, int] | None:
    """Read (height, width) from the frame header (ITU-T T.81, B.2.2); None when there is none."""
    if jpeg[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker in _FRAME_HEADERS:
            return int.from_bytes(jpeg[at + 5 : at + 7]), int.from_bytes(jpeg[at + 7 : at + 9])
        if marker == _SCAN_START:
            return None
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return None
