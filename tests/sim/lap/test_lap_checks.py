"""A lap that makes no sense is refused before anything is rendered, by the name of what is wrong."""

import re
import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

import conf
from edge.contracts.errors import OperatorError
from edge.vehicle.settings import VehicleSettings
from fleet.service import ServiceSettings
from fleet.store import FolderStore, StoreSettings
from models.settings import FitSettings
from sim.lap import checks
from sim.lap.checks import refuse_no_room, refuse_nonsense
from sim.lap.claim import Claim, DriveScene
from sim.lap.settings import MOVED, QUICK, LapSettings, lap_settings

HUGE = str(10**30)


CLAIMS = sorted(path.stem for path in (Path(next(iter(conf.__path__))) / "claim").glob("*.yaml"))


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("is_quick", [False, True])
def test_every_shipped_claim_makes_sense_long_and_short(claim: str, is_quick: bool) -> None:
    settings = lap_settings([f"claim={claim}"], is_quick=is_quick)
    assert settings.claim.name == claim
    refuse_nonsense(settings)


def test_a_lap_claims_animals_unless_it_is_told_otherwise() -> None:
    assert lap_settings([]) == lap_settings(["claim=animal"])
    assert len(CLAIMS) >= 2


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vehicles": 0}, "vehicles is 0, expected at least 1"),
        ({"drive_s": 0.0}, "drive_s is 0.0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"model": "picoo"}, "no trained 'picoo' ships with this installation; there is pico"),
        ({"profile": "toaster"}, "no device profile 'toaster'; there are .*laptop"),
        ({"gate_set": "nosuch"}, "no recipe 'nosuch'; there are base, gate"),
        ({"claim": Claim()}, "claims nothing learns nothing; choose one with claim=NAME"),
        ({"fit": FitSettings(reset_classes=["car"])}, "fit.reset_classes has moved to claim.reset"),
        (
            {"fleet": ServiceSettings(state="x")},
            "fleet.state is 'x', expected '.ringroad/fleet'",
        ),
        ({"vehicle": VehicleSettings(profile="x")}, "vehicle.profile is 'x', expected 'laptop'"),
    ],
)
def test_a_lap_that_makes_no_sense_is_refused_by_name(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(OperatorError, match=complaint):
        refuse_nonsense(replace(lap_settings([]), **changes))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"slice": "animl"}, "slice: there is no slice 'animl'; did you mean animal?"),
        ({"slice": "night"}, "classes are animal, and slice night is of none"),
        (
            {"slice": "overturned_truck"},
            "classes are animal, and slice overturned_truck is of truck",
        ),
        ({"classes": ["animol"]}, "classes: there is no class 'animol'; did you mean animal?"),
        ({"classes": ["animal", "car"]}, "expected one class, the same in both"),
        ({"rare_set": "gate_animl"}, "no recipe 'gate_animl'; .*; did you mean gate_animal?"),
        ({"rare_set": "zzz"}, "there is no recipe 'zzz'; there are base, gate, "),
        (
            {"quick_rare_set": "quick_gate_animl"},
            "'quick_gate_animl'; .*; did you mean quick_gate_a",
        ),
        ({"rare_set": "tune"}, "rare_set tune is of split tune, expected gate"),
        ({"episodes": "defualt"}, "episode list 'defualt'; .*; did you mean default?"),
        ({"quick_episodes": "quik"}, "episode list 'quik'; .*; did you mean quick?"),
        ({"scenes": []}, "nowhere to drive"),
        ({"scenes": [DriveScene("nosuch")]}, "no map 'nosuch'; there are grid"),
        (
            {"scenes": [DriveScene("grid", "jaywaker")]},
            "scenario 'jaywaker'; .*; did you mean jaywalk",
        ),
        ({"scenes": [DriveScene("suburb_gate")]}, "cannot drive on suburb_gate: all its places"),
        ({"reset_classes": ["unicorn"]}, "there is no class 'unicorn'; there is animal, "),
        ({"positive_weights": {"unicorn": 2.0}}, "there is no class 'unicorn'; there is animal, "),
    ],
)
def test_a_claim_that_names_what_is_not_there_is_refused_with_the_nearest_name(
    changes: dict[str, Any], complaint: str
) -> None:
    settings = lap_settings([])
    claim = replace(settings.claim, **changes)
    with pytest.raises(OperatorError, match=re.escape(complaint).replace(r"\.\*", ".*")):
        refuse_nonsense(replace(settings, claim=claim))


@pytest.mark.parametrize("old", MOVED)
@pytest.mark.parametrize("is_quick", [False, True])
def test_a_setting_that_a_claim_has_now_is_refused_by_its_new_name(
    old: str, is_quick: bool
) -> None:
    complaint = f"lap refused: {old} has moved to {MOVED[old]}; "
    for word in (f"{old}=x", f"++{old}=x", f"{old}.animal=2.0"):
        with pytest.raises(OperatorError, match=re.escape(complaint)):
            lap_settings([word], is_quick=is_quick)


