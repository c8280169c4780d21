"""Check proposals: each check is a rule that can be verified on paper.

A check judges proposals in one situation and returns which pass. Checks run in order and a proposal is
counted for the first check that it fails, so the counts of a plan add up to the proposals refused. A plan
that stands still hits no road user and passes every check about others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contracts.rig import Body
from edge.plan.overlap import gaps_over_time
from edge.plan.path import Path
from edge.plan.predict import Hazards
from edge.plan.proposals import Proposals, SpeedCeiling

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CREEP_M = 0.4
"""Over a shorter step the noise of positions hides direction and curvature."""

_REST_MPS = 0.1
_YIELD_MPS2 = 1.9
"""Deceleration from which a plan counts as yielding."""


@dataclass
class CheckSettings:
    """Limits of a plan."""

    speed_margin_mps: float = 1.0
    """Above the allowed speed, unless the plan is slowing down."""
    acceleration_margin_mps2: float = 0.5
    """Margin for the noise of positions."""
    lateral_mps2: float = 4.5
    """Largest sideways acceleration of a plan."""
    curvature_ratio: float = 1.8
    """A bend may be tighter than the steering allows by this factor; it is then driven wide. Lines of points,
    and maps, exaggerate corners, and a stricter limit would stop the vehicle there for good."""
    slip_rad: float = 0.35
    """Largest angle between the motion of a plan and its heading."""
    corridor_m: float = 1.0
    """How far a plan may leave the drive path."""
    front_margin_m: float = 0.5
    """Distance that a plan keeps ahead of the front bumper at standstill."""
    front_margin_s: float = 0.15
    """Time whose way at the plan's speed is added to ``front_margin_m``."""
    side_margin_m: float = 0.2
    """Distance that a plan keeps to either side of the vehicle."""
    min_ttc_s: float = 1.2
    """Below this a plan must brake by ``ttc_brake_mps2``."""
    ttc_brake_mps2: float = 2.0
    """Deceleration of a plan that may have a time to collision below ``min_ttc_s``."""
    stopping_brake_mps2: float = 6.0
    """Deceleration with which the vehicle must still be able to stop in time after a plan's end."""
    contact_gap_m: float = 0.2
    """Distance left before an ultrasonic echo."""
    standstill_m: float = 0.05
    """A plan shorter than this stands still."""


@dataclass(frozen=True, eq=False)
class Situation:
    """The scene by which proposals are judged, in the ego frame of one tick."""

    speed_mps: float
    path: Path
    ceiling: SpeedCeiling
    hazards: Hazards
    stop_line_m: float
    """Station of a line that the front bumper must not cross; infinite when free."""
    free_ahead_m: float
    """From the front bumper to the nearest ultrasonic echo in the way; infinite when none."""
    ttc_s: float
    """Time to collision if neither side brakes."""


