"""A plan says what it brakes for, and without that thing it would not brake so hard."""

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from edge.board.rig import load_rig
from edge.contracts.geometry import Pose
from edge.contracts.rig import UltrasonicMount
from edge.contracts.scene import Agent, Cause, CauseKind, Plan, RadarTrack, Rung
from edge.contracts.sensors import EgoState, Route, UltrasonicScan
from edge.plan.choose import PlanInputs, PlanSettings, plan

Scene = Callable[..., PlanInputs]
SILENT_M = 5.0
BODY = load_rig("sim_eight").rig.body
FRONT_MOUNTS = tuple(
    UltrasonicMount(x_m=BODY.front_m, y_m=y, yaw_rad=0.0) for y in (0.5, 0.0, -0.5)
)


@pytest.fixture
def scene(straight_route: Route) -> Scene:
    """At 10 m/s on a free straight road of 100 m with a limit of 10 m/s, but for the changes."""

    def make(speed_mps: float = 10.0, *, ahead_m: float = SILENT_M, **changes) -> PlanInputs:
        route = msgspec.structs.replace(
            straight_route,
            points_ego=changes.pop("points_ego", straight_route.points_ego),
            speed_limit_mps=changes.pop("limit_mps", 10.0),
            stop_distance_m=changes.pop("stop_m", None),
        )
        fields = {
            "stamp_ns": 1,
            "rung": Rung.FULL,
            "ego": EgoState(stamp_ns=1, world_from_ego=Pose(), speed_mps=speed_mps),
            "route": route,
            "agents": (),
            "radar_tracks": (),
            "ultrasonics": UltrasonicScan(np.full(3, ahead_m, np.float32)),
            "ultrasonic_mounts": FRONT_MOUNTS,
            "body": BODY,
            "tick_s": 1.0 / 36.0,
        }
        return PlanInputs(**(fields | changes))

    return make


def heard(x_m: float, y_m: float = 0.0) -> RadarTrack:
    return RadarTrack(track_id=7, x_m=x_m, y_m=y_m, vx_mps=0.0, vy_mps=0.0, hits=20, age_s=3.0)


def cause(inputs: PlanInputs) -> Cause:
    return plan(inputs, PlanSettings()).cause


def brake(inputs: PlanInputs) -> float:
    return plan(inputs, PlanSettings()).acceleration_mps2


def test_a_car_that_stands_ahead_is_what_is_braked_for(scene: Scene, agent) -> None:
    car: Agent = agent(22.0, 0.0)
    assert cause(scene(agents=(car,))) == Cause(kind=CauseKind.AGENT, track_id=1, x_m=22.0, y_m=0.0)
    assert brake(scene(agents=(car,))) < brake(scene()) - 1.0


def test_somebody_who_will_step_onto_the_path_is_what_is_braked_for(scene: Scene, agent) -> None:
    """At 20 m he is 4 m beside the path; in two seconds he is on it, and so are we."""
    walker: Agent = agent(20.0, -4.0, 0.0, 2.0, length_m=0.6, width_m=0.6)
    found = cause(scene(agents=(walker,)))
    assert (found.kind, found.track_id, found.y_m) == (CauseKind.AGENT, 1, -4.0)


def test_somebody_for_whom_only_the_check_of_collisions_refuses_is_the_cause(
    scene: Scene, agent
) -> None:
    """He walks along with us and comes onto the path in four seconds, too late to be followed yet."""
    walker: Agent = agent(BODY.front_m + 11.9, -5.1, 2.0, 1.3, length_m=0.6, width_m=0.6)
    chosen = plan(scene(11.6, agents=(walker,)), PlanSettings())
    assert dict(chosen.rejected)["collision"] > 0
    assert chosen.cause == Cause(
        kind=CauseKind.AGENT, track_id=1, x_m=BODY.front_m + 11.9, y_m=-5.1
    )


def test_of_two_cars_the_one_in_the_way_is_the_cause(scene: Scene, agent) -> None:
    beside: Agent = agent(12.0, 3.5)
    ahead = msgspec.structs.replace(agent(22.0, 0.0), track_id=2)
    assert cause(scene(agents=(beside, ahead))).track_id == 2


def test_what_the_radar_alone_knows_is_named_by_its_track(scene: Scene) -> None:
    for rung in (Rung.FULL, Rung.RADAR_ONLY, Rung.MINIMUM_RISK):
        found = cause(scene(7.0, radar_tracks=(heard(12.0),), rung=rung))
        assert found == Cause(kind=CauseKind.RADAR_TRACK, track_id=7, x_m=12.0, y_m=0.0), rung


def test_an_echo_before_the_bumper_is_braked_for_where_it_was_heard(scene: Scene) -> None:
    found = cause(scene(3.0, ahead_m=2.0))
    assert found.kind is CauseKind.ECHO
    assert found.x_m == pytest.approx(BODY.front_m + 2.0, abs=0.3)


def test_a_red_light_is_braked_for_at_its_line(scene: Scene) -> None:
    found = cause(scene(stop_m=20.0))
    assert found.kind is CauseKind.LIGHT
    assert (found.x_m, found.y_m) == (pytest.approx(20.0), pytest.approx(0.0))
    assert brake(scene(stop_m=20.0)) < -1.0


def test_the_end_of_the_route_is_braked_for(scene: Scene) -> None:
    short = tuple((2.0 * k, 0.0) for k in range(8))
    found = cause(scene(8.0, points_ego=short))
    assert found.kind is CauseKind.END_OF_ROUTE
    assert found.x_m == pytest.approx(14.0)


def test_without_a_route_the_vehicle_is_at_its_end(scene: Scene) -> None:
    assert cause(scene(points_ego=())) == Cause(kind=CauseKind.END_OF_ROUTE)


def test_the_nearer_of_a_light_and_a_car_is_the_cause(scene: Scene, agent) -> None:
    first_light = scene(stop_m=18.0, agents=(agent(60.0, 0.0),))
    first_car = scene(stop_m=60.0, agents=(agent(20.0, 0.0),))
    assert cause(first_light).kind is CauseKind.LIGHT
    assert cause(first_car).kind is CauseKind.AGENT


def test_a_vehicle_that_stands_before_a_red_light_waits_for_it(scene: Scene) -> None:
    assert cause(scene(0.0, stop_m=BODY.front_m + 0.7)).kind is CauseKind.LIGHT
    assert cause(scene(0.0)).kind is CauseKind.NONE


@pytest.mark.parametrize(
    "changes",
    [{}, {"limit_mps": 6.0}, {"rung": Rung.MINIMUM_RISK}],
    ids=["free road", "lower limit", "last resort with nothing near"],
)
def test_nothing_in_the_way_is_no_cause(scene: Scene, changes) -> None:
    assert cause(scene(**changes)) == Cause()


def test_a_bend_is_no_cause(scene: Scene) -> None:
    angle = np.linspace(0.0, math.pi / 2, 20)
    bend = tuple((12.0 * math.sin(a), 12.0 * (1.0 - math.cos(a))) for a in angle)
    on = tuple((12.0, 12.0 + 2.0 * k) for k in range(1, 30))
    bent = scene(points_ego=(*bend, *on))
    assert brake(bent) < -1.0
    assert cause(bent).kind is CauseKind.NONE


def test_a_plan_of_before_there_were_causes_reads_as_one_without(scene: Scene) -> None:
    fields = msgspec.to_builtins(plan(scene(stop_m=20.0), PlanSettings()))
    del fields["cause"]
    assert msgspec.convert(fields, Plan).cause == Cause()
