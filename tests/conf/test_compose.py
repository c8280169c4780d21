import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta

import conf
from conf.compose import compose, settings_from, with_options, write_resolved
from conf.words import with_words
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import OperatorError


class Weather(StrEnum):
    DAY = "day"
    NIGHT = "night"


@dataclass
class World:
    fog_ratio: float = 0.0
    weather: Weather = Weather.DAY
    sun_rad: tuple[float, float] = (0.0, 1.0)


@dataclass
class Fit:
    steps: Annotated[int, Meta(ge=1, le=1000)] = 900
    rate: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.3
    weights: dict[str, float] = field(default_factory=dict)
    world: World = field(default_factory=World)


def careful() -> Fit:
    return Fit(steps=60, rate=0.1, weights={"animal": 4.0}, world=World(fog_ratio=0.5))


@dataclass
class Home:
    path: str = ""


@dataclass
class Drive:
    seed: int = 7
    vehicles: int = 3
    note: str | None = None
    folder: str = "drives"
    homes: dict[str, Home] = field(default_factory=dict)
    world: World = field(default_factory=World)
    fit: Fit = field(default_factory=careful)
    garage: str = ""
    rules: list[TriggerRule] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    parked: list[World] = field(default_factory=lambda: [World(0.1), World(0.2)])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of YAML files as `conf` is one."""
    package = tmp_path / "drive_conf"
    for folder in ("world", "garage"):
        (package / folder).mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "drive.yaml").write_text("defaults:\n  - world: clear\n  - _self_\nvehicles: 5\n")
    (package / "world" / "clear.yaml").write_text("fog_ratio: 0.1\n")
    (package / "world" / "murk.yaml").write_text("fog_ratio: 0.9\nweather: night\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "drive_conf"
    sys.modules.pop("drive_conf", None)


def refusal(module: str, *overrides: str) -> str:
    with pytest.raises(OperatorError) as caught:
        compose("drive", overrides, Drive, config_module=module)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_yaml_is_laid_over_the_defaults_of_the_dataclass(module: str) -> None:
    drive = compose("drive", [], Drive, config_module=module)
    assert drive == Drive(seed=7, vehicles=5, world=World(fog_ratio=0.1))


def test_last_override_wins_over_yaml_and_group(module: str) -> None:
    words = ["world=murk", "vehicles=8", "vehicles=9"]
    drive = compose("drive", words, Drive, config_module=module)
    assert (drive.vehicles, drive.world.fog_ratio, drive.world.weather) == (9, 0.9, Weather.NIGHT)


def test_default_that_no_yaml_repeats_can_be_set(module: str) -> None:
    drive = compose("drive", ["seed=11", "world.sun_rad=[0.5,1]"], Drive, config_module=module)
    assert (drive.seed, drive.world.sun_rad) == (11, (0.5, 1.0))


def test_misspelt_configuration_key_is_refused(module: str) -> None:
    assert "no key vehciles; did you mean vehicles?" in refusal(module, "vehciles=4")


def test_misspelt_nested_key_is_refused(module: str) -> None:
    assert "no key world.fog_rato; did you mean fog_ratio?" in refusal(module, "world.fog_rato=1")


def test_misspelt_group_is_refused(module: str) -> None:
    assert "no key wrold; did you mean world?" in refusal(module, "wrold=murk")


def test_unknown_choice_of_a_group_lists_the_choices(module: str) -> None:
    message = refusal(module, "world=mruk")
    assert message == "there is no world 'mruk'; there are clear, murk; did you mean murk?"


def test_key_misspelt_in_the_yaml_itself_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"deer\.yaml refused: no key sede; did you mean seed"):
        settings_from({"sede": 1}, Drive, origin="deer.yaml")


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("vehicles=many", "Expected `int`, got `str` - at `$.vehicles`"),
        ("vehicles=2.5", "Expected `int`, got `float` - at `$.vehicles`"),
        ("seed=true", "Expected `int`, got `bool` - at `$.seed`"),
        ("world.fog_ratio=.nan", "world.fog_ratio: nan is not a finite number"),
        ("world.weather=nite", "world.weather: no 'nite'; did you mean night?"),
        ("world.sun_rad=[1]", "length 2"),
        ("weights.a=.inf", "weights.a: inf is not a finite number"),
        ("fit.steps=0", "fit.steps is 0, expected at least 1"),
        (f"fit.steps={10**30}", f"fit.steps is {10**30}, expected at most 1000"),
        ("fit.rate=0", "fit.rate is 0, expected more than 0.0"),
        ("fit.rate=1.0", "fit.rate is 1.0, expected less than 1.0"),
        ("fit.rate=.nan", "fit.rate: nan is not a finite number"),
        ("vehicles=", "Expected `int`, got `null`"),
        ("vehicles=[1", "value of vehicles is no YAML"),
        ("vehicles.2=1", "no key vehicles.2: vehicles holds one value"),
        ("parked.3.fog_ratio=1", "no key parked.3: parked has 2 entries, counted from 0"),
        ("parked.0.fog_rato=1", "no key parked.0.fog_rato; did you mean fog_ratio?"),
        ("vehicles", "'vehicles', expected key=value"),
        ("=3", "refused"),
        ("world.weather=${nowhere}", "nowhere"),
        ("seed=???", "seed"),
    ],
)
def test_wrong_value_is_refused_by_name(module: str, word: str, complaint: str) -> None:
    assert complaint in refusal(module, word)


def test_open_enum_is_closed_in_configuration(module: str) -> None:
    message = refusal(module, "rules=[radar_wihtout_box]")
    assert "rules[0]: no 'radar_wihtout_box'; did you mean radar_without_box?" in message


def test_configuration_that_does_not_exist_is_refused(module: str) -> None:
    with pytest.raises(OperatorError, match="nonesuch"):
        compose("nonesuch", [], Drive, config_module=module)


@pytest.mark.parametrize("root", [file.stem for file in Path(conf.__file__).parent.glob("*.yaml")])
def test_shipped_configuration_composes(root: str) -> None:
    settings = compose(root, ["seed=5"], dict[str, Any])
    assert settings["seed"] == 5


FOLDERS = [
    "jörg",
    "a=b",
    "fleet (copy)",
    "a,b",
    "a#b",
    "[a]",
    "{a: b}",
    "'a'",
    "${seed}",
    "build%2Fmain",
    "3",
    "null",
    "???",
    " a ",
    "a\\b",
    "~",
    "~a",
    "50% off",
    '"',
    "a\tb",
    "- a",
    "&a",
    "!tag",
    "@a",
    "true",
    "走る",
    "",
]


@pytest.mark.parametrize("name", FOLDERS)
def test_option_of_the_command_line_is_set_and_never_parsed(module: str, name: str) -> None:
    drive = compose("drive", ["vehicles=8"], Drive, config_module=module)
    assert with_options(drive, folder=name) == Drive(
        vehicles=8, world=World(fog_ratio=0.1), folder=name
    )


@pytest.mark.parametrize("name", FOLDERS)
def test_text_is_taken_as_it_was_typed(module: str, name: str) -> None:
    words = [f"folder={name}", "world=murk", f"homes.b.path={name}"]
    drive = compose("drive", words, Drive, config_module=module)
    assert (drive.folder, drive.homes["b"].path, drive.world.fog_ratio) == (name, name, 0.9)


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "null"])
def test_text_that_may_be_absent_is_taken_as_it_was_typed(module: str, name: str) -> None:
    assert compose("drive", [f"note={name}"], Drive, config_module=module).note == name


def test_null_takes_a_text_away_that_may_be_absent(module: str) -> None:
    words = ["note=a", "note=null"]
    assert compose("drive", words, Drive, config_module=module).note is None


def test_entry_of_a_list_is_set_by_its_number(module: str) -> None:
    drive = compose("drive", ["parked.1.weather=night"], Drive, config_module=module)
    assert drive.parked == [World(0.1), World(0.2, Weather.NIGHT)]


def test_value_is_yaml_of_the_second_edition(module: str) -> None:
    drive = compose("drive", ["world.fog_ratio=5e-1", "seed=010"], Drive, config_module=module)
    assert (drive.world.fog_ratio, drive.seed) == (0.5, 10)


def test_file_of_ones_own_is_taken_where_a_name_of_a_group_is(module: str, tmp_path: Path) -> None:
    file = tmp_path / "jörg's (50%) = ${fog}.yaml"
    file.write_text("weather: night\n", encoding="utf-8")
    words = [f"world={file}", "world.fog_ratio=0.3"]
    drive = compose("drive", words, Drive, config_module=module)
    assert drive.world == World(0.3, Weather.NIGHT)


def test_last_choice_of_a_group_wins_be_it_a_name_or_a_file(module: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("fog_ratio: 0.7\n", encoding="utf-8")
    first = compose("drive", [f"world={file}", "world=murk"], Drive, config_module=module)
    last = compose("drive", ["world=murk", f"world={file}"], Drive, config_module=module)
    assert (first.world.fog_ratio, last.world.fog_ratio) == (0.9, 0.7)


def test_file_of_ones_own_with_a_misspelt_key_is_refused(module: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("fog_rato: 0.7\n", encoding="utf-8")
    assert "no key world.fog_rato; did you mean fog_ratio?" in refusal(module, f"world={file}")


@pytest.mark.parametrize("word", ["garage=north", "++garage=north"])
def test_text_that_is_called_like_a_folder_of_files_is_a_name_and_no_file(
    module: str, word: str
) -> None:
    assert compose("drive", [word], Drive, config_module=module).garage == "north"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("fit.steps=7", Fit(7, 0.1, {"animal": 4.0}, World(fog_ratio=0.5))),
        ("fit={steps: 7}", Fit(7, 0.1, {"animal": 4.0}, World(fog_ratio=0.5))),
        ("fit.weights.car=2.0", Fit(60, 0.1, {"animal": 4.0, "car": 2.0}, World(0.5))),
        ("fit.weights={car: 2.0}", Fit(60, 0.1, {"car": 2.0}, World(fog_ratio=0.5))),
        ("fit={world: {weather: night}}", Fit(60, 0.1, {"animal": 4.0}, World(0.5, Weather.NIGHT))),
        (
            "fit.world.weather=night",
            Fit(60, 0.1, {"animal": 4.0}, World(fog_ratio=0.5, weather=Weather.NIGHT)),
        ),
    ],
)
def test_record_that_is_named_in_part_keeps_the_rest_of_its_own_default(
    module: str, word: str, expected: Fit
) -> None:
    assert compose("drive", [word], Drive, config_module=module).fit == expected


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "null"])
def test_record_written_in_words_is_the_same_record(
    name: str, words_of: Callable[[Any], list[str]]
) -> None:
    drive = Drive(
        vehicles=9,
        note=name,
        folder=name,
        homes={name: Home(name)},
        world=World(1e-7, Weather.NIGHT),
        rules=[TriggerRule.RANDOM],
        weights={name: 2.5},
        parked=[],
    )
    assert with_words(Drive(), words_of(drive)) == drive


def test_last_text_wins(module: str) -> None:
    words = ["folder=a", "folder=b", "folder=a"]
    assert compose("drive", words, Drive, config_module=module).folder == "a"


def test_option_of_the_wrong_type_is_refused(module: str) -> None:
    with pytest.raises(OperatorError, match="command line refused: Expected `int`, got `str`"):
        with_options(compose("drive", [], Drive, config_module=module), vehicles="many")


def test_two_compositions_in_one_process_do_not_meet(module: str) -> None:
    first = compose("drive", ["seed=1"], Drive, config_module=module)
    second = compose("drive", [], Drive, config_module=module)
    assert (first.seed, second.seed) == (1, 7)


def test_resolved_configuration_lies_beside_the_results_with_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    digest = write_resolved(Drive(seed=3), path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert settings_from(json.loads(path.read_text()), Drive, origin="config.json") == Drive(seed=3)
    assert write_resolved(Drive(seed=4), path) != digest
