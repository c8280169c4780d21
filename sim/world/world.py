"""The protocol of a world: it moves by camera frames and returns what is in it.

Renderer, sensors and vehicles use this protocol alone. SUMO's world implements it (``sim.world.sumo``), and
so does one of given paths (``sim.world.scripted``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from edge.contracts.rig import Body
from edge.contracts.scene import Plan
from sim.place.maps import RoadMap
from sim.world.snapshot import Snapshot


class World(Protocol):
    """A map, an ego on it, and everything around the ego. The same calls give the same world."""

    @property
    def road_map(self) -> RoadMap:
        """The map that the ego is on."""

    @property
    def body(self) -> Body:
        """Outline and limits of the ego."""

    @property
    def rate_hz(self) -> float:
        """Frames per second of the world's time."""

    @property
    def placed(self) -> Mapping[str, int]:
        """Things that the scenario put into the world so far, by category."""

    def visit(self, place_id: str) -> None:
        """Start anew at a place of the map; the frame index goes on and never back.

        Raises:
            OperatorError: The map has no such place.
        """

    def now(self) -> Snapshot:
        """Return the snapshot of the current frame."""

    def step(self) -> Snapshot:
        """Advance exactly one frame and return its snapshot."""

    def skip(self, frames: int) -> Snapshot:
        """Advance so many frames and return the snapshot of the last."""

    def apply(self, plan: Plan | None) -> None:
        """Drive the next frames by a plan where plans drive; None keeps the last plan's commands."""

    def encounter_of(self, entity_id: int) -> str | None:
        """Return the encounter that an entity belongs to, for as long as the world lives."""

    def require_placed(self) -> None:
        """Refuse a world whose scenario placed nothing.

        Raises:
            OperatorError: The scenario has placements, but none of its things was ever in the world.
        """

    def close(self) -> None:
        """Free what the world holds; closing twice is fine."""
