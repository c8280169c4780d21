"""``ringroad settings``: every field that can be set, with its default and unit."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from conf.fields import FieldNote, fields_of
from conf.roots import ROOTS, root_of
from edge.cli.console import show_table
from edge.contracts.errors import OperatorError

COLUMNS = ("root", "key", "default", "unit", "type", "bounds", "sentence")


def settings(
    root: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(ROOTS)}; all of them otherwise.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Argument(help="A part of the key, or a pattern such as '*.max_*_s'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List every setting: its key, default, unit, type, bounds and what it means."""
    roots = ROOTS if root is None else {root: root_of(root)}
    rows = []
    for name, each in roots.items():
        try:
            schema = each.schema()
        except ModuleNotFoundError as error:
            if root is not None:
                raise
            typer.echo(f"{name}: not listed, {error.name} is not installed", err=True)
            continue
        rows += [{"root": name} | dataclasses.asdict(note) for note in matching(schema, pattern)]
    if not rows:
        raise OperatorError(f"no key of {root or 'any root'} is like {pattern!r}")
    if not as_json:  # as it is typed, with every digit
        rows = [{**row, "default": _typed(row["default"])} for row in rows]
    show_table(rows, COLUMNS, as_json=as_json)
    if root is not None and not as_json:
        typer.echo(f"set by: {ROOTS[root].command}")


def _typed(default: object) -> str:
    """Write a default as one types it behind ``key=``."""
    return default if isinstance(default, str) else msgspec.json.encode(default).decode()


def matching(schema: type, pattern: str | None) -> Iterator[FieldNote]:
    """Describe the fields whose key holds a text, or fits a pattern with ``*`` and ``?`` in it."""
    pattern = pattern or ""
    is_glob = any(sign in pattern for sign in "*?[")
    for note in fields_of(schema):
        if fnmatch.fnmatchcase(note.key, pattern) if is_glob else pattern in note.key:
            yield note
