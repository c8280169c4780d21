"""Keep signed health reports on disk until the fleet has them, oldest first.

A rollout counts silence against a bundle, so a report must survive the reboot that it reports about. When the
outbox is full the oldest report goes, because the newest describe the driving bundle better. A report for
which the disk has no room is kept in memory, so that it is sent at least by this process.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from edge.upload.disk import is_disk_full, open_database

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence INTEGER NOT NULL,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL
)"""


@dataclass(frozen=True)
class OutboxItem:
    """One report that waits; ``payload`` is exactly what was signed."""

    number: int
    """Its place in this outbox; negative while it is on no disk."""
    sequence: int
    """The report's own number, which the fleet acknowledges."""
    payload: bytes
    signature: bytes


class Outbox:
    """Signed reports waiting on the vehicle's disk."""

    def __init__(self, root: Path, capacity: int = 1000) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._capacity = capacity
        self._unwritten: deque[OutboxItem] = deque(maxlen=capacity)
        self._done = 0
        """Number of the last report on disk that the fleet has."""
        self._database = open_database(root / "outbox.sqlite", _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add(self, sequence: int, payload: bytes, signature: bytes) -> None:
        """Put a signed report in; drop the oldest beyond the capacity."""
        try:
            self._write(sequence, payload, signature)
        except sqlite3.OperationalError as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            if not is_disk_full(error):
                raise
            number = self._unwritten[-1].number - 1 if self._unwritten else -1
            self._unwritten.append(OutboxItem(number, sequence, payload, signature))
            _log.warning("report_unwritten", extra={"sequence": sequence, "reason": str(error)})

    def first(self) -> OutboxItem | None:
        """Return the oldest report, or None."""
        query = (
            "SELECT number, sequence, payload, signature FROM reports "
            "WHERE number > ? ORDER BY number LIMIT 1"
        )
        row = self._database.execute(query, (self._done,)).fetchone()
        if row is not None:
            return OutboxItem(*row)
        return self._unwritten[0] if self._unwritten else None

    def done(self, number: int) -> None:
        """Forget a report that the fleet has, and those before it."""
        if number < 0:
            while self._unwritten and self._unwritten[0].number >= number:
                self._unwritten.popleft()
            return
        self._done = max(self._done, number)
        try:
            self._database.execute("DELETE FROM reports WHERE number <= ?", (self._done,))
        except sqlite3.OperationalError as error:
            if not is_disk_full(error):
                raise
            _log.warning("report_stays", extra={"number": number, "reason": str(error)})

    def _write(self, sequence: int, payload: bytes, signature: bytes) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        insert = "INSERT INTO reports (sequence, payload, signature) VALUES (?, ?, ?)"
        number = self._database.execute(insert, (sequence, payload, signature)).lastrowid or 0
        self._database.execute("DELETE FROM reports WHERE number <= ?", (number - self._capacity,))
        self._database.execute("COMMIT")
