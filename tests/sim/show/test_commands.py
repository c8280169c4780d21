"""What `ringroad sim` and `ringroad zoo` cannot do is refused at once and in words."""

import re
from pathlib import Path

import pytest

from edge.cli import root as cli

HUGE = str(10**30)
ABSURD = [
    *(f"sim {verb} --seed {v}" for verb in ("show", "drive") for v in ("-1", HUGE, "1.5", "nan")),
    *(f"sim show --at-s {value}" for value in ("-1", "nan", "inf", "1e30", "soon")),
    *(f"sim show --encounter {value}" for value in ("0", "-1", "1.5")),
    *(f"sim show --encounter 1 --near-m {value}" for value in ("0", "nan", "1e30")),
    *(f"sim drive --seconds {value}" for value in ("-1", "0", "nan", "inf", "1e30", "soon")),
    *(f"sim {verb} --map moon" for verb in ("show", "drive")),
    *(f"sim {verb} --scenario nosuch" for verb in ("show", "drive")),
    *(f"sim {verb} --world nosuch" for verb in ("show", "drive")),
    *(f"sim {verb} night.lamp_ratio=-1" for verb in ("show", "drive")),
    *(f"sim {verb} radar.ghost_per_scan=1" for verb in ("show", "drive")),
    "sim show --scenario ../lap",
    "sim show --place moon",
    "sim show --out file",
    "sim drive --pictures file",
    "sim drive --truth folder",
    "zoo show --model picoo",
    "zoo show --model ../zoo",
    "zoo build new --model picoo",
    *(f"zoo build new --steps {value}" for value in ("-1", "0", HUGE, "nan")),
    *(f"zoo build new --seed {value}" for value in ("-1", HUGE, "nan")),
    "zoo build new --start nosuch",
    "zoo build file",
    "zoo card nosuch",
    "zoo card folder",
    "zoo card folder --model picoo",
    "zoo card folder --run nosuch",
    *(f"lap --laps {value}" for value in ("-1", "0", HUGE, "nan")),
    *(f"lap --seed {value}" for value in ("-1", HUGE, "1.5", "nan")),
    "lap --runs file",
    "lap --runs runs",
    "lap world.night.lamp_ratio=-1",
    "lap world=nosuch",
    "lap label.interval=1",
    "lap fleet.state=elsewhere",
    "lap --runs other store=s3 store.bucket=",
]
EMPTY = ["sim show --map", "sim show --scenario", "sim show --place", "zoo show --model"]


@pytest.mark.parametrize(
    "words", [*(line.split() for line in ABSURD), *([*line.split(), ""] for line in EMPTY)], ids=str
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    Path("runs/latest").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    out, err = capsys.readouterr()
    assert left.value.code in (1, 2)
    said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", out + err).split())
    assert said and "unexpected" not in said and "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before
