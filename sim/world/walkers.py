"""Move the props that walk: past vehicles and never into them, from the moment when they begin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.place.rectangles import Rectangle, array_of, distances_m
from sim.world.props import Prop

GAP_M = 0.6
"""Smallest gap between a prop's outline and a vehicle that the prop walks towards."""
CARE_S = 1.6
"""How far ahead in time ordinary pedestrians avoid vehicles; those of an encounter do not."""
SHY_AFTER_S, SHY_M = 1.0, 9.0
"""A prop of an encounter that has waited this long walks ``SHY_M`` to the side, so that it and a vehicle
do not wait for each other for ever."""


def trigger(props: Sequence[Prop], ego_xy: tuple[float, float], dt_s: float) -> None:
    """Start the props whose ego is near enough, and those whose leader began ``delay_s`` ago."""
    for prop in props:
        if prop.trigger_m is not None and math.dist(ego_xy, (prop.x_m, prop.y_m)) < prop.trigger_m:
            prop.trigger_m = None
    for prop in props:
        if prop.leader is not None and prop.leader.has_begun:
            if prop.delay_s < 0.5 * dt_s:
                prop.leader = None
            else:
                prop.delay_s -= dt_s


def walk(
    props: Sequence[Prop], dt_s: float, vehicles_ahead: Callable[[float], list[Rectangle]]
) -> None:
    """Move every prop that has somewhere to go, unless a vehicle is in its way.

    Args:
        vehicles_ahead: Gives the ground that all vehicles, the ego too, cover within so many seconds.
    """
    walkers = [prop for prop in props if prop.is_walking]
    careful = [prop for prop in walkers if prop.encounter_id is None]
    reckless = [prop for prop in walkers if prop.encounter_id is not None]
    for group, ahead_s in ((careful, CARE_S), (reckless, 0.0)):
        if group:
            _walk_past(group, dt_s, array_of(vehicles_ahead(ahead_s)))


def _walk_past(walkers: Sequence[Prop], dt_s: float, bodies: NDArray[np.float64]) -> None:
    here = np.array([(prop.x_m, prop.y_m) for prop in walkers])
    there = np.array([prop.next_xy(dt_s) for prop in walkers])
    now_m, then_m = distances_m(here, bodies), distances_m(there, bodies)
    reach_m = np.array([0.5 * max(p.look.length_m, p.look.width_m) for p in walkers])
    is_near = then_m < GAP_M + reach_m[:, None]
    is_nearing = is_near & (then_m < now_m - 1e-6)  # (walkers, bodies)
    for k, prop in enumerate(walkers):
        if not is_nearing[k].any():
            prop.advance(dt_s)
        elif prop.encounter_id is None or prop.waited_s < SHY_AFTER_S:
            prop.wait(dt_s)
        else:
            _shy(prop, bodies[int(np.argmax(is_nearing[k]))])


def _shy(prop: Prop, body: NDArray[np.float64]) -> None:
    """Send a prop to that side of a vehicle, (5,) as in ``boxes.array_of``, on which it is."""
    x, y, yaw = body[:3].tolist()
    left_m = (prop.y_m - y) * math.cos(yaw) - (prop.x_m - x) * math.sin(yaw)
    prop.shy_away(yaw + math.copysign(0.5 * math.pi, left_m), SHY_M)
