"""Render data recipes: visit places, look a few times at each, write down what was really there.

A recipe is always split into the same number of shares, one child process each, whatever the machine
has: what a world shows depends on the visits before, so the number of shares is part of the recipe.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose
from edge.contracts.sensors import CameraRig, FrameSet
from edge.contracts.time import FRAME_RATE_HZ
from fleet.evaluate.predict import NIGHT
from fleet.recipe import (
    FUTURE_STEP_S,
    FUTURE_STEPS,
    DataRecipe,
    RecipePart,
    RenderedInstant,
    RenderedScene,
    samples_of,
)
from fleet.samples import Sample
from sim.annotator import Annotator
from sim.cameras import Renderer
from sim.maps import Split, load_map
from sim.rig import default_rig
from sim.scenarios import load_scenario
from sim.sensors import RadarSettings, UltrasonicSettings, radar_scan, ultrasonic_scan
from sim.sight import survey
from sim.snapshot import Snapshot
from sim.truth import TruthFrame, truth_boxes
from sim.weather import Night, NightSettings
from sim.world import World, WorldSettings

SHARES = 2
_STEP_FRAMES = round(FUTURE_STEP_S * FRAME_RATE_HZ)
_BEV_CELLS = 48
_BEV_RANGE_M = 32.0


class RecipeStage:
    """Makes the rows of recipes in child processes; a ``RecipeRunner``."""

    def __init__(self, rig: CameraRig | None = None) -> None:
        self._rig = rig or default_rig()

    def rigs(self) -> Sequence[CameraRig]:
        """Give the one rig of simulated vehicles."""
        return [self._rig]

    def rows(self, recipe: DataRecipe, on_progress: Callable[[int], None]) -> list[Sample]:
        """Render every share side by side and join the rows.

        Raises:
            OperatorError: A share failed; the message ends with what it said.
        """
        with TemporaryDirectory(prefix="ringroad-recipe-") as folder:
            job = Path(folder) / "recipe.json"
            job.write_bytes(msgspec.json.encode(recipe))
            children = [_start(job, share) for share in range(SHARES)]
            try:
                for share, child in enumerate(children):
                    _, said = child.communicate()
                    if child.returncode != 0:
                        raise OperatorError(f"recipe {recipe.name}, share {share}: {_last(said)}")
            finally:
                for child in children:
                    child.kill()
                    child.wait()
            rows: list[Sample] = []
            for share in range(SHARES):
                content = _rows_path(job, share).read_bytes()
                rows.extend(msgspec.msgpack.decode(content, type=list[Sample]))
                on_progress(len(rows))
            return rows


def _start(job: Path, share: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sim.recipes", str(job), str(share)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _rows_path(job: Path, share: int) -> Path:
    return job.with_suffix(f".{share}.rows")


def rows_of_share(recipe: DataRecipe, share: int, rig: CameraRig) -> Iterator[Sample]:
    """Render and label one share of a recipe in this process."""
    for number, part in enumerate(recipe.parts):
        for scene, truth in _scenes(recipe, number, part, share, rig):
            yield from samples_of(scene, Annotator({scene.vehicle_id: truth}.__getitem__))


def _scenes(
    recipe: DataRecipe, number: int, part: RecipePart, share: int, rig: CameraRig
) -> Iterator[tuple[RenderedScene, dict[int, TruthFrame]]]:
    """Visit this share's places of one part, one scene a visit."""
    road_map = load_map(part.road_map)
    places = road_map.places_of(Split(recipe.split))
    if len(places) < part.places:
        raise OperatorError(
            f"recipe {recipe.name} asks for {part.places} places of {part.road_map}, split"
            f" {recipe.split}; there are {len(places)}"
        )
    chosen = [places[k * len(places) // part.places] for k in range(part.places)][share::SHARES]
    settings = WorldSettings(
        seed=recipe.seed * 1000 + number * 10 + share,
        place_id=chosen[0].place_id,
        scenario=load_scenario(part.scenario),
    )
    with ExitStack() as stack:
        world = stack.enter_context(World(settings, road_map))
        renderer = Renderer(road_map, rig)
        stack.callback(renderer.close)
        camera = _Camera(world, renderer, rig, [recipe.seed, number, share])
        for place in chosen:
            for visit in range(part.visits_per_place):
                world.visit(place.place_id)
                name = f"{recipe.name}-{number}-{place.place_id}-v{visit}"
                yield camera.scene(name, place.place_id, part)


class _Camera:
    """Looks at a world through all sensors and remembers the truth."""

    def __init__(self, world: World, renderer: Renderer, rig: CameraRig, seed: list[int]) -> None:
        self._world, self._renderer, self._rig = world, renderer, rig
        self._radar_rng, self._ultrasonic_rng, self._night_rng = (
            np.random.default_rng([*seed, stream]) for stream in range(3)
        )

    def scene(
        self, name: str, place_id: str, part: RecipePart
    ) -> tuple[RenderedScene, dict[int, TruthFrame]]:
        """Follow one visit: an instant and the one before it, every ``instant_gap_s``."""
        night = Night(NightSettings(), self._night_rng)
        is_night = self._night_rng.uniform() < part.night_ratio
        gap = max(_STEP_FRAMES, round(part.instant_gap_s / FUTURE_STEP_S) * _STEP_FRAMES)
        due = {k * gap + _STEP_FRAMES for k in range(part.instants_per_visit)}
        last = max(due) + (FUTURE_STEPS * _STEP_FRAMES if part.has_futures else 0)
        truth: dict[int, TruthFrame] = {}
        poses: dict[int, Pose] = {}
        instants: list[RenderedInstant] = []
        earlier: FrameSet | None = None
        snapshot = self._world.now()
        for frame in range(last + 1):
            if frame > 0:
                snapshot = self._world.step()
            if frame % _STEP_FRAMES:
                continue
            is_due, is_next_due = frame in due, frame + _STEP_FRAMES in due
            frame_set, known = self._look(snapshot, is_due or is_next_due)
            truth[snapshot.stamp_ns] = known
            poses[snapshot.stamp_ns] = snapshot.ego.world_from_ego
            if frame_set is not None and is_night:
                images = night.fall(frame_set.images, self._night_rng)
                frame_set = replace(frame_set, images=images)
            if is_due and frame_set is not None and earlier is not None:
                instants.append(self._instant(frame_set, earlier, is_night, part))
            earlier = frame_set
        scene = RenderedScene(name, "recipe", place_id, self._rig, tuple(instants), poses)
        return scene, truth

    def _look(self, snapshot: Snapshot, with_images: bool) -> tuple[FrameSet | None, TruthFrame]:
        around = survey(snapshot, self._renderer.scenery)
        visible_px: dict[int, int] = {}
        frame_set = None
        if with_images:
            render = self._renderer.render(snapshot)
            visible_px = render.visible_px
            frame_set = FrameSet(
                index=snapshot.frame_index,
                stamp_ns=snapshot.stamp_ns,
                images=render.images,
                radar=radar_scan(around, RadarSettings(), self._radar_rng),
                ultrasonics=ultrasonic_scan(
                    around, self._rig, UltrasonicSettings(), self._ultrasonic_rng
                ),
                ego=snapshot.ego,
                route=snapshot.route,
            )
        encounters = {
            actor.actor_id: encounter
            for actor in snapshot.actors
            if (encounter := self._world.encounter_of(actor.actor_id)) is not None
        }
        boxes = truth_boxes(around, visible_px, encounters)
        frame = TruthFrame(
            stamp_ns=snapshot.stamp_ns, world_from_ego=snapshot.ego.world_from_ego, boxes=boxes
        )
        return frame_set, frame

    def _instant(
        self, now: FrameSet, earlier: FrameSet, is_night: bool, part: RecipePart
    ) -> RenderedInstant:
        raster = self._renderer.ground.drivable_raster(
            now.ego.world_from_ego, cells=_BEV_CELLS, range_m=_BEV_RANGE_M
        )
        tags = [part.scenario] + ([NIGHT] if is_night else [])
        return RenderedInstant(now, earlier, raster.tobytes(), tuple(tags))


def main(arguments: list[str]) -> None:
    """Run ``python -m sim.recipes RECIPE.json SHARE``: a child process of ``RecipeStage``."""
    job, share = Path(arguments[0]), int(arguments[1])
    recipe = msgspec.json.decode(job.read_bytes(), type=DataRecipe)
    rows = list(rows_of_share(recipe, share, default_rig()))
    _rows_path(job, share).write_bytes(msgspec.msgpack.encode(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
