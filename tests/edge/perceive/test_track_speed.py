"""Box tracker: how fast things move, when boxes, radar and a network say it, and when one of them is wrong.

Boxes scatter by 0.25 m at 36 Hz. Bounds hold for each of ten seeds.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pytest

from edge.contracts.classes import BICYCLE, CAR, MOTORCYCLE, TRUCK, Category
from edge.contracts.geometry import Pose
from edge.contracts.rig import RadarMount
from edge.contracts.scene import Agent, Box3D, RadarTrack
from edge.contracts.sensors import EgoState
from edge.contracts.time import frame_stamp_ns
from edge.perceive.radar_mounts import RadarMounts
from edge.perceive.track import Tracker

TICK_S = 1.0 / 36.0
SIGMA_M = 0.25
SEEDS = range(10)
EGO = EgoState(stamp_ns=0, world_from_ego=Pose())

Profile = Callable[[float], float]


@dataclass(frozen=True)
class Seen:
    """One tick of a drive along y, 12 m beside us: the truth, and what the tracker reports."""

    time_s: float
    speed_mps: float
    y_m: float
    agent: Agent

    @property
    def speed_error_mps(self) -> float:
        return math.hypot(self.agent.box.vx_mps, self.agent.box.vy_mps - self.speed_mps)

    @property
    def place_error_m(self) -> float:
        return math.hypot(self.agent.box.x_m - 12.0, self.agent.box.y_m - self.y_m)

    @property
    def believed_mps(self) -> float:
        return math.hypot(self.agent.box.vx_mps, self.agent.box.vy_mps)


def box(y_m: float, rng: np.random.Generator, category: Category, says_mps: float) -> Box3D:
    dx, dy = rng.normal(0.0, SIGMA_M, 2).tolist()
    return Box3D(
        category=category,
        x_m=12.0 + dx,
        y_m=y_m + dy,
        z_m=0.8,
        length_m=4.5,
        width_m=1.8,
        height_m=1.5,
        yaw_rad=math.pi / 2,
        vy_mps=says_mps,
        score=0.8,
    )


def echo(y_m: float, vy_mps: float, x_m: float = 11.1) -> RadarTrack:
    """A radar track; on the side of the car that is turned to us unless told otherwise."""
    return RadarTrack(track_id=1, x_m=x_m, y_m=y_m, vx_mps=0.0, vy_mps=vy_mps, hits=9, age_s=1.0)


def drive(
    seed: int,
    profile: Profile,
    seconds: float = 4.0,
    *,
    category: Category = CAR,
    says: Profile = lambda time_s: 0.0,
    sigma_mps: float | None = None,
    radar: Callable[[float, float, float], Iterable[RadarTrack]] = lambda time_s, y_m, v: (),
    from_y_m: float = -10.0,
) -> list[Seen]:
    """Drive with a speed over time; give every tick in which the agent is confirmed."""
    rng, y_m, seen = np.random.default_rng(seed), from_y_m, []
    tracker = Tracker(velocity_sigma_mps={category: sigma_mps} if sigma_mps else {})
    for k in range(round(seconds / TICK_S)):
        time_s = k * TICK_S
        speed_mps = profile(time_s)
        agents = tracker.update(
            (box(y_m, rng, category, says(time_s)),),
            (),
            EGO,
            frame_stamp_ns(k),
            tuple(radar(time_s, y_m, speed_mps)),
        )
        assert len(agents) == 1, "the road user got a second identity"
        if agents[0].is_confirmed:
            seen.append(Seen(time_s, speed_mps, y_m, agents[0]))
        y_m += speed_mps * TICK_S
    return seen


def steady(speed_mps: float) -> Profile:
    return lambda time_s: speed_mps


def braking(time_s: float) -> float:
    """10 m/s; from 2 s on it loses 6 m/s every second."""
    return min(10.0, max(0.0, 10.0 - 6.0 * (time_s - 2.0)))


def starting(time_s: float) -> float:
    """Stands; from 2 s on it gains 3 m/s every second up to 9 m/s."""
    return min(9.0, max(0.0, 3.0 * (time_s - 2.0)))


def worst(seen: Iterable[Seen], from_s: float = 1.0) -> tuple[float, float]:
    """Give the largest errors in speed and place from a time on."""
    settled = [s for s in seen if s.time_s >= from_s]
    return max(s.speed_error_mps for s in settled), max(s.place_error_m for s in settled)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("category", "speed_mps"),
    [
        (CAR, 5.0),
        (CAR, 10.0),
        (CAR, -10.0),
        (CAR, 20.0),
        (TRUCK, 10.0),
        (MOTORCYCLE, 10.0),
        (BICYCLE, 5.0),
    ],
)
def test_boxes_alone_give_the_speed_within_a_metre_per_second(
    seed: int, category: Category, speed_mps: float
) -> None:
    """The network says that everything stands, and its bundle vouches for no velocity."""
    speed_error, place_error = worst(drive(seed, steady(speed_mps), category=category))
    assert speed_error < 1.0
    assert place_error < 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fast_car_moves_within_a_third_of_a_second(seed: int) -> None:
    seen = drive(seed, steady(10.0))
    assert all(s.believed_mps > 5.0 for s in seen if s.time_s > 0.34)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_parked_car_stands_from_its_first_tick_on(seed: int) -> None:
    """The scatter of the first boxes is no speed: at three hits it looks like several metres per second."""
    assert max(s.believed_mps for s in drive(seed, steady(0.0), 10.0)) < 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_car_that_brakes_hard_is_followed_by_its_boxes(seed: int) -> None:
    seen = drive(seed, braking, 6.0)
    speed_error, place_error = worst(seen)
    assert speed_error < 3.5
    assert place_error < 1.0
    assert max(s.believed_mps for s in seen if s.time_s > 5.0) < 1.0  # it stands since 3.7 s


@pytest.mark.parametrize("seed", SEEDS)
def test_a_car_that_starts_is_followed_by_its_boxes(seed: int) -> None:
    """Until it surely moves it is reported as standing: for a second, at 3 m/s2."""
    speed_error, place_error = worst(drive(seed, starting, 7.0))
    assert speed_error < 3.0
    assert place_error < 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_the_radar_shows_a_car_that_brakes_along_the_line_of_sight(seed: int) -> None:
    """Boxes alone lag by up to 3.5 m/s; along the line of sight the radar halves that at least."""
    seen = drive(seed, braking, 6.0, radar=lambda time_s, y, v: [echo(y, v, 11.5)], from_y_m=30.0)
    speed_error, place_error = worst(seen)
    assert speed_error < 1.5
    assert place_error < 0.5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("passing_mps", [-12.0, -1.4, 1.4, 12.0])
def test_an_echo_that_passes_a_parked_car_does_not_move_it(seed: int, passing_mps: float) -> None:
    """Somebody without a box passes within its outline's reach, again and again."""

    def passer(time_s: float, y_m: float, speed_mps: float) -> list[RadarTrack]:
        return [echo(y_m + (passing_mps * time_s + 3.0) % 6.0 - 3.0, passing_mps)]

    seen = drive(seed, steady(0.0), 6.0, radar=passer, from_y_m=20.0)
    assert max(s.believed_mps for s in seen) < 1.0
    assert worst(seen)[1] < 0.5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("from_y_m", [-10.0, 5.0])
