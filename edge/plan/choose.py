"""Choose the plan of a tick: the network proposes, the checker decides, and plain code always has a plan.

Order: the best network plan that passes every check and gets on about as well as the road allows; else the
route plan that gets furthest; else the minimum-risk manoeuvre. The second condition of the first rule keeps
an untrained or timid network harmless, for standing still passes every check.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from msgspec.structs import replace as replace_record
from numpy.typing import NDArray

from edge.contracts.rig import Body, UltrasonicMount
from edge.contracts.scene import (
    TTC_FREE_S,
    Agent,
    Cause,
    CauseKind,
    Plan,
    PlanPoint,
    RadarTrack,
    Rung,
)
from edge.contracts.sensors import EgoState, Route, UltrasonicScan
from edge.plan.aside import AsideSettings, aside_m
from edge.plan.care import CareSettings, careful_speeds
from edge.plan.cause import Asking, cause_of
from edge.plan.checker import CheckSettings, Situation, judge, time_to_collision_s
from edge.plan.echoes import EchoSettings, free_travel_m
from edge.plan.minimum_risk import MinimumRiskSettings, minimum_risk_manoeuvre
from edge.plan.outlines import Outlines, OutlineSettings, outlines
from edge.plan.path import Path, coast_path, drive_path, route_line
from edge.plan.predict import PredictSettings, predict
from edge.plan.proposals import (
    Proposals,
    RouteSettings,
    network_proposals,
    no_faster_than_standstill,
    route_proposals,
    speed_ceiling,
)

Floats = NDArray[np.float64]

_FIRST = np.array([0])
"""Row of the route plan that is preferred if nothing is in the way."""
_WITHOUT_ROUTE = Cause(kind=CauseKind.END_OF_ROUTE)
_IMMINENT = ("collision", "time_to_collision", "stopping")


@dataclass
class PlanSettings:
    """All settings of the planner."""

    acceleration_margin_mps2: float = 0.5
    """Plans accelerate by this much less than the body can."""
    braking_margin_mps2: float = 1.0
    """Plans brake by this much less than the body can."""
    outline: OutlineSettings = field(default_factory=OutlineSettings)
    aside: AsideSettings = field(default_factory=AsideSettings)
    care: CareSettings = field(default_factory=CareSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    route: RouteSettings = field(default_factory=RouteSettings)
    check: CheckSettings = field(default_factory=CheckSettings)
    minimum_risk: MinimumRiskSettings = field(default_factory=MinimumRiskSettings)
    min_network_score: float = 0.06
    """The scores of a tick sum to one over sixteen plans; a plan with less than its equal share is not
    judged."""
    network_progress_ratio: float = 0.8
    """Least progress of a network plan, as a share of the best route plan's."""
    network_progress_slack_m: float = 1.0
    """Distance that is taken off the progress that ``network_progress_ratio`` requires."""
    drivable_weight: float = 0.5
    """Score that a network plan loses if it leaves what the segmentation calls drivable all the way."""
    radar_only_speed_mps: float = 7.0
    """Speed limit while no network runs: the radar does not see everything."""
    commit_brake_mps2: float = 4.5
    """Deceleration needed to stop at a red light, above which the vehicle drives on: it is too late."""
    commit_speed_mps: float = 5.0
    """Below this speed the vehicle always stops at a red light."""
    echo: EchoSettings = field(default_factory=EchoSettings)
    echo_gap_m: float = 0.3
    """Room that route plans leave before an echo."""


@dataclass(frozen=True, eq=False)
class PlanInputs:
    """All that planning reads in one tick.

    ``network_plans``: float32 (P, K, 3), x, y, yaw in the ego frame at ``PredictSettings.step_s``, with
    ``network_scores`` (P,); None without a network. ``drivable``: bool (n, n) over [-range, range) metres,
    row = x forward, column = y left; None without a segmentation.
    """

    stamp_ns: int
    rung: Rung
    ego: EgoState
    route: Route
    agents: Sequence[Agent]
    radar_tracks: Sequence[RadarTrack]
    ultrasonics: UltrasonicScan
    ultrasonic_mounts: Sequence[UltrasonicMount]
    body: Body
    """The vehicle that is to drive the plan."""
    tick_s: float
    """Time to the next plan."""
    network_plans: NDArray[np.float32] | None = None
    network_scores: NDArray[np.float32] | None = None
    drivable: NDArray[np.bool_] | None = None
    drivable_range_m: float = 32.0


