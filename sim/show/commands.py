"""`ringroad sim …`: drive through a scenario and look at what the sensors see."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

if TYPE_CHECKING:
    from edge.board.rig import VehicleRig
    from edge.contracts.sensors import FrameSet
    from sim.sense.truth import TruthBox
    from sim.simulation.settings import WorldSettings
    from sim.simulation.simulation import Simulation
    from sim.world.trip import Trip

app = typer.Typer(help="The simulator.", no_args_is_help=True)

VEHICLE_ID = "sim"
"""Whose truth log `drive` writes."""

RECOGNISABLE_PX = 12
"""A thing with fewer pixels than this cannot be recognised."""

LONGEST_S = 86_400.0
"""Longest drive: a day."""

Map = Annotated[
    str, typer.Option("--map", help="A shipped map by its name, or the path of one's own.")
]
PlaceOption = Annotated[
    str | None, typer.Option(help="Where to start; the map's first place otherwise.")
]
ScenarioName = Annotated[
    str, typer.Option("--scenario", help="A file of conf/sim/scenario, or the path of one.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**53 - 1, help="The same seed gives the same drive.")
]
IsNight = Annotated[bool, typer.Option("--night", help="Drive in the dark.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings of the world, for instance radar.ghosts_per_scan=0."),
]
RigName = Annotated[
    str, typer.Option("--rig", help="A file of conf/rig, or the path of one's own.")
]
WorldName = Annotated[
    str, typer.Option("--world", help="A file of conf/world, or the path of one.")
]


@app.command()
def drive(
    overrides: Overrides = None,
    world: WorldName = "default",
    road_map: Map = "suburb",
    place: PlaceOption = None,
    scenario: ScenarioName = "none",
    seed: Seed = 0,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=LONGEST_S, help="How long to drive.")
    ] = 10.0,
    is_night: IsNight = False,
    rig: RigName = "sim_eight",
    truth: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the truth log here.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write a mosaic per second here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Drive through a scenario with all sensors on and list what was met."""
    from edge.board.rig import load_rig
    from edge.cli.console import show_table, stages

    mounted = load_rig(rig)
    frames = max(1, round(seconds * mounted.rate_hz))
    with (
        stages(as_json=as_json).stage(f"drive {scenario}", frames) as stage,
        _opened(
            _trip(road_map, place, scenario, seed, is_night), world, overrides, mounted
        ) as vehicle,
        DriveLog(vehicle, truth, pictures) as log,
    ):
        for _ in range(frames):
            log.add(*vehicle.step())
            stage.advance()
        vehicle.world.require_placed()
        stage.note(f"{frames} frames")
    show_table(
        log.rows(),
        ("category", "met", "seen", "nearest_m", "frames", "encounters"),
        as_json=as_json,
        title=f"{scenario} on {road_map}, seed {seed}: met by a vehicle within its sensors' range",
    )


@app.command()
def record(
    clip: Annotated[Path, typer.Argument(dir_okay=False, help="The MCAP file to write.")],
    overrides: Overrides = None,
    world: WorldName = "default",
    rig: RigName = "sim_eight",
    bundle: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Folder of the bundle that drives; radar drives otherwise."
        ),
    ] = None,
    road_map: Map = "suburb",
    place: PlaceOption = None,
    scenario: ScenarioName = "none",
    seed: Seed = 0,
    seconds: Annotated[float, typer.Option(min=0.5, max=60.0, help="How long to drive.")] = 6.0,
    is_night: IsNight = False,
    as_json: Json = False,
) -> None:
    """Drive with a rig at its own rate and record all of it, for `ringroad edge replay` and a viewer."""
    from edge.board.rig import load_rig
    from edge.cli.console import show_record, stages
    from edge.clip_file import read_clip
    from sim.show.record import record_drive

    mounted = load_rig(rig)
    count = round(seconds * mounted.rate_hz)
    with stages(as_json=as_json).stage(f"record {scenario}", count) as stage:
        path = record_drive(
            clip,
            _trip(road_map, place, scenario, seed, is_night),
            mounted=mounted,
            seconds=seconds,
            bundle=bundle,
            world=_world(world, overrides),
            on_frame=stage.advance,
        )
    manifest = read_clip(path).manifest
    about = {
        "clip": str(path),
        "clip_id": manifest.clip_id,
        "rig": manifest.rig.name,
        "cameras": len(manifest.rig.cameras),
        "rate_hz": manifest.rate_hz,
        "recorded_hz": manifest.recorded_hz,
        "frames": manifest.frame_count,
        "bytes": path.stat().st_size,
    }
    show_record(about, as_json=as_json)


