"""Find what a plan brakes or waits for: the constraint that demands the lowest acceleration.

If a check refused the preferred plan, the cause is what that check found in its way. Otherwise every hazard
on the path, the stop line, the nearest echo and the end of the route each demand an acceleration, and the
lowest one is the cause. A bend and a speed limit are no cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.contracts.rig import Body
from edge.contracts.scene import Agent, Cause, CauseKind, RadarTrack
from edge.plan.checker import CHECKS, CheckSettings, Situation, catches, hits, times_to_collision_s
from edge.plan.proposals import Proposals, RouteSettings, asked_by_hazards

_BRAKING_MPS2 = -0.3
"""A weaker deceleration comes from the variation of following, and is no brake."""
_WAITING_MPS = 0.3
_CHECK_OF = {"stop_line": CauseKind.LIGHT, "contact": CauseKind.ECHO}


@dataclass(frozen=True, eq=False)
class Asking:
    """The constraints that may demand a brake: the situation, and the agent or radar track of each hazard."""

    situation: Situation
    agents: Sequence[Agent]
    radar_tracks: Sequence[RadarTrack]
    vehicle: Body
    check: CheckSettings
    route: RouteSettings
    step_s: float
    echo_gap_m: float
    """Room that a plan leaves before an echo."""

    def about(self, kind: CauseKind) -> Cause:
        """Return a cause at the place of the light, the echo or the end of the route."""
        situation = self.situation
        station_m = {
            CauseKind.LIGHT: situation.stop_line_m,
            CauseKind.ECHO: situation.free_ahead_m + self.vehicle.front_m,
            CauseKind.END_OF_ROUTE: situation.path.length_m,
        }[kind]
        (x_m, y_m), _ = situation.path.at(np.array(station_m))
        return Cause(kind=kind, x_m=float(x_m), y_m=float(y_m))

    def about_hazard(self, row: int) -> Cause:
        """Return a cause that names the agent or radar track of a hazard."""
        agent, radar = (
            int(n[row]) for n in (self.situation.hazards.agent, self.situation.hazards.radar)
        )
        if agent >= 0:
            box = self.agents[agent].box
            return Cause(
                kind=CauseKind.AGENT,
                track_id=self.agents[agent].track_id,
                x_m=box.x_m,
                y_m=box.y_m,
            )
        track = self.radar_tracks[radar]
        return Cause(
            kind=CauseKind.RADAR_TRACK, track_id=track.track_id, x_m=track.x_m, y_m=track.y_m
        )


def cause_of(acceleration_mps2: float, asking: Asking, preferred: Proposals | None) -> Cause:
    """Find what a plan brakes or waits for.

    Args:
        acceleration_mps2: Commanded by the plan.
        asking: The constraints.
        preferred: The plan that would be driven if nothing were in the way, one row, if a check refused it.

    Returns:
        The cause; of kind ``NONE`` when the plan neither brakes nor waits.
    """
    is_waiting = asking.situation.speed_mps < _WAITING_MPS and acceleration_mps2 <= 0.0
    if acceleration_mps2 > _BRAKING_MPS2 and not is_waiting:
        return Cause()
    refusal = _refusal(preferred, asking) if preferred is not None else None
    return refusal or _most_asking(asking)


def _refusal(preferred: Proposals, asking: Asking) -> Cause | None:
    """Find what the first check that refuses a plan found in its way."""
    situation, vehicle, check = asking.situation, asking.vehicle, asking.check
    failed = (
        n for n, test in CHECKS.items() if not test(preferred, situation, vehicle, check).all()
    )
    name = next(failed, "")
    if name in _CHECK_OF:
        return asking.about(_CHECK_OF[name])
    if name == "collision":
        is_guilty = hits(preferred, situation, vehicle, check)[0]
    elif name == "stopping":
        is_guilty = catches(preferred, situation, vehicle, check)[0]
    elif name == "time_to_collision":
        times_s = times_to_collision_s(
            situation.path, situation.speed_mps, situation.hazards, vehicle, step_s=asking.step_s
        )
        is_guilty = times_s == times_s.min()
    else:
        return None
    distance_m = np.hypot(*situation.hazards.position[:, 0].T)
    return asking.about_hazard(int(np.where(is_guilty, distance_m, np.inf).argmin()))


def _most_asking(asking: Asking) -> Cause:
    """Find the constraint that demands the lowest acceleration; one that allows driving on is no cause."""
    situation, route, vehicle = asking.situation, asking.route, asking.vehicle
    stops_m = {
        CauseKind.LIGHT: situation.stop_line_m - vehicle.front_m - route.stop_gap_m,
        CauseKind.ECHO: situation.free_ahead_m - asking.echo_gap_m,
        CauseKind.END_OF_ROUTE: situation.path.length_m,
    }
    asked = {kind: _asked_by_stop(room_m, asking) for kind, room_m in stops_m.items()}
    kind = min(asked, key=lambda k: asked[k])
    by_hazard = asked_by_hazards(
        situation.path,
        situation.hazards,
        situation.speed_mps,
        vehicle=vehicle,
        settings=route,
        step_s=asking.step_s,
    )
    if min(asked[kind], by_hazard.min(initial=np.inf)) > _BRAKING_MPS2:
        return Cause()
    if len(by_hazard) and by_hazard.min() < asked[kind]:
        return asking.about_hazard(int(by_hazard.argmin()))
    return asking.about(kind)


def _asked_by_stop(room_m: float, asking: Asking) -> float:
    """Return the acceleration that a stop demands, as route plans approach it, m/s2."""
    route, speed = asking.route, asking.situation.speed_mps
    left_m = max(room_m - speed * route.response_s, 0.0)
    bound = (2.0 * route.comfortable_brake_mps2 * left_m) ** 0.5
    if bound == 0.0:
        return -route.comfortable_brake_mps2
    return float((bound - speed) / route.response_s)
