"""Progress of a child process: a small file that it replaces and its parent reads at any time."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.contracts.errors import SchemaError
from edge.contracts.fields import Count, Text
from edge.contracts.files import write_whole


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a child, as it reports it itself."""

    done: Count
    total: Count | None = None
    note: Text = ""


def write_progress(path: Path, progress: Progress) -> None:
    """Report the progress of this process; the parent never reads half of it."""
    write_whole(path, msgspec.json.encode(progress))


def read_progress(path: Path) -> Progress | None:
    """Read a child's last report; None before its first.

    Raises:
        SchemaError: The file is no progress.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise SchemaError(f"{path} is no progress file: {error}") from error
