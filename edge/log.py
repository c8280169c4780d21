"""How log events look to whoever reads them: one line each, with its fields. For mains."""

from __future__ import annotations

import logging


class EventFormatter(logging.Formatter):
    """Writes an event and its fields: ``WARNING clip_refused clip_id=4f… reason=too large``."""

    _own = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the line; where there is a traceback, it follows."""
        fields = (
            f"{name}={value}" for name, value in vars(record).items() if name not in self._own
        )
        return " ".join([record.levelname, record.message, *fields])


def log_events(level: int) -> None:
    """Send log events with their fields to stderr; for mains."""
    handler = logging.StreamHandler()
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=level, handlers=[handler])
