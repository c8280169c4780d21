"""Lap after lap on the same fleet: the promoted candidate of one is the incumbent of the next."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sim.lap.folders import LapFolders
from sim.lap.record import LapRecord
from sim.lap.run import Incumbent, Say, run_lap
from sim.lap.settings import LapSettings


def go_round(settings: LapSettings, run: Path, laps: int, say: Say) -> list[LapRecord]:
    """Run laps and write ``lap.json`` after each.

    Raises:
        RingroadError: A stage failed; the laps before it are on disk.
    """
    incumbent: Incumbent | None = None
    records: list[LapRecord] = []
    for number in range(1, laps + 1):
        folders = LapFolders(run, number, Path(settings.cache))
        result = run_lap(settings, folders, incumbent, say)
        incumbent = result.incumbent
        records.append(result.record)
        content = msgspec.json.format(msgspec.json.encode(result.record), indent=1)
        (folders.here / "lap.json").write_bytes(content)
        (run / "lap.json").write_bytes(content)
    return records
