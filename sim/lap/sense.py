"""Refuse at once what a stage of the lap would refuse only after minutes of work."""

from __future__ import annotations

from edge.contracts.errors import OperatorError
from edge.device import device_profile
from fleet.evaluate import SLICES
from fleet.recipe import load_recipe
from fleet.zoo import zoo_folder
from sim.episodes import load_episodes
from sim.lap.opening import RECIPES
from sim.lap.settings import LapSettings
from sim.maps import net_path
from sim.scenarios import load_scenario


def refuse_nonsense(settings: LapSettings) -> None:
    """Look up everything that settings name, and bound what they count.

    Raises:
        OperatorError: A dial is out of bounds, or names what is not there.
    """
    _expect_numbers(settings)
    zoo_folder(settings.model)
    device_profile(settings.profile)
    for scene in settings.scenes:
        net_path(scene.road_map)
        load_scenario(scene.scenario)
    for name in (settings.replay_set, settings.tune_set, settings.gate_set, settings.rare_set):
        load_recipe(RECIPES / f"{name}.yaml")
    load_episodes(settings.episodes)
    judged = [name for name, part in SLICES.items() if part.categories == (name,)]
    if settings.rare not in judged:
        raise OperatorError(
            f"there is no class {settings.rare!r} to learn that the gate has a slice for; there "
            f"is {', '.join(judged)}"
        )


def _expect_numbers(settings: LapSettings) -> None:
    if not settings.scenes:
        raise OperatorError("a lap without scenes has nowhere to drive; name at least one")
    least = {"seed": 0, "vehicles": 1, "drive_s": 1.0, "redrive_s": 1.0, "budget_tracks": 1}
    for name, bound in least.items():
        found = getattr(settings, name)
        if found < bound:
            raise OperatorError(f"lap not begun: {name} is {found}, expected at least {bound}")
