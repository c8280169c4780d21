"""Which camera of a rig feeds which of the network's eight image inputs.

The network learns one embedding for each input, so a camera feeds the input with the same direction of view.
A slot without a camera is absent: its image is black, and no BEV cell reads from it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose, wrap_rad
from edge.contracts.rig import Camera, Rig


@dataclass(frozen=True)
class ImageSlot:
    """One image input of the network: the direction and the width of view that it was trained with."""

    name: str
    yaw_rad: float
    fov_rad: float
    mirror: int
    """Number of the slot that sees the left-right mirrored scene."""


def _slot(name: str, yaw_deg: float, fov_deg: float, mirror: int) -> ImageSlot:
    return ImageSlot(name, math.radians(yaw_deg), math.radians(fov_deg), mirror)


IMAGE_SLOTS: tuple[ImageSlot, ...] = (
    _slot("front_main", 0.0, 60.0, 0),
    _slot("front_narrow", 0.0, 35.0, 1),
    _slot("front_wide", 0.0, 120.0, 2),
    _slot("forward_left", 60.0, 75.0, 4),
    _slot("forward_right", -60.0, 75.0, 3),
    _slot("rearward_left", 125.0, 75.0, 6),
    _slot("rearward_right", -125.0, 75.0, 5),
    _slot("rear", 180.0, 75.0, 7),
)
MIRRORED_SLOTS: tuple[int, ...] = tuple(slot.mirror for slot in IMAGE_SLOTS)

FARTHEST_RAD = math.radians(45.0)
"""A camera that looks further away from a slot's direction than this does not feed it: half of the mean
angle between two directions of the network, so that what it shows would be another slot's scene."""
_FOV_WEIGHT = 0.2
"""Cost of a field of view e times as wide, in rad of direction."""
_SYMMETRY = 1e-6
"""Largest difference, in metres or pixels, between a rig and its mirror image that counts as none."""


@functools.lru_cache(maxsize=64)
def cameras_of_slots(rig: Rig) -> tuple[int | None, ...]:
    """Choose, per slot, the number of the rig's camera that feeds it, or None.

    ``Camera.slot`` decides where it is set. The other cameras get the slots nearest in direction, then in
    field of view, the best pair first; a camera for which none is left feeds nothing.

    Raises:
        OperatorError: A camera names a slot that does not exist, or two name the same.
    """
    chosen: list[int | None] = [None] * len(IMAGE_SLOTS)
    names = [slot.name for slot in IMAGE_SLOTS]
    for number, camera in enumerate(rig.cameras):
        if camera.slot is None:
            continue
        if camera.slot not in names:
            raise OperatorError(
                f"camera {camera.name} of rig {rig.name} feeds slot {camera.slot!r}; "
                f"there are {', '.join(names)}"
            )
        slot = names.index(camera.slot)
        if (other := chosen[slot]) is not None:
            raise OperatorError(
                f"cameras {rig.cameras[other].name} and {camera.name} of rig {rig.name} "
                f"both feed slot {camera.slot}"
            )
        chosen[slot] = number
    for _cost, slot, number in _pairs(rig):
        if chosen[slot] is None and number not in chosen:
            chosen[slot] = number
    return tuple(chosen)


def absent_slots(is_usable: Sequence[bool], rig: Rig) -> tuple[int, ...]:
    """List the slots without an image that can be used; ``is_usable`` has one bool per camera of the rig."""
    cameras = cameras_of_slots(rig)
    return tuple(k for k, n in enumerate(cameras) if n is None or not is_usable[n])


def unused_cameras(rig: Rig) -> tuple[str, ...]:
    """Name the cameras of a rig that feed no input of the network; they are recorded all the same."""
    used = cameras_of_slots(rig)
    return tuple(c.name for number, c in enumerate(rig.cameras) if number not in used)


def _pairs(rig: Rig) -> list[tuple[float, int, int]]:
    """List cost, slot and camera of every pair that may be, best first."""
    pairs = []
    for number, camera in enumerate(rig.cameras):
        if camera.slot is not None:
            continue
        for k, slot in enumerate(IMAGE_SLOTS):
            off_rad = abs(wrap_rad(camera.yaw_rad - slot.yaw_rad))
            if off_rad <= FARTHEST_RAD:
                wider = abs(math.log(camera.intrinsics.horizontal_fov_rad / slot.fov_rad))
                pairs.append((round(off_rad + _FOV_WEIGHT * wider, 9), k, number))
    return sorted(pairs)


@functools.lru_cache(maxsize=64)
def mirrored_rig(rig: Rig) -> Rig:
    """Return the rig that sees the left-right mirrored scene; a symmetric rig is its own.

    It holds the cameras that feed a slot, each on the other side of the vehicle and with its image flipped;
    each feeds the slot that mirrors the slot of the original.
    """
    cameras = [
        _mirrored_camera(rig.cameras[number], IMAGE_SLOTS[slot.mirror].name)
        for slot, number in zip(IMAGE_SLOTS, cameras_of_slots(rig), strict=True)
        if number is not None
    ]
    if not cameras:
        return rig
    mirrored = msgspec.structs.replace(rig, cameras=tuple(cameras))
    return rig if _is_alike(_fed(rig), _fed(mirrored)) else mirrored


def _mirrored_camera(camera: Camera, slot: str | None) -> Camera:
    """Reflect a camera in the plane y = 0 of the vehicle, and its image left to right."""
    pose, k = camera.ego_from_cam, camera.intrinsics
    # A reflection turns a rotation's axis (x, y, z) into (-x, y, -z); flipping the image's x axis then
    # multiplies by diag(-1, 1, 1) on the right: together a rotation again.
    flipped = pose.matrix.copy()
    flipped[1] *= -1.0
    flipped[:3, 0] *= -1.0
    distortion = k.distortion
    if len(distortion) >= 4 and k.projection == "brown_conrady":
        distortion = (*distortion[:3], -distortion[3], *distortion[4:])  # p2 is odd in x
    return msgspec.structs.replace(
        camera,
        ego_from_cam=Pose.from_matrix(flipped),
        intrinsics=msgspec.structs.replace(k, cx_px=k.width_px - k.cx_px, distortion=distortion),
        slot=slot,
    )


def _fed(rig: Rig) -> list[tuple[float, ...]]:
    """List, per slot, the calibration of the camera that feeds it; empty where none does."""
    cameras = [None if n is None else rig.cameras[n] for n in cameras_of_slots(rig)]
    return [() if camera is None else _calibration(camera) for camera in cameras]


def _calibration(camera: Camera) -> tuple[float, ...]:
    k = camera.intrinsics
    size = (k.fx_px, k.fy_px, k.cx_px, k.cy_px, float(k.width_px), float(k.height_px))
    return (*camera.ego_from_cam.matrix[:3].ravel().tolist(), *size, *k.distortion)


def _is_alike(ours: list[tuple[float, ...]], theirs: list[tuple[float, ...]]) -> bool:
    return all(
        len(a) == len(b) and all(abs(x - y) <= _SYMMETRY for x, y in zip(a, b, strict=True))
        for a, b in zip(ours, theirs, strict=True)
    )
