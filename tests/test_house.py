"""Rules of the house that no linter knows: what a board may import, what ships, what the README says."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edge.cli import root as cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("edge", "fleet", "models", "sim", "conf")

OFF_BOARD = (
    "torch",
    "boto3",
    "botocore",
    "libsumo",
    "sumolib",
    "traci",
    "panda3d",
    "direct",
    "hydra",
    "omegaconf",
)
"""What no vehicle has, beside our own packages that it does not carry."""

FLEET_WITH_TORCH = (
    "fleet.label",
    "fleet.train",
    "fleet.evaluate",
    "fleet.bundle.assemble",
    "fleet.dataset.order",
    "fleet.depot",
    "fleet.model",
    "models",
)
"""Stages, which an operator's command or a child process runs; the service itself never imports torch."""


def modules(package: str) -> list[str]:
    """Dotted names of every source file of a package."""
    files = sorted((ROOT / package).rglob("*.py"))
    dotted = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in dotted]


def import_without(names: Iterable[str], banned: Iterable[str]) -> str:
    """Import modules in a process that has none of the banned ones; list what fails."""
    program = f"""
import importlib, sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(banned)!r}:
            raise ModuleNotFoundError(f"no {{name}} here", name=name)
sys.meta_path.insert(0, Ban())
for name in {list(names)!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, "fails:", error)
"""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_every_edge_module_imports_on_a_bare_board() -> None:
    assert import_without(modules("edge"), (*OFF_BOARD, "fleet", "models", "sim")) == ""


def test_fleet_service_never_imports_torch() -> None:
    others = (*FLEET_WITH_TORCH, "fleet.catalog.migrations.")  # scripts that Alembic alone runs
    lean = [name for name in modules("fleet") if not name.startswith(others)]
    assert import_without(lean, ("torch", "sim", "libsumo", "panda3d")) == ""


def imported(folder: str) -> set[str]:
    """Top-level names that a folder's source files import, the standard library left out."""
    found = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


def requirements(*extras: str) -> list[Requirement]:
    """The requirements of the core and of some extras."""
    optional = PROJECT["project"]["optional-dependencies"]
    lines = [
        *PROJECT["project"]["dependencies"],
        *(ln for extra in extras for ln in optional[extra]),
    ]
    return [Requirement(line) for line in lines]


def declared(*extras: str) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements(*extras)}


MAY_BE_ABSENT = {"tflite_runtime", "ai_edge_quantizer", "litert_torch", "sumo"}
"""Alternatives and exporters that a plain installation lacks."""

NEVER_IMPORTED_BY_NAME = {"onnxscript"}
"""torch.onnx imports it."""

ANY_WILL_DO = {"cv2": "opencv-python-headless"}
"""Modules that several distributions hold, and the one that pyproject.toml asks for."""


def distributions(folder: str) -> set[str]:
    """The distributions that a folder's imports come from."""
    provided = packages_distributions() | {name: [one] for name, one in ANY_WILL_DO.items()}
    foreign = imported(folder) - set(PACKAGES) - MAY_BE_ABSENT
    return {canonicalize_name(provided.get(name, [name])[0]) for name in foreign}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("edge", ("edge",)),
        ("conf", ("fleet",)),
        ("models", ("fleet",)),
        ("fleet", ("fleet",)),
        ("sim", ("edge", "fleet", "sim")),
        ("tests", ("edge", "fleet", "sim", "dev")),
    ],
)
def test_every_import_is_declared_where_it_is_needed(folder: str, extras: tuple[str, ...]) -> None:
    assert distributions(folder) - declared(*extras) == set()


@pytest.mark.parametrize("wheels", [("opencv-python",), ("opencv-contrib-python-headless",), ()])
def test_any_opencv_is_what_the_code_asks_for(
    opencv: Callable[..., None], wheels: tuple[str, ...]
) -> None:
    opencv(*wheels)
    assert distributions("edge") - declared("tflite") == {"opencv-python-headless"}