def judge(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Run every check.

    Returns:
        The rows that passed all of them, in order, and how many each check refused.
    """
    passed = np.arange(len(proposals))
    refused: dict[str, int] = {}
    for name, check in CHECKS.items():
        if len(passed) == 0:
            break
        is_good = check(proposals, situation, vehicle, settings)
        if not is_good.all():
            refused[name] = int((~is_good).sum())
            passed, proposals = passed[is_good], proposals.select(is_good)
    return passed, refused


def kinematics(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans beyond the vehicle's limits: acceleration, steering, sideways grip, sliding, reversing."""
    step_s = proposals.step_s
    before = np.full((len(proposals), 1), situation.speed_mps)
    speed = np.concatenate([before, proposals.speed_mps], axis=1)
    acceleration = np.diff(speed, axis=1) / step_s
    margin = settings.acceleration_margin_mps2
    is_good = (acceleration <= vehicle.max_acceleration_mps2 + margin).all(axis=1)
    is_good &= (acceleration >= -vehicle.max_braking_mps2 - margin).all(axis=1)
    is_good &= (proposals.speed_mps >= -0.1).all(axis=1)
    way, turn, slip = _ways(proposals)
    is_moving = way > _CREEP_M
    tightest = np.tan(vehicle.max_steering_rad) / vehicle.wheelbase_m
    curvature = np.abs(turn) / np.maximum(way, _CREEP_M)
    mean_speed = 0.5 * (speed[:, 1:] + speed[:, :-1])
    sideways = mean_speed**2 * curvature
    is_good &= (curvature <= settings.curvature_ratio * tightest).all(axis=1)
    is_good &= (sideways <= settings.lateral_mps2).all(axis=1)
    is_good &= (~is_moving | (np.abs(slip) <= settings.slip_rad)).all(axis=1)
    return np.asarray(is_good)


def _ways(proposals: Proposals) -> tuple[Floats, Floats, Floats]:
    """Return, per step, the distance, the change of heading, and motion against mean heading, (P, K)."""
    nothing = np.zeros((len(proposals), 1))
    yaw = np.concatenate([nothing, proposals.yaw_rad], axis=1)
    step = proposals.step_m
    turn = _wrapped(np.diff(yaw, axis=1))
    middle = yaw[:, :-1] + 0.5 * turn
    slip = _wrapped(np.arctan2(step[..., 1], step[..., 0]) - middle)
    return np.hypot(step[..., 0], step[..., 1]), turn, slip


def _wrapped(angle_rad: Floats) -> Floats:
    return np.asarray((angle_rad + np.pi) % (2.0 * np.pi) - np.pi)


def corridor(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans that leave the drive path by more than a lane allows."""
    return np.asarray((np.abs(proposals.offset_m) <= settings.corridor_m).all(axis=1))


def speed(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans that are faster than limit, bends and stop allow and do not slow down."""
    allowed = situation.ceiling.at(proposals.station_m) + settings.speed_margin_mps
    before = np.full((len(proposals), 1), situation.speed_mps)
    gained = np.diff(np.concatenate([before, proposals.speed_mps], axis=1), axis=1)
    is_slowing = gained <= -0.5 * proposals.step_s
    return np.asarray(((proposals.speed_mps <= allowed) | is_slowing).all(axis=1))


def stop_line(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans that cross a red light's line, or end too fast to stop before it."""
    if not np.isfinite(situation.stop_line_m):
        return np.ones(len(proposals), np.bool_)
    end_speed = proposals.speed_mps[:, -1]
    reach = (
        proposals.station_m[:, -1]
        + vehicle.front_m
        + 0.5 * end_speed**2 / settings.stopping_brake_mps2
    )
    return np.asarray((reach <= situation.stop_line_m) | _stands_still(proposals, settings))


def collision(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans that touch a predicted outline at any time; the room kept ahead grows with speed.

    A hazard that is closer than the margin already must only not be touched. A hazard that overlaps the
    vehicle's flank now was measured wrongly and is ignored. A plan that brakes at once is not refused for a
    contact after it has stopped: that contact is the other road user's.
    """
    is_hit = hits(proposals, situation, vehicle, settings).any(axis=1)
    return np.asarray(~is_hit | _stands_still(proposals, settings))


def hits(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Return which plan touches which hazard at any time, (P, A); see ``collision``."""
    gap_now = _gaps_now(situation.hazards, vehicle)
    is_flank = (gap_now < 0.0) & (situation.hazards.position[:, 0, 0] < vehicle.front_m)
    is_close = gap_now < settings.front_margin_m
    ahead = settings.front_margin_m + settings.front_margin_s * proposals.speed_mps
    nothing = np.zeros_like(ahead)
    is_hit = np.zeros((len(proposals), len(situation.hazards)), np.bool_)
    for chosen, margin_m, side_m in (
        (~is_close, ahead, settings.side_margin_m),
        (is_close & ~is_flank, nothing, 0.0),
    ):
        hazards = situation.hazards.select(chosen)
        is_hit[:, chosen] = _is_hit(proposals, hazards, vehicle, margin_m, side_m)
    return is_hit


def _is_hit(
    proposals: Proposals, hazards: Hazards, vehicle: Body, ahead_m: Floats, side_m: float
) -> Bools:
    """Return which plans touch which hazards, (P, A), with room ahead (P, K) and to the sides."""
    if len(hazards) == 0:
        return np.zeros((len(proposals), 0), np.bool_)
    steps = proposals.position.shape[1]
    yaw = proposals.yaw_rad
    heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    half_length = vehicle.half_length_m + 0.5 * ahead_m
    half_width = np.full_like(half_length, vehicle.half_width_m + side_m)
    gaps = gaps_over_time(
        proposals.position + (vehicle.centre_m + 0.5 * ahead_m)[..., None] * heading,
        yaw,
        np.stack([half_length, half_width], axis=-1),
        hazards.position[:, 1 : steps + 1],
        hazards.yaw_rad[:, 1 : steps + 1],
        hazards.half,
    )  # (P, K, A)
    is_braking = proposals.acceleration_mps2 <= -_YIELD_MPS2
    is_at_rest = is_braking[:, None] & (proposals.speed_mps < _REST_MPS)
    is_theirs = is_at_rest[..., None] & ~hazards.is_standing
    return np.asarray(((gaps < 0.0) & ~is_theirs).any(axis=1))


def _gaps_now(hazards: Hazards, vehicle: Body) -> Floats:
    """Measure the gaps (A,) between the hazards and the vehicle's bare outline now."""
    gaps = gaps_over_time(
        np.array([[[vehicle.centre_m, 0.0]]]),
        np.zeros((1, 1)),
        np.array([[[vehicle.half_length_m, vehicle.half_width_m]]]),
        hazards.position[:, :1],
        hazards.yaw_rad[:, :1],
        hazards.half,
    )
    return np.asarray(gaps[0, 0])


def time_to_collision(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans that do not brake while the time to collision is below ``min_ttc_s``."""
    if situation.ttc_s >= settings.min_ttc_s:
        return np.ones(len(proposals), np.bool_)
    is_braking = proposals.acceleration_mps2 <= -settings.ttc_brake_mps2
    return np.asarray(is_braking | _stands_still(proposals, settings))


def stopping(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans that end so fast, or so near to a hazard ahead, that braking then comes too late.

    From the plan's end on both brake equally hard (the longitudinal safe distance of Shalev-Shwartz, Shammah
    and Shashua 2017, without its reaction time). A plan that has stopped by then passes.
    """
    is_caught = catches(proposals, situation, vehicle, settings).any(axis=1)
    return np.asarray(~is_caught | (proposals.speed_mps[:, -1] < _REST_MPS))


def catches(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Return which plan ends too fast to stop behind which hazard, (P, A); see ``stopping``."""
    hazards, steps = situation.hazards, proposals.position.shape[1]
    along, across = hazards.extents_along(situation.path)
    room = vehicle.half_width_m + settings.side_margin_m
    is_on_path = np.abs(hazards.offset_m[:, steps]) - across[:, steps] < room  # (A,)
    rear = (hazards.station_m - along)[:, steps]
    pace = (hazards.station_m[:, steps] - hazards.station_m[:, steps - 1]) / proposals.step_s
    brake = 2.0 * settings.stopping_brake_mps2
    stops_at = rear + np.sign(pace) * pace**2 / brake
    station = proposals.station_m[:, -1]
    is_ahead = rear[None] > station[:, None]
    reach = station + vehicle.front_m + proposals.speed_mps[:, -1] ** 2 / brake
    return np.asarray(is_on_path & is_ahead & (reach[:, None] > stops_at))


def contact(
    proposals: Proposals, situation: Situation, vehicle: Body, settings: CheckSettings
) -> Bools:
    """Refuse plans that drive into an ultrasonic echo."""
    free_m = situation.free_ahead_m - settings.contact_gap_m
    return np.asarray((proposals.progress_m <= free_m) | _stands_still(proposals, settings))


Check = Callable[[Proposals, Situation, Body, CheckSettings], Bools]

CHECKS: dict[str, Check] = {
    "kinematics": kinematics,
    "corridor": corridor,
    "speed": speed,
    "stop_line": stop_line,
    "contact": contact,
    "collision": collision,
    "time_to_collision": time_to_collision,
    "stopping": stopping,
}
"""Checks of low cost come first."""


def _stands_still(proposals: Proposals, settings: CheckSettings) -> Bools:
    return np.asarray(proposals.progress_m <= settings.standstill_m)


def time_to_collision_s(
    path: Path, speed_mps: float, hazards: Hazards, vehicle: Body, *, step_s: float
) -> float:
    """Return the time until the vehicle touches a predicted outline at its present speed along the path, s.

    Returns:
        Seconds from now; infinite when nothing is touched within the prediction.
    """
    times = times_to_collision_s(path, speed_mps, hazards, vehicle, step_s=step_s)
    return float(times.min(initial=np.inf))


def times_to_collision_s(
    path: Path, speed_mps: float, hazards: Hazards, vehicle: Body, *, step_s: float
) -> Floats:
    """Return the time until the vehicle touches each predicted outline at its present speed along the path.

    Returns:
        Seconds from now, (A,), between the steps by the change of the gap; infinite for what is not touched
        within the prediction, or is touched now.
    """
    if len(hazards) == 0 or speed_mps <= 0.0:
        return np.full(len(hazards), np.inf)
    time_s = np.arange(hazards.position.shape[1], dtype=np.float64) * step_s
    position, yaw = path.at(speed_mps * time_s)
    heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    half = np.array([vehicle.half_length_m, vehicle.half_width_m])
    gaps = gaps_over_time(
        (position + vehicle.centre_m * heading)[None],
        yaw[None],
        np.tile(half, (1, len(time_s), 1)),
        hazards.position,
        hazards.yaw_rad,
        hazards.half,
    )[0]  # (K+1, A)
    is_apart = gaps[0] > 0.0
    is_hit = (gaps <= 0.0) & is_apart
    if not is_hit.any():
        return np.full(len(hazards), np.inf)
    first = np.where(is_hit.any(axis=0), is_hit.argmax(axis=0), len(time_s) - 1)
    column = np.arange(gaps.shape[1])
    before, after = gaps[first - 1, column], gaps[first, column]
    crossing = time_s[first - 1] + step_s * before / np.maximum(before - after, 1e-9)
    return np.where(is_hit.any(axis=0), crossing, np.inf)
