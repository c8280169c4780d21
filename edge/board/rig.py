"""Read a rig, ``conf/rig/<name>.yaml`` or a file of one's own: what a vehicle carries and how large it is.

The file is written by people, in metres and degrees; what it means is a ``Rig``, in metres and radians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec

from conf.named import load
from edge.contracts.errors import OperatorError
from edge.contracts.fields import Hertz
from edge.contracts.rig import (
    Body,
    Camera,
    Intrinsics,
    Projection,
    RadarMount,
    Rig,
    UltrasonicMount,
    ego_from_cam,
)


@dataclass
class CameraFile:
    """One camera in a rig file: its place, its direction, and its image."""

    x_m: float
    """Ahead of the rear axle."""
    z_m: float
    """Above the ground."""
    width_px: int
    """Columns of its image."""
    height_px: int
    """Rows of its image."""
    y_m: float = 0.0
    """To the left."""
    yaw_deg: float = 0.0
    """0 ahead, positive to the left."""
    pitch_deg: float = 0.0
    """Positive upwards."""
    roll_deg: float = 0.0
    """Positive clockwise, as seen from behind the camera."""
    fov_deg: float | None = None
    """Horizontal field of view of a pinhole with square pixels; either this or ``focal_px``."""
    focal_px: tuple[float, float] | None = None
    """Focal lengths along columns and rows."""
    centre_px: tuple[float, float] | None = None
    """Where the optical axis meets the image; the middle unless given."""
    projection: str = "pinhole"
    """pinhole, brown_conrady or fisheye."""
    distortion: tuple[float, ...] = ()
    """Coefficients in OpenCV's order: none, k1 k2 p1 p2 and k3, or k1 to k4."""
    slot: str | None = None
    """Input of the network that it feeds; chosen by its direction unless given."""


@dataclass
class RadarFile:
    """One radar in a rig file."""

    x_m: float
    """Ahead of the rear axle."""
    y_m: float = 0.0
    """To the left."""
    yaw_deg: float = 0.0
    """0 ahead, positive to the left."""
    fov_deg: float = 360.0
    """How wide it measures."""


@dataclass
class UltrasonicFile:
    """One ultrasonic sensor in a rig file."""

    x_m: float
    """Ahead of the rear axle."""
    y_m: float
    """To the left."""
    yaw_deg: float
    """0 ahead, positive to the left."""


@dataclass
class RigFile:
    """A file of ``conf/rig``."""

    name: str
    """Lower case, digits, dots, dashes and underscores."""
    cameras: dict[str, CameraFile]
    """By name: one to eight."""
    rate_hz: Hertz
    """Frame sets per second."""
    radars: dict[str, RadarFile] = field(default_factory=lambda: {"around": RadarFile(x_m=1.3)})
    """By name; one in the middle of the body that measures all around, unless given."""
    ultrasonics: list[UltrasonicFile] = field(default_factory=list)
    """In the order in which the vehicle reports their ranges."""
    body: Body = field(default_factory=Body)
    """Outline and limits of the vehicle."""


@dataclass(frozen=True)
class VehicleRig:
    """A vehicle's rig, and the rate of its frame sets."""

    rig: Rig
    rate_hz: float


def load_rig(name: str) -> VehicleRig:
    """Read a rig by its name or by the path of its file.

    Raises:
        OperatorError: There is none of that name, or its file makes no sense.
    """
    file = load("rig", name, RigFile)
    try:
        plain = msgspec.to_builtins(rig_of(file))
        return VehicleRig(msgspec.convert(plain, Rig), file.rate_hz)
    except (ValueError, msgspec.ValidationError) as error:
        raise OperatorError(f"rig {name} refused: {error}") from error


def rig_of(file: RigFile) -> Rig:
    """Convert a rig file, in metres and degrees, to a calibration, in metres and radians.

    Raises:
        ValueError: A number in it makes no sense.
    """
    return Rig(
        name=file.name,
        cameras=tuple(_camera(name, camera) for name, camera in file.cameras.items()),
        ultrasonics=tuple(
            UltrasonicMount(x_m=u.x_m, y_m=u.y_m, yaw_rad=math.radians(u.yaw_deg))
            for u in file.ultrasonics
        ),
        radars=tuple(
            RadarMount(
                name=name,
                x_m=radar.x_m,
                y_m=radar.y_m,
                yaw_rad=math.radians(radar.yaw_deg),
                field_of_view_rad=math.radians(radar.fov_deg),
            )
            for name, radar in file.radars.items()
        ),
        body=file.body,
    )


def _camera(name: str, file: CameraFile) -> Camera:
    pose = ego_from_cam(
        file.x_m,
        file.y_m,
        file.z_m,
        yaw_rad=math.radians(file.yaw_deg),
        pitch_rad=math.radians(file.pitch_deg),
        roll_rad=math.radians(file.roll_deg),
    )
    intrinsics = _intrinsics(name, file)
    return Camera(name=name, intrinsics=intrinsics, ego_from_cam=pose, slot=file.slot)


def _intrinsics(name: str, file: CameraFile) -> Intrinsics:
    if (file.fov_deg is None) == (file.focal_px is None):
        raise ValueError(f"camera {name} has either fov_deg or focal_px, and not both")
    projection = Projection(file.projection)
    if projection is Projection.UNKNOWN:
        known = ", ".join(p for p in Projection if p is not Projection.UNKNOWN)
        raise ValueError(f"camera {name}: no projection {file.projection!r}; there are {known}")
    if file.focal_px is None:
        assert file.fov_deg is not None
        simple = Intrinsics.from_fov(math.radians(file.fov_deg), file.width_px, file.height_px)
        focal_px = (simple.fx_px, simple.fy_px)
    else:
        focal_px = file.focal_px
    centre_px = file.centre_px or (0.5 * file.width_px, 0.5 * file.height_px)
    return Intrinsics(
        fx_px=focal_px[0],
        fy_px=focal_px[1],
        cx_px=centre_px[0],
        cy_px=centre_px[1],
        width_px=file.width_px,
        height_px=file.height_px,
        projection=projection,
        distortion=file.distortion,
    )
