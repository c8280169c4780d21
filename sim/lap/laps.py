"""Run laps on one fleet: a promoted candidate is the next incumbent, labelled clips are replayed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.cli.console import Stages
from sim.lap.folders import LapFolders
from sim.lap.record import LapRecord
from sim.lap.report import write_report
from sim.lap.run import Legacy, run_lap
from sim.lap.settings import LapSettings


def run_laps(settings: LapSettings, run: Path, laps: int, display: Stages) -> Iterator[LapRecord]:
    """Run laps, write ``lap.json`` and ``report.html`` after each, and return the records.

    Args:
        settings: What to do.
        run: Folder of this run.
        laps: How often to go round.
        display: Shows the stages.

    Raises:
        RingroadError: A stage failed; the laps before it are on disk.
    """
    legacy: Legacy | None = None
    records: list[LapRecord] = []
    for number in range(1, laps + 1):
        folders = LapFolders(run, number, Path(settings.cache))
        result = run_lap(settings, folders, legacy, display)
        legacy = result.legacy
        content = msgspec.json.format(msgspec.json.encode(result.record), indent=1)
        (folders.here / "lap.json").write_bytes(content)
        (run / "lap.json").write_bytes(content)
        write_report(result.record, result.pictures, run / "report.html", records)
        records.append(result.record)
        yield result.record
