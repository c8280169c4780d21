"""SUMO's world at other rates than 36 Hz."""

import pytest

from edge.contracts.time import VIRTUAL_EPOCH_NS
from sim.place.maps import RoadMap
from sim.sense.rig import default_rig
from sim.world.roadside import RoadsideSettings
from sim.world.sumo.settings import SumoSettings
from sim.world.sumo.world import SumoWorld
from sim.world.trip import Trip

BODY = default_rig().body


@pytest.mark.parametrize("rate_hz", [40.0, 60.0, 59.94])
def test_traffic_is_the_same_at_every_rate(road_map: RoadMap, rate_hz: float) -> None:
    """SUMO takes whole steps of its own, however often the world is looked at."""
    bare = SumoSettings(roadside=RoadsideSettings(0.0, 0.0, 0.0, 0.0))
    seen: list[dict[int, tuple[float, float, float]]] = []
    for rate in (36.0, rate_hz):
        with SumoWorld(Trip(seed=3), bare, road_map=road_map, body=BODY, rate_hz=rate) as world:
            after = world.skip(round(5.0 * rate))
            since_s = (after.stamp_ns - VIRTUAL_EPOCH_NS) / 1e9
            late_s = since_s - round(4.0 * since_s) / 4.0
            seen.append(
                {
                    e.entity_id: (e.x_m - late_s * e.vx_mps, e.y_m - late_s * e.vy_mps, e.yaw_rad)
                    for e in after.entities
                }
            )
    assert seen[0].keys() == seen[1].keys() and len(seen[0]) > 10
    for entity_id, at in seen[0].items():
        assert seen[1][entity_id] == pytest.approx(at, abs=0.05)
