"""Open a fleet's state folder for a command; and the options that every command has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from conf.records import settings_from
from fleet.fleet import Fleet, open_fleet
from fleet.state import StateFolder
from fleet.work.workspace import Workspace

if TYPE_CHECKING:
    from fleet.depot import Depot

T = TypeVar("T")

STATE = Path(".ringroad/fleet")
CACHE = Path(".ringroad/cache")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
State = Annotated[Path, typer.Option("--state", help="The fleet's state folder.")]
Cache = Annotated[Path, typer.Option("--cache", help="What can be made again: images, answers.")]


def reading(state: Path) -> AbstractContextManager[Fleet]:
    """Open a fleet for a command that only reads: nothing is made or changed.

    Raises:
        OperatorError: There is no fleet in that folder.
    """
    return open_fleet(StateFolder(state), is_read_only=True)


def writing(state: Path) -> AbstractContextManager[Fleet]:
    """Open a fleet for a command that changes it.

    Raises:
        OperatorError: There is no fleet in that folder.
    """
    return open_fleet(StateFolder(state))


@contextmanager
def open_workspace(state: Path, cache: Path = CACHE) -> Iterator[Workspace]:
    """Open a fleet for a stage that runs child processes.

    Raises:
        OperatorError: There is no fleet in that folder.
    """
    with writing(state) as fleet:
        yield _workspace(fleet, cache)


@contextmanager
def open_depot(state: Path, cache: Path = CACHE) -> Iterator[Depot]:
    """Open a fleet's keys and repositories for a command that releases bundles.

    Raises:
        OperatorError: There is no fleet in that folder.
    """
    from fleet.depot import Depot

    with writing(state) as fleet:
        yield Depot(fleet, _workspace(fleet, cache))


def overlaid(settings: T, asked: T, words: Sequence[str]) -> T:
    """Take over, from settings that words were composed into, what the words name and nothing else.

    Args:
        settings: What holds otherwise.
        asked: The words, composed over the defaults.
        words: As typed: ``updates_port=0``, ``store=s3``, ``gateway.bind=…``.
    """
    values, said = msgspec.to_builtins(settings), msgspec.to_builtins(asked)
    for word in words:
        *parents, leaf = word.partition("=")[0].lstrip("+~").split(".")
        target, source = values, said
        for name in parents:
            target, source = target[name], source[name]
        target[leaf] = source[leaf]
    return settings_from(values, type(settings), origin="command line")


def agree(question: str, *, yes: bool) -> None:
    """Ask before something reaches vehicles, unless the answer was given."""
    if not yes:
        typer.confirm(question, abort=True)


def _workspace(fleet: Fleet, cache: Path) -> Workspace:
    folder = fleet.state.root / "work"
    return Workspace(fleet.catalog, fleet.store, folder, cache, actor=fleet.actor)
