import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement

from edge.cli import root as cli
from edge.contracts.errors import OperatorError, RollbackError

ROOT = Path(cli.__file__).parents[2]
INSTALL = f"{sys.executable} -m pip install --editable "


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


@pytest.fixture
def depot(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A table with one group of verbs, one lone command and two groups that cannot load."""
    module: Any = ModuleType("depot")
    app = typer.Typer()

    @app.command()
    def install(bundle: str, times: int = 1) -> None:
        """Install a bundle."""
        if bundle == "old":
            raise RollbackError("bundle b-0042 refused: counter 41 is older\nthan installed 42")
        if bundle == "away":
            Path("/nowhere/b-1").read_bytes()
        if bundle == "steering":
            raise RollbackError("v-02 said: ok\x1b[2J\x1b]0;owned\x07 \u202egpj")
        if bundle == "odd":
            raise KeyError("slot")
        if bundle == "stop":
            raise KeyboardInterrupt
        if bundle == "lacking":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        if bundle == "blind":
            import cv2  # noqa: F401
        print(f"installed {bundle} {times}")  # noqa: T201

    def lap(seed: int = 0) -> None:
        """Run a lap."""
        print(f"lap {seed}")  # noqa: T201

    def train(fresh: str) -> None:
        """Train a network."""

    module.app, module.lap, module.train = app, lap, train
    monkeypatch.setitem(sys.modules, "depot", module)
    table = {
        "ota": cli.Group("depot", "app", "Bring bundles", "edge"),
        "lap": cli.Group("depot", "lap", "Once round", "fleet,sim"),
        "train": cli.Group("depot", "train", "Needs a word", "fleet"),
        "dream": cli.Group("depot", "dream", "Not written yet", "fleet"),
        "away": cli.Group("fleet.of_2031", "app", "Not in this installation", "fleet"),
        "heavy": cli.Group("heavy_library_of_2031", "app", "Needs more", "sim"),
    }
    monkeypatch.setattr(cli, "GROUPS", table)
    return


@pytest.mark.usefixtures("depot")
def test_group_of_one_verb_still_asks_for_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "ota", "install", "b-1", "--times", "2") == (0, "installed b-1 2\n", "")


@pytest.mark.usefixtures("depot")
def test_lone_command_takes_its_options_directly(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "lap", "--seed", "3") == (0, "lap 3\n", "")


@pytest.mark.usefixtures("depot")
def test_lone_command_that_needs_words_and_gets_none_shows_its_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "Train a network." in "".join(run(capsys, "train")[1:])


@pytest.mark.usefixtures("depot")
def test_refusal_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "ota", "install", "old")
    assert (code, out) == (1, "")
    assert err == "ringroad: bundle b-0042 refused: counter 41 is older than installed 42\n"


@pytest.mark.usefixtures("depot")
def test_bug_is_one_line_that_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "ota", "install", "odd")
    expected = "ringroad: unexpected KeyError: 'slot' (`ringroad --debug ota ...` shows where)\n"
    assert (code, err) == (1, expected)


@pytest.mark.usefixtures("depot")
def test_file_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/nowhere/b-1: No such file or directory" in run(capsys, "ota", "install", "away")[2]


@pytest.mark.usefixtures("depot")
def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--debug", "ota", "install", "old")
    assert code == 1
    assert "Traceback (most recent call last)" in err


@pytest.mark.usefixtures("depot")
@pytest.mark.parametrize("option", [(), ("--debug",)])
def test_the_words_of_a_peer_in_a_refusal_are_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str], option: tuple[str, ...]
) -> None:
    err = run(capsys, *option, "ota", "install", "steering")[2]
    shown = r"v-02 said: ok\x1b[2J\x1b]0;owned\x07 \u202egpj"
    assert err.endswith(f"ringroad: {shown}\n")
    assert err.replace("\n", "").isprintable()


@pytest.mark.usefixtures("depot")
def test_a_misspelt_word_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("\x1b[2J",), ("--\x1b[2J",)):
        lines = run(capsys, *words)[2].splitlines()
        assert lines[0].endswith(r"\x1b[2J") and lines[1] == cli.USAGE


@pytest.mark.usefixtures("depot")
def test_interrupt_leaves_quietly_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "ota", "install", "stop") == (130, "", "")


@pytest.mark.usefixtures("depot")
@pytest.mark.parametrize(
    "words",
    [("otta",), ("--fast",), ("ota", "instal"), ("ota", "install"), ("lap", "--seed", "many")],
)
def test_command_line_that_makes_no_sense_exits_with_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err


@pytest.mark.usefixtures("depot")
def test_misspelt_group_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such group: dreem; did you mean dream?" in run(capsys, "dreem")[2]


@pytest.mark.usefixtures("depot")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("dream", "`ringroad dream` is not part of this installation: depot has no dream"),
        ("away", "`ringroad away` is not part of this installation: no fleet.of_2031"),
        (
            "heavy",
            (
                "`ringroad heavy` needs heavy_library_of_2031, which is not installed: "
                f"{INSTALL}'{ROOT}[sim]'"
            ),
        ),
    ],
)
def test_group_that_cannot_load_is_one_clear_sentence(
    capsys: pytest.CaptureFixture[str], name: str, sentence: str
) -> None:
    assert run(capsys, name, "serve") == (1, "", f"ringroad: {sentence}\n")
    with pytest.raises(OperatorError):
        cli.load_group(name)


@pytest.mark.usefixtures("depot")
def test_package_missing_inside_a_command_names_the_extra(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = run(capsys, "ota", "install", "lacking")[2]
    assert message.endswith(f"needs torch, which is not installed: {INSTALL}'{ROOT}[tflite]'\n")


@pytest.mark.usefixtures("depot")
def test_opencv_is_asked_for_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    for words in (("ota", "install", "lacking"), ("ota", "install", "blind")):
        assert run(capsys, *words)[2].endswith(f"{INSTALL}'{ROOT}[edge]'\n")
    assert run(capsys, "heavy", "serve")[2].endswith(f"{INSTALL}'{ROOT}[edge,sim]'\n")


def test_a_clone_is_installed_again_from_wherever_it_lies(tmp_path: Path) -> None:
    clone = tmp_path / "a clone (copy)"
    clone.mkdir()
    (clone / "pyproject.toml").touch()
    words = shlex.split(cli.install_line(["edge", "sim"], clone))
    assert words == [
        *(sys.executable, "-m", "pip", "install"),
        *("--editable", f"{clone}[edge,sim]"),
    ]


def test_a_wheel_names_what_its_extras_require_and_no_distribution_of_our_name(
    tmp_path: Path,
) -> None:
    words = shlex.split(cli.install_line(["edge", "sim"], tmp_path))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*table["optional-dependencies"]["edge"], *table["optional-dependencies"]["sim"]]
    assert {Requirement(word) for word in words[4:]} == {Requirement(line) for line in declared}


def test_every_group_that_needs_an_extra_names_one_that_there_is() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {extra for group in cli.GROUPS.values() for extra in group.extra.split(",")}
    assert named <= set(table["optional-dependencies"])


def test_help_lists_every_group_and_imports_none() -> None:
    groups = [group.module for group in cli.GROUPS.values()]
    program = (
        "import sys; from edge.cli import root\n"
        "try: root.main(['--help'])\n"
        f"finally: assert not set({groups!r}) & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert all(f" {name} " in done.stdout for name in cli.GROUPS)


def test_installed_command_answers() -> None:
    command = Path(sys.executable).with_name("ringroad")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ringroad 0.")
