import io
import json
from contextlib import redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge.cli.console import Stages, show_json, show_record, show_table, stages
from edge.contracts.classes import ANIMAL

ROWS = [
    {"clip_id": "a" * 64, "worth": 0.25, "rules": ("low_ttc", "random"), "label": None},
    {"clip_id": "b" * 64, "worth": 1.0, "rules": (), "label": ANIMAL},
]
COLUMNS = ("clip_id", "worth", "rules", "label")


def test_json_is_whole_rows_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(ROWS, ("worth",), as_json=True, title="clips")
    rows = json.loads(capsys.readouterr().out)
    assert rows[1] == {"clip_id": "b" * 64, "worth": 1.0, "rules": [], "label": "animal"}


def test_table_in_a_pipe_keeps_whole_ids(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(ROWS, COLUMNS, as_json=False)
    out = capsys.readouterr().out
    assert "a" * 64 in out
    assert "0.250" in out
    assert "low_ttc, random" in out


def test_markup_in_a_value_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_record({"reason": "[red]not[/red] markup"}, as_json=False)
    assert "[red]not[/red] markup" in capsys.readouterr().out


HOSTILE = "ok\x1b[2J\x1b]0;owned\x07\r\n\x9b1m \u202egpj\u200b :warning: [red]x[/red]"
SHOWN = r"ok\x1b[2J\x1b]0;owned\x07\r\n\x9b1m \u202egpj\u200b :warning: [red]x[/red]"


def test_the_words_of_a_peer_are_shown_in_a_table_and_not_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table([{"reasons": (HOSTILE,)}], ("reasons",), as_json=False)
    show_table([{HOSTILE: 1}], (HOSTILE,), as_json=False, title=HOSTILE)
    show_record({HOSTILE: HOSTILE}, as_json=False)
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 5
    assert out.replace("\n", "").isprintable()


def test_the_words_of_a_peer_are_the_same_in_json_and_not_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_record({"reason": HOSTILE, HOSTILE: "\U000e0041\x7f"}, as_json=True)
    out = capsys.readouterr().out
    assert json.loads(out) == {"reason": HOSTILE, HOSTILE: "\U000e0041\x7f"}
    assert out.replace("\n", "").isprintable()


@given(st.dictionaries(st.text(), st.text()))
def test_json_is_valid_and_prints_whatever_stands_in_it(record: dict[str, str]) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        show_json(record)
    assert json.loads(out.getvalue()) == record
    assert out.getvalue().replace("\n", "").isprintable()


def test_the_words_of_a_peer_are_shown_in_a_stage_and_not_obeyed() -> None:
    for is_terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, force_terminal=is_terminal, width=400, no_color=True)
        with Stages(console).stage(HOSTILE) as stage:
            stage.part(HOSTILE, 1, 2, HOSTILE)
            stage.note(HOSTILE)
        said = out.getvalue()
        assert said.count(SHOWN) >= 2
        for obeyed in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e", "\u200b", "⚠"):
            assert obeyed not in said


def test_record_as_json_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    show_record({"cores": 2}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"cores": 2}


def test_stage_is_one_line_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    times = iter([10.0, 12.5])
    lap = Stages(Console(file=out), clock=lambda: next(times))
    with lap.stage("drive [3 vehicles]", total=2) as stage:
        stage.advance()
        stage.advance()
        stage.note("41 clips")
    assert out.getvalue() == "drive [3 vehicles]: 2.5 s, 41 clips\n"


def test_stage_on_a_terminal_shows_how_far_it_is() -> None:
    out = io.StringIO()
    lap = Stages(Console(file=out, force_terminal=True, width=100))
    with lap.stage("drive", total=2) as stage:
        stage.advance()
    assert "1/2" in out.getvalue()


def test_parts_of_a_stage_say_what_they_do_on_80_columns() -> None:
    out = io.StringIO()
    lap = Stages(Console(file=out, force_terminal=True, width=80, no_color=True))
    with lap.stage("drive", total=6480) as stage:
        stage.part("v-01", 36, 2160, "drives, clips kept: 9")
        stage.part("v-02", 2160, 2160, "[uploads], clips: 3 of 4")
        stage.part("v-01", 72, 2160, "drives, clips kept: 10")
    shown = out.getvalue()
    for words in ("  v-01", "72/2160", "drives, clips kept: 10", "[uploads], clips: 3 of 4"):
        assert words in shown


def test_parts_of_a_stage_leave_a_log_alone() -> None:
    out = io.StringIO()
    times = iter([0.0, 1.0])
    with Stages(Console(file=out), clock=lambda: next(times)).stage("drive") as stage:
        stage.part("v-01", 36, 2160, "drives, clips kept: 1")
    assert out.getvalue() == "drive: 1.0 s\n"


def test_progress_leaves_stdout_to_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    with stages(as_json=True).stage("drive"):
        show_record({"ticks": 662}, as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"ticks": 662}
    assert err.startswith("drive: ")
