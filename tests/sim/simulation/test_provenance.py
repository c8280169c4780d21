"""A cached set is another one as soon as anything that made it is another."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from conf.named import load
from edge.board.rig import RigFile, rig_of
from fleet.dataset.recipe import DataRecipe, RecipePart
from sim.recipes import RecipeStage
from sim.render.weather import NightSettings
from sim.sense.rig import default_rig
from sim.simulation import provenance
from sim.simulation.settings import WorldSettings
from sim.world.encounters import scenario_path

ROOT = Path(__file__).parents[3]
ANIMALS = DataRecipe(
    name="animals",
    split="gate",
    parts=(RecipePart(road_map="suburb_gate", scenario="animal_crossing", places=1),),
)

Edit = tuple[str, str, str]
"""A file, what stands in it, and what stands there afterwards."""

OF_THE_SET: tuple[Edit, ...] = (
    ("conf/sim/scenario/animal_crossing.yaml", "mesh: animal", "mesh: debris"),
    ("sim/place/nets/suburb_gate.yaml", "- {use: gate}", "- {use: gate, until_ratio: 1.0}"),
    ("sim/render/meshes.py", "UNDERSIDE = Paint(0.16", "UNDERSIDE = Paint(0.96"),
    ("conf/rig/sim_eight.yaml", "x_m: 1.70, z_m: 1.50", "x_m: 1.80, z_m: 1.50"),
    ("conf/rig/sim_eight.yaml", "pitch_deg: -3.4377", "pitch_deg: -4"),
    ("conf/rig/sim_eight.yaml", "length_m: 4.6", "length_m: 5.2"),
    ("sim/world/ego.py", "import math", "import  math"),
    ("sim/render/panda.py", "set_depth_bits(24)", "set_depth_bits(32)"),
    ("sim/sense/annotator.py", "seed: int = 0", "seed: int = 1"),
    (
        "sim/world/sumo/settings.py",
        "vehicles_per_km: float = 20.0",
        "vehicles_per_km: float = 30.0",
    ),
    ("sim/recipes.py", "SHARES = 2", "SHARES = 3"),
    ("edge/perceive/tensors/spec.py", "FUTURE_STEP_S = 0.25", "FUTURE_STEP_S = 0.5"),
    ("edge/clip_file/jpeg.py", "import", "import  "),
)
OF_SOMETHING_ELSE: tuple[Edit, ...] = (
    ("README.md", "Ringroad", "Ring road"),
    ("sim/lap/summary.py", "import", "import  "),
    ("sim/bench/gate.py", "import", "import  "),
    ("fleet/evaluate/gate.py", "import", "import  "),
    ("models/fit.py", "import", "import  "),
    ("conf/sim/scenario/jaywalker.yaml", "mesh: van", "mesh: bus"),
    ("conf/lap.yaml", "seed: 0", "seed: 7"),
)

PROGRAM = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, "")
from fleet.dataset.recipe import DataRecipe, RecipePart
from sim.simulation import provenance
from sim.sense.rig import default_rig
from sim.simulation.settings import WorldSettings

def made_of():
    provenance.sources.cache_clear()
    provenance.hash_of_sources.cache_clear()
    default_rig.cache_clear()
    return provenance.made_of({ANIMALS!r}, default_rig(), WorldSettings())

said = [made_of()]
for name, old, new in json.load(sys.stdin):
    file = Path(name)
    before = file.read_text()
    assert old in before, (name, old)
    file.write_text(before.replace(old, new, 1))
    said.append(made_of())
    file.write_text(before)
net = Path("sim/place/nets/suburb_gate.net.xml.gz")
net.write_bytes(net.with_name("suburb.net.xml.gz").read_bytes())
said.append(made_of())
print(json.dumps(said))
"""
"""Runs in a copy of the code: makes each edit, says what a set is then made of, and takes it back."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[Edit | str, str]:
    """What a set is made of in a copy of the code: unchanged, after each edit, with another map."""
    copy = tmp_path_factory.mktemp("copy")
    for package in ("edge", "fleet", "models", "sim", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "zoo")
        shutil.copytree(ROOT / package, copy / package, ignore=ignored)
    shutil.copy(ROOT / "README.md", copy)
    edits = (*OF_THE_SET, *OF_SOMETHING_ELSE)
    command = [sys.executable, "-P", "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=copy, input=json.dumps(edits), capture_output=True, text=True, check=True
    )
    hashes = json.loads(done.stdout)
    return dict(zip(("unchanged", *edits, "another map"), hashes, strict=True))


@pytest.fixture
def fresh_versions() -> Iterator[None]:
    """Look the versions up anew, here and after the test."""
    provenance.versions.cache_clear()
    yield
    provenance.versions.cache_clear()


@pytest.mark.parametrize("edit", OF_THE_SET)
def test_edit_of_anything_that_makes_a_set_makes_another_set(
    said: dict[Edit | str, str], edit: Edit
) -> None:
    assert said[edit] != said["unchanged"]


def test_other_streets_under_the_name_of_the_map_make_another_set(
    said: dict[Edit | str, str],
) -> None:
    assert said["another map"] != said["unchanged"]


@pytest.mark.parametrize("edit", OF_SOMETHING_ELSE)
def test_edit_of_anything_else_leaves_the_set_where_it_is(
    said: dict[Edit | str, str], edit: Edit
) -> None:
    assert said[edit] == said["unchanged"]


def test_set_does_not_depend_on_the_folder_of_the_code(said: dict[Edit | str, str]) -> None:
    assert RecipeStage().made_of(ANIMALS) == said["unchanged"]


def test_camera_that_is_moved_makes_another_set() -> None:
    file = load("rig", "sim_eight", RigFile)
    raised = replace(file.cameras["rear"], z_m=file.cameras["rear"].z_m + 0.1)
    moved = rig_of(replace(file, cameras=file.cameras | {"rear": raised}))
    assert RecipeStage(moved).made_of(ANIMALS) != RecipeStage().made_of(ANIMALS)


def test_other_settings_of_the_world_make_another_set() -> None:
    dusk = WorldSettings(night=NightSettings(max_gain_ratio=0.5))
    assert RecipeStage(world=dusk).made_of(ANIMALS) != RecipeStage().made_of(ANIMALS)


def test_another_renderer_library_makes_another_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance.made_of(ANIMALS, default_rig(), WorldSettings())
    versions = provenance.versions()
    assert {"Panda3D", "libsumo", "numpy"} <= set(versions)
    monkeypatch.setattr(provenance, "versions", lambda: versions | {"Panda3D": "2.0"})
    assert provenance.made_of(ANIMALS, default_rig(), WorldSettings()) != before


@pytest.mark.parametrize(
    "wheels",
    [("opencv-python",), ("opencv-python-headless",), ("opencv-python", "opencv-python-headless")],
)
@pytest.mark.usefixtures("fresh_versions")
def test_each_wheel_of_opencv_counts_by_its_own_name(
    opencv: Callable[..., None], wheels: tuple[str, ...]
) -> None:
    opencv(*wheels)
    versions = provenance.versions()
    assert {name for name in versions if name.startswith("opencv")} == set(wheels)
    assert {versions[name] for name in wheels} == {"4.12.0.88"}
    assert {"Panda3D", "libsumo", "numpy"} <= set(versions)


@pytest.mark.usefixtures("fresh_versions")
def test_opencv_that_no_wheel_installed_counts_by_its_module(
    opencv: Callable[..., None],
) -> None:
    opencv()
    assert provenance.versions()["cv2"] == cv2.__version__


def test_scenario_that_is_extended_is_part_of_the_set(
    tmp_path: Path,
) -> None:
    base, own = tmp_path / "base.yaml", tmp_path / "own.yaml"
    shutil.copy(scenario_path("animal_crossing"), base)
    own.write_text("name: own\nextends: ./base.yaml\n")
    rare = DataRecipe(
        name="rare",
        split="gate",
        parts=(RecipePart(road_map="grid", scenario=str(own), places=1),),
    )
    before = RecipeStage().made_of(rare)
    base.write_text(base.read_text().replace("corner_m: 4.0", "corner_m: 5.0"))
    assert RecipeStage().made_of(rare) != before
