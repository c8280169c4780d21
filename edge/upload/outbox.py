"""Keep signed health reports on disk until the fleet has them, oldest first.

A rollout counts silence against a bundle, so a report must survive the reboot that it reports about.
When the box is full the oldest report goes: the newest say more about what drives now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.upload.disk import open_database

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
    """Its place in this box."""
    sequence: int
    """The report's own number, which the fleet acknowledges."""
    payload: bytes
    signature: bytes


class Outbox:
    """Signed reports waiting on the vehicle's disk."""

    def __init__(self, root: Path, capacity: int = 1000) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._capacity = capacity
        self._database = open_database(root / "outbox.sqlite", _SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def add(self, sequence: int, payload: bytes, signature: bytes) -> None:
        """Put a signed report in; drop the oldest beyond the capacity."""
        self._database.execute("BEGIN IMMEDIATE")
        insert = "INSERT INTO reports (sequence, payload, signature) VALUES (?, ?, ?)"
        number = self._database.execute(insert, (sequence, payload, signature)).lastrowid or 0
        self._database.execute("DELETE FROM reports WHERE number <= ?", (number - self._capacity,))
        self._database.execute("COMMIT")

    def first(self) -> OutboxItem | None:
        """Give the oldest report, or None."""
        query = "SELECT number, sequence, payload, signature FROM reports ORDER BY number LIMIT 1"
        row = self._database.execute(query).fetchone()
        return OutboxItem(*row) if row else None

    def done(self, number: int) -> None:
        """Forget a report that the fleet has."""
        self._database.execute("DELETE FROM reports WHERE number = ?", (number,))
