"""The chosen plan, tick by tick and in a closed loop with a bicycle model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.board.rig import load_rig
from edge.contracts.classes import CAR, PEDESTRIAN, Category
from edge.contracts.geometry import Pose
from edge.contracts.rig import Body, UltrasonicMount
from edge.contracts.scene import TTC_FREE_S, Agent, Box3D, Plan, PlanSource, RadarTrack, Rung
from edge.contracts.sensors import EgoState, Route, UltrasonicScan
from edge.plan.choose import PlanInputs, PlanSettings, plan, planned_body
from edge.plan.overlap import box_gap_m

TICK_S = 1.0 / 18.0
"""Every second frame, to halve the work of the closed loops."""
BODY = load_rig("sim_eight").rig.body
SHAPE = planned_body(BODY, PlanSettings())
FRONT_MOUNTS = tuple(
    UltrasonicMount(x_m=SHAPE.front_m, y_m=y, yaw_rad=0.0) for y in (0.5, 0.0, -0.5)
)


def inputs(
    route: Route, speed_mps: float = 10.0, *, ranges_m: Sequence[float] = (5.0, 5.0, 5.0), **changes
) -> PlanInputs:
    fields = {
        "stamp_ns": 1,
        "rung": Rung.FULL,
        "ego": EgoState(stamp_ns=1, world_from_ego=Pose(), speed_mps=speed_mps),
        "route": route,
        "agents": (),
        "radar_tracks": (),
        "ultrasonics": UltrasonicScan(np.array(ranges_m, np.float32)),
        "ultrasonic_mounts": FRONT_MOUNTS,
        "body": BODY,
        "tick_s": 1.0 / 36.0,
    }
    return PlanInputs(**(fields | changes))


# --- closed loop --------------------------------------------------------------------------------


@dataclass
class Other:
    """A road user that keeps its velocity."""

    x_m: float
    y_m: float
    vx_mps: float = 0.0
    vy_mps: float = 0.0
    length_m: float = 4.5
    width_m: float = 1.8
    category: Category = CAR


WALKER = {"length_m": 0.6, "width_m": 0.6, "category": PEDESTRIAN}


@dataclass
class Loop:
    """A bicycle model on a road, driven by ``plan``; what it met and how it drove."""

    line_world: np.ndarray
    speed_mps: float
    others: Sequence[Other] = ()
    limit_mps: float = 13.0
    stop_at_m: float | None = None
    """World x of a red light's line on a straight road."""
    is_radar_only: bool = False
    echo_wall_m: float | None = None
    """World x of a wall that only the ultrasonics hear."""
    react: Callable[[Other, float], None] = lambda other, t_s: None
    x_m: float = 0.0
    y_m: float = 0.0
    yaw_rad: float = 0.0
    closest_m: float = math.inf
    hardest_mps2: float = 0.0
    widest_m: float = 0.0
    plans: list[Plan] = field(default_factory=list)

    def run(self, seconds: float) -> "Loop":
        for k in range(round(seconds / TICK_S)):
            pose = Pose.from_xy_yaw(self.x_m, self.y_m, self.yaw_rad)
            for other in self.others:
                self.react(other, k * TICK_S)
                other.x_m += other.vx_mps * TICK_S
                other.y_m += other.vy_mps * TICK_S
            chosen = plan(self._inputs(pose, k), PlanSettings())
            self._drive(chosen)
            self.plans.append(chosen)
        return self

    def _drive(self, chosen: Plan) -> None:
        before = self.speed_mps
        self.speed_mps = max(before + chosen.acceleration_mps2 * TICK_S, 0.0)
        way = 0.5 * (before + self.speed_mps) * TICK_S
        self.yaw_rad += way * math.tan(chosen.steering_rad) / SHAPE.wheelbase_m
        self.x_m += way * math.cos(self.yaw_rad)
        self.y_m += way * math.sin(self.yaw_rad)
        self.hardest_mps2 = max(self.hardest_mps2, -chosen.acceleration_mps2)

    def _inputs(self, pose: Pose, tick: int) -> PlanInputs:
        here = np.array([self.x_m, self.y_m])
        nearest = int(np.hypot(*(self.line_world - here).T).argmin())
        self.widest_m = max(self.widest_m, float(np.hypot(*(self.line_world[nearest] - here))))
        ahead = self.line_world[max(nearest - 2, 0) : nearest + 160]
        ahead_ego = pose.inverse() @ np.pad(ahead, ((0, 0), (0, 1)))
        stop_m = None if self.stop_at_m is None else max(self.stop_at_m - self.x_m, 0.0)
        wall_m = (
            math.inf if self.echo_wall_m is None else self.echo_wall_m - self.x_m - SHAPE.front_m
        )
        route = Route(
            points_ego=tuple((float(x), float(y)) for x, y, _ in ahead_ego),
            speed_limit_mps=self.limit_mps,
            stop_distance_m=stop_m,
        )
        return inputs(
            route,
            self.speed_mps,
            ranges_m=[min(max(wall_m, 0.0), 5.0)] * 3,
            stamp_ns=tick + 1,
            ego=EgoState(stamp_ns=tick + 1, world_from_ego=pose, speed_mps=self.speed_mps),
            rung=Rung.RADAR_ONLY if self.is_radar_only else Rung.FULL,
            **self._seen(pose),
        )

    def _seen(self, pose: Pose) -> dict[str, tuple]:
        agents, tracks = [], []
        for number, other in enumerate(self.others, start=1):
            x, y, _ = (pose.inverse() @ np.array([other.x_m, other.y_m, 0.0])).tolist()
            vx, vy, _ = (
                pose.inverse().rotation @ np.array([other.vx_mps, other.vy_mps, 0])
            ).tolist()
            gap = box_gap_m(
                np.array([[x - SHAPE.centre_m, y]]),
                np.zeros(1),
                np.array([[SHAPE.half_length_m, SHAPE.half_width_m]]),
                np.array([-self.yaw_rad]),
                np.array([[other.length_m / 2, other.width_m / 2]]),
            )
            self.closest_m = min(self.closest_m, float(gap[0]))
            if math.hypot(x, y) > 60:
                continue
            box = Box3D(
                category=other.category, x_m=x, y_m=y, z_m=0.8, length_m=other.length_m,
                width_m=other.width_m, height_m=1.6, yaw_rad=-self.yaw_rad, vx_mps=vx, vy_mps=vy,
            )  # fmt: skip
            agents.append(
                Agent(track_id=number, box=box, first_seen_ns=0, hits=9, is_confirmed=True)
            )
            tracks.append(
                RadarTrack(track_id=number, x_m=x, y_m=y, vx_mps=vx, vy_mps=vy, hits=20, age_s=2.0)
            )
        return {"radar_tracks": tuple(tracks)} if self.is_radar_only else {"agents": tuple(agents)}


