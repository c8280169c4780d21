"""Each fault of a camera is told from its images within a fraction of a second, and good images never are."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig, ego_from_cam
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    UltrasonicScan,
)
from edge.contracts.time import frame_stamp_ns
from edge.perceive.camera_health import CameraMonitor

WIDTH_PX, HEIGHT_PX, RATE_HZ = 256, 128, 36
YAWS_DEG = (0.0, 60.0, -60.0)
RIG = Rig(
    name="three",
    cameras=tuple(
        Camera(
            name=f"cam{k}",
            intrinsics=Intrinsics.from_fov(math.radians(75.0), WIDTH_PX, HEIGHT_PX),
            ego_from_cam=ego_from_cam(1.0, 0.0, 1.5, yaw_rad=math.radians(yaw), pitch_rad=0.0),
        )
        for k, yaw in enumerate(YAWS_DEG)
    ),
)
RNG = np.random.default_rng(0)
WALL = np.kron(RNG.integers(60, 200, (16, 400)), np.ones((8, 8))).astype(np.uint8)
"""A street of bright and dark squares, (128, 3200)."""

Shows = Callable[[int], np.ndarray | None]


def street(yaw_deg: float, speed_mps: float) -> Shows:
    """A side camera sees the street pass to the rear: 3 pixels a frame for each metre in a second."""
    px_per_frame = 0.3 * speed_mps

    def shows(index: int) -> np.ndarray:
        way = px_per_frame * index if yaw_deg >= 0.0 else 2000 - px_per_frame * index
        at = round(way) % 2800
        return np.repeat(WALL[:, at : at + WIDTH_PX, None], 3, axis=2)

    return shows


def seen(
    cameras: list[Shows], seconds: float = 6.0, speed_mps: float = 8.0, turn_radps: float = 0.0
) -> tuple[CameraMonitor, list[tuple[FrameStatus, ...]]]:
    """Watch for some seconds; give the monitor and the statuses of every tick."""
    monitor = CameraMonitor(RIG)
    told = []
    for index in range(round(seconds * RATE_HZ)):
        stamp_ns = frame_stamp_ns(index)
        frames = []
        for shows in cameras:
            image = shows(index)
            status = FrameStatus.MISSING if image is None else FrameStatus.FRESH
            frames.append(Frame(image, stamp_ns, status))
        ego = EgoState(
            stamp_ns=stamp_ns, world_from_ego=Pose(), speed_mps=speed_mps, yaw_rate_radps=turn_radps
        )
        frame_set = FrameSet(index, stamp_ns, tuple(frames), RadarScan(), UltrasonicScan(), ego)
        told.append(tuple(frame.status for frame in monitor.update(frame_set).frames))
    return monitor, told


def good(speed_mps: float = 8.0) -> list[Shows]:
    return [street(yaw, speed_mps) for yaw in YAWS_DEG]


def flat(level: int) -> Shows:
    return lambda index: np.full((HEIGHT_PX, WIDTH_PX, 3), level, np.uint8)


def noise(index: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    return rng.integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)


@pytest.mark.parametrize("speed_mps", [0.0, 2.0, 8.0, 20.0])
def test_good_cameras_are_never_accused(speed_mps: float) -> None:
    monitor, told = seen(good(speed_mps), speed_mps=speed_mps)
    assert {status for statuses in told for status in statuses} == {FrameStatus.FRESH}
    assert monitor.swapped == ()


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (flat(0), FrameStatus.BLACK),
        (flat(255), FrameStatus.SATURATED),
        (noise, FrameStatus.CORRUPT),
        (lambda index: street(0.0, 8.0)(10), FrameStatus.FROZEN),
    ],
    ids=["black", "saturated", "noise", "frozen"],
)
def test_a_faulty_camera_is_told_within_half_a_second_and_no_other(
    fault: Shows, status: FrameStatus
) -> None:
    working = good()
    cameras = [lambda k: working[0](k) if k < 36 else fault(k), *working[1:]]
    _, told = seen(cameras, seconds=3.0)
    since = next(k for k, statuses in enumerate(told) if statuses[0] is not FrameStatus.FRESH)
    assert 36 < since <= 36 + 18
    assert {statuses[0] for statuses in told[since:]} == {status}
    assert {s for statuses in told for s in statuses[1:]} == {FrameStatus.FRESH}


def test_a_camera_that_shows_the_road_again_is_used_again_at_once() -> None:
    working = good()
    cameras = [lambda k: flat(0)(k) if k < 36 else working[0](k), *working[1:]]
    _, told = seen(cameras, seconds=2.0)
    assert told[35][0] is FrameStatus.BLACK
    assert {statuses[0] for statuses in told[36 + 4 :]} == {FrameStatus.FRESH}


def test_a_dark_moment_under_a_bridge_is_no_fault() -> None:
    working = good()
    cameras = [lambda k: flat(0)(k) if 36 <= k < 42 else working[0](k), *working[1:]]
    _, told = seen(cameras, seconds=2.0)
    assert {statuses[0] for statuses in told} == {FrameStatus.FRESH}


def test_the_same_image_is_no_fault_while_the_vehicle_stands() -> None:
    still = [lambda k, shows=shows: shows(0) for shows in good()]
    _, told = seen(still, speed_mps=0.0)
    assert {status for statuses in told for status in statuses} == {FrameStatus.FRESH}


def test_a_far_thing_that_moves_between_the_pixels_of_the_grid_keeps_a_camera_from_being_frozen() -> (
    None
):
    def horizon(index: int) -> np.ndarray:
        image = flat(20)(index)
        image[: HEIGHT_PX // 2] = 60
        image[0, index % WIDTH_PX] = 255
        return image

    _, told = seen([horizon, *good()[1:]])
    assert {statuses[0] for statuses in told} == {FrameStatus.FRESH}
    _, told = seen([lambda index: horizon(0), *good()[1:]])
    assert told[-1][0] is FrameStatus.FROZEN


def test_a_plain_wall_beside_the_road_is_no_fault_until_it_is_longer_than_any_house() -> None:
    """At 8 m/s, 60 m are 7.5 s."""
    cameras = [flat(90), *good()[1:]]
    _, told = seen(cameras, seconds=9.0)
    since = next(k for k, statuses in enumerate(told) if statuses[0] is not FrameStatus.FRESH)
    assert 60.0 <= since * 8.0 / 36.0 <= 62.0
    assert {statuses[0] for statuses in told[since:]} == {FrameStatus.FROZEN}


def test_swapped_cables_of_the_side_cameras_are_told_from_how_the_scene_passes() -> None:
    ahead, left, right = good()
    monitor, told = seen([ahead, right, left])
    assert monitor.swapped == ("cam1", "cam2")
    assert told[-1] == (FrameStatus.FRESH, FrameStatus.CORRUPT, FrameStatus.CORRUPT)
    turning, _ = seen([ahead, right, left], turn_radps=0.3)
    assert turning.swapped == (), "in a turn the scene passes because of the turn"


def test_what_is_missing_stays_missing() -> None:
    _, told = seen([lambda index: None, *good()[1:]], seconds=1.0)
    assert {statuses[0] for statuses in told} == {FrameStatus.MISSING}
