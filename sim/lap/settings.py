"""What a lap can be told, with the defaults that make one learn something in about ten minutes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fleet.campaign import CampaignSettings
from fleet.evaluate import GateSettings
from fleet.stages.train import fine_tune
from fleet.store import StoreSettings
from models.fit import FitSettings


@dataclass
class DriveScene:
    """Where one vehicle drives in a lap."""

    road_map: str = "suburb"
    scenario: str = "animal_rare"
    is_night: bool = False
    vehicles_per_km: float = 8.0
    """How much else drives, per kilometre of lane: on quiet streets a minute goes some way, on crowded
    ones it is spent behind a bus."""


@dataclass
class LapSettings:
    """One lap; a dial is one word on the command line."""

    seed: int = 0
    is_quick: bool = False
    """Set by ``quick``: shorter than what can prove anything."""
    vehicles: int = 3
    model: str = "pico"
    profile: str = "laptop"
    drive_s: float = 60.0
    redrive_s: float = 30.0
    scenes: list[DriveScene] = field(default_factory=lambda: [DriveScene()])
    """Taken in turn by the vehicles."""
    rare: str = "animal"
    """The class that the lap claims to learn."""
    budget_tracks: int = 80
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


def quick(settings: LapSettings) -> LapSettings:
    """Shorten every stage: all of them happen, and the gate will rarely have enough evidence."""
    return replace(
        settings,
        is_quick=True,
        drive_s=min(settings.drive_s, 8.0),
        redrive_s=min(settings.redrive_s, 4.0),
        budget_tracks=min(settings.budget_tracks, 20),
        replay_set="quick_replay",
        tune_set="quick_tune",
        gate_set="quick_gate",
        rare_set="quick_gate_animal",
        episodes="quick",
        fit=replace(settings.fit, steps=60, log_every=20),
    )