def test_echoes_of_what_stands_beside_the_road_do_not_stop_a_car(
    seed: int, from_y_m: float
) -> None:
    """A guard rail echoes wherever the car is; abreast of us both stand along the line of sight."""
    seen = drive(
        seed,
        steady(10.0),
        radar=lambda time_s, y_m, speed_mps: [echo(y_m + 1.0, 0.0, 13.4)],
        from_y_m=from_y_m,
    )
    speed_error, place_error = worst(seen)
    assert speed_error < 1.0
    assert place_error < 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_velocity_that_the_bundle_vouches_for_is_believed_at_once(seed: int) -> None:
    seen = drive(seed, steady(10.0), says=steady(10.0), sigma_mps=0.5)
    assert worst(seen, from_s=0.0)[0] < 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_velocity_that_errs_alike_every_tick_does_not_outvote_the_boxes(seed: int) -> None:
    """The error that a bundle states is no noise: what is wrong in one tick is as wrong in the next."""
    seen = drive(seed, steady(10.0), says=steady(6.0), sigma_mps=2.5)
    assert worst(seen)[0] < 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_velocity_that_no_bundle_vouches_for_changes_nothing(seed: int) -> None:
    told = drive(seed, steady(10.0), says=steady(-30.0))
    assert [s.agent.box for s in told] == [s.agent.box for s in drive(seed, steady(10.0))]


@pytest.mark.parametrize(("mount_x_m", "is_sideways_believed"), [(12.0, False), (1.3, True)])
def test_a_speed_across_the_radars_own_line_of_sight_is_not_believed(
    mount_x_m: float, is_sideways_believed: bool
) -> None:
    """A car drives along x = 12 m; its echo says 10 m/s along y, which is true, and 1 m/s along x.

    A radar at x = 12 m looks along y, so its 1 m/s is across; one at x = 1.3 m looks askew.
    """
    tracker = Tracker(radars=(RadarMount(name="front", x_m=mount_x_m),))
    for k in range(36):
        y_m = 10.0 * k * TICK_S
        seen = box(y_m, np.random.default_rng(0), CAR, 0.0)
        heard = RadarTrack(
            track_id=1, x_m=12.0, y_m=y_m - 1.0, vx_mps=1.0, vy_mps=10.0, hits=9, age_s=1.0
        )
        agents = tracker.update((seen,), (), EGO, frame_stamp_ns(k), (heard,))
    assert (agents[0].box.vx_mps > 0.15) is is_sideways_believed


def test_of_two_radars_the_one_that_looks_there_measured_an_echo() -> None:
    """The nearer one looks back, so the line of sight is that of the other."""
    front = RadarMount(name="front", x_m=3.6, yaw_rad=0.0, field_of_view_rad=2.0)
    rear = RadarMount(name="rear", x_m=-1.0, yaw_rad=math.pi, field_of_view_rad=2.0)
    mounts = RadarMounts((rear, front))
    assert mounts.seeing(np.array([[12.0, 3.0], [-9.0, 0.0], [2.0, 20.0]])).tolist() == [1, 0, 1]