def plan(inputs: PlanInputs, settings: PlanSettings) -> Plan:
    """Plan one tick. Same inputs, same plan."""
    inputs = replace(inputs, body=planned_body(inputs.body, settings))
    situation, has_route = _situation(inputs, settings)
    refused: Counter[str] = Counter()
    if inputs.rung is Rung.MINIMUM_RISK or not has_route:
        last = _last_resort(inputs, situation, refused, settings, is_imminent=False)
        return last if has_route else replace_record(last, cause=_WITHOUT_ROUTE)
    proposals = _route_proposals(inputs, situation, settings)
    passed, route_refused = judge(proposals, situation, inputs.body, settings.check)
    route = proposals.select(passed)
    network, network_refused = _judged_network(inputs, situation, route, settings)
    refused.update(network_refused)
    refused.update(route_refused)
    chosen = network if len(network) else route
    if len(chosen) == 0:
        is_imminent = any(route_refused.get(name) for name in _IMMINENT)
        return _last_resort(
            inputs, situation, refused, settings, is_imminent=is_imminent, preferred=proposals
        )
    row = int(chosen.score.argmax())
    asking = _asking(inputs, situation, settings)
    is_first_good = bool(len(passed)) and int(passed[0]) == 0
    preferred = None if is_first_good else proposals.select(_FIRST)
    cause = cause_of(float(chosen.acceleration_mps2[row]), asking, preferred)
    return _as_plan(inputs, chosen, row, situation, refused, cause)


def planned_body(body: Body, settings: PlanSettings) -> Body:
    """Return a body with the limits that plans keep: lower by the margins, at least half of the body's."""
    asked_mps2 = body.max_acceleration_mps2 - settings.acceleration_margin_mps2
    braked_mps2 = body.max_braking_mps2 - settings.braking_margin_mps2
    return replace_record(
        body,
        max_acceleration_mps2=max(asked_mps2, 0.5 * body.max_acceleration_mps2),
        max_braking_mps2=max(braked_mps2, 0.5 * body.max_braking_mps2),
    )


def _situation(inputs: PlanInputs, settings: PlanSettings) -> tuple[Situation, bool]:
    """Work out what every proposal is judged against, and whether there is a route at all."""
    ego, vehicle = inputs.ego, inputs.body
    speed = max(ego.speed_mps, 0.0)
    seen = outlines(inputs.agents, inputs.radar_tracks, vehicle, settings.outline)
    line = route_line(inputs.route)
    path = _path(line, seen, ego, vehicle, settings)
    hazards = predict(seen, inputs.agents, path, settings.predict)
    stop_line_m = _stop_line_m(inputs.route, speed, vehicle, settings)
    limit_mps = inputs.route.speed_limit_mps
    if inputs.rung is Rung.RADAR_ONLY:
        limit_mps = min(limit_mps, settings.radar_only_speed_mps)
    echo_m = free_travel_m(
        inputs.ultrasonics, inputs.ultrasonic_mounts, path, vehicle, settings.echo
    )
    stop_station_m = min(
        stop_line_m - vehicle.front_m - settings.route.stop_gap_m, echo_m - settings.echo_gap_m
    )
    situation = Situation(
        speed_mps=speed,
        path=path,
        ceiling=speed_ceiling(
            path,
            max(limit_mps, 0.0),
            stop_station_m,
            settings.route,
            careful_speeds(path, seen, inputs.agents, vehicle, settings.care),
        ),
        hazards=hazards,
        stop_line_m=stop_line_m,
        free_ahead_m=echo_m,
        ttc_s=time_to_collision_s(path, speed, hazards, vehicle, step_s=settings.predict.step_s),
    )
    return situation, line is not None


def _path(
    line: Path | None, seen: Outlines, ego: EgoState, vehicle: Body, settings: PlanSettings
) -> Path:
    """Return the line to drive: along the route, past things at its edge; else the present arc."""
    if line is None:
        return coast_path(ego, vehicle)
    return drive_path(
        line,
        max(ego.speed_mps, 0.0),
        aside_m=aside_m(line, seen, vehicle, settings.aside),
        blend_s=settings.route.blend_s,
        blend_min_m=settings.route.blend_min_m,
    )


def _stop_line_m(route: Route, speed_mps: float, vehicle: Body, settings: PlanSettings) -> float:
    """Return the station of the line to stop at, m; infinite when free or when it is too late to stop.

    ``Route.stop_distance_m`` counts from the ego origin.
    """
    if route.stop_distance_m is None:
        return math.inf
    room_m = route.stop_distance_m - vehicle.front_m
    is_fast = speed_mps > settings.commit_speed_mps
    if is_fast and 0.5 * speed_mps**2 > settings.commit_brake_mps2 * max(room_m, 0.0):
        return math.inf
    return route.stop_distance_m


def _asking(inputs: PlanInputs, situation: Situation, settings: PlanSettings) -> Asking:
    return Asking(
        situation=situation,
        agents=inputs.agents,
        radar_tracks=inputs.radar_tracks,
        vehicle=inputs.body,
        check=settings.check,
        route=settings.route,
        step_s=settings.predict.step_s,
        echo_gap_m=settings.echo_gap_m,
    )


