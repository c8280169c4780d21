"""The fleet's request: arm these rules, this many times, with this much around each, until then."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from edge.contracts.clip import TriggerRule
from edge.contracts.fields import Count, Finite, Name, Ratio, Seconds, StampNs, Text

CAMPAIGN_SCHEMA = 1
TICKS_RATE_HZ = 36.0
"""Ticks per second that a campaign counts in; a vehicle whose source has another rate converts."""

ClipSeconds = Annotated[float, msgspec.Meta(ge=0.0, le=60.0)]


class ArmedRule(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger rule and the numbers it runs with."""

    rule: TriggerRule
    version: Count = 1
    threshold: Finite
    """What the rule's value must cross; its unit is the rule's.

    For ``random`` it is the probability per tick of a source of ``TICKS_RATE_HZ``.
    """
    ticks_of: tuple[Count, Count] = (1, 1)
    """(N, M): the condition must hold in N of the last M ticks of a source of ``TICKS_RATE_HZ``."""
    min_interval_s: Seconds = 2.0
    weight: Ratio = 0.5
    """Multiplies the worth of this rule's events when a quota chooses between rules."""

    def __post_init__(self) -> None:
        needed, window = self.ticks_of
        if not 1 <= needed <= window:
            raise ValueError(f"ticks_of asks for {needed} of {window} ticks: 1 <= N <= M")

    def ticks_at(self, rate_hz: float) -> tuple[int, int]:
        """Return ``ticks_of`` for a source of another rate: the same time, at least one tick."""
        ratio = rate_hz / TICKS_RATE_HZ
        window = max(1, round(self.ticks_of[1] * ratio))
        return min(window, max(1, round(self.ticks_of[0] * ratio))), window

    def chance_at(self, rate_hz: float) -> float:
        """Return the probability per tick of ``random`` at another rate: the same per second."""
        if rate_hz == TICKS_RATE_HZ or not 0.0 < self.threshold < 1.0:
            return self.threshold
        return -math.expm1(math.log1p(-self.threshold) * TICKS_RATE_HZ / rate_hz)


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """Rules to arm, windows, quotas and an end. A vehicle ignores a rule that it does not know."""

    schema: Count = CAMPAIGN_SCHEMA
    campaign_id: Name
    purpose: Text = ""
    rules: tuple[ArmedRule, ...]
    before_s: ClipSeconds = 3.0
    after_s: ClipSeconds = 2.0
    max_clips_per_drive: Count = 8
    max_bytes_per_drive: Count = 256 * 1024 * 1024
    until_ns: StampNs
