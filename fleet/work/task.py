"""Work that is named by content: a job's inputs, as blob ids, and its parameters, without a path.

A task can be carried out on any machine that reaches the store. The executor there lays its inputs out as
files and writes an *assignment* for the child process: the task's parameters, and where each input lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.contracts.errors import OperatorError
from edge.contracts.fields import Sha256

P = TypeVar("P", bound=msgspec.Struct)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One job to be done."""

    name: str
    """Of its log and its results; no two tasks of one run have the same."""
    module: str
    """Which job, as ``python -m module ASSIGNMENT RESULTS``."""
    inputs: dict[str, Sha256]
    """Blob ids, by the names under which the job asks for them."""
    parameters: msgspec.Struct
    """What else decides the result."""


class LocalTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as a child process reads it; its paths mean something on this machine alone."""

    parameters: msgspec.Raw
    paths: dict[str, str]
    lacking: dict[str, str] = {}
    """Inputs that could not be laid out, and why."""
    cache: str
    """Folder of what can be made again, decoded images for instance."""


@dataclass(frozen=True)
class JobInputs:
    """The files that a job reads."""

    paths: Mapping[str, Path]
    cache: Path
    lacking: Mapping[str, str]
    """Names of inputs that could not be laid out, and why."""

    def __getitem__(self, name: str) -> Path:
        """Return the file of an input.

        Raises:
            OperatorError: It could not be laid out, or the task names none of that name.
        """
        if name not in self.paths:
            raise OperatorError(f"input {name}: {self.lacking.get(name, 'the task names none')}")
        return self.paths[name]


def write_local_task(
    path: Path,
    parameters: msgspec.Struct,
    paths: Mapping[str, Path],
    cache: Path,
    lacking: Mapping[str, str] | None = None,
) -> None:
    """Write what a child process reads."""
    assignment = LocalTask(
        parameters=msgspec.Raw(msgspec.json.encode(parameters)),
        paths={name: str(file) for name, file in paths.items()},
        lacking=dict(lacking or {}),
        cache=str(cache),
    )
    path.write_bytes(msgspec.json.encode(assignment))


def read_assignment(path: Path, kind: type[P]) -> tuple[P, JobInputs]:
    """Read what this child process is to do.

    Args:
        path: The assignment.
        kind: The record of the job's parameters.
    """
    assignment = msgspec.json.decode(path.read_bytes(), type=LocalTask)
    paths = {name: Path(file) for name, file in assignment.paths.items()}
    inputs = JobInputs(paths, Path(assignment.cache), assignment.lacking)
    return msgspec.json.decode(assignment.parameters, type=kind), inputs


def names_of(tasks: Sequence[Task]) -> list[str]:
    """List the names of tasks.

    Raises:
        OperatorError: Two have the same; one would write over the results of the other.
    """
    names = [task.name for task in tasks]
    if len(set(names)) != len(names):
        raise OperatorError(f"two tasks of one run have the same name: {', '.join(sorted(names))}")
    return names
