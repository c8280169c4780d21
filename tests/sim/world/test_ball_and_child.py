"""The worked scenario: a ball, and a second later a child from the same kerb, whatever the ego's speed."""

import pytest

from edge.contracts.time import FRAME_RATE_HZ
from sim.place.maps import RoadMap
from sim.sense.rig import default_rig
from sim.world.encounters import load_scenario
from sim.world.roadside import RoadsideSettings
from sim.world.snapshot import Entity
from sim.world.sumo.settings import SumoSettings, TrafficSettings
from sim.world.sumo.world import SumoWorld
from sim.world.trip import EgoMode, Trip

BODY = default_rig().body

EMPTY = SumoSettings(
    traffic=TrafficSettings(0.0, 0.0), roadside=RoadsideSettings(0.0, 0.0, 0.0, 0.0)
)


def first_moves(road_map: RoadMap, speed_mps: float) -> dict[str, int]:
    """Drive straight on at a constant speed; give the frame at which ball and child first move."""
    trip = Trip(
        place_id="suburb-020",
        scenario=load_scenario("ball_and_child"),
        seed=2,
        ego_mode=EgoMode.PLAN,
        start_speed_mps=speed_mps,
    )
    moves: dict[str, int] = {}
    with SumoWorld(trip, EMPTY, road_map=road_map, body=BODY) as world:
        start = {a.entity_id: a for a in world.now().entities}
        ids = sorted(start)[:2]
        for _ in range(round(60.0 / speed_mps) * FRAME_RATE_HZ):
            for entity in world.step().entities:
                if entity.entity_id in ids and _is_away(entity, start[entity.entity_id]):
                    moves.setdefault(entity.mesh, world.frame_index)
    return moves


def _is_away(entity: Entity, start: Entity) -> bool:
    return (entity.x_m, entity.y_m) != (start.x_m, start.y_m)


@pytest.mark.parametrize("speed_mps", [4.0, 9.0])
def test_child_runs_a_second_after_the_ball_at_any_speed_of_the_ego(
    road_map: RoadMap, speed_mps: float
) -> None:
    moves = first_moves(road_map, speed_mps)
    assert moves["pedestrian"] - moves["debris"] == FRAME_RATE_HZ
