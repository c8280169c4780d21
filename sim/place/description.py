"""A map's YAML file: how the map is split, where drives start, how its net was drawn.

A map is two files side by side: ``NAME.net.xml.gz`` (or ``.net.xml``), the network, and ``NAME.yaml``. The
shipped ones lie in ``nets``; a map of one's own is named by the path of either of its files.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from conf.named import load_file
from edge.contracts.errors import OperatorError

NETS = Path(__file__).parent / "nets"
NET_SUFFIXES = (".net.xml.gz", ".net.xml")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,50}")
"""Pattern of a map's name; it leaves room for a place's number in a name of 64 letters."""


class Split(enum.StrEnum):
    """Use of a place's frames."""

    TRAIN = "train"
    TUNE = "tune"
    GATE = "gate"


@dataclass
class Strip:
    """A part of a map from its neighbour in the west, or the western edge, to ``until_ratio``."""

    use: Split
    until_ratio: float = 1.0
    """Share of the map's width, from the west."""


@dataclass
class ListedPlace:
    """A place that is named and not found by a rule."""

    lane_id: str
    offset_m: float
    """From the beginning of the lane to the rear axle."""


@dataclass
class PlacesRule:
    """Rule of the places where drives can start, in the order of the lanes in the net."""

    listed: list[ListedPlace] = field(default_factory=list)
    """These places in this order. Without any, places are spread over the kerb-side driving lanes."""
    spacing_m: float = 32.0
    """No two places that are spread are nearer than this."""
    first_m: float = 15.0
    """Distance from the beginning of a lane to its first place."""
    step_m: float = 10.0
    """Distance from one offset on a lane that is tried to the next."""
    end_m: float = 8.0
    """No place is nearer than this to the end of a lane."""

    def __post_init__(self) -> None:
        if self.step_m <= 0.0:
            raise ValueError(f"places.step_m is {self.step_m}, expected more than 0")


@dataclass
class NetRecipe:
    """Recipe of a net for ``sim.place.build``: arguments of ``netgenerate``, shares of kinds of road."""

    netgenerate: list[str]
    seed: int
    speeds_mps: list[float]
    """Speed limits, of which each road draws one."""
    avenue_ratio: float
    """Share of roads with two driving lanes each way; the others have one."""
    bend_ratio: float
    """Largest sideways bend of a road over its length."""
    light_ratio: float
    """Share of three-way junctions that have traffic lights; larger ones always have."""
    extent_m: tuple[float, float] = (math.inf, math.inf)
    """Width and height, about the middle, beyond which roads are left out."""
    name: str = ""
    """Of the map; the name of the file."""


@dataclass
class MapDescription:
    """A map's YAML file."""

    split: list[Strip]
    """From west to east."""
    split_margin_m: float = 40.0
    """Half of the strip between two parts of different use, in which no drive starts."""
    places: PlacesRule = field(default_factory=PlacesRule)
    recipe: NetRecipe | None = None
    """None for a net that was not drawn by ``sim.place.build``."""

    def __post_init__(self) -> None:
        ends = [strip.until_ratio for strip in self.split]
        if not ends or ends != sorted(set(ends)) or ends[-1] != 1.0 or ends[0] <= 0.0:
            raise ValueError(
                f"split ends at {ends}, expected growing shares of the width of which the last is 1.0"
            )

    def use_at(self, x_m: float, west_m: float, east_m: float) -> Split | None:
        """Return what a frame at ``x_m`` may be used for; None in the margin between two uses."""
        for strip, following in zip(self.split, [*self.split[1:], self.split[-1]], strict=True):
            border_m = west_m + strip.until_ratio * (east_m - west_m)
            if strip.use is not following.use and abs(x_m - border_m) < self.split_margin_m:
                return None
            if x_m < border_m:
                return strip.use
        return self.split[-1].use


@dataclass(frozen=True)
class MapFiles:
    """Name and files of one map."""

    name: str
    net: Path
    description: Path


def map_names() -> tuple[str, ...]:
    """List the shipped maps."""
    return tuple(sorted(path.stem for path in NETS.glob("*.yaml")))


def find_map(name_or_path: str) -> MapFiles:
    """Find a shipped map by its name, or a map of one's own by the path of its YAML file or net.

    Raises:
        OperatorError: There is no such map, one of its two files is missing, or its name cannot begin
            the id of a place.
    """
    if name_or_path in map_names():
        return _beside(NETS / name_or_path)
    path = Path(name_or_path)
    suffix = next((s for s in (".yaml", *NET_SUFFIXES) if path.name.endswith(s)), None)
    if suffix is None:
        raise OperatorError(
            f"there is no map {name_or_path!r}; there are {', '.join(map_names())}, "
            "or the path of a map's YAML file"
        )
    name = path.name.removesuffix(suffix)
    if not _NAME.fullmatch(name) or name in map_names():
        raise OperatorError(
            f"map {path} refused: its name {name!r} must be small letters, digits, '.', '_' and '-', "
            f"and none of {', '.join(map_names())}; rename both of its files"
        )
    return _beside(path.with_name(name))


def _beside(stem: Path) -> MapFiles:
    """Find the two files of a map that differ in their endings alone."""
    description = stem.with_name(f"{stem.name}.yaml")
    nets = [stem.with_name(stem.name + suffix) for suffix in NET_SUFFIXES]
    net = next((path for path in nets if path.is_file()), None)
    if net is None:
        raise OperatorError(
            f"map {stem} refused: there is no network {nets[0].name} or {nets[1].name} in "
            f"{stem.parent}; make one with SUMO's netconvert"
        )
    if not description.is_file():
        raise OperatorError(
            f"map {stem} refused: there is no {description.name} beside its network; "
            "it says for one thing what its places may be used for, as in 'split: [{use: train}]'"
        )
    return MapFiles(stem.name, net, description)


def read_description(files: MapFiles) -> MapDescription:
    """Read a map's YAML file.

    Raises:
        OperatorError: A key or a value in it makes no sense.
    """
    told = load_file(files.description, MapDescription, origin=f"map {files.description}")
    if told.recipe is not None:
        told.recipe = replace(told.recipe, name=files.name)
    return told
