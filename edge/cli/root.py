"""The command `ringroad`: one table of groups, each loaded only when it is called.

A board has the `edge` extra and nothing else, yet the same command runs there: `ringroad --help`
imports no group, and a group whose packages are not installed is one clear sentence. The root is
therefore a few lines of plain code and not a Typer application, which would import every group to
describe it; each group is an ordinary Typer application (or one function, for a lone command).
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
import typer.main
from rich.console import Console
from rich.table import Table

from edge.cli.log import log_events, print_traceback
from edge.contracts.errors import OperatorError, RingroadError
from edge.contracts.text import printable

PACKAGES = ("edge", "fleet", "models", "sim", "conf")


@dataclass(frozen=True)
class Group:
    """One line of the table: where a group's commands live and what they need."""

    module: str
    attribute: str
    """A ``typer.Typer`` (a group of verbs) or a function (a command by itself)."""
    help: str
    extra: str
    """What to install for it: extras of pyproject.toml, comma-separated."""
    also: str = ""
    """A module whose ``app`` adds verbs to the group where what it needs is installed."""


GROUPS: dict[str, Group] = {
    "edge": Group(
        "edge.cli.commands", "app", "The vehicle's runtime: probe a board, replay a clip", "edge"
    ),
    "sim": Group("sim.show.commands", "app", "The simulator: show, drive, record", "sim"),
    "fleet": Group(
        "fleet.commands.fleet",
        "app",
        "The fleet: init, serve, migrate; vehicles, campaigns",
        "fleet",
    ),
    "clips": Group(
        "fleet.commands.clips", "app", "Clips that vehicles sent home: list, show, fetch", "fleet"
    ),
    "label": Group(
        "fleet.commands.label", "app", "Label clips by hindsight and a reviewer: run, list", "fleet"
    ),
    "dataset": Group(
        "fleet.commands.dataset",
        "app",
        "Frozen lists of labelled clips: freeze, build, list, show",
        "fleet",
    ),
    "train": Group("fleet.commands.train", "train", "Train a network or fine-tune one", "fleet"),
    "evaluate": Group(
        "fleet.commands.evaluate",
        "evaluate",
        "Judge a candidate against incumbent and control",
        "fleet",
    ),
    "bundle": Group(
        "fleet.commands.bundle", "app", "Exported models: build, sign, publish, renew", "fleet"
    ),
    "rollout": Group(
        "fleet.commands.rollout",
        "app",
        "Bring a bundle to vehicles, wave by wave: start, advance, halt",
        "fleet",
    ),
    "zoo": Group(
        "sim.lap.baseline", "app", "The shipped models: build, measure, show", "edge,fleet,sim"
    ),
    "settings": Group(
        "conf.command",
        "settings",
        "Every setting with its default, unit and bounds; no words list all",
        "edge,fleet,sim",
    ),
    "bench": Group(
        "edge.bench.commands",
        "app",
        "Measure what a tick costs, and what the gate is worth",
        "edge,fleet,sim",
        also="sim.bench",
    ),
    "lap": Group(
        "sim.lap.command", "lap", "Once round the whole loop, in one command", "edge,fleet,sim"
    ),
}

USAGE = "usage: ringroad [--debug] [--version] [--help] GROUP ..."


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command line and exit: 0 done, 1 failed, 2 not understood, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = False
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--version":
            _leave(f"ringroad {version('ringroad')}")
        elif option in ("--help", "-h"):
            _leave(help_table())
        elif option == "--debug":
            debug = True
        else:
            _complain(f"no such option: {option}", USAGE, code=2)
    if not words:
        _leave(help_table())
    log_events(logging.DEBUG if debug else logging.WARNING)
    _run(words[0], words[1:], debug=debug)


def help_table() -> Table:
    """List every group by the table alone, so that help imports nothing."""
    table = Table(box=None, show_header=False, padding=(0, 2), title=USAGE, title_justify="left")
    for name, group in GROUPS.items():
        table.add_row(f"[bold]{name}[/bold]", group.help)
    table.caption = "`ringroad GROUP --help` tells the rest; --debug shows tracebacks."
    table.caption_justify = "left"
    return table


