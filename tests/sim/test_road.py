from pathlib import Path

from fleet.jobs import Progress, write_progress
from sim.lap.road import pass_on


def test_each_vehicle_is_heard_and_ticks_are_counted_once(tmp_path: Path) -> None:
    logs = {name: tmp_path / f"{name}.progress" for name in ("v-01", "v-02", "v-03")}
    first = Progress(done=36, total=2160, note="drives, clips kept: 0")
    write_progress(logs["v-01"], first)
    write_progress(logs["v-02"], Progress(done=72, total=2160))
    heard: list[tuple[str, int]] = []
    ticks: list[int] = []

    def hear(name: str, said: Progress) -> None:
        heard.append((name, said.done))

    told = pass_on(logs, 0, ticks.append, hear)
    write_progress(logs["v-01"], Progress(done=108, total=2160))
    told = pass_on(logs, told, ticks.append, hear)

    assert ticks == [108, 72]
    assert told == 180
    assert heard == [("v-01", 36), ("v-02", 72), ("v-01", 108), ("v-02", 72)]
