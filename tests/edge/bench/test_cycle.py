"""A recording that happens again and again is one drive, without a step of its clock or its place."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from edge.bench.cycle import Cycle
from edge.contracts.clean import clean, is_reachable
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    UltrasonicScan,
)
from edge.contracts.time import NS_PER_S, frame_stamp_ns, is_one_time_base

RIG = Rig(
    name="one",
    cameras=(Camera(name="c", intrinsics=Intrinsics.from_fov(1.0, 4, 2), ego_from_cam=Pose()),),
)
OLDER_NS = 5_000_000


def recorded(index: int) -> FrameSet:
    """36 Hz at 36 m/s, one metre a tick; images 5 ms older than their set."""
    stamp_ns = frame_stamp_ns(index)
    return FrameSet(
        index=index,
        stamp_ns=stamp_ns,
        frames=(Frame(np.zeros((2, 4, 3), np.uint8), stamp_ns - OLDER_NS),),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(
            stamp_ns=stamp_ns,
            world_from_ego=Pose.from_xy_yaw(100.0 + index, 7.0, 0.2),
            speed_mps=36.0,
        ),
    )


@pytest.mark.parametrize("rate_hz", [36.0, 12.0])
def test_rounds_follow_each_other_in_time_and_place(rate_hz: float) -> None:
    cycle = Cycle([recorded(k) for k in range(40, 60)], rate_hz)
    drive = [cycle.at(k) for k in range(100)]
    assert [s.index for s in drive] == list(range(100))
    assert [s.stamp_ns for s in drive] == [frame_stamp_ns(k, rate_hz=rate_hz) for k in range(100)]
    for before, now in pairwise(drive):
        assert is_one_time_base(before.stamp_ns, now.stamp_ns)
        assert is_reachable(before, now) and now.ego.stamp_ns == now.stamp_ns
        step_m = now.ego.world_from_ego.x_m - before.ego.world_from_ego.x_m
        assert step_m == pytest.approx(1.0) or (now.index % 20 == 0 and abs(step_m) < 1e-6)
    images = [clean(s, RIG).frames[0] for s in drive]
    assert {frame.status for frame in images} == {FrameStatus.FRESH}
    assert {s.stamp_ns - s.frames[0].stamp_ns for s in drive} == {OLDER_NS}


def test_a_single_instant_stands_still() -> None:
    cycle = Cycle([replace(recorded(3), index=9)], 10.0)
    first, later = cycle.at(0), cycle.at(25)
    assert later.ego.world_from_ego.matrix == pytest.approx(first.ego.world_from_ego.matrix)
    assert later.stamp_ns - first.stamp_ns == 2.5 * NS_PER_S
