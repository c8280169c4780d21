"""Any rig of one to eight cameras finds its place among the inputs of the network."""

import math

import msgspec
import numpy as np
import pytest

from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Projection, Rig, ego_from_cam
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, UltrasonicScan, frames_of
from edge.perceive.tensors import (
    IMAGE_SLOTS,
    MIRRORED_SLOTS,
    PICO,
    Memory,
    absent_slots,
    calibration_table,
    cameras_of_slots,
    mirrored_rig,
    network_inputs,
    unused_cameras,
)
from sim.sense.rig import default_rig

NAMES = [slot.name for slot in IMAGE_SLOTS]


def camera(
    name: str, yaw_deg: float, fov_deg: float = 70.0, size: tuple[int, int] = (64, 32), **changes
) -> Camera:
    pose = ego_from_cam(1.0, 0.3, 1.5, yaw_rad=math.radians(yaw_deg), pitch_rad=-0.06)
    intrinsics = Intrinsics.from_fov(math.radians(fov_deg), *size)
    return Camera(name=name, intrinsics=intrinsics, ego_from_cam=pose, **changes)


def rig_of(*cameras: Camera) -> Rig:
    return Rig(name="rig", cameras=cameras)


SIX = rig_of(
    camera("cam_front", 0.0),
    camera("cam_front_right", -55.0),
    camera("cam_front_left", 55.0),
    camera("cam_back", 180.0, 110.0),
    camera("cam_back_left", 110.0),
    camera("cam_back_right", -110.0),
)


def fed(rig: Rig) -> dict[str, str]:
    cameras = cameras_of_slots(rig)
    return {NAMES[k]: rig.cameras[n].name for k, n in enumerate(cameras) if n is not None}


def test_the_simulators_rig_feeds_each_slot_by_its_own_camera() -> None:
    assert cameras_of_slots(default_rig()) == tuple(range(8))


def test_six_cameras_around_a_vehicle_feed_the_slots_that_look_their_way() -> None:
    assert fed(SIX) == {
        "front_main": "cam_front",
        "forward_left": "cam_front_left",
        "forward_right": "cam_front_right",
        "rearward_left": "cam_back_left",
        "rearward_right": "cam_back_right",
        "rear": "cam_back",
    }


@pytest.mark.parametrize(
    ("fov_deg", "slot"), [(30.0, "front_narrow"), (65.0, "front_main"), (130.0, "front_wide")]
)
def test_a_single_camera_ahead_feeds_the_slot_of_its_width(fov_deg: float, slot: str) -> None:
    assert fed(rig_of(camera("dash", 3.0, fov_deg))) == {slot: "dash"}


def test_a_camera_that_looks_nowhere_near_a_slot_or_finds_it_taken_is_named() -> None:
    rig = rig_of(*(camera(f"c{k}", 0.0, 60.0) for k in range(5)))
    assert len(fed(rig)) == 3 and unused_cameras(rig) == ("c3", "c4")


def test_an_explicit_slot_comes_before_where_a_camera_looks() -> None:
    rig = rig_of(camera("a", 0.0, slot="rear"), camera("b", 180.0))
    assert fed(rig) == {"rear": "a"} and unused_cameras(rig) == ("b",)


@pytest.mark.parametrize(
    ("slots", "complaint"),
    [
        (("bonnet",), "feeds slot 'bonnet'; there are front_main, "),
        (("rear", "rear"), "cameras c0 and c1 of rig rig both feed slot rear"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(slots: tuple[str, ...], complaint: str) -> None:
    rig = rig_of(*(camera(f"c{k}", 0.0, slot=slot) for k, slot in enumerate(slots)))
    with pytest.raises(OperatorError, match=complaint):
        cameras_of_slots(rig)


def frame_set(rig: Rig, *missing: int) -> FrameSet:
    images = []
    for number, one in enumerate(rig.cameras):
        k = one.intrinsics
        image = np.full((k.height_px, k.width_px, 3), 10 * (number + 1), np.uint8)
        images.append(None if number in missing else image)
    ego = EgoState(stamp_ns=0, world_from_ego=Pose())
    return FrameSet(0, 0, frames_of(images, 0), RadarScan(), UltrasonicScan(), ego)


def test_images_of_any_size_reach_their_slots_and_the_others_stay_black() -> None:
    rig = rig_of(camera("dash", 0.0, size=(1600, 900)), camera("back", 180.0, size=(320, 240)))
    inputs = network_inputs(frame_set(rig), calibration_table(rig, PICO), Memory(), PICO)
    images = inputs["images"]
    assert images.shape == (8, 3, PICO.image_height_px, PICO.image_width_px)
    levels = [int(image.max()) for image in images]
    assert levels == [10, 0, 0, 0, 0, 0, 0, 20]
    per_slot = PICO.feature_height * PICO.feature_width
    assert set((inputs["table"] // per_slot).tolist()) == {0, 7, 8}
    assert absent_slots(frame_set(rig, 1).usable, rig) == (1, 2, 3, 4, 5, 6, 7)


def test_a_symmetric_rig_is_its_own_mirror_image() -> None:
    rig = default_rig()
    assert mirrored_rig(rig) is rig


@pytest.mark.parametrize(
    "rig",
    [
        SIX,
        rig_of(camera("dash", 5.0)),
        rig_of(
            msgspec.structs.replace(
                camera("bent", 20.0),
                intrinsics=msgspec.structs.replace(
                    camera("bent", 0.0).intrinsics,
                    cx_px=29.0,
                    projection=Projection.BROWN_CONRADY,
                    distortion=(-0.2, 0.02, 0.003, 0.01),
                ),
            )
        ),
    ],
    ids=["six", "dash", "bent"],
)
def test_the_mirrored_rig_sees_the_mirrored_cell_at_the_mirrored_pixel(rig: Rig) -> None:
    """What the rig shows of a cell at (x, y), its mirror image shows of (x, -y), flipped left to right."""
    here = calibration_table(rig, PICO)
    there = calibration_table(mirrored_rig(rig), PICO)
    h, w, n = PICO.feature_height, PICO.feature_width, PICO.bev_cells
    ours = here.index.reshape(-1, n, n)
    theirs = there.index.reshape(-1, n, n)[:, :, ::-1]
    is_seen = (ours < PICO.zero_row) & (theirs < PICO.zero_row)
    assert is_seen.sum() > 0.97 * max((ours < PICO.zero_row).sum(), 1)
    slot, pixel = np.divmod(ours[is_seen], h * w)
    other_slot, other_pixel = np.divmod(theirs[is_seen], h * w)
    assert np.array_equal(np.array(MIRRORED_SLOTS)[slot], other_slot)
    column, other_column = pixel % w, other_pixel % w
    # A projection that falls on the edge of two features may round to either.
    assert (np.abs(column + other_column - (w - 1)) <= 1).all()
    assert np.mean(column + other_column == w - 1) > 0.95
