"""Seeded encounters along the ego's route: a scenario is data, ``conf/sim/scenario/NAME.yaml``.

An *encounter* is one point of the route where all placements of a scenario are put together, all or none: a
jaywalker without the van that hides it would be another scenario. ``sim.world.placing`` puts them there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from conf.named import is_path, load_file, path_of
from conf.records import settings_from
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Attribute
from sim.world.props import MESH_CATEGORIES

Bounds = tuple[float, float]
"""Smallest and largest value; each thing draws its own in between."""

MESH_FILES = "sim/render/meshes.py, sim/world/snapshot.py and sim/world/props.py"
"""Where a mesh has its shape, its size and its class."""


class Datum(StrEnum):
    """Line that ``aside_m`` is measured from."""

    LANE = "lane"
    """The middle of the ego's lane, positive to the left."""
    RIGHT_KERB = "right_kerb"
    """The right edge of the driving lanes, positive away from the road."""
    LEFT_KERB = "left_kerb"
    """The left edge of the oncoming driving lanes, positive away from the road."""
    EITHER_KERB = "either_kerb"
    """One of the two, by chance, for each thing anew."""
    SAME_KERB = "same_kerb"
    """The kerb of the thing that this thing starts ``after``."""


class Heading(StrEnum):
    """Direction that something faces."""

    ALONG = "along"
    AGAINST = "against"
    ACROSS = "across"
    """Square to the road, from its own side of the route to the other."""
    ANY = "any"


@dataclass
class After:
    """Begin when another thing of the encounter has begun, and not when the ego is near."""

    placement: str
    """Name of a placement further up; its first thing counts."""
    delay_s: Bounds = (0.0, 0.0)
    """Time from the start of that thing to the start of this one."""


@dataclass
class Placement:
    """Some things of one kind, relative to the point of their encounter."""

    mesh: str
    """Name of its shape; its class follows from it."""
    name: str = ""
    """What other placements, and scenarios that extend this one, call it."""
    count: tuple[int, int] = (1, 1)
    """Fewest and most things of this placement."""
    ahead_m: Bounds = (0.0, 0.0)
    """Along the route, from the point of the encounter."""
    datum: Datum = Datum.LANE
    """Line that ``aside_m`` is measured from."""
    aside_m: Bounds = (0.0, 0.0)
    """Distance from the datum, across the route."""
    heading: Heading = Heading.ANY
    """Direction it faces."""
    turned_rad: Bounds = (0.0, 0.0)
    """Added to the heading."""
    travel_m: Bounds = (0.0, 0.0)
    """How far it goes the way it faces; 0 stands still. Across the road it is counted from the far kerb on,
    so that no way ends in the middle of a road."""
    is_returning: bool = False
    """Goes to and fro instead of once."""
    speed_mps: Bounds = (1.0, 1.0)
    """Speed while it moves."""
    trigger_m: Bounds | None = None
    """Distance of the ego at which it starts; without, it moves from the beginning."""
    after: After | None = None
    """It waits for another thing of its encounter."""
    attribute: Attribute = Attribute.UNKNOWN
    """Attribute of its true box."""
    roll_rad: float = 0.0
    """Angle by which it lies on its side."""
    scale: Bounds = (0.9, 1.1)
    """Size relative to the nominal one."""
    stops_traffic: bool = True
    """Drivers brake when it is in front of them."""

    def __post_init__(self) -> None:
        if self.mesh not in MESH_CATEGORIES:
            raise ValueError(
                f"mesh {self.mesh!r} is none of {', '.join(MESH_CATEGORIES)}; "
                f"a mesh is added in {MESH_FILES}"
            )
        if self.after is not None and self.trigger_m is not None:
            raise ValueError(f"placement of {self.mesh}: it has trigger_m or after, not both")
        if self.datum is Datum.SAME_KERB and self.after is None:
            raise ValueError(f"placement of {self.mesh}: same_kerb needs after, to say whose kerb")
        bounds = (self.ahead_m, self.aside_m, self.turned_rad, self.travel_m, self.speed_mps)
        waits = (self.trigger_m or (0.0, 0.0), self.after.delay_s if self.after else (0.0, 0.0))
        for low, high in (self.count, *bounds, self.scale, *waits):
            if low > high:
                raise ValueError(f"placement of {self.mesh}: bounds ({low}, {high}) are reversed")
        if self.speed_mps[0] <= 0.0 or self.scale[0] <= 0.0 or self.count[0] < 0:
            raise ValueError(f"placement of {self.mesh}: speed, scale and count must be positive")


