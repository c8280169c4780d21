"""Data sets that are made on demand: a seeded recipe, rendered, labelled with full care, frozen.

The base, tune and gate sets are not shipped as files; they are recipes with a hash. The recipe and the code
give the set again, and the cache only saves the time: it is keyed by the recipe's content and by a hash of
everything that the runner is made of, so an edited scenario is another set.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from conf.named import load
from edge.clip_file import encode_instant
from edge.contracts.errors import HashMismatchError, OperatorError
from edge.contracts.fields import Count, Name, Ratio, Seconds, Size, Text
from edge.contracts.geometry import Pose
from edge.contracts.rig import Rig
from edge.contracts.sensors import FrameSet
from fleet.dataset.frozen import DatasetManifest, freeze
from fleet.disk import write_whole
from fleet.labeler import Labeler
from fleet.sample.futures import with_futures
from fleet.sample.row import Sample
from fleet.store import BlobStore

_log = logging.getLogger(__name__)

PAIR_GAP_S = 0.25


class RecipePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One map and one scenario: how many places are visited, and how many instants each visit gives."""

    road_map: Text
    """Name of a shipped map, or path of one's own."""
    scenario: Text = "none"
    """A file of ``conf/sim/scenario``, or the path of one."""
    places: Size
    """How many of the split's places are visited, spread evenly over the map's own order."""
    visits_per_place: Size = 1
    """Visits to each place, each with other traffic."""
    instants_per_visit: Size = 4
    """Rows that one visit gives."""
    instant_gap_s: Seconds = 1.5
    """Time between the rows of a visit."""
    has_futures: bool = False
    """Follow every visit for three more seconds, so that futures are known."""
    night_ratio: Ratio = 0.0
    """Share of the visits that happen at night."""


class DataRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one set is made: maps, scenarios, places, visits and seed."""

    name: Name
    """Name of the set."""
    split: Name
    """``train``, ``tune`` or ``gate``; a place is in exactly one."""
    parts: tuple[RecipePart, ...]
    """What is visited, part by part."""
    seed: Count = 0
    """What everything random in the set derives from."""
    purpose: Text = ""
    """What the set is for, in a few words."""

    @property
    def recipe_id(self) -> str:
        """Hash of the recipe's content; ``RecipeRunner.made_of`` covers what its names stand for."""
        return "r-" + hashlib.sha256(msgspec.msgpack.encode(self)).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class RenderedInstant:
    """One instant to be labelled, the one before it, and the ground as the map has it."""

    now: FrameSet
    earlier: FrameSet
    segmentation: bytes
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """One visit to one place. ``vehicle_id``: its id for the labeler.

    ``ego_poses``: where the vehicle was at every quarter of a second from the first instant on, by stamp;
    after the last instants it reaches three seconds further.
    """

    scene_id: str
    vehicle_id: str
    place_id: str
    rig: Rig
    instants: tuple[RenderedInstant, ...]
    ego_poses: Mapping[int, Pose]


class RecipeRunner(Protocol):
    """Makes the rows of a recipe: renders, labels with full care. The simulator implements it."""

    def rows(self, recipe: DataRecipe, on_progress: Callable[[int], None]) -> Sequence[Sample]:
        """Return the rows; ``on_progress`` is called with their number so far."""

    def rigs(self) -> Sequence[Rig]:
        """Return the calibrations that the rows were sensed with."""

    def made_of(self, recipe: DataRecipe) -> str:
        """Hash all that decides the rows apart from the recipe's words: code, data, calibration."""


def samples_of(scene: RenderedScene, labeler: Labeler) -> Iterator[Sample]:
    """Label one rendered scene and turn its instants into rows."""
    labels = labeler.annotate(scene.vehicle_id, sorted(scene.ego_poses))
    for instant in scene.instants:
        stamp_ns = instant.now.stamp_ns
        said = with_futures(stamp_ns, labels, scene.ego_poses)
        said = msgspec.structs.replace(said, segmentation=instant.segmentation)
        yield Sample(
            sample_id=hashlib.sha256(f"{scene.scene_id}:{stamp_ns}".encode()).hexdigest(),
            clip_id=scene.scene_id,
            place_id=scene.place_id,
            rig_id=scene.rig.rig_id,
            now=encode_instant(instant.now),
            earlier=encode_instant(instant.earlier),
            labels=said,
            tags=instant.tags,
        )


def build_set(
    recipe: DataRecipe,
    runner: RecipeRunner,
    store: BlobStore,
    cache: Path,
    *,
    on_progress: Callable[[int], None] = lambda rows: None,
) -> DatasetManifest:
    """Make a recipe's set, or find it: the cache is keyed by the recipe and by what its runner is made of.

    What the cache holds under other keys is left alone: another checkout may use it. What lies there and
    is not whole is dropped, which is logged, and made again. The set of a runner from outside that has no
    ``made_of`` is made every time, since nothing tells whether it is stale.
    """
    if not hasattr(runner, "made_of"):
        return _rendered(recipe, runner, store, on_progress)
    key = hashlib.sha256(f"{recipe.recipe_id} {runner.made_of(recipe)}".encode()).hexdigest()[:16]
    remembered = cache / f"{recipe.name}-{key}.json"
    found = _remembered(remembered, store)
    if found is not None:
        return found
    manifest = _rendered(recipe, runner, store, on_progress)
    cache.mkdir(parents=True, exist_ok=True)
    write_whole(remembered, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def _remembered(path: Path, store: BlobStore) -> DatasetManifest | None:
    """Read a set's manifest and check its blob; None when there is none, or it is damaged."""
    if not path.exists():
        return None
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=DatasetManifest)
        store.get(manifest.blob_id)
    except (msgspec.MsgspecError, ValueError, HashMismatchError, OperatorError) as error:
        reason = " ".join(str(error).split())
        _log.warning("cached_set_dropped", extra={"file": str(path), "reason": reason})
        path.unlink(missing_ok=True)
        return None
    return manifest


def _rendered(
    recipe: DataRecipe,
    runner: RecipeRunner,
    store: BlobStore,
    on_progress: Callable[[int], None],
) -> DatasetManifest:
    rows = runner.rows(recipe, on_progress)
    return freeze(
        rows, runner.rigs(), store, name=recipe.name, split=recipe.split, purpose=recipe.recipe_id
    )


def load_recipe(name: str) -> DataRecipe:
    """Read ``conf/recipe/<name>.yaml``, or a recipe of one's own by the path of its file.

    Raises:
        OperatorError: There is no such recipe, a key is misspelt or a value makes no sense.
    """
    return load("recipe", name, DataRecipe)
