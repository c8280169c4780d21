import os
import subprocess
import sys

import pytest

from sim.lap.timing import RunningProcess


def test_running_process_tells_what_it_has_used_so_far() -> None:
    total = sum(os.times()[:4])
    assert RunningProcess(os.getpid()).cpu_s() == pytest.approx(total, abs=0.1)


def test_cpu_of_a_process_that_ended_never_goes_back() -> None:
    busy = "import sys\nfor _ in range(3_000_000): pass\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        running = RunningProcess(process.pid)
        used_s = running.cpu_s()
        assert used_s > 0.0
        process.kill()
    assert running.cpu_s() == used_s
