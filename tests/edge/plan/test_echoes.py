"""Ultrasonic echoes: which of them are in the way, and how far away that is."""

import math

import numpy as np
import pytest

from edge.board.rig import load_rig
from edge.contracts.rig import UltrasonicMount
from edge.contracts.sensors import ULTRASONIC_MAX_RANGE_M, UltrasonicScan
from edge.plan.choose import PlanSettings, planned_body
from edge.plan.echoes import EchoSettings, free_travel_m
from edge.plan.path import Path, path_from_points

SHAPE = planned_body(load_rig("sim_eight").rig.body, PlanSettings())
SETTINGS = EchoSettings()
FRONT = tuple(
    UltrasonicMount(x_m=SHAPE.front_m + x, y_m=y, yaw_rad=math.radians(yaw))
    for x, y, yaw in (
        (-0.25, 0.80, 60.0), (-0.08, 0.50, 25.0), (0.0, 0.17, 6.0),
        (0.0, -0.17, -6.0), (-0.08, -0.50, -25.0), (-0.25, -0.80, -60.0),
    )
)  # fmt: skip
BACK = UltrasonicMount(x_m=-SHAPE.rear_overhang_m, y_m=0.0, yaw_rad=math.pi)


def scan(*places: tuple[float, float], missed: int | None = None) -> UltrasonicScan:
    """What the front row hears of points in the ego frame, one sensor perhaps missing everything."""
    ranges = []
    for k, mount in enumerate(FRONT):
        heard = [ULTRASONIC_MAX_RANGE_M]
        for x, y in places:
            bearing = math.atan2(y - mount.y_m, x - mount.x_m) - mount.yaw_rad
            if abs(bearing) < math.radians(30.0) and k != missed:
                heard.append(math.hypot(x - mount.x_m, y - mount.y_m))
        ranges.append(min(heard))
    return UltrasonicScan(np.array(ranges, np.float32))


def free_m(heard: UltrasonicScan, path: Path, mounts=FRONT) -> float:
    return free_travel_m(heard, mounts, path, SHAPE, SETTINGS)


@pytest.mark.parametrize("ahead_m", [0.5, 1.0, 2.0, 3.0])
def test_what_stands_before_the_bumper_is_as_far_as_it_is(straight_path, ahead_m: float) -> None:
    heard = scan((SHAPE.front_m + ahead_m, 0.0))
    assert free_m(heard, straight_path) == pytest.approx(ahead_m, abs=0.15)


def test_silence_is_free(straight_path) -> None:
    assert free_m(scan(), straight_path) == math.inf


def test_a_mount_that_the_scan_says_nothing_of_is_not_asked(straight_path) -> None:
    mounts = (*FRONT, FRONT[0])
    assert free_m(scan((SHAPE.front_m + 2.0, 0.0)), straight_path, mounts) == pytest.approx(
        2.0, abs=0.15
    )


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("gap_m", [0.3, 0.5, 1.0])
def test_a_row_of_parked_cars_is_driven_past(straight_path, side: float, gap_m: float) -> None:
    """Their flank 0.3 m from ours fills two cones, and neither echo says from where."""
    flank = [(x, side * (SHAPE.half_width_m + gap_m)) for x in np.arange(0.0, 12.0, 0.1)]
    assert free_m(scan(*flank), straight_path) == math.inf


def test_a_sensor_that_misses_the_parked_cars_does_not_put_them_in_the_way(straight_path) -> None:
    flank = [(x, -SHAPE.half_width_m - 0.5) for x in np.arange(0.0, 12.0, 0.1)]
    for missed in range(6):
        assert free_m(scan(*flank, missed=missed), straight_path) == math.inf


def test_what_we_steer_around_is_not_in_the_way() -> None:
    """3 m ahead and 0.6 m to the right; a bend of 8 m to the left takes us clear of it."""
    turn = np.linspace(0.0, 1.2, 40)
    bend = path_from_points(8.0 * np.stack([np.sin(turn), 1.0 - np.cos(turn)], axis=1))
    straight = path_from_points(np.array([[0.0, 0.0], [20.0, 0.0]]))
    heard = scan((SHAPE.front_m + 3.0, -0.6))
    assert free_m(heard, straight) < 3.2
    assert free_m(heard, bend) == math.inf


def test_wall_across_the_road_is_in_the_way(straight_path) -> None:
    wall = [(SHAPE.front_m + 2.0, y) for y in np.arange(-4.0, 4.0, 0.05)]
    assert free_m(scan(*wall), straight_path) == pytest.approx(2.0, abs=0.15)


def test_sensors_that_look_backwards_are_not_asked(straight_path) -> None:
    behind = UltrasonicScan(np.array([0.3], np.float32))
    assert free_m(behind, straight_path, mounts=(BACK,)) == math.inf
    assert free_m(scan(), straight_path, mounts=()) == math.inf
