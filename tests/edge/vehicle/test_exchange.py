"""Patience with the fleet: it lasts while bytes move, and ends when none do."""

from dataclasses import dataclass, field

import pytest

from edge.budget import VirtualClock
from edge.contracts.errors import LinkDownError
from edge.upload import UplinkCounts
from edge.vehicle import VehicleSettings
from edge.vehicle.exchange import Exchange


@dataclass
class SlowFleet:
    """A fleet that takes a clip every 20 s, and none after ``willing`` of four."""

    clock: VirtualClock
    willing: int = 4
    counts: UplinkCounts = field(default_factory=UplinkCounts)
    last_failure: str = ""

    @property
    def is_idle(self) -> bool:
        return self.counts.clips_admitted == 4

    def step(self, _: int) -> None:
        self.clock.stamp_ns += 20 * 10**9
        if self.counts.clips_admitted < self.willing:
            self.counts.clips_admitted += 1
            self.counts.bytes_sent += 1

    def wait(self, _: float) -> None:
        pass


def exchange(fleet: SlowFleet) -> Exchange:
    return Exchange(fleet, VehicleSettings(answer_s=30.0), fleet.clock)


def test_an_upload_that_moves_may_take_longer_than_the_patience() -> None:
    fleet, told = SlowFleet(VirtualClock()), []
    exchange(fleet).send(told.append)
    assert fleet.clock.stamp_ns == 80 * 10**9
    assert told == [0, 1, 2, 3, 4]


def test_an_upload_that_stands_still_is_given_up_after_the_patience() -> None:
    """The second clip moved at 40 s; 60 s are within 30 s of it and 80 s are not."""
    fleet = SlowFleet(VirtualClock(), willing=2)
    with pytest.raises(LinkDownError, match="not acknowledged everything for 30 s"):
        exchange(fleet).send(lambda acknowledged: None)
    assert fleet.clock.stamp_ns == 80 * 10**9
