import itertools
import math

import msgspec
import pytest

from edge.contracts.errors import SchemaError
from edge.contracts.geometry import Pose
from edge.contracts.sensors import (
    CAMERAS,
    MIRRORED_CAMERAS,
    Camera,
    CameraRig,
    Intrinsics,
)
from edge.contracts.time import (
    VIRTUAL_EPOCH_NS,
    Clock,
    ClockKind,
    frame_stamp_ns,
)
from edge.contracts.wire import decode_record

WIDE = Intrinsics.from_fov(math.pi / 2, 256, 128)


def cameras(order: tuple[int, ...]) -> tuple[Camera, ...]:
    return tuple(Camera(name=CAMERAS[i], intrinsics=WIDE, ego_from_cam=Pose()) for i in order)


IN_ORDER = tuple(range(8))


def test_a_right_angle_of_view_has_half_its_width_as_focal_length() -> None:
    assert WIDE.fx_px == pytest.approx(128.0)
    assert (WIDE.cx_px, WIDE.cy_px) == (128.0, 64.0)


def test_scaled_intrinsics_see_the_same_view() -> None:
    half = WIDE.scaled(128, 64)
    assert (half.fx_px, half.cx_px, half.width_px) == (pytest.approx(64.0), 64.0, 128)


def test_focal_length_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="focal lengths must be positive"):
        Intrinsics(fx_px=0.0, fy_px=1.0, cx_px=0.0, cy_px=0.0, width_px=1, height_px=1)


@pytest.mark.parametrize(
    "order", [(1, 0, 2, 3, 4, 5, 6, 7), IN_ORDER[:7], (), (*IN_ORDER, 0), IN_ORDER[::-1]]
)
def test_rig_whose_cameras_are_not_the_eight_in_order_is_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="eight cameras in order"):
        CameraRig(name="rig", cameras=cameras(order))
    sent = {"name": "rig", "cameras": cameras(order)}
    with pytest.raises(SchemaError, match="eight cameras in order"):
        decode_record(msgspec.msgpack.encode(sent), CameraRig, "rig")


def test_rig_id_is_the_calibration() -> None:
    rig = CameraRig(name="rig", cameras=cameras(IN_ORDER))
    decoded = decode_record(msgspec.msgpack.encode(rig), CameraRig, "rig")
    moved = msgspec.structs.replace(rig.cameras[0], ego_from_cam=Pose(x_m=0.001))
    assert decoded.rig_id == rig.rig_id
    assert CameraRig(name="rig", cameras=(moved, *rig.cameras[1:])).rig_id != rig.rig_id


def test_mirroring_twice_gives_the_same_camera() -> None:
    assert [MIRRORED_CAMERAS[MIRRORED_CAMERAS[i]] for i in IN_ORDER] == list(IN_ORDER)
    mirrored = [CAMERAS[i].replace("left", "right") for i in IN_ORDER if "left" in CAMERAS[i]]
    assert mirrored == [CAMERAS[MIRRORED_CAMERAS[i]] for i in IN_ORDER if "left" in CAMERAS[i]]


def test_a_day_of_frames_does_not_drift_by_a_nanosecond() -> None:
    for second in range(24 * 3600 + 1):
        assert frame_stamp_ns(36 * second) == VIRTUAL_EPOCH_NS + second * 1_000_000_000


def test_frames_are_a_period_apart_to_the_nanosecond() -> None:
    stamps = [frame_stamp_ns(k, epoch_ns=0) for k in range(36 * 60)]
    assert {b - a for a, b in itertools.pairwise(stamps)} == {27_777_777, 27_777_778}


def test_monotonic_clock_without_its_boot_is_refused() -> None:
    with pytest.raises(ValueError, match="boot_id"):
        Clock(kind=ClockKind.MONOTONIC)
    assert Clock(kind=ClockKind.MONOTONIC, boot_id="b1").boot_id == "b1"
