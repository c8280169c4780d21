import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.contracts.release import Assignment, director_metadata


@pytest.fixture
def assigned() -> Callable[[Path, str], Assignment | None]:
    """Read the assignment in a vehicle's newest targets under a served tree, as the vehicle would."""

    def read(tree: Path, vehicle_id: str) -> Assignment | None:
        files = (tree / director_metadata(vehicle_id)).glob("*.targets.json")
        newest = max(files, key=lambda path: int(path.name.partition(".")[0]))
        targets = json.loads(newest.read_bytes())["signed"]["targets"].values()
        return next((msgspec.convert(t["custom"], Assignment) for t in targets), None)

    return read
