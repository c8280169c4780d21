import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.commands import app
from edge.clip_file import write_clip
from edge.contracts.errors import OperatorError, RingroadError


@pytest.fixture
def sealed(tmp_path: Path, make_frame, make_manifest) -> Path:
    frames = [make_frame(index) for index in range(3, 36, 3)]
    path = tmp_path / "clip.mcap"
    write_clip(path, make_manifest(frames), frames)
    return path


def replayed(*words: str) -> str:
    result = CliRunner().invoke(app, ["replay", *words])
    if isinstance(result.exception, RingroadError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_replay_without_a_bundle_runs_on_the_recorded_boxes(sealed: Path) -> None:
    told = json.loads(replayed(str(sealed), "--json"))
    assert told["recorded_on"] == told["replayed_on"] == "b-1"
    assert told["ticks"] == 11 and told["faults"] == 0
    assert [row["boxes"] for row in told["rows"]] == [
        row["recorded_boxes"] or 0 for row in told["rows"]
    ]
    assert told["changed_ticks"] == sum(bool(row["changed"]) for row in told["rows"]) > 0
    changed = next(row for row in told["rows"] if row["changed"])
    assert changed["changed"] == [f"plan {changed['recorded_plan_source']} before"]


def test_replay_of_the_same_clip_says_the_same(sealed: Path) -> None:
    assert replayed(str(sealed), "--json") == replayed(str(sealed), "--json")


def test_replay_shows_a_row_per_tick(sealed: Path) -> None:
    shown = replayed(str(sealed))
    assert "what the drive concluded instead" in shown
    assert shown.count("full") == 11


def test_a_folder_without_a_manifest_is_no_bundle(sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"holds no bundle: it has no manifest\.json"):
        replayed(str(sealed), "--bundle", str(tmp_path))


def test_missing_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"there is no clip .*none\.mcap"):
        replayed(str(tmp_path / "none.mcap"))
