import math

import numpy as np
import pytest

from edge.contracts.classes import PEDESTRIAN, TRUCK
from edge.contracts.scene import Attribute
from sim.place.line import Line
from sim.world.props import Prop, Walk, drawn_look, straight_walk, to_and_fro

TEN_M = np.array([[0.0, 0.0], [10.0, 0.0]])
LOOK = drawn_look(np.random.default_rng(0), PEDESTRIAN, "pedestrian")


def test_a_single_walk_ends_where_it_leads() -> None:
    walk = Walk(Line(TEN_M), speed_mps=2.0)
    assert walk.at(3.0) == (6.0, 0.0, 0.0, 2.0)
    assert walk.at(7.0) == (10.0, 0.0, 0.0, 0.0)


def test_to_and_fro_pauses_and_turns_round() -> None:
    walk = to_and_fro(TEN_M, speed_mps=2.0, pause_s=1.0)
    assert walk.at(5.5)[::3] == (10.0, 0.0)
    x, _, yaw, speed = walk.at(7.0)
    assert (x, abs(yaw), speed) == pytest.approx((8.0, math.pi, 2.0))
    assert walk.at(12.0)[0] == pytest.approx(0.0)


def test_a_prop_that_waits_goes_on_later_from_where_it_stood() -> None:
    prop = Prop(1, LOOK, 0.0, 0.0, 0.0, walk=straight_walk((0.0, 0.0), 0.0, 10.0, 1.0))
    prop.advance(2.0)
    prop.wait(1.0)
    assert (prop.x_m, prop.entity.vx_mps, prop.entity.attribute) == (2.0, 0.0, Attribute.STOPPED)
    prop.advance(1.0)
    assert (prop.x_m, prop.entity.vx_mps, prop.entity.attribute) == (3.0, 1.0, Attribute.MOVING)


def test_who_waits_for_its_trigger_has_no_speed() -> None:
    walk = straight_walk((0.0, 0.0), 0.0, 10.0, 1.0)
    prop = Prop(1, LOOK, 0.0, 0.0, 0.0, walk=walk, trigger_m=20.0)
    assert not prop.is_walking
    assert prop.entity.vx_mps == 0.0


def test_lying_on_its_side_a_truck_is_as_wide_as_it_was_high() -> None:
    upright, lying = (
        drawn_look(np.random.default_rng(4), TRUCK, "truck", roll_rad=roll)
        for roll in (0.0, math.pi / 2)
    )
    assert (lying.width_m, lying.height_m) == (upright.height_m, upright.width_m)
    assert lying.length_m == upright.length_m


def test_who_pauses_between_two_ways_is_no_hazard() -> None:
    walk = to_and_fro(TEN_M, speed_mps=2.0, pause_s=4.0)
    prop = Prop(1, LOOK, 0.0, 0.0, 0.0, walk=walk, stops_traffic=True)
    prop.advance(1.0)
    assert prop.is_hazard
    prop.advance(5.0)
    assert not prop.is_hazard
