"""Settings of a lap; with the defaults one lap learns something in about ten minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from msgspec import Meta

from conf.compose import compose
from edge.contracts.errors import OperatorError
from edge.contracts.fields import Count
from edge.vehicle.settings import VehicleSettings
from fleet.campaign import CampaignSettings
from fleet.evaluate import GateSettings
from fleet.label.settings import LabelSettings
from fleet.rollout import CanaryRule
from fleet.service import ServiceSettings
from fleet.store import StoreSettings
from fleet.train.recipe import fine_tune
from models.settings import FitSettings
from sim.lap.claim import Claim, shortened
from sim.simulation.settings import WorldSettings

Vehicles = Annotated[int, Meta(ge=1, le=256)]
"""Each is a process of its own, all at once."""
DriveSeconds = Annotated[float, Meta(ge=1.0, le=86_400.0)]
TrackCount = Annotated[int, Meta(ge=1, le=1_000_000)]


@dataclass
class LapSettings:
    """One lap; a dial is one word on the command line."""

    seed: Count = 0
    """Seed of everything random in the lap."""
    is_quick: bool = False
    """Set by ``--quick``: too short to prove anything."""
    vehicles: Vehicles = 3
    """Number of vehicles."""
    model: str = "pico"
    """Size of the network: pico, nano or small."""
    profile: str = "laptop"
    """Kind of board that vehicles have: a file of ``conf/device``."""
    drive_s: DriveSeconds = 60.0
    """Length of each vehicle's first drive."""
    redrive_s: DriveSeconds = 30.0
    """Length of each vehicle's drive after the gate."""
    claim: Claim = field(default_factory=Claim)
    """What the lap sets out to learn; a file of ``conf/claim``."""
    budget_tracks: TrackCount = 80
    """Questions that a reviewer answers, for the candidate and again for the control."""
    replay_set: str = "replay"
    """Recipe of the ordinary traffic that a fine-tune replays."""
    tune_set: str = "tune"
    """Recipe of the frames that fix score thresholds."""
    gate_set: str = "gate"
    """Recipe of the ordinary traffic that a candidate must not lose."""
    fit: FitSettings = field(default_factory=fine_tune)
    """How both arms are fine-tuned; the classes that start anew and the weights are the claim's."""
    campaigns: dict[str, CampaignSettings] = field(default_factory=dict)
    """What vehicles record, by campaign id."""
    gate: GateSettings = field(default_factory=GateSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    label: LabelSettings = field(default_factory=LabelSettings)
    rollout: CanaryRule = field(default_factory=CanaryRule)
    """When a vehicle has passed; a drive after the gate proves at most half of its own ticks."""
    fleet: ServiceSettings = field(default_factory=ServiceSettings)
    """Of the lap's service; its folder and its store are the lap's."""
    vehicle: VehicleSettings = field(default_factory=VehicleSettings)
    """Settings of every vehicle of the lap, and of the one that drives the gate's episodes."""
    world: WorldSettings = field(default_factory=WorldSettings)
    """How every drive, episode and rendered set of the lap looks, moves and is sensed and labelled."""
    cache: str = ".ringroad/cache"
    """Where rendered sets and decoded images are kept between laps."""

    @property
    def claim_fit(self) -> FitSettings:
        """The fine-tune, with the claim's settings of classes."""
        return replace(
            self.fit,
            reset_classes=list(self.claim.reset_classes),
            positive_weights=dict(self.claim.positive_weights),
        )


QUICK = {
    "is_quick": "true",
    "drive_s": "8.0",
    "redrive_s": "4.0",
    "budget_tracks": "20",
    "replay_set": "quick_replay",
    "tune_set": "quick_tune",
    "gate_set": "quick_gate",
    "fit.steps": "24",
    "fit.log_every": "8",
}
"""Shorten every stage: all of them happen, and the gate will rarely have enough evidence. The claim names
its own quick set and episodes."""

MOVED = {
    "rare": "claim.slice",
    "rare_set": "claim.rare_set",
    "episodes": "claim.episodes",
    "scenes": "claim.scenes",
    "fit.reset_classes": "claim.reset_classes",
    "fit.positive_weights": "claim.positive_weights",
}
"""Settings of a lap that have moved to the claim, and their names there."""


def lap_settings(words: Sequence[str], *, is_quick: bool = False) -> LapSettings:
    """Compose the settings of a lap from ``conf`` and the command line.

    Args:
        words: ``key=value`` each.
        is_quick: Shorten every stage whose length no word sets.

    Raises:
        OperatorError: A key or a value makes no sense, or a key has moved.
    """
    typed = {word.partition("=")[0].lstrip("+~") for word in words}
    _refuse_moved(typed)
    if not is_quick:
        return compose("lap", words, LapSettings)
    quick = [f"{key}={value}" for key, value in QUICK.items() if key not in typed]
    settings = compose("lap", [*quick, *words], LapSettings)
    return replace(settings, claim=shortened(settings.claim, typed))


def _refuse_moved(keys: Iterable[str]) -> None:
    for old, new in MOVED.items():
        if any(key == old or key.startswith(f"{old}.") for key in keys):
            raise OperatorError(
                f"lap refused: {old} has moved to {new}; set it there, or choose a file of conf/claim "
                "with claim=NAME"
            )
