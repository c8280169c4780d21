"""Name by one hash what a rendered set is made of, besides its recipe: code, packages, data, settings.

The list is computed and not kept by hand: every source file of this repository that ``sim.recipes`` reaches
through imports, and every foreign package that the simulator's own files among them import. It names too much
rather than too little, since a set rendered once too often costs minutes, and one rendered once too seldom
judges a model silently on outdated pictures.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path

import msgspec

from edge.contracts.rig import Rig
from fleet.dataset.recipe import DataRecipe, RecipePart
from sim.place.description import find_map
from sim.simulation.settings import WorldSettings
from sim.world.encounters import scenario_files

_ROOT = Path(__file__).parents[2]
_OURS = ("edge", "fleet", "models", "sim", "conf")
_RENDERER = "sim.recipes"


def made_of(recipe: DataRecipe, rig: Rig, world: WorldSettings) -> str:
    """Hash everything that decides the rows of a recipe, apart from the recipe's own words.

    Raises:
        OperatorError: The recipe names a map or a scenario that is not there.
    """
    data = {path.name: _sha256(path) for part in recipe.parts for path in _files_of(part)}
    parts = (rig.rig_id, world, data, hash_of_sources(), versions())
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _files_of(part: RecipePart) -> tuple[Path, ...]:
    """List the files that a part names."""
    files = find_map(part.road_map)
    return files.net, files.description, *scenario_files(part.scenario)


@cache
def sources() -> dict[str, Path]:
    """Find the source files that rendering and labelling reach through imports, by module."""
    found: dict[str, Path] = {}
    waiting = [_RENDERER]
    while waiting:
        module = waiting.pop()
        path = None if module in found else _file_of(module)
        if path is not None:
            found[module] = path
            waiting.extend(_imports(path))
            waiting.append(module.rpartition(".")[0])
    return found


@cache
def hash_of_sources() -> str:
    """Hash all source files together, by module."""
    hashes = {module: _sha256(path) for module, path in sources().items()}
    return hashlib.sha256(msgspec.json.encode(hashes, order="deterministic")).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Return the installed versions of the packages that the simulator's files import.

    Key: the distribution, so that OpenCV counts under the name of each wheel that is there. A module that
    no distribution installed, as a system's own OpenCV, counts under its own name.
    """
    of_sim = (path for module, path in sources().items() if module.startswith("sim."))
    names = {name.partition(".")[0] for path in of_sim for name in _imports(path)}
    provided = packages_distributions()
    foreign = names - set(_OURS) - sys.stdlib_module_names
    found = {d: version(d) for name in foreign for d in provided.get(name, ())}
    bare = {name: import_module(name) for name in foreign - set(provided)}
    return found | {name: str(getattr(module, "__version__", "")) for name, module in bare.items()}


def _file_of(module: str) -> Path | None:
    """Find the file of a module of this repository; None for anything else."""
    if module.partition(".")[0] not in _OURS:
        return None
    path = _ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    """Return the names that a file imports, anywhere in it; ``from a import b`` may mean a module."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
