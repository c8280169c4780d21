"""Refuse at once what a stage of the lap would refuse only after minutes of work."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path

import msgspec

from conf.compose import settings_from
from conf.named import path_of
from edge.board.profile import device_profile
from edge.contracts.classes import CLASSES
from edge.contracts.errors import LinkError, OperatorError
from fleet.campaign import campaign_from
from fleet.dataset.recipe import load_recipe
from fleet.evaluate import SLICES
from fleet.evaluate.matching import distance_column
from fleet.store import open_store, prove_store
from fleet.zoo import zoo_folder
from sim.episodes import load_episodes
from sim.lap.claim import Claim
from sim.lap.settings import LapSettings
from sim.place.maps import Split, load_map
from sim.recipes import check_recipe
from sim.world.encounters import load_scenario

_ROOM_BYTES, _QUICK_ROOM_BYTES = 1_000_000_000, 200_000_000
"""What one run writes, also when the cache has every set."""


def refuse_nonsense(settings: LapSettings) -> None:
    """Look up every name in the settings, and check every number against its bounds.

    Raises:
        OperatorError: A setting is out of bounds, or names what is not there.
    """
    settings_from(msgspec.to_builtins(settings), LapSettings, origin="lap")
    zoo_folder(settings.model)
    device_profile(settings.profile)
    for campaign_id, campaign in settings.campaigns.items():
        campaign_from(campaign_id, campaign)
    distance_column(settings.gate.distance_m)
    _expect_unset(settings)
    _check_fit(settings)
    _check_claim(settings.claim)
    sets = (settings.replay_set, settings.tune_set, settings.gate_set, settings.claim.rare_set)
    recipes = [load_recipe(name) for name in sets]
    for episode in load_episodes(settings.claim.episodes):
        load_scenario(episode.scenario)
        load_map(episode.map_name).place(episode.place_id)
    for recipe in recipes:
        check_recipe(recipe)


def refuse_no_room(settings: LapSettings, runs: Path) -> None:
    """Check store and disk before anything is rendered.

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


_FILLED = {
    "fleet.state": "a lap makes a fleet in the folder of its run, see --runs",
    "fleet.catalog_url": "a lap makes a fleet in the folder of its run, see --runs",
    "fleet.store": "the lap's own store is set by store.KEY",
    "vehicle.profile": "the lap's own is set by profile",
    "vehicle.recorder.privacy": "simulated images are synthetic",
    "vehicle.uplink.endpoint": "the lap's service says where it is",
    "vehicle.uplink.server_key": "the lap's service says what its key is",
    "vehicle.update.base_url": "the lap's service says where updates are",
}
"""Settings of the nested records that a lap fills itself, and from what."""


def _expect_unset(settings: LapSettings) -> None:
    """Refuse a value that the lap would replace silently."""
    for key, why in _FILLED.items():
        value, default = (attrgetter(key)(record) for record in (settings, LapSettings()))
        if value != default:
            raise OperatorError(f"lap refused: {key} is {value!r}, expected {default!r}: {why}")


def _check_claim(claim: Claim) -> None:
    """Look up everything that a claim names."""
    if not claim.name:
        raise OperatorError("a lap that claims nothing learns nothing; choose one with claim=NAME")
    _expect(claim, "slice", [claim.slice], SLICES)
    _expect_file(claim, "rare_set", [claim.rare_set, claim.quick_rare_set], "recipe")
    _expect_file(
        claim, "episodes", [claim.episodes, claim.quick_episodes], "episodes", "episode list"
    )
    _expect_file(claim, "scenes", [scene.scenario for scene in claim.scenes], "sim/scenario")
    _check_classes(claim)
    _check_scenes(claim)
    for name in (claim.rare_set, claim.quick_rare_set):
        recipe = load_recipe(name)
        if recipe.split != Split.GATE:
            raise OperatorError(
                f"claim {claim.name}: rare_set {name} is of split {recipe.split}, expected gate: a "
                "candidate is judged on places that no model was trained on"
            )


def _check_classes(claim: Claim) -> None:
    named = (*claim.classes, *claim.reset_classes, *claim.positive_weights)
    _expect(claim, "classes", named, CLASSES, what="class")
    of_slice = [str(category) for category in SLICES[claim.slice].categories]
    if len(of_slice) != 1 or sorted(claim.classes) != of_slice:
        raise OperatorError(
            f"claim {claim.name}: classes are {_listed(claim.classes)}, and slice {claim.slice} is of "
            f"{_listed(of_slice)}; expected one class, the same in both"
        )


def _check_scenes(claim: Claim) -> None:
    if not claim.scenes:
        raise OperatorError(
            f"claim {claim.name}: without scenes there is nowhere to drive; name at least one"
        )
    for scene in claim.scenes:
        load_scenario(scene.scenario)
        if not load_map(scene.road_map).places_of(Split.TRAIN):
            raise OperatorError(
                f"a lap cannot drive on {scene.road_map}: all its places belong to the gate"
            )


def _expect_file(
    claim: Claim, field: str, files: Iterable[str], group: str, what: str = ""
) -> None:
    """Refuse the name of a file that is not there, with the nearest one that is."""
    for name in files:
        try:
            path_of(group, name, what=what)
        except OperatorError as error:
            raise OperatorError(f"claim {claim.name}: {field}: {error}") from error


def _expect(
    claim: Claim, field: str, names: Iterable[str], known: Iterable[str], what: str = ""
) -> None:
    """Refuse a name that is not known, with the nearest one that is."""
    known = sorted(map(str, known))
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}"
            raise OperatorError(
                f"claim {claim.name}: {field}: there is no {what or field} {name!r}; {hint}"
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _check_fit(settings: LapSettings) -> None:
    """Refuse classes in the fine-tune: a lap takes them from its claim."""
    for name in ("reset_classes", "positive_weights"):
        if getattr(settings.fit, name):
            raise OperatorError(f"lap refused: fit.{name} has moved to claim.{name}; set it there")
