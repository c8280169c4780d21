"""The operator's commands on a fleet that has a vehicle, clips and campaigns."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.cli.root import main
from edge.upload import load_or_make_keys
from fleet.catalog import Catalog, TrustState, VehicleRow
from fleet.ingest import IngestSettings, Intake
from fleet.service import StateFolder
from fleet.store import FolderStore

NOW_NS = 1_800_000_000 * 10**9


class Shell:
    """Runs `ringroad …` on one state folder."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state = state
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--state", str(self.state)])
        said = self._capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    def json(self, *words: str) -> Any:
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "state", capsys)


@pytest.fixture
def enrolled(shell: Shell, tmp_path: Path, clip: Callable[..., Any]) -> Shell:
    keys = load_or_make_keys(tmp_path / "keys")
    shell.json("fleet", "init")
    shell.json(
        *("fleet", "enrol", "--vehicle", "v-01", "--rig-id", clip().manifest.rig_id),
        *("--curve-key", keys.curve_key, "--report-key", keys.report_key),
    )
    return shell


@pytest.fixture
def with_clips(enrolled: Shell, clip: Callable[..., Any]) -> Shell:
    """Hand in a good clip and a bad one, without the sockets."""
    state = StateFolder(enrolled.state)
    catalog = Catalog(state.catalog)
    intake = Intake(catalog, FolderStore(state.store), state.incoming, IngestSettings())
    for one in (clip(0), clip(1, rig_id="c" * 64)):
        part = intake.begin("v-01", one.offer)
        part.append(one.content)
        assert intake.finish("v-01", one.offer, one.manifest_bytes, part, now_ns=NOW_NS)
    catalog.close()
    return enrolled


def test_an_enrolled_vehicle_is_listed(enrolled: Shell) -> None:
    (row,) = enrolled.json("fleet", "vehicles")
    assert (row["vehicle_id"], row["state"], row["clips"]) == ("v-01", "active", 0)
    code, out, _ = enrolled("fleet", "vehicles")
    assert code == 0 and "v-01" in out


def test_a_revoked_vehicle_says_so_and_needs_a_yes(enrolled: Shell) -> None:
    code, _, _ = enrolled("fleet", "revoke", "v-01", "--cause", "stolen")
    assert code == 1
    catalog = Catalog(StateFolder(enrolled.state).catalog)
    assert catalog.all(VehicleRow, state=TrustState.ACTIVE)
    assert enrolled.json("fleet", "revoke", "v-01", "--cause", "stolen", "--yes")["state"] == (
        "revoked"
    )


def test_a_calibrated_vehicle_is_shown_with_its_new_rig(enrolled: Shell) -> None:
    new = "d" * 64
    assert enrolled.json("fleet", "calibrate", "v-01", "--rig-id", new)["rig_id"] == new
    catalog = Catalog(StateFolder(enrolled.state).catalog)
    assert [row.rig_id for row in catalog.all(VehicleRow)] == [new]
    assert catalog.events("vehicle/v-01")[-1].schema == "rig_registered.1"
    code, _, err = enrolled("fleet", "calibrate", "v-01", "--rig-id", "d" * 63)
    assert code == 1 and "expected 64 hex digits" in err
    assert catalog.get(VehicleRow, "v-01") == catalog.all(VehicleRow)[0]
    code, _, err = enrolled("fleet", "calibrate", "v-99", "--rig-id", new)
    assert code == 1 and "no v-99 among the vehicles" in err


def test_status_counts_what_the_fleet_has(with_clips: Shell) -> None:
    status = with_clips.json("fleet", "status")
    assert (status["vehicles"], status["clips"], status["quarantined"]) == (1, 1, 1)
    assert status["is_running"] is False and len(status["checkpoint"]) == 64


def test_a_rule_that_fired_often_is_named_once_in_the_table(
    enrolled: Shell, clip: Callable[..., Any]
) -> None:
    state = StateFolder(enrolled.state)
    (event,) = clip().manifest.events
    again = msgspec.structs.replace(event, stamp_ns=event.stamp_ns + 1)
    often = clip(0, events=(event, again))
    catalog = Catalog(state.catalog)
    intake = Intake(catalog, FolderStore(state.store), state.incoming, IngestSettings())
    part = intake.begin("v-01", often.offer)
    part.append(often.content)
    assert intake.finish("v-01", often.offer, often.manifest_bytes, part, now_ns=NOW_NS)
    catalog.close()
    assert enrolled("clips", "list")[1].count("low_ttc") == 1
    (row,) = enrolled.json("clips", "list")
    assert row["rules"] == ["low_ttc", "low_ttc"]