NUMBERS = {
    "seed": ("-1", HUGE, "1.5", "nan", "inf", "", "x"),
    "vehicles": ("-1", "0", "257", HUGE, "2.5", "nan", "inf", "", "x"),
    "drive_s": ("-1", "0", "1e30", "nan", "inf", "", "x"),
    "redrive_s": ("0", "1e30"),
    "budget_tracks": ("0", HUGE),
    "fit.steps": ("0", HUGE),
    "fit.batch": ("0", HUGE),
    "fit.learning_rate": ("0", "1e30"),
    "fit.weight_decay": ("-1",),
    "fit.warmup_ratio": ("2",),
    "fit.gradient_clip": ("0", "1e30"),
    "fit.ema_decay": ("2",),
    "fit.mirror_ratio": ("2",),
    "fit.turn_ratio": ("2",),
    "fit.gain_min": ("0", "1e30"),
    "fit.gain_max": ("0", "1e30"),
    "fit.night_ratio": ("2",),
    "fit.radar_drop_ratio": ("2",),
    "fit.memory_ratio": ("2",),
    "fit.fresh_ratio": ("2",),
    "fit.rare_ratio": ("2",),
    "fit.replay_balance_ratio": ("2",),
    "fit.shared_rate_ratio": ("2",),
    "fit.log_every": ("0", HUGE),
    "fit.seed": (HUGE,),
    "claim.positive_weights.animal": ("0", "1e30"),
    "campaigns.edge_cases.before_s": ("-1",),
    "campaigns.edge_cases.after_s": ("-1",),
    "campaigns.edge_cases.max_clips_per_drive": (HUGE,),
    "campaigns.edge_cases.max_bytes_per_drive": (HUGE,),
    "campaigns.edge_cases.rules.low_ttc.threshold": ("1e30",),
    "campaigns.edge_cases.rules.low_ttc.version": (HUGE,),
    "campaigns.edge_cases.rules.low_ttc.min_interval_s": ("-1",),
    "campaigns.edge_cases.rules.low_ttc.weight": ("2",),
    "gate.max_false_alarms_per_clean_frame": ("-1",),
    "gate.max_false_alarms_per_frame": ("-1",),
    "gate.max_class_drop": ("2",),
    "gate.min_encounters": (HUGE,),
    "gate.min_recall_difference": ("-2", "2"),
    "gate.min_map_difference": ("-2", "2"),
    "gate.min_guard_frames": (HUGE,),
    "gate.min_guard_places": (HUGE,),
    "gate.min_instances": ("0", HUGE),
    "gate.min_episodes": (HUGE,),
    "gate.distance_m": ("-1", "0", "3", "1e30"),
    "gate.match.max_range_m": ("-1",),
    "gate.match.min_visible_px": (HUGE,),
    "gate.bootstrap.resamples": ("0", HUGE),
    "gate.bootstrap.confidence_ratio": ("-1", "0", "1"),
    "gate.bootstrap.seed": (HUGE,),
    "store.connect_timeout_s": ("0", "1e30"),
    "store.read_timeout_s": ("0", "1e30"),
}
"""Every number that a word of a lap can set, and what lies outside it."""

ALIKE = ("campaigns.control.", "campaigns.edge_cases.rules.")
"""Where numbers stand that are bounded as their namesakes in the table."""

BY_UNIT = ("fleet.", "label.", "rollout.", "vehicle.", "world.")
"""Where numbers stand that are bounded by their units, see tests/conf/test_settings_command.py."""


def numbers(settings: object, at: str = "") -> Iterator[str]:
    """Give the words that set the numbers of a record, down through its records and dicts."""
    if is_dataclass(settings):
        inner = {field.name: getattr(settings, field.name) for field in fields(settings)}
    elif isinstance(settings, dict):
        inner = settings
    else:
        if type(settings) in (int, float):
            yield at
        return
    for name, value in inner.items():
        yield from numbers(value, f"{at}.{name}" if at else str(name))


def test_every_number_of_a_lap_is_in_the_table() -> None:
    found = set(numbers(lap_settings([])))
    left = {word for word in found - set(NUMBERS) if not word.startswith((*ALIKE, *BY_UNIT))}
    assert left == set()


