import pytest

from conf.named import names
from edge.board.profile import device_profile
from edge.budget import modelled_latency
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Rung
from edge.perceive.tensors import SPECS


@pytest.mark.parametrize("name", names("device"))
def test_every_board_knows_what_every_network_costs(name: str) -> None:
    profile = device_profile(name)
    assert profile.name == name
    for model in SPECS:
        latency = modelled_latency(profile, model, (Rung.FULL, Rung.RADAR_ONLY))
        assert latency.sensor_to_plan_ms(Rung.FULL) > latency.sensor_to_plan_ms(Rung.RADAR_ONLY)


def test_unknown_board_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OperatorError, match=r"'toaster'; there are jetson_orin_nano, laptop"):
        device_profile("toaster")


def test_no_name_reaches_outside_the_folder() -> None:
    with pytest.raises(OperatorError):
        device_profile("../gate/default")
