"""`ringroad edge …`: commands for a board."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.board import probe as board
from edge.cli.console import show_json, show_record, show_table

if TYPE_CHECKING:
    from edge.clip_file import Clip
    from edge.sources.replay import ReplayedTick
    from edge.vehicle.replay import ClipReplay

_TICK_COLUMNS = ("index", "rung", "boxes", "agents", "plan_source", "min_ttc_s", "changed")
_CLIP_COLUMNS = ("clip_id", "events", "replayed_on", "ticks", "changed_ticks", "faults")
_RULE_COLUMNS = ("clip_id", "index", "second", "campaign_id", "rule", "value", "threshold")

app = typer.Typer(help="The vehicle's runtime.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


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
    clips: Annotated[
        list[Path],
        typer.Argument(help="Sealed clips, as vehicles record them, or folders of clips."),
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle that looks; the recorded boxes otherwise."),
    ] = None,
    campaign: Annotated[
        str | None,
        typer.Option(help="A file of conf/campaign, or the path of one; shows which rules fire."),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="A file of conf/device, or the path of one.")
    ] = "laptop",
    vehicle: Annotated[
        str, typer.Option(help="A file of conf/vehicle, or the path of one.")
    ] = "default",
    words: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of `ringroad settings vehicle`; repeat it for more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run clips through the runtime, tick by tick, beside what the drive concluded."""
    from conf.named import load
    from conf.words import with_words
    from edge.board.profile import device_profile
    from edge.clip import CLIP_SUFFIX
    from edge.clip_file import read_clip
    from edge.vehicle.replay import clip_files, read_campaigns, replay_clip
    from edge.vehicle.settings import VehicleSettings

    settings = with_words(load("vehicle", vehicle, VehicleSettings), words or ())
    armed = () if campaign is None else read_campaigns(campaign)
    board = device_profile(profile)
    replays: list[dict[str, object]] = []
    for path in clip_files(clips, CLIP_SUFFIX):
        clip = read_clip(path)
        replayed = replay_clip(
            clip, board, bundle_folder=bundle, campaigns=armed, settings=settings
        )
        replays.append(_summary(clip, replayed))
    if as_json:
        show_json(replays[0] if len(replays) == 1 else {"clips": replays})
        return
    _show_replays(replays, is_armed=campaign is not None)


def _summary(clip: Clip, replayed: ClipReplay) -> dict[str, object]:
    """Sum up a replay, with its ticks as ``rows`` and the rules that fired as ``fired``."""
    rows = [_row(tick) for tick in replayed.ticks]
    return {
        "clip_id": clip.manifest.clip_id,
        "vehicle_id": clip.manifest.vehicle_id,
        "events": [str(event.rule) for event in clip.manifest.events],
        "recorded_on": clip.manifest.bundle_id,
        "replayed_on": replayed.health.bundle_id,
        "ticks": len(rows),
        "changed_ticks": sum(bool(row["changed"]) for row in rows),
        "faults": replayed.health.faults,
        "ignored_rules": replayed.ignored_rules,
        "rows": rows,
        "fired": [dataclasses.asdict(firing) for firing in replayed.firings],
    }


def _show_replays(replays: list[dict[str, Any]], *, is_armed: bool) -> None:
    """Show the ticks of a single clip, a line per clip of several, and the rules that fired."""
    about = [{k: v for k, v in one.items() if k not in ("rows", "fired")} for one in replays]
    if len(replays) == 1:
        title = "ticks, and what the drive concluded instead"
        show_table(replays[0]["rows"], _TICK_COLUMNS, as_json=False, title=title)
        show_record(about[0], as_json=False, title="replay")
    else:
        show_table(about, _CLIP_COLUMNS, as_json=False, title="replays")
    if is_armed:
        fired = [firing for one in replays for firing in one["fired"]]
        show_table(fired, _RULE_COLUMNS, as_json=False, title=f"rules that fire: {len(fired)}")


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
