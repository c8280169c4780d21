"""Folders of a lap: one run folder, nothing outside it but the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet.service import StateFolder


@dataclass(frozen=True)
class LapFolders:
    """The folders of one run; laps of the same run share fleet and vehicles, not the rest."""

    run: Path
    lap: int
    cache: Path

    @property
    def fleet(self) -> StateFolder:
        """The fleet's state."""
        return StateFolder(self.run / "fleet")

    @property
    def here(self) -> Path:
        """Files of this lap alone: jobs, logs, models."""
        return self.run / f"lap-{self.lap}"

    @property
    def logs(self) -> Path:
        """Logs of child processes."""
        return self.here / "logs"

    def truth(self, phase: str) -> Path:
        """The truth of one phase; outside fleet and vehicles."""
        return self.run / "truth" / f"lap-{self.lap}-{phase}"

    def vehicle(self, vehicle_id: str) -> Path:
        """A vehicle's own disk."""
        return self.run / "vehicles" / vehicle_id

    def job(self, name: str) -> Path:
        """The order file of a child process, its folder made."""
        folder = self.here / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name
