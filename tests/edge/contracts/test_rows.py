"""A forgotten row of a table in code is an error when the program starts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.contracts.rows import by_name, complete, require

HOUSE = Path(__file__).parents[3]


def start(module: str, source: str) -> str:
    """Import a module from another source; return the last line that the interpreter writes."""
    program = f"""
import importlib.util, sys
spec = importlib.util.find_spec({module!r})
changed = importlib.util.module_from_spec(spec)
sys.modules[{module!r}] = changed
exec(compile(sys.stdin.read(), spec.origin, "exec"), changed.__dict__)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=HOUSE,
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    return (run.stderr.strip().splitlines() or [""])[-1]


CHANGES = {
    "trigger": (
        "edge/contracts/clip.py",
        '    UNKNOWN = "unknown"\n\n\nclass TriggerEvent',
        '    SWERVE = "swerve"\n    UNKNOWN = "unknown"\n\n\nclass TriggerEvent',
        "import edge.trigger",
        "TypeError: edge/trigger/rules.py: no row for swerve",
    ),
    "engine": (
        "edge/contracts/bundle.py",
        '    TFLITE = "tflite"\n',
        '    TFLITE = "tflite"\n    TENSORRT = "tensorrt"\n',
        "import edge.perceive.engine",
        "TypeError: edge/perceive/engine.py: no row for tensorrt",
    ),
    "class": (
        "edge/contracts/classes.py",
        "    BARRIER, ANIMAL, DEBRIS,\n)",
        '    BARRIER, ANIMAL, DEBRIS, "ball",\n)',
        "",
        "TypeError: edge/contracts/classes.py: no row for ball",
    ),
    "look of a class": (
        "edge/contracts/classes.py",
        "looks_like=DEBRIS",
        'looks_like="ball"',
        "",
        "TypeError: edge/contracts/classes.py: no row for ball",
    ),
    "class of a slice": (
        "fleet/evaluate/slices.py",
        '        Slice("junction"',
        '        Slice("ball", ("ball",)),\n        Slice("junction"',
        "",
        "TypeError: edge/contracts/classes.py: no row for ball",
    ),
    "slice": (
        "fleet/evaluate/slices.py",
        '        Slice("junction"',
        '        Slice("animal", (ANIMAL,), max_range_m=20.0),\n        Slice("junction"',
        "",
        "TypeError: fleet/evaluate/slices.py: two rows are called animal",
    ),
    "class of a mesh": (
        "sim/world/snapshot.py",
        '    "van": (5.2, 2.0, 2.2),\n',
        '    "van": (5.2, 2.0, 2.2),\n    "ball": (0.3, 0.3, 0.3),\n',
        "import sim.world.props",
        "TypeError: edge/contracts/classes.py: no row for ball",
    ),
    "mesh": (
        "sim/world/snapshot.py",
        '    "van": (5.2, 2.0, 2.2),\n',
        '    "van": (5.2, 2.0, 2.2),\n    "ball": (0.3, 0.3, 0.3),\n',
        "import sim.render.meshes",
        "TypeError: sim/render/meshes.py: no row for ball",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_forgotten_row_stops_the_program_when_it_starts(name: str) -> None:
    file, before, after, use, complaint = CHANGES[name]
    source = (HOUSE / file).read_text()
    assert source.count(before) == 1
    module = file.removesuffix(".py").replace("/", ".")
    assert start(module, source + "\n" + use) == ""
    assert start(module, source.replace(before, after) + "\n" + use) == complaint


def test_a_row_that_nothing_asks_for_is_refused() -> None:
    with pytest.raises(TypeError, match=re.escape("colours: nothing asks for the row of blue")):
        complete({"red": 1, "blue": 2}, ["red"], "colours")


def test_a_complete_table_is_returned_as_it_is() -> None:
    assert complete({"red": 1, "blue": 2}, ["blue", "red"], "colours") == {"red": 1, "blue": 2}
    assert by_name((), "colours") == {}
    require(("red",), ("blue", "red"), "colours")
