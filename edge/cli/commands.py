"""`ringroad edge …`: what one can do on a board."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.board import probe as board
from edge.cli.console import show_json, show_record, show_table
from edge.contracts.errors import OperatorError

if TYPE_CHECKING:
    from edge.clip_file import Clip
    from edge.contracts.bundle import BundleManifest
    from edge.contracts.scene import Perception, Plan
    from edge.contracts.sensors import FrameSet
    from edge.runtime import Runtime
    from edge.sources.replay import ReplayedTick

app = typer.Typer(help="The vehicle's runtime.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_STAND_IN = "pico"
"""Whose costs are charged where no network runs."""


@app.command()
def probe(as_json: Json = False) -> None:
    """Show what this board is, which engines load on it and how urgent a process may be."""
    found = board.probe()
    if as_json:
        show_json(found)
        return
    record = dataclasses.asdict(found.machine) | {"scheduling": found.urgency}
    show_record(record, as_json=False, title="machine")
    rows = [dataclasses.asdict(engine) for engine in found.engines]
    show_table(rows, ("engine", "version", "providers"), as_json=False, title="engines")


@app.command()
def replay(
    clip: Annotated[Path, typer.Argument(help="A sealed clip, as vehicles record them.")],
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle that looks; the recorded boxes otherwise."),
    ] = None,
    profile: Annotated[str, typer.Option(help="A file of conf/device.")] = "laptop",
    as_json: Json = False,
) -> None:
    """Run a clip through the runtime, tick by tick, beside what the drive concluded."""
    from edge.clip_file import read_clip
    from edge.sources.replay import replay as replayed

    if not clip.is_file():
        raise OperatorError(
            f"there is no clip {clip}; `ringroad clips fetch CLIP FILE` writes one that came home"
        )
    recorded = read_clip(clip)
    runtime = _runtime_for(recorded, bundle, profile)

    def tick(frame_set: FrameSet) -> tuple[Perception, Plan]:
        result = runtime.tick(frame_set, frame_set.stamp_ns)
        return result.perception, result.plan

    rows = [_row(tick) for tick in replayed(recorded, tick)]
    about = {
        "clip_id": recorded.manifest.clip_id,
        "vehicle_id": recorded.manifest.vehicle_id,
        "events": [str(event.rule) for event in recorded.manifest.events],
        "recorded_on": recorded.manifest.bundle_id,
        "replayed_on": runtime.health.bundle_id,
        "ticks": len(rows),
        "changed_ticks": sum(bool(row["changed"]) for row in rows),
        "faults": runtime.health.faults,
    }
    if as_json:
        show_json(about | {"rows": rows})
        return
    columns = ("index", "rung", "boxes", "agents", "plan_source", "min_ttc_s", "changed")
    show_table(rows, columns, as_json=False, title="ticks, and what the drive concluded instead")
    show_record(about, as_json=False, title="replay")


def _row(tick: ReplayedTick) -> dict[str, object]:
    """Write one tick and, in words, what the drive had concluded where it was something else."""
    pairs = (
        ("boxes", tick.recorded_boxes, tick.boxes),
        ("plan", tick.recorded_plan_source, tick.plan_source),
    )
    changed = [
        f"{what} {before} before" for what, before, now in pairs if before not in (None, now)
    ]
    return dataclasses.asdict(tick) | {"changed": changed}


def _runtime_for(clip: Clip, bundle: Path | None, profile_name: str) -> Runtime:
    """Wake a vehicle up with the clip's rig, on a bundle or on the boxes that the clip recorded."""
    from edge.board.profile import device_profile
    from edge.contracts.scene import Rung
    from edge.perceive.perceiver import Perceiver, load_perceivers, read_manifest
    from edge.perceive.recorded import RecordedPerceiver
    from edge.perceive.tensors import SPECS
    from edge.runtime import Runtime, RuntimeSettings
    from edge.trigger import ControlStream

    rig, profile = clip.manifest.rig, device_profile(profile_name)
    perceivers: dict[Rung, Perceiver]
    if bundle is not None:
        manifest = read_manifest(bundle)
        perceivers = load_perceivers(manifest, bundle, rig, profile)
    else:
        manifest = _as_recorded(clip)
        boxes_of = {f.stamp_ns: f.perception.boxes for f in clip.frames if f.perception}
        perceivers = {Rung.FULL: RecordedPerceiver(boxes_of, SPECS[manifest.model])}
    return Runtime(
        RuntimeSettings(),
        rig=rig,
        manifest=manifest,
        perceivers=perceivers,
        profile=profile,
        control=ControlStream(0, clip.manifest.vehicle_id, clip.manifest.drive_id),
    )


def _as_recorded(clip: Clip) -> BundleManifest:
    """Describe the bundle that drove, as far as a clip knows it: by name, and nothing of it can be run."""
    from edge.contracts.bundle import BundleManifest, EngineFile, EngineKind, GoldenSet, Precision
    from edge.contracts.scene import CATEGORIES

    nothing = "0" * 64
    return BundleManifest(
        bundle_id=clip.manifest.bundle_id,
        model=_STAND_IN,
        profile="recorded",
        release_counter=0,
        engines=(
            EngineFile(
                kind=EngineKind.ONNX, precision=Precision.FP32, sha256=nothing, size_bytes=0
            ),
        ),
        inputs=(),
        outputs=(),
        categories=CATEGORIES,
        thresholds=dict.fromkeys(CATEGORIES, 0.0),
        golden=GoldenSet(sha256=nothing, size_bytes=0, frames=0, tolerance=0.0),
    )
