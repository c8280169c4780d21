"""The roots of all settings: which record a command composes, and which command reads it.

A record that is nested in none of these could not be set; a test walks the four packages and refuses one.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from conf.records import nearest
from edge.contracts.errors import OperatorError


@dataclass(frozen=True)
class Root:
    """One record that people set."""

    module: str
    record: str
    """Name of the record in ``module``."""
    command: str
    """Where it is set."""
    extra: str
    """What has to be installed for it: extras of pyproject.toml, comma-separated."""

    def schema(self) -> Any:
        """Import the record.

        Raises:
            ModuleNotFoundError: Its packages are not installed.
        """
        return getattr(importlib.import_module(self.module), self.record)


ROOTS: dict[str, Root] = {
    "lap": Root("sim.lap.settings", "LapSettings", "ringroad lap KEY=VALUE", "edge,fleet,sim"),
    "fleet": Root("fleet.settings", "ServiceSettings", "ringroad fleet serve KEY=VALUE", "fleet"),
    "vehicle": Root(
        "edge.vehicle.settings",
        "VehicleSettings",
        "ringroad edge replay --set KEY=VALUE, ringroad lap vehicle.KEY=VALUE, a file of conf/vehicle",
        "edge",
    ),
    "world": Root(
        "sim.simulation.settings",
        "WorldSettings",
        "ringroad sim drive KEY=VALUE, ringroad lap world.KEY=VALUE, a file of conf/world",
        "sim",
    ),
    "campaign": Root(
        "edge.contracts.campaign_file",
        "CampaignSettings",
        "a file of conf/campaign, by campaign id",
        "edge",
    ),
    "train": Root("models.settings", "FitSettings", "ringroad train KEY=VALUE", "fleet"),
    "gate": Root("fleet.evaluate", "GateSettings", "ringroad evaluate KEY=VALUE", "fleet"),
    "label": Root("fleet.label.settings", "LabelSettings", "ringroad label run KEY=VALUE", "fleet"),
    "rollout": Root(
        "fleet.rollout", "CanaryRule", "ringroad rollout start ROLLOUT KEY=VALUE", "fleet"
    ),
    "outputs": Root(
        "fleet.evaluate", "OutputSettings", "ringroad zoo card OUT KEY=VALUE", "edge,fleet,sim"
    ),
    "device": Root("edge.contracts.bundle", "DeviceProfile", "a file of conf/device", "edge"),
    "recipe": Root("fleet.dataset.recipe", "DataRecipe", "a file of conf/recipe", "fleet"),
    "episodes": Root("sim.episodes", "EpisodeList", "a file of conf/episodes", "edge,fleet,sim"),
    "scenario": Root("sim.world.encounters", "Scenario", "a file of conf/sim/scenario", "sim"),
}


def root_of(name: str) -> Root:
    """Find a root by its name.

    Raises:
        OperatorError: There is none of that name.
    """
    if name not in ROOTS:
        raise OperatorError(f"there is no root of settings {name!r}{nearest(name, ROOTS)}")
    return ROOTS[name]
