"""What can be set about a simulated world stands in one record."""

import dataclasses
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

import sim.place
import sim.render
import sim.sense
import sim.sense.annotator
import sim.world
from conf.compose import settings_from, write_resolved
from edge.contracts.errors import OperatorError
from sim.simulation.settings import WorldSettings


def nested(kind: type) -> Iterator[type]:
    """Give a record and all records inside it."""
    yield kind
    for value in vars(kind()).values():
        if dataclasses.is_dataclass(value):
            yield from nested(type(value))


def modules() -> Iterator[ModuleType]:
    yield sim.sense.annotator
    for package in (sim.place, sim.world, sim.render, sim.sense):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def test_every_settings_record_of_a_world_is_part_of_the_one() -> None:
    records = {
        kind
        for module in modules()
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Settings") and kind.__module__.startswith("sim.")
    }
    assert len(records) > 8
    assert records <= set(nested(WorldSettings))


def test_settings_survive_the_way_to_a_child_process() -> None:
    world = WorldSettings()
    world.sumo.traffic.vehicles_per_km = 3.0
    encoded = msgspec.json.encode(world)
    assert msgspec.json.decode(encoded, type=WorldSettings) == world != WorldSettings()


def test_settings_are_written_beside_a_run_and_read_back(tmp_path: Path) -> None:
    write_resolved(WorldSettings(), tmp_path / "world.json")
    values = json.loads((tmp_path / "world.json").read_text())
    assert values["radar"]["clutter_probability"]["lamp_post"] == 0.2
    assert settings_from(values, WorldSettings, origin="world") == WorldSettings()


def test_clutter_of_a_kind_that_is_not_there_is_refused() -> None:
    values = {"radar": {"clutter_probability": {"lamppost": 0.1}}}
    with pytest.raises(OperatorError, match=r"no 'lamppost'; there are building, .*lamp_post"):
        settings_from(values, WorldSettings, origin="world")


def test_settings_are_read_without_sumo_and_panda3d() -> None:
    program = (
        "import sys, sim.simulation.settings; print({'libsumo', 'panda3d'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
