import math

import numpy as np

from edge.contracts.classes import PEDESTRIAN
from sim.place.rectangles import Rectangle, ahead_of, overlaps
from sim.world.props import Prop, drawn_look, straight_walk
from sim.world.walkers import GAP_M, SHY_AFTER_S, trigger, walk

LOOK = drawn_look(np.random.default_rng(0), PEDESTRIAN, "pedestrian")
DT_S = 0.1


def northward(x_m: float, y_m: float, *, encounter_id: str | None = None) -> Prop:
    """Walks 20 m across a road along the x axis, at 1 m/s."""
    path = straight_walk((x_m, y_m), 0.5 * math.pi, 20.0, 1.0)
    return Prop(1, LOOK, x_m, y_m, 0.0, walk=path, encounter_id=encounter_id)


def after(prop: Prop, seconds: float, speed_mps: float) -> Prop:
    """Walk past a car that stands at the origin, or would come along the x axis if it could."""
    for _ in range(round(seconds / DT_S)):
        walk([prop], DT_S, lambda s: [ahead_of(0.0, 0.0, 0.0, 4.0, 2.0, speed_mps * s)])
    return prop


def test_pedestrian_does_not_walk_into_a_standing_car() -> None:
    prop = after(northward(0.0, -5.0), 10.0, 0.0)
    assert prop.y_m + 1.0 <= -GAP_M + 0.11
    assert not overlaps(prop.rectangle, Rectangle(0.0, 0.0, 0.0, 4.0, 2.0))


def test_an_ordinary_pedestrian_waits_for_a_car_that_comes() -> None:
    assert after(northward(10.0, -5.0), 10.0, 8.0).waited_s > 0.0
    assert after(northward(10.0, -5.0), 10.0, 0.0).y_m > 4.0


def test_pedestrian_of_an_encounter_walks_out_in_front_of_a_car() -> None:
    assert after(northward(10.0, -5.0, encounter_id="e-1"), 10.0, 8.0).y_m > 4.0


def test_who_belongs_to_an_encounter_turns_off_after_a_while() -> None:
    prop = northward(0.0, -2.4, encounter_id="e-1")
    after(prop, 0.5 + SHY_AFTER_S + 2.0, 0.0)
    assert prop.waited_s == 0.0
    assert prop.y_m < -2.5


def test_a_trigger_goes_off_when_the_ego_is_near_enough() -> None:
    prop = northward(0.0, 0.0)
    prop.trigger_m = 12.0
    trigger([prop], (-13.0, 0.0), DT_S)
    assert not prop.is_walking
    trigger([prop], (-11.0, 0.0), DT_S)
    assert prop.is_walking


def test_one_that_comes_after_another_begins_so_many_seconds_after_it() -> None:
    """Steps of 0.1 s: the leader begins at once, the follower five steps later, its own 0.3 s on."""
    first, second, third = (northward(10.0 * k, 0.0, encounter_id="e-1") for k in (1, 2, 3))
    first.trigger_m = 12.0
    second.leader, second.delay_s = first, 0.5
    third.leader, third.delay_s = second, 0.3
    props = [first, second, third]
    trigger(props, (30.0, 30.0), DT_S)
    assert not any(prop.has_begun for prop in props)
    begun = []
    for _ in range(10):
        trigger(props, (10.0, -5.0), DT_S)
        begun.append(sum(prop.has_begun for prop in props))
    assert begun == [1] * 5 + [2] * 3 + [3] * 2
