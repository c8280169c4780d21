"""Format log events: one line each, with its time and fields. For mains."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from edge.contracts.text import printable


class EventFormatter(logging.Formatter):
    """Write an event, its time (UTC) and its fields on one line.

    ``2026-05-04T03:02:01.000Z WARNING clip_refused clip_id=4f… reason=too large``. Fields may hold text of a
    peer. Lines of a traceback are indented, so that no text in an exception can look like an event.
    """

    _own = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the line; where there is a traceback, it follows."""
        fields = (
            f"{name}={value}" for name, value in vars(record).items() if name not in self._own
        )
        words = [_utc(record.created), record.levelname, record.message, *fields]
        return printable(" ".join(words))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Write a traceback below its event."""
        return _shown(super().formatException(ei), indent="    ")


def log_events(level: int) -> None:
    """Send log events with their fields to stderr; for mains."""
    handler = logging.StreamHandler()
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def print_traceback() -> None:
    """Write the traceback of the exception that is being handled to stderr."""
    sys.stderr.write(_shown(traceback.format_exc().rstrip("\n")) + "\n")


def _shown(lines: str, indent: str = "") -> str:
    return "\n".join(indent + printable(line) for line in lines.split("\n"))


def _utc(seconds: float) -> str:
    """Write seconds since 1970 as ISO 8601 in UTC, to the millisecond."""
    stamp = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")
