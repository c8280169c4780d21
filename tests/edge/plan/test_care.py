"""Slowing down beside what may hide somebody, and nowhere else."""

import math

import numpy as np
import pytest

from edge.board.rig import load_rig
from edge.contracts.scene import RadarTrack
from edge.plan.care import CareSettings, careful_speeds
from edge.plan.choose import PlanSettings, planned_body
from edge.plan.outlines import OutlineSettings, outlines
from edge.plan.proposals import RouteSettings, speed_ceiling

SHAPE = planned_body(load_rig("sim_eight").rig.body, PlanSettings())
CARE = CareSettings()


def limits(path, *agents, radar_tracks=()) -> np.ndarray:
    seen = outlines(agents, radar_tracks, SHAPE, OutlineSettings())
    return careful_speeds(path, seen, agents, SHAPE, CARE)


@pytest.fixture
def van(agent):
    """Two metres high, six long and two wide, standing 3 m right of our line unless told otherwise."""
    return lambda x_m=30.0, y_m=-3.0, **changes: agent(
        x_m, y_m, **({"length_m": 6.0, "height_m": 2.0} | changes)
    )


def test_beside_a_parked_van_and_a_little_beyond_it_we_go_slowly(straight_path, van) -> None:
    """It stands from 27 to 33 m; our front is there earlier, and somebody may come until 37 m."""
    slow = straight_path.station_m[np.isfinite(limits(straight_path, van()))]
    step_m = float(np.diff(straight_path.station_m).max())
    assert slow.min() == pytest.approx(27.0 - SHAPE.front_m, abs=step_m)
    assert slow.max() == pytest.approx(33.0 + CARE.beyond_m, abs=step_m)


@pytest.mark.parametrize(
    "changes",
    [
        {"height_m": 1.5},
        {"length_m": 2.0},
        {"vx_mps": 5.0},
        {"y_m": -6.0},
        {"y_m": 0.0},
    ],
    ids=["low", "short", "driving", "far aside", "in the way"],
)
def test_what_hides_nobody_does_not_slow_us(straight_path, van, changes) -> None:
    assert np.isinf(limits(straight_path, van(**changes))).all()


def test_a_radar_track_has_no_height(straight_path) -> None:
    track = RadarTrack(track_id=1, x_m=30.0, y_m=-3.0, vx_mps=0.0, vy_mps=0.0, hits=9, age_s=3.0)
    assert np.isinf(limits(straight_path, radar_tracks=(track,))).all()


def test_the_speed_is_reached_in_time_and_comfortably(straight_path, van) -> None:
    """From the ceiling one brakes at 2 m/s2: v^2 = 7.5^2 + 2 * 2 * distance."""
    settings = RouteSettings()
    careful = limits(straight_path, van())
    ceiling = speed_ceiling(straight_path, 20.0, math.inf, settings, careful)
    start_m = float(straight_path.station_m[np.isfinite(careful)].min())
    ten_before = float(ceiling.at(np.array(start_m - 10.0)))
    assert float(ceiling.at(np.array(start_m))) == pytest.approx(CARE.speed_mps)
    assert ten_before == pytest.approx(math.sqrt(CARE.speed_mps**2 + 40.0))
