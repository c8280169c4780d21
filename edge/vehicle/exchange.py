"""Wait for the fleet within limits: an upload may take any time as long as bytes move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.budget import Clock
from edge.contracts.campaign import Campaign
from edge.contracts.errors import LinkDownError
from edge.contracts.time import NS_PER_S
from edge.upload import Uplink
from edge.vehicle.settings import VehicleSettings


def ignore_count(acknowledged: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """An uplink that is stepped until the fleet has answered or a time limit has passed."""

    uplink: Uplink
    settings: VehicleSettings
    clock: Clock
    """A clock that only goes forward."""

    def wait_for_campaigns(self) -> Sequence[Campaign]:
        """Step until the fleet has sent its campaigns.

        Raises:
            LinkDownError: It has not answered for ``settings.answer_s``.
        """
        self._until(lambda: self.uplink.campaigns is not None, "said Welcome")
        return self.uplink.campaigns or ()

    def send(self, report: Callable[[int], None]) -> None:
        """Step until everything that may leave was acknowledged.

        Args:
            report: Takes how many clips were acknowledged since the beginning, when that changes.

        Raises:
            LinkDownError: Nothing moved for ``settings.answer_s``.
        """
        before, reported = self.acknowledged, -1

        def is_done() -> bool:
            nonlocal reported
            if reported != self.acknowledged - before:
                reported = self.acknowledged - before
                report(reported)
            return self.uplink.is_idle

        self._until(is_done, "acknowledged everything")

    @property
    def acknowledged(self) -> int:
        """Clips that the fleet has, since the uplink was opened."""
        counts = self.uplink.counts
        return counts.clips_admitted + counts.clips_quarantined

    def _until(self, is_done: Callable[[], bool], what: str) -> None:
        patience_ns = round(self.settings.answer_s * NS_PER_S)
        last, progress_ns = self.uplink.counts.bytes_sent, self.clock.now_ns()
        while not is_done():
            self.uplink.step(self.clock.now_ns())
            self.uplink.wait(self.settings.poll_s)
            if self.uplink.counts.bytes_sent != last:
                last, progress_ns = self.uplink.counts.bytes_sent, self.clock.now_ns()
            if self.clock.now_ns() - progress_ns > patience_ns:
                raise LinkDownError(
                    f"the fleet has not {what} for {self.settings.answer_s:.0f} s "
                    f"({self.uplink.last_failure or 'silent'}); what is in the spool stays there"
                )
