import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from edge.cli.commands import app
from edge.clip_file import ClipFrame, write_clip
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


BRAKES = """
brakes:
  rules:
    hard_brake: {threshold: 0.0}
    low_ttc: {threshold: 60.0}
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "campaign.yaml"
    path.write_text(BRAKES)
    return path


@pytest.fixture
def braking(tmp_path: Path, make_frame, make_manifest) -> Path:
    """A second clip: 4 s at 12 Hz, in which the vehicle slows from 12 m/s by 3 m/s each second."""
    path = tmp_path / "braking" / "clip.mcap"
    path.parent.mkdir()
    frames = []
    for index in range(3, 147, 3):
        frame = make_frame(index)
        sensed = frame.sensed
        ego = msgspec.structs.replace(sensed.ego, speed_mps=12.0 - 3.0 * (index - 3) / 36)
        frames.append(ClipFrame(msgspec.structs.replace(sensed, ego=ego)))
    write_clip(path, make_manifest(frames), frames)
    return path


def test_a_campaign_is_tried_on_a_clip_and_shows_tick_value_and_threshold(
    braking: Path, campaign: Path
) -> None:
    told = json.loads(replayed(str(braking), "--campaign", str(campaign), "--json"))
    fired = [one for one in told["fired"] if one["rule"] == "hard_brake"]
    assert fired[0]["index"] == 21, "half a second after the first tick, 18 ticks of 36 Hz"
    assert fired[0]["second"] == 0.5
    assert fired[0]["value"] == pytest.approx(3.0)
    assert (fired[0]["campaign_id"], fired[0]["threshold"]) == ("brakes", 0.0)
    assert told["ignored_rules"] == 0


def test_vehicle_of_a_replay_is_set_by_words_and_by_a_file(
    braking: Path, campaign: Path, tmp_path: Path
) -> None:
    def first(*words: str) -> int:
        told = json.loads(replayed(str(braking), "--campaign", str(campaign), "--json", *words))
        return int(told["fired"][0]["index"])

    file = tmp_path / "own (ü).yaml"
    file.write_text("runtime: {trigger: {brake_window_s: 1.0}}")
    assert first("--vehicle", str(file)) == 39, "a second after the first tick, 36 ticks of 36 Hz"
    assert first("--set", "runtime.trigger.brake_window_s=1.0") == 39
    assert first("--vehicle", str(file), "--set", "runtime.trigger.brake_window_s=0.5") == 21
    with pytest.raises(OperatorError, match="did you mean brake_window_s"):
        first("--set", "runtime.trigger.brake_windw_s=1")


def test_a_rule_above_its_threshold_does_not_fire(braking: Path, campaign: Path) -> None:
    campaign.write_text("brakes: {rules: {hard_brake: {threshold: 3.5}}}")
    assert json.loads(replayed(str(braking), "--campaign", str(campaign), "--json"))["fired"] == []


def test_without_a_campaign_nothing_is_armed(braking: Path) -> None:
    assert json.loads(replayed(str(braking), "--json"))["fired"] == []
    assert "rules that fire" not in replayed(str(braking))


def test_several_clips_and_folders_are_replayed_one_after_the_other(
    sealed: Path, braking: Path, campaign: Path
) -> None:
    words = (str(sealed), str(braking.parent), "--campaign", str(campaign))
    told = json.loads(replayed(*words, "--json"))["clips"]
    assert [one["ticks"] for one in told] == [11, 48]
    shown = replayed(*words)
    assert "rules that fire" in shown and "hard_brake" in shown


def test_a_rule_that_this_software_does_not_know_in_that_version_is_counted(
    sealed: Path, campaign: Path
) -> None:
    campaign.write_text("brakes: {rules: {hard_brake: {threshold: 3.5, version: 9}}}")
    assert (
        json.loads(replayed(str(sealed), "--campaign", str(campaign), "--json"))["ignored_rules"]
        == 1
    )


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("brakes: {rules: {hard_break: {}}}", "did you mean hard_brake"),
        ("brakes: {rules: {}}", "arms no rule"),
        ("brakes: [", "is no YAML"),
    ],
)
def test_a_campaign_file_that_makes_no_sense_is_refused(
    sealed: Path, campaign: Path, text: str, match: str
) -> None:
    campaign.write_text(text)
    with pytest.raises(OperatorError, match=match):
        replayed(str(sealed), "--campaign", str(campaign))


def test_a_folder_without_clips_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="holds no clip"):
        replayed(str(tmp_path))


def test_rules_are_tried_without_the_fleet() -> None:
    """A board has neither the fleet's packages nor the simulator."""
    program = (
        "import sys\n"
        "class Ban:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('fleet', 'models', 'sim', 'sqlalchemy', 'torch', 'boto3'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Ban())\n"
        "import edge.vehicle.replay\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=True)
