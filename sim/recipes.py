"""Render data recipes: visit places, sense a few instants at each, write down the truth.

A recipe is always split into the same number of shares, one child process each, on every machine: a world
depends on the visits before, so the number of shares is part of the recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from edge.contracts.errors import OperatorError
from edge.contracts.rig import Rig
from edge.contracts.sensors import FrameSet, frames_of
from edge.contracts.time import FRAME_RATE_HZ
from edge.perceive.tensors import FUTURE_STEP_S, FUTURE_STEPS
from fleet.dataset.recipe import DataRecipe, RecipePart, RenderedInstant, RenderedScene, samples_of
from fleet.sample.row import NIGHT, Sample
from fleet.work.process import JobError, Progress, Work, read_progress, run_all, write_progress
from sim.place.maps import Place, Split, load_map
from sim.render.weather import Night
from sim.sense.annotator import Annotator
from sim.sense.rig import default_rig
from sim.sense.truth import TruthFrame
from sim.simulation.provenance import made_of
from sim.simulation.settings import WorldSettings
from sim.simulation.simulation import Simulation, simulate
from sim.world.encounters import load_scenario
from sim.world.trip import Trip

SHARES = 2
_STEP_FRAMES = round(FUTURE_STEP_S * FRAME_RATE_HZ)
_BEV_CELLS = 48
_BEV_RANGE_M = 32.0


class RecipeJob(msgspec.Struct, frozen=True, kw_only=True):
    """The order to a child process."""

    recipe: DataRecipe
    rig: Rig
    world: WorldSettings = msgspec.field(default_factory=WorldSettings)


class RecipeStage:
    """Makes the rows of recipes in child processes; a ``RecipeRunner``."""

    def __init__(self, rig: Rig | None = None, world: WorldSettings | None = None) -> None:
        self._rig = rig or default_rig()
        self._world = world or WorldSettings()

    def rigs(self) -> Sequence[Rig]:
        """Return the one rig that everything is sensed with."""
        return [self._rig]

    def made_of(self, recipe: DataRecipe) -> str:
        """Hash code, packages, map, scenarios, rig and the world's settings."""
        return made_of(recipe, self._rig, self._world)

    def rows(self, recipe: DataRecipe, on_progress: Callable[[int], None]) -> list[Sample]:
        """Render every share side by side and join the rows.

        Raises:
            OperatorError: A share failed; the message ends with its last output.
        """
        with TemporaryDirectory(prefix="ringroad-recipe-") as folder:
            job = Path(folder) / "job.json"
            told = RecipeJob(recipe=recipe, rig=self._rig, world=self._world)
            job.write_bytes(msgspec.json.encode(told))
            words = [(str(job), str(share)) for share in range(SHARES)]
            work = [Work(f"share-{n}", "sim.recipes", words[n]) for n in range(SHARES)]
            try:
                run_all(
                    work,
                    Path(folder),
                    at_once=SHARES,
                    on_poll=lambda: on_progress(sum(_rendered(job, n) for n in range(SHARES))),
                )
            except JobError as error:
                raise OperatorError(f"recipe {recipe.name}: {error.what}") from error
            rows: list[Sample] = []
            for share in range(SHARES):
                content = _rows_path(job, share).read_bytes()
                rows.extend(msgspec.msgpack.decode(content, type=list[Sample]))
            return rows


def _rendered(job: Path, share: int) -> int:
    """Count the rows that a share has made so far."""
    progress = read_progress(_progress_path(job, share))
    return 0 if progress is None else progress.done


def _progress_path(job: Path, share: int) -> Path:
    return job.with_suffix(f".{share}.progress")


def _rows_path(job: Path, share: int) -> Path:
    return job.with_suffix(f".{share}.rows")


def rows_of_share(
    recipe: DataRecipe, share: int, rig: Rig, settings: WorldSettings | None = None
) -> Iterator[Sample]:
    """Render and label one share of a recipe in this process.

    Raises:
        OperatorError: See ``check_recipe``; raised before anything is rendered.
    """
    check_recipe(recipe)
    settings = settings or WorldSettings()
    for number, part in enumerate(recipe.parts):
        if not _places(recipe, part)[share::SHARES]:
            continue
        with _opened(recipe, number, share, rig, settings) as simulation:
            for scene, truth in _scenes(recipe, number, part, share, simulation):
                annotator = Annotator({scene.vehicle_id: truth}.__getitem__, settings.annotator)
                yield from samples_of(scene, annotator)


def check_recipe(recipe: DataRecipe) -> None:
    """Refuse a recipe that cannot be rendered.

    Raises:
        OperatorError: A part names a map, a scenario or a split that is not there, or asks for more
            places than its map has.
    """
    for part in recipe.parts:
        load_scenario(part.scenario)
        _places(recipe, part)