STRAIGHT = np.stack([0.5 * np.arange(800), np.zeros(800)], axis=1)


def left_turn(radius_m: float = 8.0, start_m: float = 38.0) -> np.ndarray:
    turn = np.linspace(0, math.pi / 2, 26)
    bend = [[start_m, 0]] + radius_m * np.stack([np.sin(turn), 1 - np.cos(turn)], axis=1)
    before = np.stack([0.5 * np.arange(2 * start_m), np.zeros(int(2 * start_m))], axis=1)
    after = np.stack([np.full(300, start_m + radius_m), radius_m + 0.5 * np.arange(1, 301)], axis=1)
    return np.concatenate([before, bend, after])


def test_on_an_empty_road_the_vehicle_follows_the_route_at_the_limit() -> None:
    loop = Loop(STRAIGHT, 0.0).run(12.0)
    assert loop.speed_mps == pytest.approx(13.0, abs=0.1)
    assert loop.widest_m < 0.3
    assert {p.source for p in loop.plans} == {PlanSource.ROUTE}
    assert {p.min_ttc_s for p in loop.plans} == {TTC_FREE_S}


def test_a_wall_26_4_m_before_the_bumper_at_10_mps_is_stopped_before_in_comfort() -> None:
    loop = Loop(STRAIGHT, 10.0, [Other(SHAPE.front_m + 26.4 + 2.25, 0.0)]).run(8.0)
    assert loop.speed_mps < 0.1
    assert 1.0 < loop.closest_m < 3.0
    assert loop.hardest_mps2 < 3.5
    assert loop.plans[0].min_ttc_s == pytest.approx(26.4 / 10, abs=0.05)


