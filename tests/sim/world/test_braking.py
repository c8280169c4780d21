import math

import numpy as np
import pytest

from sim.place.rectangles import Rectangle
from sim.world.braking import KEEP_AWAY_M, allowed_speeds_mps, hazards_of

FRONT = np.array([[0.0, 0.0, 0.0, 0.9]])


def pedestrian(x_m: float, y_m: float) -> Rectangle:
    return Rectangle(x_m, y_m, 0.0, 0.6, 0.6)


def allowed(*bodies: Rectangle, speed_mps: float = 1.0) -> float:
    hazards = hazards_of((body, speed_mps) for body in bodies)
    return float(allowed_speeds_mps(FRONT, hazards)[0])


def test_nothing_ahead_allows_any_speed() -> None:
    assert allowed(pedestrian(-5.0, 0.0), pedestrian(10.0, 3.0)) == math.inf


def test_14_m_of_room_allow_9_9_m_per_s() -> None:
    """From v^2 = 2 a d with 3.5 m/s^2."""
    assert allowed(pedestrian(14.0 + KEEP_AWAY_M + 0.3, 0.0)) == pytest.approx(9.9, abs=0.01)


def test_one_step_before_the_bumper_means_stop() -> None:
    assert allowed(pedestrian(1.5, 0.5)) == 0.0


def test_the_nearest_of_several_counts() -> None:
    near, far = pedestrian(8.0, 0.0), pedestrian(20.0, 0.0)
    assert allowed(near, far) == allowed(near) < allowed(far)


def test_a_long_thing_beside_the_lane_does_not_block_it() -> None:
    lying_truck = Rectangle(12.0, 3.2, 0.0, 8.0, 3.2)
    assert allowed(lying_truck) == math.inf
    assert allowed(Rectangle(12.0, 3.2, math.pi / 2, 8.0, 3.2)) < math.inf


def test_what_stands_still_can_be_left_out() -> None:
    hazards = hazards_of([(pedestrian(5.0, 0.0), 0.0), (pedestrian(9.0, 0.0), 1.0)])
    assert hazards.moving().x_m.tolist() == [9.0]
