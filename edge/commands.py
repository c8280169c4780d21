"""`ringroad edge …`: what one can do on a board."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from edge import probe as board
from edge.console import show_json, show_record, show_table

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
