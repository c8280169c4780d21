"""Making room: away from what stands at the edge of the lane, and never out of it."""

import pytest

from edge.board.rig import load_rig
from edge.plan.aside import AsideSettings, aside_m
from edge.plan.choose import PlanSettings, planned_body
from edge.plan.outlines import OutlineSettings, outlines

# 0.9 m to either side, so 1.4 m is wanted free.
SHAPE = planned_body(load_rig("sim_eight").rig.body, PlanSettings())


def step(path, *agents) -> float:
    seen = outlines(agents, (), SHAPE, OutlineSettings())
    return aside_m(path, seen, SHAPE, AsideSettings())


@pytest.fixture
def walker(agent):
    """Someone 0.6 m across who stands still."""
    return lambda x_m, y_m, **changes: agent(x_m, y_m, length_m=0.6, width_m=0.6, **changes)


def test_nobody_at_the_edge_is_no_reason(straight_path, agent) -> None:
    assert step(straight_path) == 0.0
    assert step(straight_path, agent(10, 3.0)) == 0.0


def test_who_stands_on_the_left_moves_us_right_by_what_is_lacking(straight_path, walker) -> None:
    """His near side is at 1.6 - 0.3 = 1.3 m, 0.1 m less than wanted."""
    assert step(straight_path, walker(10, 1.6)) == pytest.approx(-0.1)
    assert step(straight_path, walker(10, -1.6)) == pytest.approx(0.1)


def test_between_two_the_middle_is_taken(straight_path, walker) -> None:
    """0.3 m are lacking on the left and 0.1 m on the right."""
    assert step(straight_path, walker(10, 1.4), walker(14, -1.6)) == pytest.approx(-0.1)


def test_nobody_makes_us_leave_the_lane(straight_path, walker) -> None:
    assert step(straight_path, walker(10, 1.05)) == pytest.approx(-0.5)


def test_who_blocks_the_way_is_not_stepped_around(straight_path, walker) -> None:
    """At 0.9 m he would leave 0.6 m to the middle: stepping half a metre aside is not enough."""
    assert step(straight_path, walker(10, 0.9)) == 0.0


def test_who_moves_is_behind_us_or_far_ahead_is_no_reason(straight_path, walker) -> None:
    assert step(straight_path, walker(10, 1.6, vx_mps=2.0)) == 0.0
    assert step(straight_path, walker(-0.5, 1.6)) == 0.0
    assert step(straight_path, walker(30, 1.6)) == 0.0
