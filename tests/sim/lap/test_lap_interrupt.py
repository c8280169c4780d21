"""Ctrl-C in the middle of a drive leaves nothing running: no service, no vehicle, no world."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVING = "driving"
PATIENCE_S = 60.0

LAP = '''
import signal
import sys
from pathlib import Path

import numpy as np

from edge.cli.console import stages
from edge.clip_file import encode_instant
from edge.contracts.sensors import frames_of
from edge.contracts.geometry import Pose
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan
from fleet.dataset.frozen import freeze
from fleet.sample.row import Sample, SampleLabels
from fleet.work.workspace import ProgressFeed
from sim.lap import drives, run
from sim.lap.claim import Claim, DriveScene
from sim.lap.folders import LapFolders
from sim.lap.settings import LapSettings
from sim.sense.rig import default_rig


def one_grey_frame(settings, folders, store, on_progress):
    """Stand in for the rendered sets: a bundle needs one frame to ask golden questions with."""
    rig = default_rig()
    ego = EgoState(stamp_ns=0, world_from_ego=Pose())
    frame_set = FrameSet(
        index=0, stamp_ns=0, frames=frames_of(np.full((8, 128, 256, 3), 90, np.uint8), 0),
        radar=RadarScan(), ultrasonics=UltrasonicScan(), ego=ego, route=Route(),
    )
    sample = Sample(
        sample_id="s", clip_id="c", place_id="p", rig_id=rig.rig_id,
        now=encode_instant(frame_set), earlier=None, labels=SampleLabels(),
    )
    return {"tune": freeze([sample], [rig], store, name="tune", split="tune")}


def telling(logs, on_steps, on_progress):
    def hear(name, progress):
        if progress.done > 0:
            print("driving", flush=True)
        on_progress(name, progress)

    return ProgressFeed(logs, on_steps, hear)


signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
run.lap_sets = one_grey_frame
drives.ProgressFeed = telling
root = Path(sys.argv[1])
settings = LapSettings(vehicles=1, drive_s=600.0, claim=Claim(scenes=[DriveScene("grid", "none")]))
try:
    run.run_lap(settings, LapFolders(root / "run", 1, root / "cache"), None, stages())
except KeyboardInterrupt:
    sys.exit(130)
'''


def running(word: str) -> list[str]:
    """Command lines of the processes that name a word."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, NotADirectoryError):
            continue
        if word in line:
            found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_lap_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "lap.py"
    script.write_text(LAP)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as lap:
        assert lap.stdout is not None
        seen = next((line for line in lap.stdout if DRIVING in line), None)
        assert seen is not None, "the lap ended before its vehicle drove"
        family = running(str(tmp_path))
        assert any("sim.lap.vehicle" in line for line in family)
        assert any("fleet serve" in line for line in family)
        lap.send_signal(number)
        lap.stdout.read()  # ends when nobody holds the other end any more
        assert lap.wait(PATIENCE_S) == (130 if number is signal.SIGINT else -signal.SIGKILL)
    assert gone(str(tmp_path))


def gone(word: str) -> bool:
    """Wait until no process names a word; a killed parent's children end a moment after it."""
    deadline = time.monotonic() + PATIENCE_S
    while running(word):
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True
