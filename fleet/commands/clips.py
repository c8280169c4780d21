"""`ringroad clips …`: list, show and fetch the clips of vehicles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from edge.cli.console import show_json, show_record, show_table
from edge.contracts.errors import OperatorError
from fleet.catalog import Catalog, ClipRow, QuarantineRow, prefix
from fleet.commands.options import STATE, Json, State, reading

app = typer.Typer(help="Clips that vehicles sent home.", no_args_is_help=True)


@app.command("list")
def list_clips(
    vehicle: Annotated[str | None, typer.Option(help="Only of this vehicle.")] = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Those that were not admitted, and why.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The newest ones, so many; all otherwise.")
    ] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """List admitted clips, or quarantined ones."""
    equal = {"vehicle_id": vehicle} if vehicle else {}
    order = "-at_ns" if limit else ""
    with reading(state) as fleet:
        catalog = fleet.catalog
        bad = catalog.all(QuarantineRow, order=order, limit=limit, **equal) if quarantined else []
        found = [] if quarantined else catalog.all(ClipRow, order=order, limit=limit, **equal)
    if quarantined:
        show_table([_without_manifest(row) for row in bad], _BAD_COLUMNS, as_json=as_json)
        return
    rows = [_without_manifest(row) for row in found]
    if not as_json:  # a rule that fired often is named once
        rows = [
            {**row, "rules": tuple(dict.fromkeys(clip.rules))}
            for row, clip in zip(rows, found, strict=True)
        ]
    show_table(rows, _CLIP_COLUMNS, as_json=as_json)


@app.command()
def show(
    clip: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show one clip and the trigger events that caused it."""
    with reading(state) as fleet:
        row = _clip(fleet.catalog, clip)
    record = _without_manifest(row)
    events = msgspec.msgpack.decode(row.manifest)["events"]
    if as_json:
        show_json({**record, "events": events})
        return
    show_record(record, as_json=False)
    show_table(events, ("rule", "value", "threshold", "worth", "campaign_id"), as_json=False)


@app.command()
def fetch(
    clip: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    file: Annotated[Path, typer.Argument(help="Where to write the MCAP file.")],
    state: State = STATE,
) -> None:
    """Write a clip's MCAP file, for a viewer or `ringroad edge replay`."""
    with reading(state) as fleet:
        file.write_bytes(fleet.store.get(_clip(fleet.catalog, clip).blob_id))


_CLIP_COLUMNS = ("clip_id", "vehicle_id", "drive_id", "rules", "worth", "blob_bytes", "frame_count")
_BAD_COLUMNS = ("offer_id", "vehicle_id", "clip_id", "reasons", "blob_bytes")


def _clip(catalog: Catalog, beginning: str) -> ClipRow:
    found = catalog.all(ClipRow, prefix("clip_id", beginning), limit=2)
    if len(found) != 1:
        count = catalog.count(ClipRow, prefix("clip_id", beginning))
        raise OperatorError(
            f"{count} admitted clips begin with {beginning!r}, expected one; "
            "`ringroad clips list` shows all"
        )
    return found[0]


def _without_manifest(row: ClipRow | QuarantineRow) -> dict[str, object]:
    return {
        name: value for name, value in msgspec.structs.asdict(row).items() if name != "manifest"
    }
