"""The claim of a lap and its judgement: a file of ``conf/claim``, chosen by ``claim=NAME``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Annotated

from msgspec import Meta

from edge.contracts.classes import Category
from fleet.evaluate import SLICES, Slice
from models.settings import Factor

VehiclesPerKm = Annotated[float, Meta(ge=0.0, le=200.0)]
"""Moving vehicles per kilometre; a lane that is jammed from end to end holds about 150."""


@dataclass
class DriveScene:
    """The scene of one vehicle's drive in a lap."""

    road_map: str = "suburb"
    """Name of a shipped map, or path of one's own."""
    scenario: str = "none"
    """A file of ``conf/sim/scenario``, or the path of one."""
    is_night: bool = False
    """Drive in the dark."""
    vehicles_per_km: VehiclesPerKm = 8.0
    """Other vehicles per kilometre of lane: on quiet streets a minute covers some distance, on crowded ones
    the vehicle stands behind a bus."""


@dataclass
class Claim:
    """A slice of the gate on which a candidate shall be better, and the data that shows it.

    The defaults claim nothing, so that a claim's file inherits nothing of another claim.
    """

    name: str = ""
    """Name of the claim, as in its file name."""
    slice: str = ""
    """Part of the gate's evidence by which the claim is judged, see ``fleet.evaluate.SLICES``."""
    classes: list[str] = field(default_factory=list)
    """Classes of the slice; a candidate of this claim has learnt to see them."""
    rare_set: str = ""
    """Recipe of the encounters that judge the claim."""
    quick_rare_set: str = ""
    """Recipe of the encounters that judge the claim with ``--quick``."""
    episodes: str = ""
    """Episodes that candidate and incumbent drive in closed loop: a file of ``conf/episodes``."""
    quick_episodes: str = ""
    """Episodes of candidate and incumbent with ``--quick``."""
    scenes: list[DriveScene] = field(default_factory=list)
    """Scenes in which vehicles drive; dealt to them in turn."""
    reset_classes: list[str] = field(default_factory=list)
    """Classes whose heat-map output starts anew, unless the parent has learnt them."""
    positive_weights: dict[str, Factor] = field(default_factory=dict)
    """Factor on the heat-map peaks of a class; rows that show one are drawn more often."""

    @property
    def part(self) -> Slice:
        """The claimed slice."""
        return SLICES[self.slice]

    @property
    def category(self) -> Category:
        """The one class of the claimed slice."""
        (category,) = self.part.categories
        return category


def shortened(claim: Claim, typed: Collection[str]) -> Claim:
    """Replace the rare set and the episodes by the quick ones, except those that were typed.

    Args:
        claim: As composed.
        typed: Keys of the command line, for instance ``claim.episodes``.
    """
    has_set, has_episodes = (f"claim.{key}" in typed for key in ("rare_set", "episodes"))
    return replace(
        claim,
        rare_set=claim.rare_set if has_set else claim.quick_rare_set,
        episodes=claim.episodes if has_episodes else claim.quick_episodes,
    )
