import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.sense.rig import default_rig
from sim.world.ego import VehicleState, driven

BODY = default_rig().body

DT_S = 1.0 / 36.0


def drive(state: VehicleState, acceleration: float, steering: float, frames: int) -> VehicleState:
    for _ in range(frames):
        state = driven(state, acceleration, steering, DT_S, BODY)
    return state


def test_constant_steering_gives_a_circle_of_radius_wheelbase_over_tangent() -> None:
    steering = 0.25
    radius = BODY.wheelbase_m / math.tan(steering)
    centre = (0.0, radius)
    state = VehicleState(0.0, 0.0, 0.0, speed_mps=8.0)
    for _ in range(200):
        state = driven(state, 0.0, steering, DT_S, BODY)
        assert math.dist(centre, (state.x_m, state.y_m)) == pytest.approx(radius, abs=1e-9)


def test_a_full_circle_ends_where_it_began() -> None:
    steering, frames = 0.3, 400
    circumference = 2.0 * math.pi * BODY.wheelbase_m / math.tan(steering)
    state = VehicleState(3.0, -2.0, 1.0, speed_mps=circumference / (frames * DT_S))
    end = drive(state, 0.0, steering, frames)
    assert (end.x_m, end.y_m, end.yaw_rad) == pytest.approx((3.0, -2.0, 1.0), abs=1e-6)


def test_one_second_at_5_m_per_s2_from_10_m_per_s_goes_11_75_m_at_the_3_5_that_it_can() -> None:
    end = drive(VehicleState(0.0, 0.0, 0.0, speed_mps=10.0), 5.0, 0.0, 36)
    assert end.x_m == pytest.approx(11.75)
    assert end.speed_mps == pytest.approx(13.5)


def test_braking_from_10_m_per_s_at_5_stops_after_10_m_and_never_reverses() -> None:
    end = drive(VehicleState(0.0, 0.0, 0.0, speed_mps=10.0), -5.0, 0.0, 200)
    assert (end.x_m, end.speed_mps) == pytest.approx((10.0, 0.0))


def test_steering_to_the_left_turns_left() -> None:
    end = drive(VehicleState(0.0, 0.0, 0.0, speed_mps=5.0), 0.0, 0.2, 36)
    assert end.y_m > 0.0
    assert end.yaw_rate_radps > 0.0


@given(
    speed=st.floats(0.0, 30.0), acceleration=st.floats(-50.0, 50.0), steering=st.floats(-3.0, 3.0)
)
def test_no_command_goes_beyond_what_the_vehicle_can_do(
    speed: float, acceleration: float, steering: float
) -> None:
    end = driven(VehicleState(0.0, 0.0, 0.0, speed_mps=speed), acceleration, steering, DT_S, BODY)
    assert abs(end.steering_rad) <= BODY.max_steering_rad
    assert -BODY.max_braking_mps2 - 1e-9 <= end.acceleration_mps2
    assert end.acceleration_mps2 <= BODY.max_acceleration_mps2 + 1e-9
    assert end.speed_mps >= 0.0
    assert math.hypot(end.x_m, end.y_m) <= max(speed, end.speed_mps) * DT_S + 1e-9
