"""The protocol of a labeler: people implement it, or a simulator plays them.

Two kinds of question, as in any labelling department. *Annotate* is the full-care pass over chosen instants,
bought for evaluation sets. *Review* shows one uncertain track in one clip and asks what it is; it costs
little, and the learning loop may ask nothing else. Both are counted in tracks and seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from edge.contracts.fields import Count, Metres, Name, Seconds, StampNs
from fleet.sample.row import SampleBox, SampleLabels


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Place of an uncertain track at one instant, in the ego frame."""

    stamp_ns: StampNs
    x_m: Metres
    y_m: Metres


class ReviewQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One track of one clip whose label is uncertain."""

    vehicle_id: Name
    clip_id: str
    track: Name
    sightings: tuple[Sighting, ...]
    reason: Name
    """``radar_without_box``, ``low_confidence`` …"""
    value: float
    """Estimate of how much an answer teaches; the questions of highest value are asked first."""


class ReviewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A reviewer's answer; neither a box nor nothing means that the reviewer could not tell."""

    track: Name
    boxes: Mapping[StampNs, SampleBox]
    """Per instant at which the object could be seen."""
    is_nothing: bool
    """The reviewer looked and there is no road user there."""


class LabelCost(msgspec.Struct, kw_only=True):
    """Cost of all questions so far."""

    tracks: Count = 0
    seconds: Seconds = 0.0


class Labeler(Protocol):
    """Answers questions about recorded instants; answers may be wrong, and each costs time."""

    cost: LabelCost

    def annotate(self, vehicle_id: str, stamps_ns: Sequence[int]) -> Mapping[int, SampleLabels]:
        """Label every road user at these instants with full care."""

    def review(self, question: ReviewQuestion, stamps_ns: Sequence[int]) -> ReviewAnswer:
        """Name what one uncertain track is, with a box at each of these instants where it is seen."""
