"""`ringroad bench edge`: what one vehicle's tick costs on this board in real time.

A board that has nothing but the `edge` extra gives a clip and a bundle. Where the simulator is installed, it
stands in for either: it is named here and not imported, as groups of commands are.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edge.bench.latency import Latency
    from edge.bench.vehicle import BenchResult
    from edge.contracts.rig import Rig
    from edge.contracts.sensors import FrameSet

app = typer.Typer(
    help="Measure what a tick costs, and what the gate is worth.", no_args_is_help=True
)


@app.callback()
def bench() -> None:
    """Measure what a tick costs, and what the gate is worth."""


@app.command()
def edge(
    model: Annotated[str, typer.Option(help="pico, nano or small.")] = "pico",
    ticks: Annotated[
        int, typer.Option(min=1, help="662 bound the 99th percentile, 6636 the 99.9th.")
    ] = 662,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle to run; the shipped one otherwise.")
    ] = None,
    engine: Annotated[str, typer.Option(help="onnx or tflite.")] = "onnx",
    profile: Annotated[str, typer.Option(help="A file of conf/device.")] = "laptop",
    clip: Annotated[
        Path | None, typer.Option(help="Run on a clip's frames instead of simulated ones.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Simulated frame sets to cycle.")] = 72,
    realtime: Annotated[
        bool, typer.Option(help="Ask for a fixed priority and pin to one core.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Run one vehicle on recorded frames at their rate and report its latency beside the bare network's."""
    import msgspec

    from edge.bench.cadence import MonotonicTimer
    from edge.bench.urgency import collected_by_hand, urgent
    from edge.bench.vehicle import BenchSettings, bench_vehicle
    from edge.board.probe import machine
    from edge.board.profile import device_profile
    from edge.cli.console import stages
    from edge.contracts.bundle import EngineKind
    from edge.contracts.errors import OperatorError
    from edge.perceive.perceiver import read_manifest
    from edge.perceive.tensors import SPECS

    if bundle is not None:
        read_manifest(bundle)
    elif model not in SPECS:
        raise OperatorError(f"there is no network {model!r}; there are {', '.join(SPECS)}")
    reporter = stages(as_json=as_json)
    board = msgspec.structs.replace(device_profile(profile), engines=(EngineKind(engine),))
    with reporter.stage("record frames into memory"):
        recorded, rig, rate_hz = _of_clip(clip) if clip else _of_simulator(frames)
    with tempfile.TemporaryDirectory() as scratch:
        folder, weights = bundle or Path(scratch) / "bundle", "of the bundle"
        if bundle is None:
            with reporter.stage(f"make a bundle of {model}") as stage:
                make = _from_simulator("sim.bench.bundles", "write_bench_bundle", "--bundle")
                weights = make(model, recorded, rig, profile=profile, out=folder)
                stage.note(f"weights {weights}")
        manifest = read_manifest(folder)
        load = os.getloadavg()[0]
        with (
            reporter.stage(f"{rate_hz:g} Hz, in turns of ticks and of bare calls", ticks) as stage,
            urgent(is_wanted=realtime) as scheduling,
            collected_by_hand(),
        ):
            result = bench_vehicle(
                recorded,
                rig,
                manifest=manifest,
                bundle_folder=folder,
                profile=board,
                clips_folder=Path(scratch) / "clips",
                timer=MonotonicTimer(),
                settings=BenchSettings(ticks=ticks, rate_hz=rate_hz),
                on_tick=stage.advance,
            )
    about: dict[str, object] = {
        "model": manifest.model,
        "bundle_id": manifest.bundle_id,
        "weights": weights,
        "engine": engine,
        "threads": board.threads,
        "frames": f"{len(recorded)} of {clip.name if clip else 'the simulator'}, cycled",
        "scheduling": scheduling,
        "load_before": load,
    }
    _show(about | dataclasses.asdict(machine()), result, as_json=as_json)


def _of_simulator(count: int) -> tuple[list[FrameSet], Rig, float]:
    from edge.contracts.time import FRAME_RATE_HZ

    record = _from_simulator("sim.bench", "simulated_frames", "--clip")
    frames, rig = record(count)
    return frames, rig, FRAME_RATE_HZ


def _from_simulator(module: str, name: str, option: str) -> Any:
    """Find a function of the simulator by name.

    Raises:
        OperatorError: The simulator is not installed here.
    """
    from edge.contracts.errors import OperatorError

    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"without {option} the simulator is needed, and {error.name} is not installed: "
            f"give {option}, or install the extras fleet and sim"
        ) from error


def _of_clip(path: Path) -> tuple[list[FrameSet], Rig, float]:
    """Read the frames of a clip, and the rate at which its vehicle drove."""
    from edge.clip_file import read_clip
    from edge.sources.replay import ClipSource

    source = ClipSource(read_clip(path))
    return list(source), source.rig, source.clip.manifest.rate_hz


def _show(about: Mapping[str, object], result: BenchResult, *, as_json: bool) -> None:
    from edge.cli.console import show_json, show_record, show_table

    if as_json:
        show_json(dict(about) | dataclasses.asdict(result))
        return
    show_record(about, as_json=False, title="machine and network")
    series: dict[str, Latency] = {
        "sensor to plan": result.sensor_to_plan,
        "whole tick": result.whole_tick,
        "bare inference": result.bare_inference,
        **{f"  {name}": values for name, values in result.stages.items()},
    }
    rows = [{"series": name} | dataclasses.asdict(values) for name, values in series.items()]
    columns = ("series", "count", "p50_ms", "p99_ms", "p999_ms", "max_ms")
    show_table(rows, columns, as_json=False, title="latency")
    counts = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name not in ("sensor_to_plan", "whole_tick", "bare_inference", "stages")
    }
    rungs = ", ".join(f"{rung} {count}" for rung, count in result.rungs.items())
    show_record(counts | {"rungs": rungs}, as_json=False, title="counts")