def test_opencv_comes_with_a_vehicle_and_with_nothing_else() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    brought = {"": declared()} | {extra: declared(extra) - declared() for extra in extras}
    brought = {e: {n for n in names if n.startswith("opencv")} for e, names in brought.items()}
    assert {e: n for e, n in brought.items() if n} == {"edge": {"opencv-python-headless"}}
    assert declared("edge") - declared("tflite") == {"opencv-python-headless"}
    locked = re.findall(r"^opencv[\w-]*", (ROOT / "requirements.lock").read_text(), re.M)
    assert locked == ["opencv-python-headless"]


WINDOWS = re.compile(
    r"WINDOW_|imshow|(wait|poll)Key|named[wW]indow|destroy|startWindow|(resize|move)Window|[gs]etWindow"
    r"|MouseCallback|[tT]rackbar|selectROI|display(Overlay|StatusBar)|createButton|addText|fontQt"
)
"""What the wheel without windows refuses when it is called."""


def test_no_code_needs_the_windows_of_opencv() -> None:
    used = {
        f"{file}: {node.attr}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "cv2"
    }
    assert len(used) > 20
    assert {name for name in used if WINDOWS.search(name.split(": ")[1])} == set()


def test_every_declared_dependency_is_imported() -> None:
    used = {name for folder in PACKAGES for name in distributions(folder)}
    asked = declared("edge", "fleet", "sim")
    assert asked - used - NEVER_IMPORTED_BY_NAME == set()


def test_contracts_need_numpy_and_msgspec_alone() -> None:
    assert imported("edge/contracts") - {"edge"} == {"numpy", "msgspec"}


def tracked(*under: str) -> list[Path]:
    """Files that git tracks, as paths relative to the root."""
    command = ["git", "ls-files", "-z", "--", *under]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listing.split("\0") if name and (ROOT / name).is_file()]


