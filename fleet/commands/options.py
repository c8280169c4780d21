"""Where a command works: a fleet's state folder, opened; and the options that every command has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from conf.compose import settings_from
from edge.contracts.errors import OperatorError
from fleet.service import StateFolder, open_served

if TYPE_CHECKING:
    from fleet.catalog import Catalog
    from fleet.depot import Depot
    from fleet.work.workspace import Workspace

T = TypeVar("T")

STATE = Path(".ringroad/fleet")
CACHE = Path(".ringroad/cache")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
State = Annotated[Path, typer.Option("--state", help="The fleet's state folder.")]
Cache = Annotated[Path, typer.Option("--cache", help="What can be made again: images, answers.")]


@contextmanager
def open_workspace(
    state: Path, cache: Path = CACHE, *, is_read_only: bool = False
) -> Iterator[Workspace]:
    """Open a fleet's catalog and store for a command; one that only reads says so and makes nothing.

    Raises:
        OperatorError: There is no fleet in that folder.
    """
    from fleet.work.workspace import Workspace

    with open_served(StateFolder(state), is_read_only=is_read_only) as opened:
        yield Workspace(opened.catalog, opened.store, state / "work", cache, actor="operator")


@contextmanager
def open_depot(
    state: Path, cache: Path = CACHE, *, is_read_only: bool = False, may_begin: bool = False
) -> Iterator[Depot]:
    """Open a fleet's keys and repositories.

    Args:
        state: The fleet's folder.
        cache: What can be made again.
        is_read_only: Make and change nothing.
        may_begin: Make keys and repositories where there are none yet.

    Raises:
        OperatorError: There is no fleet in that folder.
    """
    from fleet import depot

    with open_workspace(state, cache, is_read_only=is_read_only) as place:
        opened = depot.open_depot(StateFolder(state), place)
        if may_begin:
            opened.open()
        yield opened


@contextmanager
def reading(state: Path) -> Iterator[Catalog]:
    """Open the catalog for a command that only reads."""
    with open_served(StateFolder(state), is_read_only=True) as opened:
        yield opened.catalog


@contextmanager
def writing(state: Path, *, may_found: bool = False) -> Iterator[Catalog]:
    """Open the catalog for a command that changes it."""
    with open_served(StateFolder(state), may_found=may_found) as opened:
        yield opened.catalog


def overridden(settings: T, words: Sequence[str]) -> T:
    """Set ``key=value`` words in a settings record.

    Raises:
        OperatorError: A key is misspelt or a value makes no sense.
    """
    values = msgspec.to_builtins(settings)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise OperatorError(f"{word!r}: expected key=value")
        values[key] = msgspec.yaml.decode(text)
    return settings_from(values, type(settings), origin="command line")


def agree(question: str, *, yes: bool) -> None:
    """Ask before something reaches vehicles, unless the answer was given."""
    if not yes:
        typer.confirm(question, abort=True)