NAMES = {
    "model": ("", "picoo"),
    "profile": ("", "toaster", "../laptop"),
    "claim": ("", "unicorn"),
    "claim.slice": ("", "animol"),
    "claim.classes": ("", "[]", "[unicorn]"),
    "claim.rare_set": ("", "nosuch"),
    "claim.quick_rare_set": ("", "nosuch"),
    "claim.episodes": ("", "nosuch"),
    "claim.quick_episodes": ("", "nosuch"),
    "replay_set": ("", "nosuch"),
    "tune_set": ("", "nosuch"),
    "gate_set": ("", "nosuch"),
    "claim.scenes": (
        "",
        "[]",
        "[{road_map: moon}]",
        "[{scenario: nosuch}]",
        "[{vehicles_per_km: -1}]",
    ),
    "claim.reset_classes": ("", "[unicorn]"),
    "claim.positive_weights.unicorn": ("2.0",),
    "campaigns.edge_cases.until": ("", "tomorrow"),
    "campaigns.edge_cases.rules.low_ttc.ticks_of": ("[3, 2]", "[0, 1]", "[1]", ""),
    "campaigns.edge_cases.rules.low_tcc.threshold": ("1.0",),
    "campaigns.Läufe.rules.low_ttc.threshold": ("1.0",),
    "campaigns.empty.purpose": ("arms nothing",),
    "is_quick": ("", "perhaps"),
    "store": ("", "gcs"),
    "gate": ("", "strict"),
}


@pytest.mark.parametrize(
    "word",
    [f"{key}={value}" for key, values in (NUMBERS | NAMES).items() for value in values],
)
def test_an_absurd_word_is_refused_at_once_in_one_sentence(word: str) -> None:
    with pytest.raises(OperatorError) as refused:
        refuse_nonsense(lap_settings([word]))
    assert 10 < len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("store", "complaint"),
    [
        (StoreSettings(kind="tape"), "store 'tape'"),
        (StoreSettings(kind="s3"), "store s3 has no bucket"),
        (StoreSettings(kind="s3", bucket="b", endpoint_url="localhost:9000"), "expected http"),
        (StoreSettings(kind="s3", bucket="b", endpoint_url="http://127.0.0.1:9"), "cannot be used"),
        (StoreSettings(root="a file"), "lap not begun: the store cannot be used: .*a file"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: StoreSettings, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    Path("a file").touch()
    with pytest.raises(OperatorError, match=complaint):
        refuse_no_room(LapSettings(store=store), tmp_path / "runs")


def test_a_store_without_credentials_is_refused_by_that_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials it once found
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = StoreSettings(kind="s3", bucket="b", endpoint_url="http://127.0.0.1:9")
    settings = LapSettings(store=store, cache=str(tmp_path / "cache"))
    with pytest.raises(OperatorError, match=r"cannot be used: .*credentials"):
        refuse_no_room(settings, tmp_path / "runs")


def test_a_disk_that_is_nearly_full_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: usage(10**12, 10**12, 10**7))
    with pytest.raises(OperatorError, match=r"runs has 0\.0 GB free, expected 1\.0"):
        refuse_no_room(LapSettings(cache=str(tmp_path / "cache")), tmp_path / "runs")


def test_a_folder_in_the_place_of_the_link_to_the_newest_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(OperatorError, match="latest is in the way"):
        refuse_no_room(LapSettings(cache=str(tmp_path / "cache")), tmp_path)


def test_a_lap_with_room_may_begin(tmp_path: Path) -> None:
    assert shutil.disk_usage(tmp_path).free > 10**9
    settings = LapSettings(cache=str(tmp_path / "cache"))
    refuse_no_room(settings, tmp_path / "runs")
    refuse_no_room(settings, tmp_path / "runs")
    assert len(list(FolderStore(tmp_path / "cache" / "store").list())) == 1


TYPED = {
    "is_quick": ("false", False),
    "drive_s": ("31.5", 31.5),
    "redrive_s": ("12.5", 12.5),
    "budget_tracks": ("70", 70),
    "replay_set": ("replay", "replay"),
    "tune_set": ("tune", "tune"),
    "gate_set": ("gate", "gate"),
    "claim.rare_set": ("gate_animal", "gate_animal"),
    "claim.episodes": ("default", "default"),
    "fit.steps": ("999", 999),
    "fit.log_every": ("7", 7),
}


def found(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


@pytest.mark.parametrize("prefix", ["", "++"])
@pytest.mark.parametrize("key", [*QUICK, "claim.rare_set", "claim.episodes"])
def test_quick_never_overrides_a_word_that_was_typed(key: str, prefix: str) -> None:
    text, value = TYPED[key]
    settings = lap_settings([f"{prefix}{key}={text}"], is_quick=True)
    shortened = lap_settings([], is_quick=True)
    assert found(settings, key) == value != found(shortened, key)
    others = [other for other in TYPED if other != key]
    assert [found(settings, o) for o in others] == [found(shortened, o) for o in others]


def test_quick_takes_the_set_and_the_episodes_of_the_claim_that_was_typed() -> None:
    claim = lap_settings(["claim=overturned_truck"], is_quick=True).claim
    assert claim.rare_set == "quick_gate_overturned_truck"
    assert claim.episodes == "quick_overturned_truck"


def test_quick_shortens_the_training_and_leaves_its_recipe_alone() -> None:
    long, short = lap_settings([]).claim_fit, lap_settings([], is_quick=True).claim_fit
    assert (short.steps, short.log_every) == (24, 8)
    assert (short.learning_rate, short.reset_classes) == (long.learning_rate, long.reset_classes)