def _opened(
    recipe: DataRecipe, number: int, share: int, rig: Rig, settings: WorldSettings
) -> Simulation:
    """Open the world of one part's share at the first of its places."""
    part = recipe.parts[number]
    trip = Trip(
        road_map=part.road_map,
        place_id=_places(recipe, part)[share].place_id,
        scenario=load_scenario(part.scenario),
        seed=_seed(recipe, number, share),
    )
    return simulate(trip, settings, rig, rate_hz=FRAME_RATE_HZ)


def _seed(recipe: DataRecipe, number: int, share: int) -> int:
    return recipe.seed * 1000 + number * 10 + share


def _scenes(
    recipe: DataRecipe, number: int, part: RecipePart, share: int, simulation: Simulation
) -> Iterator[tuple[RenderedScene, dict[int, TruthFrame]]]:
    """Visit this share's places of one part, one scene a visit."""
    nights = np.random.default_rng([_seed(recipe, number, share), 1])
    for place in _places(recipe, part)[share::SHARES]:
        for visit in range(part.visits_per_place):
            simulation.world.visit(place.place_id)
            name = f"{recipe.name}-{number}-{place.place_id}-v{visit}"
            yield _scene(simulation, name, place.place_id, part, nights)
    simulation.world.require_placed()


def _places(recipe: DataRecipe, part: RecipePart) -> list[Place]:
    """Choose a part's places, spread evenly over those of its split."""
    if recipe.split not in tuple(Split):
        raise OperatorError(
            f"recipe {recipe.name}: no split {recipe.split!r}; there are {', '.join(Split)}"
        )
    places = load_map(part.road_map).places_of(Split(recipe.split))
    if len(places) < part.places:
        raise OperatorError(
            f"recipe {recipe.name} asks for {part.places} places of {part.road_map}, split"
            f" {recipe.split}; there are {len(places)}"
        )
    return [places[k * len(places) // part.places] for k in range(part.places)]


def _scene(
    simulation: Simulation, name: str, place_id: str, part: RecipePart, nights: np.random.Generator
) -> tuple[RenderedScene, dict[int, TruthFrame]]:
    """Follow one visit: an instant and the one before it, every ``instant_gap_s``."""
    night = (
        Night(simulation.settings.night, nights) if nights.uniform() < part.night_ratio else None
    )
    gap = max(_STEP_FRAMES, round(part.instant_gap_s / FUTURE_STEP_S) * _STEP_FRAMES)
    due = {k * gap + _STEP_FRAMES for k in range(part.instants_per_visit)}
    last = max(due) + (FUTURE_STEPS * _STEP_FRAMES if part.has_futures else 0)
    truth: dict[int, TruthFrame] = {}
    instants: list[RenderedInstant] = []
    earlier: FrameSet | None = None
    for frame in range(0, last + 1, _STEP_FRAMES):
        if frame > 0:
            simulation.skip(_STEP_FRAMES)
        snapshot = simulation.world.now()
        if frame in due or frame + _STEP_FRAMES in due:
            now, boxes = simulation.sense(snapshot)
            if night is not None:
                images = night.fall([f.image for f in now.frames if f.image is not None], nights)
                now = replace(now, frames=frames_of(images, now.stamp_ns))
            if frame in due and earlier is not None:
                instants.append(_instant(simulation, now, earlier, part, night is not None))
            earlier = now
        else:
            boxes = simulation.truth(snapshot)
        pose = snapshot.ego.world_from_ego
        truth[snapshot.stamp_ns] = TruthFrame(
            stamp_ns=snapshot.stamp_ns, world_from_ego=pose, boxes=boxes
        )
    poses = {stamp: frame.world_from_ego for stamp, frame in truth.items()}
    return RenderedScene(name, "recipe", place_id, simulation.rig, tuple(instants), poses), truth


def _instant(
    simulation: Simulation, now: FrameSet, earlier: FrameSet, part: RecipePart, is_night: bool
) -> RenderedInstant:
    raster = simulation.ground.drivable_raster(
        now.ego.world_from_ego, cells=_BEV_CELLS, range_m=_BEV_RANGE_M
    )
    scenario = Path(part.scenario).stem
    tags = (scenario, NIGHT) if is_night else (scenario,)
    return RenderedInstant(now, earlier, raster.tobytes(), tags)


def main(arguments: list[str]) -> None:
    """Run ``python -m sim.recipes JOB.json SHARE``: a child process of ``RecipeStage``."""
    job, share = Path(arguments[0]), int(arguments[1])
    told = msgspec.json.decode(job.read_bytes(), type=RecipeJob)
    rows: list[Sample] = []
    for row in rows_of_share(told.recipe, share, told.rig, told.world):
        rows.append(row)
        write_progress(_progress_path(job, share), Progress(done=len(rows)))
    _rows_path(job, share).write_bytes(msgspec.msgpack.encode(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