def load_group(name: str, verb: str = "") -> Any:
    """Import a group by name and give its command.

    Args:
        name: A key of ``GROUPS``.
        verb: The verb that will be run; one that the group lacks for want of packages is refused.

    Raises:
        OperatorError: There is no such group, its packages are not installed, or it is not part of
            this installation.
    """
    group = GROUPS[name]
    try:
        entry = getattr(importlib.import_module(group.module), group.attribute, None)
    except ModuleNotFoundError as error:
        raise missing_extra(name, error) from error
    if entry is None:
        raise OperatorError(
            f"`ringroad {name}` is not part of this installation: "
            f"{group.module} has no {group.attribute}"
        )
    if isinstance(entry, typer.Typer):
        return _with_more(typer.main.get_group(entry), name, verb)
    lone = typer.Typer(add_completion=False)
    lone.command(name, no_args_is_help=_needs_words(entry))(entry)
    return typer.main.get_command(lone)


def _with_more(command: Any, name: str, verb: str) -> Any:
    """Add the verbs of a group's other module, if what that needs is installed."""
    try:
        more = importlib.import_module(GROUPS[name].also) if GROUPS[name].also else None
    except ModuleNotFoundError as error:
        if verb and not verb.startswith("-") and verb not in command.commands:
            raise missing_extra(name, error) from error
        return command
    if more is not None:
        command.commands |= typer.main.get_group(more.app).commands
    return command


def _needs_words(entry: Callable[..., object]) -> bool:
    """Whether a lone command can do nothing without arguments, so that its help is the answer."""
    parameters = inspect.signature(entry).parameters.values()
    return any(parameter.default is inspect.Parameter.empty for parameter in parameters)


def missing_extra(name: str, error: ModuleNotFoundError) -> OperatorError:
    """Say in one sentence what a group lacks, from the import that failed.

    Where there is an OpenCV, no other is asked for: a second wheel would overwrite the files of the first.
    """
    lacking = error.name or "a module"
    if lacking.partition(".")[0] in PACKAGES:
        return OperatorError(f"`ringroad {name}` is not part of this installation: no {lacking}")
    extras = GROUPS[name].extra.split(",")
    if find_spec("cv2"):
        extras = ["tflite" if extra == "edge" else extra for extra in extras]
    elif "edge" not in extras:
        extras = ["edge", *extras]
    return OperatorError(
        f"`ringroad {name}` needs {lacking}, which is not installed: {install_line(extras)}"
    )


def install_line(extras: Sequence[str], root: Path = Path(__file__).parents[2]) -> str:
    """Return a command that installs extras into this very Python, from any folder.

    In a clone it installs the clone again with them; a wheel lies in no folder of its own, so there it
    names what the extras require. No package index is needed for Ringroad itself.

    Args:
        extras: Names of pyproject.toml.
        root: The folder of the packages: a clone, or a ``site-packages``.
    """
    if (root / "pyproject.toml").is_file():
        words = ["--editable", f"{root}[{','.join(extras)}]"]
    else:
        marked = re.compile(r"\s*(;|and)\s*extra == [\"'](" + "|".join(extras) + r")[\"']$")
        asked = requires("ringroad") or ()
        words = [marked.sub("", line) for line in asked if marked.search(line)]
    return shlex.join([sys.executable, "-m", "pip", "install", *words])


def _run(name: str, words: list[str], *, debug: bool) -> None:
    if name not in GROUPS:
        close = difflib.get_close_matches(name, GROUPS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        _complain(f"no such group: {name}{hint}", USAGE, code=2)
    try:
        load_group(name, *words[:1])(args=words, prog_name=f"ringroad {name}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - this is the main
        if debug:
            print_traceback()
        _complain(_one_line(name, error), code=1)


def _one_line(name: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        error = missing_extra(name, error)
    if isinstance(error, RingroadError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror is not None:
        which = f"{error.filename}: " if error.filename is not None else ""
        return f"{which}{error.strerror} (`ringroad --debug {name} ...` shows where)"
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"unexpected {what} (`ringroad --debug {name} ...` shows where)"


def _leave(text: object) -> None:
    Console(highlight=False).print(text)
    sys.exit(0)


def _complain(*lines: str, code: int) -> None:
    sys.stderr.write("ringroad: " + "\n".join(map(printable, lines)) + "\n")
    sys.exit(code)