def test_a_red_light_stops_the_bumper_just_before_its_line() -> None:
    loop = Loop(STRAIGHT, 10.0, stop_at_m=60.0).run(12.0)
    assert loop.speed_mps < 0.05
    assert 58.0 < loop.x_m + SHAPE.front_m < 60.0
    assert loop.hardest_mps2 < 3.0


def test_a_light_that_turns_red_too_late_to_stop_is_driven_through() -> None:
    """From 10 m/s at 4.5 m/s2 it takes 11.1 m; between bumper and line are 10 m."""
    route = Route(points_ego=((0.0, 0.0), (60.0, 0.0)), stop_distance_m=SHAPE.front_m + 10.0)
    assert plan(inputs(route, 10.0), PlanSettings()).acceleration_mps2 >= 0.0
    assert plan(inputs(route, 9.0), PlanSettings()).acceleration_mps2 < -4.0


def test_at_walking_pace_it_is_never_too_late_for_a_red_light() -> None:
    route = Route(points_ego=((0.0, 0.0), (60.0, 0.0)), stop_distance_m=SHAPE.front_m + 1.0)
    assert plan(inputs(route, 4.0), PlanSettings()).acceleration_mps2 < -4.0


def test_a_braking_car_ahead_is_followed_down_to_standstill_and_off_again() -> None:
    def react(lead: Other, t_s: float) -> None:
        if 3.0 < t_s < 6.0:
            lead.vx_mps = max(lead.vx_mps - 5.0 * TICK_S, 0.0)
        if t_s > 10.0:
            lead.vx_mps = min(lead.vx_mps + 2.0 * TICK_S, 10.0)

    loop = Loop(STRAIGHT, 10.0, [Other(25.0, 0.0, 10.0)], react=react).run(18.0)
    speeds = np.diff([0.0, *(p.points[0].speed_mps for p in loop.plans)])
    assert loop.closest_m > 1.0
    assert loop.speed_mps > 7.0
    assert min(p.points[0].speed_mps for p in loop.plans) < 0.1
    assert np.abs(speeds[1:]).max() < 3.0
    assert PlanSource.MINIMUM_RISK not in {p.source for p in loop.plans}


@pytest.mark.parametrize("start_m", [25.0, 30.0, 35.0, 40.0, 45.0])
def test_a_crossing_pedestrian_is_never_hit(start_m: float) -> None:
    walker = Other(start_m, -6.0, 0.0, 1.5, **WALKER)
    loop = Loop(STRAIGHT, 10.0, [walker]).run(10.0)
    assert loop.closest_m > 0.3
    assert loop.speed_mps > 5.0  # and afterwards one drives on


def test_a_child_that_steps_out_from_behind_a_van_is_braked_for_with_all_there_is() -> None:
    child = Other(24.0, -1.6, **WALKER)

    def react(other: Other, t_s: float) -> None:
        other.vy_mps = 1.5 if other is child and t_s > 0.3 else 0.0

    loop = Loop(STRAIGHT, 9.0, [child], react=react).run(6.0)
    assert loop.closest_m > 0.0
    assert loop.hardest_mps2 > 3.0


def test_parked_cars_on_both_sides_are_passed_at_speed() -> None:
    parked = [Other(30.0 + 8 * k, 2.6) for k in range(8)] + [
        Other(34.0 + 9 * k, -2.7) for k in range(8)
    ]
    loop = Loop(STRAIGHT, 10.0, parked).run(8.0)
    assert loop.hardest_mps2 < 0.1


def test_a_left_turn_is_driven_slowly_and_close_to_its_line() -> None:
    loop = Loop(left_turn(), 10.0).run(12.0)
    assert loop.widest_m < 1.0
    assert loop.y_m > 25.0
    assert PlanSource.MINIMUM_RISK not in {p.source for p in loop.plans}


def test_turning_left_lets_oncoming_traffic_pass() -> None:
    oncoming = [Other(100.0 + 25 * k, 4.0, -10.0) for k in range(3)]
    loop = Loop(left_turn(), 10.0, oncoming).run(20.0)
    assert loop.closest_m > 0.2
    assert loop.y_m > 25.0