def test_clips_are_listed_shown_and_fetched(
    with_clips: Shell, clip: Callable[..., Any], tmp_path: Path
) -> None:
    (row,) = with_clips.json("clips", "list")
    assert row["clip_id"] == clip().manifest.clip_id and "manifest" not in row
    assert with_clips.json("clips", "list", "--vehicle", "v-02") == []
    shown = with_clips.json("clips", "show", row["clip_id"][:8])
    assert [event["rule"] for event in shown["events"]] == ["low_ttc"]
    code, out, _ = with_clips("clips", "show", row["clip_id"])
    assert code == 0 and "low_ttc" in out
    code, _, _ = with_clips("clips", "fetch", row["clip_id"][:8], str(tmp_path / "clip.mcap"))
    assert code == 0 and (tmp_path / "clip.mcap").read_bytes() == clip().content


def test_quarantined_clips_are_listed_with_their_reasons(with_clips: Shell) -> None:
    (row,) = with_clips.json("clips", "list", "--quarantined")
    assert {reason.partition(":")[0] for reason in row["reasons"]} == {"calibration"}


def test_a_clip_that_is_not_there_is_one_clear_line(with_clips: Shell) -> None:
    code, _, err = with_clips("clips", "show", "nope")
    assert (code, err) == (
        1,
        "ringroad: 0 admitted clips begin with 'nope', expected one; `ringroad clips list` shows all\n",
    )


def test_a_campaign_goes_from_file_to_approval(enrolled: Shell, tmp_path: Path) -> None:
    file = tmp_path / "campaigns.yaml"
    file.write_text("brakes: {rules: {hard_brake: {threshold: 4.0}}}")
    assert enrolled("fleet", "propose", str(file))[0] == 0
    (row,) = enrolled.json("fleet", "campaigns")
    assert (row["campaign_id"], row["state"]) == ("brakes", "proposed")
    assert row["record"]["rules"][0]["rule"] == "hard_brake"
    assert enrolled("fleet", "approve", "brakes", "--by", "ada", "--yes")[0] == 0
    (row,) = enrolled.json("fleet", "campaigns")
    assert (row["state"], row["approved_by"]) == ("approved", "ada")


def test_shipped_campaigns_are_proposed_by_name(enrolled: Shell) -> None:
    assert enrolled("fleet", "propose", "lap")[0] == 0
    rows = enrolled.json("fleet", "campaigns")
    assert sorted(row["campaign_id"] for row in rows) == ["control", "edge_cases"]
    code, _, err = enrolled("fleet", "propose", "lpa")
    assert code == 1 and "there is no campaign 'lpa'; there are lap; did you mean lap?" in err


def test_a_misspelt_key_in_a_campaign_file_is_refused(enrolled: Shell, tmp_path: Path) -> None:
    file = tmp_path / "campaigns.yaml"
    file.write_text("brakes: {rules: {hard_brake: {treshold: 4.0}}}")
    code, _, err = enrolled("fleet", "propose", str(file))
    assert code == 1 and "did you mean threshold?" in err
    file.write_text("brakes: {rules: [")
    code, _, err = enrolled("fleet", "propose", str(file))
    assert code == 1 and "is no YAML" in err


def test_a_misspelt_setting_of_the_service_is_refused(shell: Shell) -> None:
    code, _, err = shell("fleet", "init", "updtes_port=0")
    assert code == 1 and "did you mean updates_port?" in err
    assert not shell.state.exists()
    shell.json("fleet", "init")
    code, _, err = shell("fleet", "serve", "updtes_port=0")
    assert code == 1 and "did you mean updates_port?" in err


def test_the_audit_log_can_be_verified(with_clips: Shell) -> None:
    (row,) = with_clips.json("fleet", "verify")
    assert (row["stream"], row["events"]) == ("vehicle/v-01", 3)


def test_an_end_cut_off_the_audit_log_is_noticed_against_an_earlier_output(
    with_clips: Shell, tmp_path: Path
) -> None:
    earlier = tmp_path / "verified.json"
    earlier.write_text(json.dumps(with_clips.json("fleet", "verify")))
    assert with_clips("fleet", "verify", "--since", str(earlier))[0] == 0
    with sqlite3.connect(StateFolder(with_clips.state).catalog) as catalog:
        catalog.execute("DELETE FROM events WHERE seq = 2")
    assert with_clips("fleet", "verify")[0] == 0
    code, _, err = with_clips("fleet", "verify", "--since", str(earlier))
    assert code == 1 and "stream vehicle/v-01 event 2: the checkpoint saw" in err
    earlier.write_text('[{"stream": "vehicle/v-01", "events": 0, "hash": "x"}]')
    code, _, err = with_clips("fleet", "verify", "--since", str(earlier))
    assert code == 1 and "is no output of `fleet verify --json`" in err


def test_a_folder_without_a_fleet_is_one_clear_line(shell: Shell) -> None:
    for words in (("fleet", "status"), ("fleet", "vehicles"), ("clips", "list")):
        code, _, err = shell(*words)
        assert code == 1 and "`ringroad fleet init" in err
    assert not shell.state.exists()
