"""Find out what this board is: its processor, the engines it can load, how urgent a process may be.

Facts are measured, not inferred. An engine counts when its module imports. The scheduling class is found by
asking the kernel for it and giving it back, because limits, capabilities and containers each restrict it.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

TFLITE_MODULES = ("ai_edge_litert", "tflite_runtime")
"""Where a TFLite interpreter may come from, the maintained one first."""


@dataclass(frozen=True)
class Machine:
    """The board itself."""

    architecture: str
    processor: str
    cores: int
    """Cores that this process may run on."""
    memory_bytes: int
    system: str
    python: str


@dataclass(frozen=True)
class EngineFound:
    """An inference runtime that imports here, and what it can run on."""

    engine: str
    version: str
    providers: tuple[str, ...]


class Urgency(StrEnum):
    """The most urgent scheduling class that the kernel grants."""

    FIFO = "fifo"
    NICE = "nice -20"
    NORMAL = "normal"


@dataclass(frozen=True)
class Probe:
    """The facts of this board."""

    machine: Machine
    engines: tuple[EngineFound, ...]
    urgency: Urgency


def probe() -> Probe:
    """Measure this board."""
    return Probe(machine=machine(), engines=engines(), urgency=urgency())


def machine() -> Machine:
    """Read what the board is."""
    return Machine(
        architecture=platform.machine(),
        processor=processor_name(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def processor_name(cpuinfo: Path) -> str:
    """Return the processor's name as the kernel lists it; x86 and ARM boards name it differently."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    entries = {key.strip(): value.strip() for key, _, value in (ln.partition(":") for ln in lines)}
    return entries.get("model name") or entries.get("Model") or entries.get("Hardware") or "unknown"


def engines() -> tuple[EngineFound, ...]:
    """Import every supported inference runtime and keep those that load."""
    found = []
    if _imports("onnxruntime"):
        import onnxruntime

        providers = tuple(onnxruntime.get_available_providers())
        found.append(EngineFound("onnx", onnxruntime.__version__, providers))
    tflite = first_import(TFLITE_MODULES)
    if tflite is not None:
        found.append(EngineFound("tflite", version(tflite.replace("_", "-")), (tflite,)))
    return tuple(found)


def first_import(packages: Sequence[str]) -> str | None:
    """Name the first package whose TFLite interpreter imports."""
    return next((name for name in packages if _imports(f"{name}.interpreter")), None)


def urgency() -> Urgency:
    """Ask the kernel for real-time scheduling, then for the best niceness, and restore both."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return Urgency.NICE if _may_be_nicest() else Urgency.NORMAL
    os.sched_setscheduler(0, policy, param)
    return Urgency.FIFO


def _may_be_nicest() -> bool:
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    return True


def _imports(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