@app.command()
def show(
    overrides: Overrides = None,
    world: WorldName = "default",
    road_map: Map = "suburb",
    place: PlaceOption = None,
    scenario: ScenarioName = "none",
    seed: Seed = 0,
    at_s: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=LONGEST_S,
            help="How far into the drive to look, or after --encounter is near.",
            show_default="3, or 0 with --encounter",
        ),
    ] = None,
    encounter: Annotated[
        int | None,
        typer.Option(min=1, help="Look at this encounter of the scenario; 1 is the first."),
    ] = None,
    near_m: Annotated[
        float, typer.Option(min=1.0, max=80.0, help="Look when --encounter is this near.")
    ] = 15.0,
    is_night: IsNight = False,
    rig: RigName = "sim_eight",
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the pictures.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write two pictures of one instant: all cameras with true boxes, and the scene from above."""
    from edge.board.rig import load_rig
    from edge.cli.console import show_record
    from sim.show.aim import advance_to_encounter

    trip = _trip(road_map, place, scenario, seed, is_night)
    with _opened(trip, world, overrides, load_rig(rig)) as vehicle:
        if encounter is not None:
            advance_to_encounter(vehicle.world, encounter, near_m=near_m)
        default_s = 3.0 if encounter is None else 0.0
        vehicle.skip(round((default_s if at_s is None else at_s) * vehicle.world.rate_hz))
        frame_set, boxes = vehicle.step()
        vehicle.world.require_placed()
        out.mkdir(parents=True, exist_ok=True)
        map_name = vehicle.world.road_map.name
        name = f"{map_name}-{Path(scenario).stem}-s{seed}-f{frame_set.index}"
        paths = {"mosaic": out / f"{name}-mosaic.png", "birds_eye": out / f"{name}-birds-eye.png"}
        title = f"{scenario} on {road_map}, seed {seed}, frame {frame_set.index}"
        paths["mosaic"].write_bytes(_mosaic(vehicle, frame_set, boxes, title))
        paths["birds_eye"].write_bytes(_birds_eye(vehicle, frame_set, boxes))
    show_record({kind: str(path) for kind, path in paths.items()}, as_json=as_json)


def _trip(road_map: str, place: str | None, scenario: str, seed: int, is_night: bool) -> Trip:
    from sim.world.encounters import load_scenario
    from sim.world.trip import Trip

    return Trip(
        road_map=road_map,
        place_id=place,
        scenario=load_scenario(scenario),
        seed=seed,
        is_night=is_night,
    )


def _opened(
    trip: Trip, world: str, overrides: Sequence[str] | None, mounted: VehicleRig
) -> Simulation:
    """Open a world with a vehicle that carries a rig."""
    from sim.simulation.simulation import simulate

    return simulate(trip, _world(world, overrides), mounted.rig, rate_hz=mounted.rate_hz)


def _world(name: str, overrides: Sequence[str] | None) -> WorldSettings:
    """Set a world up as a file of settings says, and the words after it."""
    from conf.named import load
    from conf.words import with_words
    from sim.simulation.settings import WorldSettings

    return with_words(load("world", name, WorldSettings), overrides or ())


@dataclass
class _ClassCounts:
    """Counts of the road users of one class."""

    entities: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    encounters: set[str] = field(default_factory=set)
    frames: int = 0
    nearest_m: float = float("inf")


class DriveLog:
    """Counts what a drive meets, and writes its truth and its pictures where asked."""

    def __init__(self, vehicle: Simulation, truth: Path | None, pictures: Path | None) -> None:
        from sim.sense.truth import TruthLog

        self._vehicle = vehicle
        self._pictures = pictures
        self._truth = TruthLog.open(truth, VEHICLE_ID) if truth else None
        self._counts: dict[str, _ClassCounts] = defaultdict(_ClassCounts)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._truth is not None:
            self._truth.close()

    def add(self, frame_set: FrameSet, boxes: Sequence[TruthBox]) -> None:
        """Count one frame."""
        from sim.sense.truth import TruthFrame

        self._count_boxes(boxes)
        if self._truth is not None:
            pose = frame_set.ego.world_from_ego
            frame = TruthFrame(stamp_ns=frame_set.stamp_ns, world_from_ego=pose, boxes=tuple(boxes))
            self._truth.append(frame)
        if self._pictures is not None and self._count % max(1, round(self._vehicle.rate_hz)) == 0:
            self._pictures.mkdir(parents=True, exist_ok=True)
            path = self._pictures / f"{frame_set.index:06d}.png"
            title = f"frame {frame_set.index}"
            path.write_bytes(_mosaic(self._vehicle, frame_set, boxes, title))
        self._count += 1

    def rows(self) -> list[dict[str, object]]:
        """List one row per class, most met first."""
        order = sorted(self._counts.items(), key=lambda item: (-len(item[1].entities), item[0]))
        return [
            {
                "category": category,
                "met": len(counts.entities),
                "seen": len(counts.seen),
                "nearest_m": round(counts.nearest_m, 1),
                "frames": counts.frames,
                "encounters": len(counts.encounters),
            }
            for category, counts in order
        ]

    def _count_boxes(self, boxes: Sequence[TruthBox]) -> None:
        in_frame: Counter[str] = Counter()
        for truth in boxes:
            category = str(truth.box.category)
            counts = self._counts[category]
            counts.entities.add(truth.entity_id)
            counts.nearest_m = min(counts.nearest_m, (truth.box.x_m**2 + truth.box.y_m**2) ** 0.5)
            if truth.encounter_id is not None:
                counts.encounters.add(truth.encounter_id)
            if truth.visible_px >= RECOGNISABLE_PX:
                counts.seen.add(truth.entity_id)
                in_frame[category] += 1
        for category in in_frame:
            self._counts[category].frames += 1


def _mosaic(
    vehicle: Simulation, frame_set: FrameSet, boxes: Sequence[TruthBox], title: str
) -> bytes:
    from sim.show.pictures import Layer, mosaic, png_bytes

    seen = [t.box for t in boxes if t.visible_px >= RECOGNISABLE_PX]
    layers = [Layer("truth", seen, has_labels=True)]
    return png_bytes(mosaic([f.image for f in frame_set.frames], vehicle.rig, layers, title=title))


def _birds_eye(vehicle: Simulation, frame_set: FrameSet, boxes: Sequence[TruthBox]) -> bytes:
    from sim.show.pictures import Layer, birds_eye, png_bytes

    range_m = 45.0
    picture = birds_eye(
        [
            Layer("seen", [t.box for t in boxes if t.visible_px >= RECOGNISABLE_PX]),
            Layer(
                "hidden", [t.box for t in boxes if t.visible_px < RECOGNISABLE_PX], (150, 154, 160)
            ),
        ],
        radar=frame_set.radar,
        route=frame_set.route,
        ground=vehicle.ground.drivable_raster(frame_set.ego.world_from_ego, 360, range_m),
        body=vehicle.rig.body,
        range_m=range_m,
    )
    return png_bytes(picture)