def test_on_radar_alone_the_vehicle_drives_slowly_and_stops_for_what_the_radar_follows() -> None:
    loop = Loop(STRAIGHT, 10.0, [Other(60.0, 0.0, length_m=1.0)], is_radar_only=True).run(14.0)
    assert loop.speed_mps < 0.2
    assert loop.closest_m > 0.8
    assert max(p.points[0].speed_mps for p in loop.plans[72:]) < 7.5


def test_an_echo_0_3_m_ahead_at_1_mps_stops_before_contact() -> None:
    loop = Loop(STRAIGHT, 1.0, echo_wall_m=SHAPE.front_m + 0.3).run(3.0)
    assert loop.speed_mps == 0.0
    assert loop.x_m < 0.3


# --- one tick -----------------------------------------------------------------------------------


def test_when_everything_is_refused_the_minimum_risk_manoeuvre_brakes_fully(
    straight_route, agent
) -> None:
    """A wall 4 m before the bumper at 15 m/s cannot be missed: every proposal hits it."""
    chosen = plan(inputs(straight_route, 15.0, agents=(agent(9.6, 0.0),)), PlanSettings())
    assert chosen.source is PlanSource.MINIMUM_RISK
    assert chosen.acceleration_mps2 == -SHAPE.max_braking_mps2
    assert sum(count for _, count in chosen.rejected) == 7


def test_without_a_route_the_vehicle_stops_along_its_wheels(straight_route) -> None:
    ego = EgoState(stamp_ns=1, world_from_ego=Pose(), speed_mps=8.0, steering_rad=0.1)
    chosen = plan(inputs(Route(), ego=ego), PlanSettings())
    assert chosen.source is PlanSource.MINIMUM_RISK
    assert chosen.acceleration_mps2 == -3.0
    assert chosen.steering_rad == pytest.approx(0.1, abs=0.01)
    assert chosen.points[-1].speed_mps == 0.0


def test_the_last_rung_brakes_as_hard_as_the_radar_demands(straight_route) -> None:
    """10 m/s with 11.1 m of room needs 4.5 m/s2: 0.5 m are kept, and an echo is 0.5 m before its middle."""
    track = RadarTrack(
        track_id=1,
        x_m=SHAPE.front_m + 12.1,
        y_m=0.0,
        vx_mps=0.0,
        vy_mps=0.0,
        hits=9,
        age_s=1.0,
        rcs_dbsm=0.0,
    )
    last = inputs(straight_route, 10.0, rung=Rung.MINIMUM_RISK, radar_tracks=(track,))
    chosen = plan(last, PlanSettings())
    assert chosen.source is PlanSource.MINIMUM_RISK
    assert chosen.acceleration_mps2 == pytest.approx(-4.5, abs=0.05)


def lively_plan(speed_mps: float = 10.0, y_m: float = 0.0) -> np.ndarray:
    """A network plan that keeps its speed and drifts to ``y_m`` within 3 s."""
    x = speed_mps * 0.25 * np.arange(1, 13)
    y = y_m * np.linspace(0.1, 1.0, 12) ** 2
    return np.stack([x, y, np.gradient(y, x)], axis=1)


def with_network(route: Route, plans: list[np.ndarray], scores: list[float], **changes) -> Plan:
    network = {
        "network_plans": np.array(plans, np.float32),
        "network_scores": np.array(scores, np.float32),
    }
    return plan(inputs(route, **(network | changes)), PlanSettings())


def test_a_good_network_plan_is_driven(straight_route) -> None:
    chosen = with_network(straight_route, [lively_plan(9.8), lively_plan(10.0)], [0.6, 0.9])
    assert chosen.source is PlanSource.NETWORK
    assert chosen.points[-1].x_m == pytest.approx(30.0)
    assert chosen.rejected == ()


@pytest.mark.parametrize(
    ("refused_plan", "score", "why"),
    [
        (lively_plan(10.0, y_m=2.5), 0.9, "corridor"),
        (lively_plan(16.0), 0.9, "kinematics"),
        (0.0 * lively_plan(10.0), 0.9, "kinematics"),
        (lively_plan(10.0), 0.05, "score"),
    ],
)
def test_a_bad_network_plan_leaves_the_route_plan(straight_route, refused_plan, score, why) -> None:
    chosen = with_network(straight_route, [refused_plan], [score])
    assert chosen.source is PlanSource.ROUTE
    assert dict(chosen.rejected) == {why: 1}


