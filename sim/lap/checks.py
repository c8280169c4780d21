"""Refuse at once what a stage of the lap would refuse only after minutes of work."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from conf.compose import settings_from
from edge.board.profile import device_profile
from edge.contracts.errors import LinkError, OperatorError
from edge.contracts.scene import CATEGORIES
from fleet.campaign import campaign_from
from fleet.dataset.recipe import load_recipe
from fleet.evaluate import SLICES
from fleet.evaluate.matching import distance_column
from fleet.store import open_store, prove_store
from fleet.zoo import zoo_folder
from sim.episodes import load_episodes
from sim.lap.settings import LapSettings
from sim.lap.setup import RECIPES
from sim.place.maps import Split, load_map
from sim.recipes import check_recipe
from sim.world.encounters import load_scenario

_ROOM_BYTES, _QUICK_ROOM_BYTES = 1_000_000_000, 200_000_000
"""What one run writes, also when the cache has every set."""


def refuse_nonsense(settings: LapSettings) -> None:
    """Look up everything that settings name, and hold every number against its bounds.

    Raises:
        OperatorError: A dial is out of bounds, or names what is not there.
    """
    settings_from(msgspec.to_builtins(settings), LapSettings, origin="lap")
    zoo_folder(settings.model)
    device_profile(settings.profile)
    for campaign_id, campaign in settings.campaigns.items():
        campaign_from(campaign_id, campaign)
    distance_column(settings.gate.distance_m)
    _expect_classes(settings)
    episodes = load_episodes(settings.episodes)
    sets = (settings.replay_set, settings.tune_set, settings.gate_set, settings.rare_set)
    recipes = [load_recipe(RECIPES / f"{name}.yaml") for name in sets]
    _expect_scenes(settings)
    for episode in episodes:
        load_scenario(episode.scenario)
        load_map(episode.map_name).place(episode.place_id)
    for recipe in recipes:
        check_recipe(recipe)


def refuse_no_room(settings: LapSettings, runs: Path) -> None:
    """Ask the store and the disk before anything is rendered.

    Args:
        settings: The lap's.
        runs: Folder of runs.

    Raises:
        OperatorError: The store cannot be used, the disk is nearly full, or ``latest`` is no link.
    """
    latest = runs / "latest"
    if latest.exists() and not latest.is_symlink():
        raise OperatorError(f"lap not begun: {latest} is in the way of the link to the newest run")
    needed = _QUICK_ROOM_BYTES if settings.is_quick else _ROOM_BYTES
    for folder in (runs, Path(settings.cache)):
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(nearest).free
        if free < needed:
            raise OperatorError(
                f"lap not begun: {folder} has {free / 1e9:.1f} GB free, expected {needed / 1e9:.1f}"
            )
    try:
        prove_store(open_store(settings.store, Path(settings.cache) / "store"))
    except LinkError as error:
        raise OperatorError(f"lap not begun: the store cannot be used: {error}") from error


def _expect_scenes(settings: LapSettings) -> None:
    if not settings.scenes:
        raise OperatorError("a lap without scenes has nowhere to drive; name at least one")
    for scene in settings.scenes:
        load_scenario(scene.scenario)
        if not load_map(scene.road_map).places_of(Split.TRAIN):
            raise OperatorError(
                f"a lap cannot drive on {scene.road_map}: all its places belong to the gate"
            )


def _expect_classes(settings: LapSettings) -> None:
    judged = [name for name, part in SLICES.items() if part.categories == (name,)]
    if settings.rare not in judged:
        raise OperatorError(
            f"there is no class {settings.rare!r} to learn that the gate has a slice for; there "
            f"is {', '.join(judged)}"
        )
    for name in (*settings.fit.positive_weights, *settings.fit.reset_classes):
        if name not in CATEGORIES:
            raise OperatorError(
                f"fit: there is no class {name!r}; there are {', '.join(CATEGORIES)}"
            )
