"""The world of `ringroad sim` is set by words and by a file of one's own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

EMPTY = """
sumo:
  traffic: {vehicles_per_km: 0.0, pedestrians_per_km: 0.0}
  roadside: {parked_ratio: 0.0, strollers_per_km: 0.0, crossers_per_km: 0.0, works_per_km: 0.0}
"""


def drive(*words: str) -> list[dict[str, Any]]:
    """What a vehicle meets within one frame."""
    line = [sys.executable, "-m", "edge", "sim", "drive", "--seconds", "0.1", "--json", *words]
    rows: list[dict[str, Any]] = json.loads(
        subprocess.run(line, capture_output=True, check=True).stdout
    )
    return rows


def test_world_of_a_file_is_empty_and_words_put_parked_cars_into_it(tmp_path: Path) -> None:
    file = tmp_path / "an empty (50%) world.yaml"
    file.write_text(EMPTY)
    assert drive("--world", str(file)) == []
    assert drive("--world", str(file), "sumo.roadside.parked_ratio=0.9") != []
