"""The output of every command: tables or JSON, and progress that suits its reader.

On a terminal results are Rich tables, and a stage is a live line with one more line for each of its parts;
elsewhere a stage is one plain line, so that a log stays readable. With ``--json`` stdout carries the JSON and
nothing else: progress moves to stderr. Much of what is printed comes from peers, so no text is read as markup
and no control character is printed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table

from edge.contracts.text import printable

PLAIN_WIDTH = 200
"""Columns of a table that goes to a file or a pipe: nothing is cut at an imagined 80."""

_BAR_WIDTH = 20
"""Leaves room for words beside a bar on a terminal of 80 columns."""


def show_json(value: object) -> None:
    """Print anything that msgspec encodes (records, dataclasses, dicts) as indented JSON."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    sys.stdout.write("\n".join(map(_json_line, text.split("\n"))) + "\n")


def show_table(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool, title: str = ""
) -> None:
    """Print rows: a table of ``columns``, or with ``as_json`` a JSON list of whole rows."""
    if as_json:
        show_json(list(rows))
        return
    table = Table(title=printable(title) or None, title_justify="left")
    for column in columns:
        table.add_column(printable(column))
    for row in rows:
        table.add_row(*(printable(_cell(row.get(column))) for column in columns))
    _console().print(table)


def show_record(record: Mapping[str, object], *, as_json: bool, title: str = "") -> None:
    """Print one record: a line per field, or with ``as_json`` a JSON object."""
    if as_json:
        show_json(record)
        return
    rows = [{"field": name, "value": value} for name, value in record.items()]
    show_table(rows, ("field", "value"), as_json=False, title=title)


OnPart = Callable[[str, int, int | None, str], None]
"""Called with the progress of one part of a stage: name, steps done, steps in all, and a note."""


@dataclass
class StageProgress:
    """A stage in progress: ``advance`` counts its steps, ``note`` adds words to its last line."""

    on_advance: Callable[[int], None]
    on_part: OnPart
    notes: list[str] = field(default_factory=list)

    def advance(self, count: int = 1) -> None:
        """Count steps that are done."""
        self.on_advance(count)

    def part(self, name: str, done: int, total: int | None, words: str = "") -> None:
        """Show how far one vehicle or run of the stage is, on a terminal only; nothing of it stays.

        Args:
            name: The same name moves the same line.
            done: Its own steps so far; the stage's are counted by ``advance``.
            total: Steps that it will do; None when that is not known.
            words: What it does at the moment.
        """
        self.on_part(name, done, total, words)

    def note(self, text: str) -> None:
        """Add a few words to the line that closes the stage."""
        self.notes.append(text)


@dataclass
class Stages:
    """The stages of one command; a live bar on a terminal, one line per stage elsewhere."""

    console: Console
    clock: Callable[[], float] = time.monotonic

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[StageProgress]:
        """Run one stage.

        Args:
            name: What it does, in a few words.
            total: Steps it will ``advance``; None when that is not known.
        """
        began_s = self.clock()
        with self._progress() as progress:
            task = progress.add_task(printable(name), total=total, words="")
            yield (stage := StageProgress(partial(progress.advance, task), _parts_in(progress)))
        words = ", ".join([f"{self.clock() - began_s:.1f} s", *stage.notes])
        line = printable(f"{name}: {words}")
        self.console.print(line, markup=False, emoji=False, soft_wrap=True)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn(
                "{task.fields[words]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )


def _parts_in(progress: Progress) -> OnPart:
    """Show a line for each part of a stage below the stage's own, in the order in which they report."""
    lines: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int | None, words: str) -> None:
        if name not in lines:
            lines[name] = progress.add_task(f"  {printable(name)}", total=None, words="")
        progress.update(lines[name], completed=done, total=total, words=printable(words))

    return show


def stages(*, as_json: bool = False) -> Stages:
    """Return the stage reporter of a command; it writes to stderr when stdout carries JSON."""
    return Stages(_console(stderr=as_json))


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _json_line(line: str) -> str:
    """Escape what does not print, in JSON's own way; outside of strings JSON has nothing of the kind."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
