import hashlib
import itertools
import math

import msgspec
import pytest

from edge.contracts.errors import SchemaError
from edge.contracts.geometry import Pose
from edge.contracts.rig import Body, Camera, Intrinsics, Projection, RadarMount, Rig
from edge.contracts.time import (
    VIRTUAL_EPOCH_NS,
    ClockKind,
    NamedClock,
    frame_stamp_ns,
)
from edge.contracts.wire import decode_record
from edge.perceive.tensors import IMAGE_SLOTS, MIRRORED_SLOTS

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

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
    ("names", "complaint"),
    [
        ((), "1 to 8 cameras, got 0"),
        (tuple(f"c{k}" for k in range(9)), "1 to 8 cameras, got 9"),
        (("front", "rear", "front"), "two cameras of a rig are called front"),
    ],
)
def test_rig_that_cannot_be_is_refused(names: tuple[str, ...], complaint: str) -> None:
    few = tuple(Camera(name=name, intrinsics=WIDE, ego_from_cam=Pose()) for name in names)
    with pytest.raises(ValueError, match=complaint):
        Rig(name="rig", cameras=few)
    with pytest.raises(SchemaError, match=complaint):
        decode_record(msgspec.msgpack.encode({"name": "rig", "cameras": few}), Rig, "rig")


@pytest.mark.parametrize("order", [(1, 0, 2, 3, 4, 5, 6, 7), IN_ORDER[:6], (3,), IN_ORDER[::-1]])
def test_rig_of_one_to_eight_cameras_in_any_order_is_a_rig(order: tuple[int, ...]) -> None:
    rig = Rig(name="rig", cameras=cameras(order))
    assert decode_record(msgspec.msgpack.encode(rig), Rig, "rig") == rig


def test_what_schema_1_could_not_say_changes_no_id_until_it_says_something_else() -> None:
    first = {
        "name": "rig",
        "cameras": [
            {
                "name": "front",
                "intrinsics": {
                    "fx_px": 128.0, "fy_px": 128.0, "cx_px": 128.0, "cy_px": 64.0,
                    "width_px": 256, "height_px": 128,
                },
                "ego_from_cam": msgspec.to_builtins(Pose()),
            }
        ],
        "ultrasonics": [],
    }  # fmt: skip
    rig = decode_record(msgspec.msgpack.encode(first), Rig, "rig")
    assert rig.rig_id == hashlib.sha256(msgspec.msgpack.encode(first)).hexdigest()
    longer = msgspec.structs.replace(rig, body=Body(length_m=5.2))
    turned = msgspec.structs.replace(rig, radars=(RadarMount(name="front", x_m=3.6),))
    lens = msgspec.structs.replace(WIDE, projection=Projection.FISHEYE, distortion=(0.1, 0, 0, 0))
    bent = msgspec.structs.replace(rig.cameras[0], intrinsics=lens)
    told = msgspec.structs.replace(rig.cameras[0], slot="rear")
    others = [longer, turned, *(msgspec.structs.replace(rig, cameras=(c,)) for c in (bent, told))]
    assert len({rig.rig_id, *(other.rig_id for other in others)}) == 5


@pytest.mark.parametrize(
    ("projection", "distortion", "complaint"),
    [
        (Projection.PINHOLE, (0.1,), "has 0 distortion coefficients, got 1"),
        (Projection.FISHEYE, (0.1,), "has 4 distortion coefficients, got 1"),
        (Projection.BROWN_CONRADY, (), "has 4 or 5 distortion coefficients, got 0"),
    ],
)
def test_lens_with_another_number_of_coefficients_is_refused(
    projection: Projection, distortion: tuple[float, ...], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        msgspec.structs.replace(WIDE, projection=projection, distortion=distortion)


def test_body_shorter_than_its_wheelbase_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3.0 m long cannot hold a wheelbase of 2.8 m"):
        Body(length_m=3.0)


def test_rig_id_is_the_calibration() -> None:
    rig = Rig(name="rig", cameras=cameras(IN_ORDER))
    decoded = decode_record(msgspec.msgpack.encode(rig), Rig, "rig")
    moved = msgspec.structs.replace(rig.cameras[0], ego_from_cam=Pose(x_m=0.001))
    assert decoded.rig_id == rig.rig_id
    assert Rig(name="rig", cameras=(moved, *rig.cameras[1:])).rig_id != rig.rig_id


def test_mirroring_twice_gives_the_same_camera() -> None:
    assert [MIRRORED_SLOTS[MIRRORED_SLOTS[i]] for i in IN_ORDER] == list(IN_ORDER)
    mirrored = [CAMERAS[i].replace("left", "right") for i in IN_ORDER if "left" in CAMERAS[i]]
    assert mirrored == [CAMERAS[MIRRORED_SLOTS[i]] for i in IN_ORDER if "left" in CAMERAS[i]]


def test_a_day_of_frames_does_not_drift_by_a_nanosecond() -> None:
    for second in range(24 * 3600 + 1):
        assert frame_stamp_ns(36 * second) == VIRTUAL_EPOCH_NS + second * 1_000_000_000


def test_frames_are_a_period_apart_to_the_nanosecond() -> None:
    stamps = [frame_stamp_ns(k, epoch_ns=0) for k in range(36 * 60)]
    assert {b - a for a, b in itertools.pairwise(stamps)} == {27_777_777, 27_777_778}


def test_monotonic_clock_without_its_boot_is_refused() -> None:
    with pytest.raises(ValueError, match="boot_id"):
        NamedClock(kind=ClockKind.MONOTONIC)
    assert NamedClock(kind=ClockKind.MONOTONIC, boot_id="b1").boot_id == "b1"