def test_wheel_holds_exactly_the_five_packages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for file in tracked():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], capture_output=True, check=True)
    (wheel,) = tmp_path.glob("ringroad-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == {str(file) for file in tracked(*PACKAGES)}


def test_package_that_claims_types_ships_them() -> None:
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    marked = {str(file.parent) for file in tracked(*PACKAGES) if file.name == "py.typed"}
    assert marked == set(PACKAGES)
    data = PROJECT["tool"]["setuptools"]["package-data"]
    assert all("py.typed" in data[package] for package in PACKAGES)


def test_licence_is_an_spdx_expression_and_its_text_ships() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


def test_lock_pins_every_dependency_by_hash_except_torch() -> None:
    lines = (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    entries = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert all("--hash=sha256:" in entry for entry in entries)
    pinned = {re.split(r"[ ;=]", entry)[0]: entry.split("==")[1].split()[0] for entry in entries}
    assert "torch" not in pinned
    for requirement in requirements("edge", "fleet", "sim", "dev"):
        name = canonicalize_name(requirement.name)
        assert name == "torch" or requirement.specifier.contains(pinned[name]), name


OUTSIDE = re.compile(
    r"pypi[.]org|pythonhosted[.]org|download[.]pytorch|anaconda[.]org|index-url htt[p]|find-links [/]"
    r"|(?<![\w.])/(work|root|opt|tm[p])/|/home/[a-z]"
)
"""Registry hosts, and paths of somebody's machine."""

BINARY = {".gz", ".onnx", ".tflite", ".png", ".npz", ".safetensors"}


def test_no_tracked_file_names_a_registry_or_a_path_of_some_machine() -> None:
    texts = {
        file: (ROOT / file).read_bytes().decode(errors="ignore")
        for file in tracked()
        if file.suffix not in BINARY
    }
    found = {str(file): OUTSIDE.search(text) for file, text in texts.items()}
    assert {file: match.group() for file, match in found.items() if match} == {}


def readme_commands() -> list[str]:
    """Command lines of the README's console blocks, prompts and comments taken off."""
    blocks = re.findall(r"```(?:console|bash|sh)\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [
        line.removeprefix("$ ").partition(" #")[0].strip() for b in blocks for line in b.split("\n")
    ]
    return [line for line in lines if line.startswith(("ringroad ", "make "))]


def command_of(words: list[str]) -> Any:
    """Follow words from group to verb as far as they are commands."""
    command = cli.load_group(words[0])
    for word in words[1:]:
        verbs = getattr(command, "commands", None)
        if not verbs or word.startswith("-"):
            break
        assert word in verbs, f"no such command: ringroad {' '.join(words)}"
        command = verbs[word]
    return command


def every_verb(command: Any, name: str) -> list[tuple[str, Any]]:
    verbs = getattr(command, "commands", {})
    return [(name, command), *(p for v, c in verbs.items() for p in every_verb(c, f"{name} {v}"))]


DOCUMENTS = sorted(str(file) for file in tracked() if file.suffix == ".md")


def anchors(text: str) -> set[str]:
    """Fragments that the headings of a document make, as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_of_a_document_leads_somewhere(document: str) -> None:
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / document).read_text()):
        file, _, fragment = link.partition("#")
        target = (ROOT / document).parent / file if file else ROOT / document
        if link.startswith("https://"):
            continue
        if not target.exists() or (fragment and fragment not in anchors(target.read_text())):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_every_package_has_a_short_readme_that_the_main_one_links_to(package: str) -> None:
    readme = ROOT / package / "README.md"
    assert f"]({package}/README.md)" in (ROOT / "README.md").read_text()
    assert len(readme.read_text().splitlines()) <= 75
    assert "## Decisions" in readme.read_text()


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_the_map_of_a_package_names_every_folder_and_none_that_went(package: str) -> None:
    block = (ROOT / package / "README.md").read_text().split("```")[1]
    named = {line.split("/ ")[0] for line in block.splitlines() if re.match(r"\w+/ ", line)}
    folders = {file.parts[1] for file in tracked(package) if len(file.parts) > 2}
    allowed = {"zoo", "data"} if package in ("models", "tests") else set()
    if package != "conf":  # a folder of conf is a group of settings, which its table of roots lists
        assert named - allowed == folders - allowed


def hunks() -> list[tuple[str, str, str]]:
    """File, old lines and new lines of every difference that CONTRIBUTING.md shows."""
    found = []
    for block in re.findall(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S):
        for part in re.split(r"^--- a/.*\n", block, flags=re.M)[1:]:
            head, *bodies = re.split(r"^@@\n", part, flags=re.M)
            for body in bodies:
                lines = body.splitlines(keepends=True)
                old, new = ("".join(ln[1:] for ln in lines if ln[0] in s) for s in (" -", " +"))
                found.append((head.removeprefix("+++ b/").strip(), old, new))
    return found


@pytest.mark.parametrize("file", sorted({file for file, _, _ in hunks()}))
def test_differences_that_contributing_shows_fit_the_code(file: str) -> None:
    text = (ROOT / file).read_text()
    for _, old, new in (hunk for hunk in hunks() if hunk[0] == file):
        assert (old in text) if old else new, old
        text = text.replace(old, new, 1) if old else text
    if file.endswith(".py"):
        ast.parse(text)


@pytest.mark.parametrize("name", cli.GROUPS)
def test_every_command_stands_in_a_document(name: str) -> None:
    text = "".join((ROOT / document).read_text() for document in DOCUMENTS)
    verbs = [
        verb
        for verb, command in every_verb(cli.load_group(name), name)
        if not hasattr(command, "commands")
    ]
    assert [verb for verb in verbs if f"ringroad {verb}" not in text] == []


def test_readme_shows_commands() -> None:
    assert {"make lap", "make test"} <= set(readme_commands())


@pytest.mark.parametrize("line", [ln for ln in readme_commands() if ln.startswith("ringroad ")])
def test_command_in_the_readme_exists_and_has_help(line: str) -> None:
    words = line.split()[1:]
    if not words[0].startswith("-"):
        assert command_of(words).help


@pytest.mark.parametrize("line", [ln for ln in readme_commands() if ln.startswith("make ")])
def test_make_target_in_the_readme_exists(line: str) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert line.split()[1] in targets


@pytest.mark.parametrize("name", cli.GROUPS)
def test_every_verb_of_a_group_has_help(name: str) -> None:
    assert [
        verb for verb, command in every_verb(cli.load_group(name), name) if not command.help
    ] == []


TREES = {
    file: ast.parse((ROOT / file).read_text())
    for file in tracked(*PACKAGES)
    if file.suffix == ".py" and "migrations/versions" not in str(file)
}
"""Every source file of the product, parsed; migrations are scripts that Alembic alone runs."""

Definition = ast.ClassDef | ast.FunctionDef


def is_command(file: Path, node: Definition) -> bool:
    """Whether a function is a verb of the command line; it may be named like what it calls."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    groups = {(group.module, group.attribute) for group in cli.GROUPS.values()}
    module = ".".join(file.with_suffix("").parts)
    return any(".command(" in d or ".callback(" in d for d in decorators) or (
        (module, node.name) in groups
    )


def meanings(file: Path) -> Iterable[tuple[str, str]]:
    """Public names that a file defines at its top, each with what tells one meaning from another.

    An alias or a constant means what it is set to; a class or a function means itself.
    """
    for node in TREES[file].body:
        if isinstance(node, Definition):
            if node.name != "main" and not is_command(file, node):
                yield node.name, str(file)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            said = ast.unparse(node.value)
            yield from ((t.id, said) for t in targets if isinstance(t, ast.Name))


SEVERAL_MEANINGS = {
    "T": "a type variable, bound where it is used",
    "app": "the commands of one noun",
    "Floats": "float arrays of the precision that the file computes in",
}
"""Names that mean what the file they stand in says, and why."""


def test_no_public_name_has_two_meanings() -> None:
    found: dict[str, set[str]] = {}
    for file in TREES:
        for name, meaning in meanings(file):
            found.setdefault(name, set()).add(meaning)
    twice = {n for n, m in found.items() if len(m) > 1 and not n.startswith("_")}
    assert twice - set(SEVERAL_MEANINGS) == set()


def test_no_source_file_is_longer_than_450_lines() -> None:
    lines = {str(file): (ROOT / file).read_text().count("\n") for file in TREES}
    assert {file: n for file, n in lines.items() if n > 450} == {}


def room(parts: tuple[str, ...]) -> str:
    """The part of a package that a dotted name lies in: a folder or a module at the package's top."""
    return ".".join(parts[:2])


def arrows(package: str) -> dict[str, set[str]]:
    """Which rooms of a package import which others of it; the package's own file is no room."""
    found: dict[str, set[str]] = {}
    for file, tree in TREES.items():
        parts = file.with_suffix("").parts
        if parts[0] != package or parts[1] in {"__init__", "__main__"}:
            continue
        known = found.setdefault(room(parts), set())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                known.update(room(tuple(alias.name.split("."))) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == package:
                known.update(f"{package}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                known.add(room(tuple(node.module.split("."))))
    return {own: (others & set(found)) - {own} for own, others in found.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_of_imports_between_the_rooms_of_a_package(package: str) -> None:
    assert tuple(TopologicalSorter(arrows(package)).static_order())


def test_sim_has_at_most_fourteen_rooms_on_six_floors() -> None:
    below = arrows("sim")
    floors: dict[str, int] = {}
    for name in TopologicalSorter(below).static_order():
        floors[name] = 1 + max((floors[other] for other in below[name]), default=0)
    assert len(below) <= 14
    assert max(floors.values()) <= 6, floors


def body_lines(function: ast.FunctionDef) -> int:
    """Lines of a function's body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_function_bodies_are_short() -> None:
    functions = [n for t in TREES.values() for n in ast.walk(t) if isinstance(n, ast.FunctionDef)]
    lengths = sorted(body_lines(function) for function in functions)
    assert lengths[len(lengths) // 2] <= 5
    assert lengths[len(lengths) * 9 // 10] <= 17
