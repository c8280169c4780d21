"""A lap that makes no sense is refused before anything is rendered, by the name of what is wrong."""

from typing import Any

import pytest

from conf.compose import compose
from edge.contracts.errors import OperatorError
from sim.lap.sense import refuse_nonsense
from sim.lap.settings import DriveScene, LapSettings, quick


def test_the_shipped_lap_makes_sense_long_and_short() -> None:
    settings = compose("lap", [], LapSettings)
    refuse_nonsense(settings)
    refuse_nonsense(quick(settings))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vehicles": 0}, "vehicles is 0, expected at least 1"),
        ({"drive_s": 0.0}, "drive_s is 0.0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"scenes": []}, "nowhere to drive"),
        ({"model": "picoo"}, "no trained 'picoo' ships with this installation; there is pico"),
        ({"profile": "toaster"}, "no device profile 'toaster'; there are .*laptop"),
        ({"scenes": [DriveScene("nosuch")]}, "no map 'nosuch'; there are grid"),
        ({"scenes": [DriveScene("grid", "nosuch")]}, "no scenario 'nosuch'; there are animal"),
        ({"gate_set": "nosuch"}, "no recipe 'nosuch'; there are base, gate"),
        ({"episodes": "nosuch"}, "no episode list 'nosuch'; there are default"),
        ({"rare": "animol"}, "no class 'animol' to learn that the gate has a slice for"),
        ({"rare": "debris"}, "has a slice for; there is animal"),
    ],
)
def test_a_lap_that_makes_no_sense_is_refused_by_name(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(OperatorError, match=complaint):
        refuse_nonsense(LapSettings(**changes))
