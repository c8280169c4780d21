import pytest

from edge.contracts.errors import OperatorError
from sim.place.maps import RoadMap
from sim.sense.rig import default_rig
from sim.show.aim import advance_to_encounter
from sim.world.path import TimedPath
from sim.world.props import nominal_look
from sim.world.scripted import Script, Scripted, ScriptedWorld
from sim.world.trip import Trip

BODY = default_rig().body


@pytest.fixture
def world(road_map: RoadMap) -> ScriptedWorld:
    """The ego drives at 10 m/s towards herds that stand 30 m and 60 m ahead, past a parked car."""
    look, car = nominal_look("animal"), nominal_look("car")
    script = Script(
        things=(
            Scripted(car, TimedPath.standing(5.0, 4.0)),
            Scripted(look, TimedPath.standing(30.0, 0.0), encounter="first"),
            Scripted(look, TimedPath.standing(33.0, 0.0), encounter="first"),
            Scripted(look, TimedPath.standing(60.0, 0.0), encounter="second"),
        ),
        ego=TimedPath.straight((0.0, 0.0), (100.0, 0.0), from_s=0.0, to_s=10.0),
    )
    return ScriptedWorld(Trip(place_id="suburb-020"), script, road_map=road_map, body=BODY)


@pytest.mark.parametrize(("number", "seconds"), [(1, 2.0), (2, 5.0)])
def test_drive_looks_when_the_encounter_is_10_m_away(
    world: ScriptedWorld, number: int, seconds: float
) -> None:
    snapshot = advance_to_encounter(world, number, near_m=10.0)
    assert snapshot is world.now()
    assert snapshot.frame_index == pytest.approx(36.0 * seconds, abs=1.0)


def test_encounter_that_does_not_come_is_refused_with_how_many_did(world: ScriptedWorld) -> None:
    with pytest.raises(OperatorError, match=r"encounter 3 .* 15 m in 9 s; 2 came"):
        advance_to_encounter(world, 3, near_m=15.0, longest_s=9.0)