def test_a_network_that_would_rather_stand_does_not_hold_the_vehicle(straight_route) -> None:
    chosen = with_network(straight_route, [np.zeros((12, 3))], [0.99], speed_mps=0.0)
    assert chosen.source is PlanSource.ROUTE
    assert chosen.acceleration_mps2 > 1.0
    assert dict(chosen.rejected) == {"progress": 1}


def test_a_network_plan_does_not_run_a_red_light_or_a_car_over(straight_route, agent) -> None:
    red = msgspec.structs.replace(straight_route, stop_distance_m=25.0)
    for changes, why in (({"route": red}, "speed"), ({"agents": (agent(25, 0),)}, "collision")):
        chosen = with_network(
            **({"route": straight_route} | changes), plans=[lively_plan()], scores=[0.9]
        )
        assert chosen.source is PlanSource.ROUTE
        assert why in dict(chosen.rejected)
        assert chosen.acceleration_mps2 < 0.0


def test_of_two_network_plans_the_one_on_the_road_wins_though_it_scores_less(
    straight_route,
) -> None:
    drivable = np.zeros((64, 64), np.bool_)
    drivable[:, :32] = True  # the right half: columns grow to the left
    left, right = lively_plan(10.0, y_m=0.9), lively_plan(10.0, y_m=-0.9)
    chosen = with_network(straight_route, [left, right], [0.9, 0.7], drivable=drivable)
    assert chosen.points[-1].y_m == pytest.approx(-0.9)


def test_before_an_echo_with_some_room_one_creeps_on(straight_route) -> None:
    """Whoever stands 1.2 m before the middle of the bumper is 1.3 m from the sensors beside it."""
    chosen = plan(inputs(straight_route, 0.0, ranges_m=(1.3, 1.2, 1.3)), PlanSettings())
    assert chosen.acceleration_mps2 > 0.5
    assert chosen.points[-1].x_m < 1.0


def test_same_inputs_give_the_same_bytes(straight_route, agent) -> None:
    once, again = (
        with_network(straight_route, [lively_plan()], [0.9], agents=(agent(20, 1, 5.0, 0.5),))
        for _ in range(2)
    )
    assert msgspec.msgpack.encode(once) == msgspec.msgpack.encode(again)


finite = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, (4, 12, 3), elements=finite),
    hnp.arrays(np.float32, 4, elements=st.floats(0, 1, width=32)),
    st.floats(0, 15),
    st.lists(st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(-15, 15)] * 2), max_size=5),
)
def test_whatever_an_untrained_network_says_the_plan_is_drivable(
    plans, scores, speed_mps, users
) -> None:
    route = Route(points_ego=tuple((2.0 * k, 0.0) for k in range(40)), speed_limit_mps=12.0)
    agents = tuple(
        Agent(
            track_id=k, first_seen_ns=0, hits=9, is_confirmed=True,
            box=Box3D(category=CAR, x_m=x, y_m=y, z_m=0.8, length_m=4.5, width_m=1.8,
                      height_m=1.5, yaw_rad=0.0, vx_mps=vx, vy_mps=vy),
        )
        for k, (x, y, vx, vy) in enumerate(users)
    )  # fmt: skip
    chosen = with_network(route, list(plans), list(scores), speed_mps=speed_mps, agents=agents)
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(chosen), type=Plan)
    assert decoded == chosen
    assert -SHAPE.max_braking_mps2 <= chosen.acceleration_mps2 <= 3.6
    assert abs(chosen.steering_rad) <= SHAPE.max_steering_rad
    assert all(abs(p.y_m) < 1.1 for p in chosen.points)


def test_plans_stay_below_the_limits_of_the_body_by_the_margins() -> None:
    body = Body(max_acceleration_mps2=3.5, max_braking_mps2=9.0)
    planned = planned_body(body, PlanSettings())
    assert (planned.max_acceleration_mps2, planned.max_braking_mps2) == (3.0, 8.0)


def test_a_body_that_can_do_less_than_the_margins_is_planned_with_half_of_it() -> None:
    body = Body(max_acceleration_mps2=0.4, max_braking_mps2=1.0)
    planned = planned_body(body, PlanSettings())
    assert (planned.max_acceleration_mps2, planned.max_braking_mps2) == (0.2, 0.5)
