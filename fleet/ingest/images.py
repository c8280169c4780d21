"""Decode every image of a clip as it is admitted: an image that does not decode must reach no stage."""

from __future__ import annotations

from collections import Counter

from edge.clip_file import Clip, decode_whole_jpeg
from edge.contracts.errors import SchemaError

_NAMED = 3
"""So many of the images that do not decode are named; the others are counted."""


def undeclared_gaps(clip: Clip) -> tuple[str, ...]:
    """Name the cameras of which more images are absent than the manifest declares missing."""
    names = [camera.name for camera in clip.manifest.rig.cameras]
    absent = Counter(
        name
        for frame in clip.frames
        for name, image in zip(names, frame.sensed.frames, strict=True)
        if not image.jpeg
    )
    declared = dict(clip.manifest.missing)
    return tuple(
        f"{absent[name]} images of {name} are absent, the manifest declares {declared.get(name, 0)}"
        for name in names
        if absent[name] > declared.get(name, 0)
    )


def image_faults(clip: Clip, max_pixels: int) -> tuple[str, ...]:
    """Decode every image of a clip; name those that do not decode, or a clip that is too large to decode.

    It costs about 0.15 ms CPU for an image of 256x128 pixels and 8 ms per million pixels: 0.09 s for eight
    cameras and 80 frames as the simulator renders them.

    Args:
        clip: As read.
        max_pixels: Of all its images together; more are not decoded.
    """
    cameras = clip.manifest.rig.cameras
    pixels = sum(
        camera.intrinsics.height_px * camera.intrinsics.width_px
        for frame in clip.frames
        for camera, image in zip(cameras, frame.sensed.frames, strict=True)
        if image.jpeg
    )
    if pixels > max_pixels:
        return (f"{pixels} pixels in all its images, at most {max_pixels} are decoded",)
    faults: list[str] = []
    for frame in clip.frames:
        for camera, image in zip(cameras, frame.sensed.frames, strict=True):
            if not image.jpeg:
                continue
            size = camera.intrinsics
            try:
                decode_whole_jpeg(image.jpeg, height_px=size.height_px, width_px=size.width_px)
            except SchemaError as error:
                faults.append(f"{camera.name} of frame {frame.index}: {error}")
    unnamed = len(faults) - _NAMED
    return (*faults[:_NAMED], *((f"{unnamed} more images do not decode",) if unnamed > 0 else ()))