def _route_proposals(inputs: PlanInputs, situation: Situation, settings: PlanSettings) -> Proposals:
    proposals = route_proposals(
        situation.path,
        situation.ceiling,
        situation.hazards,
        inputs.ego,
        vehicle=inputs.body,
        settings=settings.route,
        step_s=settings.predict.step_s,
        steps=settings.predict.steps,
    )
    return no_faster_than_standstill(proposals, inputs.ego.speed_mps, inputs.tick_s)


def _judged_network(
    inputs: PlanInputs, situation: Situation, route: Proposals, settings: PlanSettings
) -> tuple[Proposals, dict[str, int]]:
    """Keep the network plans that pass the checks and get on about as well as the route plans."""
    plans, scores = inputs.network_plans, inputs.network_scores
    if plans is None or scores is None:
        plans, scores = np.zeros((0, 1, 3), np.float32), np.zeros(0, np.float32)
    proposals = network_proposals(
        plans[:, : settings.predict.steps],
        scores,
        situation.path,
        inputs.ego,
        vehicle=inputs.body,
        settings=settings.route,
        step_s=settings.predict.step_s,
    )
    proposals = no_faster_than_standstill(proposals, inputs.ego.speed_mps, inputs.tick_s)
    is_sure = proposals.score >= settings.min_network_score
    refused = {"score": int((~is_sure).sum())} if not is_sure.all() else {}
    sure = proposals.select(is_sure)
    passed, by_check = judge(sure, situation, inputs.body, settings.check)
    good = sure.select(passed)
    if len(route) and len(good):
        best_m = float(route.station_m[:, good.station_m.shape[1] - 1].max())
        wanted_m = settings.network_progress_ratio * best_m - settings.network_progress_slack_m
        is_lively = good.progress_m >= wanted_m
        if not is_lively.all():
            by_check["progress"] = int((~is_lively).sum())
        good = good.select(is_lively)
    return _marked_down(good, inputs, settings), refused | by_check


def _marked_down(proposals: Proposals, inputs: PlanInputs, settings: PlanSettings) -> Proposals:
    """Lower the score of plans that leave the drivable area; none is refused, for it may be wrong."""
    if inputs.drivable is None or len(proposals) == 0:
        return proposals
    cells = len(inputs.drivable)
    cell_m = 2.0 * inputs.drivable_range_m / cells
    index = np.floor((proposals.position + inputs.drivable_range_m) / cell_m).astype(np.int64)
    row, column = np.clip(index[..., 0], 0, cells - 1), np.clip(index[..., 1], 0, cells - 1)
    share_off = 1.0 - inputs.drivable[row, column].mean(axis=1)
    return replace(proposals, score=proposals.score - settings.drivable_weight * share_off)


def _last_resort(
    inputs: PlanInputs,
    situation: Situation,
    refused: Counter[str],
    settings: PlanSettings,
    *,
    is_imminent: bool,
    preferred: Proposals | None = None,
) -> Plan:
    on_radar = outlines((), inputs.radar_tracks, inputs.body, settings.outline)
    radar_hazards = predict(on_radar, (), situation.path, settings.predict)
    manoeuvre = minimum_risk_manoeuvre(
        situation.path,
        radar_hazards,
        situation.free_ahead_m,
        inputs.ego,
        is_imminent=is_imminent,
        vehicle=inputs.body,
        settings=settings.minimum_risk,
        route=settings.route,
        step_s=settings.predict.step_s,
        steps=settings.predict.steps,
    )
    manoeuvre = no_faster_than_standstill(manoeuvre, inputs.ego.speed_mps, inputs.tick_s)
    heard = replace(situation, hazards=radar_hazards)
    asking = _asking(inputs, situation if is_imminent else heard, settings)
    first = preferred.select(_FIRST) if is_imminent and preferred is not None else None
    cause = cause_of(float(manoeuvre.acceleration_mps2[0]), asking, first)
    return _as_plan(inputs, manoeuvre, 0, situation, refused, cause)


def _as_plan(
    inputs: PlanInputs,
    proposals: Proposals,
    row: int,
    situation: Situation,
    refused: Counter[str],
    cause: Cause,
) -> Plan:
    yaw = (proposals.yaw_rad[row] + np.pi) % (2.0 * np.pi) - np.pi
    points = zip(
        proposals.position[row].tolist(),
        yaw.tolist(),
        proposals.speed_mps[row].tolist(),
        strict=True,
    )
    return Plan(
        stamp_ns=inputs.stamp_ns,
        source=proposals.source,
        points=tuple(
            PlanPoint(x_m=x, y_m=y, yaw_rad=heading, speed_mps=speed)
            for (x, y), heading, speed in points
        ),
        step_s=proposals.step_s,
        acceleration_mps2=float(proposals.acceleration_mps2[row]),
        steering_rad=float(proposals.steering_rad[row]),
        min_ttc_s=min(situation.ttc_s, TTC_FREE_S),
        rejected=tuple(sorted(refused.items())),
        cause=cause,
    )
