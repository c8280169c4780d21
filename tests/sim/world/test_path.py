import math

import numpy as np
import pytest

from sim.world.path import TimedPath


def test_ten_metres_in_two_seconds_are_five_metres_after_one() -> None:
    path = TimedPath.straight((0.0, 0.0), (0.0, 10.0), from_s=1.0, to_s=3.0)
    assert path.at(2.0) == pytest.approx((0.0, 5.0, math.pi / 2, 5.0))


def test_track_is_absent_before_its_first_stamp_and_after_its_last() -> None:
    path = TimedPath.straight((0.0, 0.0), (10.0, 0.0), from_s=1.0, to_s=3.0)
    assert path.at(0.99) is None
    assert path.at(3.01) is None
    assert path.at(3.0) == pytest.approx((10.0, 0.0, 0.0, 5.0))


def test_path_that_is_held_stands_at_its_ends() -> None:
    path = TimedPath.straight((0.0, 0.0), (10.0, 0.0), from_s=1.0, to_s=3.0)
    assert path.held_at(0.0) == pytest.approx((0.0, 0.0, 0.0, 0.0))
    assert path.held_at(9.0) == pytest.approx((10.0, 0.0, 0.0, 0.0))


def test_heading_turns_the_shorter_way_round() -> None:
    path = TimedPath(np.array([0.0, 1.0]), np.array([(0.0, 0.0, 3.0), (0.0, 0.0, -3.0)]))
    *_, yaw, _ = path.at(0.5) or ()
    assert abs(yaw) == pytest.approx(math.pi)


def test_what_stands_is_there_all_the_time() -> None:
    path = TimedPath.standing(3.0, 4.0, 0.5)
    assert path.at(-5.0) == path.at(1e6) == (3.0, 4.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("times", "poses", "complaint"),
    [
        ([], np.zeros((0, 3)), "needs"),
        ([0.0, 1.0], np.zeros((1, 3)), "needs"),
        ([1.0, 1.0], np.zeros((2, 3)), "grow"),
        ([0.0, 1.0], np.full((2, 3), np.nan), "finite"),
    ],
)
def test_path_that_makes_no_sense_is_refused(
    times: list[float], poses: np.ndarray, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        TimedPath(np.array(times), poses)
