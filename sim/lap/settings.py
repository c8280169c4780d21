"""What a lap can be told, with the defaults that make one learn something in about ten minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from edge.contracts.fields import Count
from fleet.campaign import CampaignSettings
from fleet.evaluate import GateSettings
from fleet.store import StoreSettings
from fleet.train.order import fine_tune
from models.fit import FitSettings

Vehicles = Annotated[int, Meta(ge=1, le=256)]
"""Each is a process of its own, all at once."""
DriveSeconds = Annotated[float, Meta(ge=1.0, le=86_400.0)]
VehiclesPerKm = Annotated[float, Meta(ge=0.0, le=200.0)]
"""On a lane that is jammed from end to end stand about 150."""
Tracks = Annotated[int, Meta(ge=1, le=1_000_000)]


@dataclass
class DriveScene:
    """Where one vehicle drives in a lap."""

    road_map: str = "suburb"
    scenario: str = "animal_rare"
    is_night: bool = False
    vehicles_per_km: VehiclesPerKm = 8.0
    """How much else drives, per kilometre of lane: on quiet streets a minute goes some way, on crowded
    ones it is spent behind a bus."""


@dataclass
class LapSettings:
    """One lap; a dial is one word on the command line."""

    seed: Count = 0
    is_quick: bool = False
    """Set by ``--quick``: shorter than what can prove anything."""
    vehicles: Vehicles = 3
    model: str = "pico"
    profile: str = "laptop"
    drive_s: DriveSeconds = 60.0
    redrive_s: DriveSeconds = 30.0
    scenes: list[DriveScene] = field(default_factory=lambda: [DriveScene()])
    """Taken in turn by the vehicles."""
    rare: str = "animal"
    """The class that the lap claims to learn."""
    budget_tracks: Tracks = 80
    """Questions that a reviewer answers, for the candidate and again for the control."""
    replay_set: str = "replay"
    tune_set: str = "tune"
    gate_set: str = "gate"
    rare_set: str = "gate_animal"
    episodes: str = "default"
    """What candidate and incumbent drive in closed loop: a file of ``conf/episodes``."""
    fit: FitSettings = field(default_factory=lambda: fine_tune(["animal"]))
    campaigns: dict[str, CampaignSettings] = field(default_factory=dict)
    gate: GateSettings = field(default_factory=GateSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    cache: str = ".ringroad/cache"
    """Where rendered sets and decoded images are kept between laps."""


QUICK = {
    "is_quick": "true",
    "drive_s": "8.0",
    "redrive_s": "4.0",
    "budget_tracks": "20",
    "replay_set": "quick_replay",
    "tune_set": "quick_tune",
    "gate_set": "quick_gate",
    "rare_set": "quick_gate_animal",
    "episodes": "quick",
    "fit.steps": "60",
    "fit.log_every": "20",
}
"""Shorten every stage: all of them happen, and the gate will rarely have enough evidence."""


def quick(words: Sequence[str]) -> list[str]:
    """Put the words of a quick lap before those that were typed; a word that was typed stays as it is."""
    typed = {word.partition("=")[0].lstrip("+~") for word in words}
    return [*(f"{key}={value}" for key, value in QUICK.items() if key not in typed), *words]