@dataclass
class Scenario:
    """Things that are placed, and how often along the route."""

    name: str = "none"
    """Name of the scenario, as in its file name."""
    extends: str = ""
    """Another scenario, or the path of one from the folder of this file; its values hold where this file has
    none. A placement of the same name changes that placement; any other is added."""
    first_m: Bounds = (15.0, 30.0)
    """From where a drive starts to its first encounter."""
    spacing_m: Bounds = (30.0, 60.0)
    """From one encounter to the next, along the route."""
    corner_m: float = 0.0
    """Encounters keep this far from junctions."""
    is_one_of: bool = False
    """Each encounter holds one of the placements, by chance, instead of all."""
    placements: list[Placement] = field(default_factory=list)
    """What one encounter is made of."""

    def __post_init__(self) -> None:
        known: dict[str, Placement] = {}
        for placement in self.placements:
            if placement.after is not None:
                self._require_leader(placement, known)
            if placement.name in known:
                raise ValueError(f"two placements are called {placement.name!r}")
            if placement.name:
                known[placement.name] = placement

    def _require_leader(self, placement: Placement, known: Mapping[str, Placement]) -> None:
        """Refuse a placement that waits for none further up, or asks for the kerb of one without."""
        name = placement.after.placement if placement.after else ""
        leader = known.get(name)
        if leader is None or leader.count[0] < 1 or self.is_one_of:
            raise ValueError(
                f"placement of {placement.mesh}: after.placement is {name!r}, expected the name of a "
                "placement further up that is in every encounter"
            )
        if placement.datum is Datum.SAME_KERB and leader.datum is Datum.LANE:
            raise ValueError(f"placement of {placement.mesh}: {name!r} stands at no kerb")


def scenario_path(name: str) -> Path:
    """Return the file of a scenario: ``conf/sim/scenario/<name>.yaml``, or one of one's own by its path.

    Raises:
        OperatorError: There is no such scenario.
    """
    return path_of("sim/scenario", name)


def scenario_files(name: str) -> tuple[Path, ...]:
    """List the file of a scenario and those of the scenarios that it extends.

    Raises:
        OperatorError: One of them does not exist, or extends itself.
    """
    return tuple(path for path, _ in _chain(name))


def load_scenario(name: str) -> Scenario:
    """Read a scenario.

    Raises:
        OperatorError: There is no such scenario, or a key or value in it makes no sense.
    """
    values: dict[str, Any] = {}
    for _, own in reversed(_chain(name)):
        values = _laid_over(values, own)
    return settings_from(values, Scenario, origin=f"scenario {name}")


def _chain(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Read a scenario and those that it extends, itself first."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    following = name
    while following or not chain:
        path = scenario_path(following)
        if any(path == known for known, _ in chain):
            raise OperatorError(f"scenario {name} refused: {following} extends itself")
        own = load_file(path, dict[str, Any])
        chain.append((path, own))
        following = str(own.get("extends") or "")
        if is_path(following):
            following = str(path.parent / following)
    return chain


def _laid_over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay the values of a scenario over those of the one that it extends."""
    merged = {**base, **own}
    below, above = base.get("placements"), own.get("placements")
    if isinstance(below, list) and isinstance(above, list):
        changed = {p["name"]: p for p in above if isinstance(p, dict) and "name" in p}
        names = {p.get("name") for p in below}
        merged["placements"] = [
            *({**p, **changed.get(p.get("name"), {})} for p in below),
            *(p for p in above if not (isinstance(p, dict) and p.get("name") in names)),
        ]
    return merged


def require_placed(scenario: Scenario, placed: Counter[str], rejected: Counter[str]) -> None:
    """Refuse a drive whose scenario placed nothing.

    Raises:
        OperatorError: The scenario has placements, but none of its things is in the world.
    """
    if scenario.placements and not placed:
        raise OperatorError(
            f"scenario {scenario.name} placed nothing; {sum(rejected.values())} things found no room. "
            "Start at another place, drive further, or widen its bounds"
        )
