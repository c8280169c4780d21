"""Which processes a vehicle runs in real time, who hears whom, and how long each may be silent.

In lockstep the first three of them are one process and one call (``edge/runtime.py``); the table says
where the cuts run. A slow reader never slows the writer before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Urgency(StrEnum):
    """How the operating system is asked to schedule a process."""

    REAL_TIME = "fixed priority, pinned to a core"
    NORMAL = "normal"
    IDLE = "only what nobody else needs"


@dataclass(frozen=True)
class Process:
    """One row: what a process reads and writes, and when it counts as hung."""

    runs: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    urgency: Urgency
    max_silence_s: float


PROCESSES: dict[str, Process] = {
    "source": Process(
        runs="the frame source: cameras, radar, ultrasonics, odometry of one instant",
        reads=(),
        writes=("frame_sets",),
        urgency=Urgency.REAL_TIME,
        max_silence_s=0.2,
    ),
    "drive": Process(
        runs="edge.runtime: perceive, plan, notice",
        reads=("frame_sets", "campaigns", "bundle"),
        writes=("commands", "moments", "health"),
        urgency=Urgency.REAL_TIME,
        max_silence_s=0.2,
    ),
    "recorder": Process(
        runs="edge.clip: ring of encoded frames, sealed clips",
        reads=("frame_sets", "moments", "campaigns"),
        writes=("clips",),
        urgency=Urgency.NORMAL,
        max_silence_s=2.0,
    ),
    "uplink": Process(
        runs="edge.upload: clips and health reports home, campaigns back",
        reads=("clips", "health"),
        writes=("campaigns",),
        urgency=Urgency.IDLE,
        max_silence_s=30.0,
    ),
    "ota": Process(
        runs="edge.ota: fetch, check and switch bundles",
        reads=("health",),
        writes=("bundle",),
        urgency=Urgency.IDLE,
        max_silence_s=60.0,
    ),
}
