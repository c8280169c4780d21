import math

import numpy as np
import pytest

from edge.contracts.classes import CAR
from edge.contracts.geometry import Pose
from edge.contracts.scene import Box3D
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, UltrasonicScan
from edge.contracts.time import NS_PER_S
from edge.perceive.alignment import AlignmentMonitor, AlignmentSettings

RATE_HZ = 12
PLACES = tuple(
    (distance_m, bearing_deg) for distance_m in (12, 20, 30) for bearing_deg in (-50, 0, 50)
)
"""Nine cars around the vehicle, further apart than pairs reach."""


def at(distance_m: float, bearing_deg: float) -> tuple[float, float]:
    bearing_rad = math.radians(bearing_deg)
    return distance_m * math.cos(bearing_rad), distance_m * math.sin(bearing_rad)


def boxes(yaw_error_deg: float, places=PLACES) -> list[Box3D]:
    """What cameras find that are said to look further left than they do."""
    found = []
    for distance_m, bearing_deg in places:
        x_m, y_m = at(distance_m, bearing_deg + yaw_error_deg)
        found.append(
            Box3D(
                category=CAR, x_m=x_m, y_m=y_m, z_m=0.8,
                length_m=4.5, width_m=1.8, height_m=1.6, yaw_rad=0.0,
            )
        )  # fmt: skip
    return found


def sensed(tick: int, places=PLACES) -> FrameSet:
    stamp_ns = round(tick * NS_PER_S / RATE_HZ)
    points = np.array([(*at(*place), 0.0, 5.0) for place in places], np.float32).reshape(-1, 4)
    ego = EgoState(stamp_ns=stamp_ns, world_from_ego=Pose())
    return FrameSet(tick, stamp_ns, (), RadarScan(points), UltrasonicScan(), ego)


def told(yaw_error_deg: float, seconds: float = 3.0, places=PLACES) -> list[bool]:
    """Say per tick whether cameras and radar disagree."""
    monitor, answers = AlignmentMonitor(AlignmentSettings()), []
    for tick in range(round(seconds * RATE_HZ)):
        monitor.note(boxes(yaw_error_deg, places), sensed(tick, places))
        answers.append(monitor.is_off)
    return answers


@pytest.mark.parametrize("yaw_error_deg", [0.0, 3.0, -3.0])
def test_cameras_that_are_turned_by_less_than_four_degrees_are_never_accused(
    yaw_error_deg: float,
) -> None:
    assert not any(told(yaw_error_deg))


@pytest.mark.parametrize("yaw_error_deg", [5.0, -5.0, 10.0, -10.0])
def test_turned_cameras_are_told_within_half_a_second(yaw_error_deg: float) -> None:
    """Nine pairs a tick, each kept at 0.96 from tick to tick: four ticks have 34."""
    answers = told(yaw_error_deg)
    assert answers.index(True) == 3 and all(answers[3:])


def test_turned_cameras_are_told_with_the_error_that_a_calibration_needs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told(10.0)
    (record,) = (r for r in caplog.records if r.message == "cameras_misaligned")
    assert record.yaw_error_deg == pytest.approx(10, abs=2)


def test_cameras_that_are_set_right_are_trusted_within_two_seconds() -> None:
    monitor = AlignmentMonitor(AlignmentSettings())
    answers = []
    for tick in range(60):
        monitor.note(boxes(10.0 if tick < 24 else 0.0), sensed(tick))
        answers.append(monitor.is_off)
    assert answers[23] and not any(answers[48:])


def test_nothing_is_said_of_few_pairs_or_near_ones_or_without_a_radar() -> None:
    one = PLACES[:1]
    assert not any(told(10.0, places=one)), "one car gives 1 / (1 - 0.96) = 24 pairs at most"
    assert not any(told(10.0, places=tuple((6.0, b) for b in range(-120, 121, 30))))
    monitor = AlignmentMonitor(AlignmentSettings())
    for tick in range(60):
        monitor.note(boxes(10.0), sensed(tick, places=()))
    assert not monitor.is_off
