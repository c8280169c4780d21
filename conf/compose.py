"""Compose a run's settings from YAML and the command line, checked against the plain dataclass.

Hydra chooses and merges the files of ``conf``. What they hold, and every ``key=value`` of the command line,
is judged by the dataclass beside the code: a default that no YAML file repeats can be set by hand, and a
misspelt key is refused wherever it came from. The value of a word never reaches Hydra: it is set on the
finished record (``with_words``), as is what the command line's own options say (``with_options``).

Call it once, in a main; what comes out is a typed record and no Hydra type passes below. Hydra's state
is process-wide: never call it from a thread of a service.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TypeVar

from conf.named import is_path, load_file, names, path_of
from conf.records import settings_from, with_options, write_resolved
from conf.words import is_text, with_words
from edge.contracts.errors import OperatorError

__all__ = ["compose", "settings_from", "with_options", "with_words", "write_resolved"]

T = TypeVar("T")


def compose(
    config_name: str, overrides: Sequence[str], schema: type[T], *, config_module: str = "conf"
) -> T:
    """Build the settings of a run.

    Args:
        config_name: A file at the root of ``conf``, without ``.yaml``.
        overrides: As on the command line: ``store=s3`` chooses a file of a group, ``store=my.yaml`` a
            file of one's own, ``seed=3`` sets a value. The last one wins.
        schema: The dataclass that the result is.
        config_module: The package that holds the YAML files.

    Raises:
        OperatorError: A file, a key or a value makes no sense; one line names it and the nearest
            valid one.
    """
    origin = f"configuration {config_name}"
    choices = [word for word in overrides if _is_choice(word, schema, config_module)]
    words = [word.removeprefix("++") for word in overrides if word not in choices]
    files = _own_files(choices, config_module)
    named = [word for word in choices if word[0] == "~" or not is_path(_name_of(word))]
    values = deepcopy(_merged(config_name, tuple(named), config_module))
    for package, path in files.items():
        _put(values, package, load_file(path, dict[str, object]))
    settings = settings_from(values, schema, origin=origin)
    return with_words(settings, words, schema=schema, origin=origin)


def _is_choice(word: str, schema: type, config_module: str) -> bool:
    """Return whether a word chooses a file of a group, or takes something out of the defaults.

    A text field may be called like a group: its value is then a name that the code looks up. A mapping
    sets keys and is no file.
    """
    if word.startswith("~"):
        return True
    key, equals, value = word.lstrip("+").partition("=")
    if not (equals and key) or is_text(schema, key.split(".")) or value.startswith("{"):
        return False
    return "@" in key or bool(names(key, module=config_module))


def _own_files(choices: Sequence[str], config_module: str) -> dict[str, Path]:
    """Look every choice up; list the last file of one's own for each place that has one."""
    files: dict[str, Path] = {}
    for word in choices:
        if word[0] == "~":
            continue
        group, _, package = word.lstrip("+").partition("=")[0].partition("@")
        path = path_of(group, _name_of(word), module=config_module)
        files.pop(package or group, None)
        if is_path(_name_of(word)):
            files[package or group] = path
    return files


def _name_of(choice: str) -> str:
    return choice.partition("=")[2]


def _put(values: dict[str, object], package: str, content: object) -> None:
    """Replace what stands at a dotted or slashed key."""
    *parents, leaf = package.replace("/", ".").split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        assert isinstance(inner, dict)
        values = inner
    values[leaf] = content


@cache
def _merged(config_name: str, choices: tuple[str, ...], config_module: str) -> dict[str, object]:
    """Let Hydra merge the files of a root and of the chosen groups, which a process reads once."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    origin = f"configuration {config_name}"
    try:
        with initialize_config_module(config_module, version_base="1.3"):
            config = hydra_compose(config_name, list(choices))
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        words = str(error).split("Config search path")[0].split()
        raise OperatorError(f"{origin} refused: {' '.join(words)}") from error
    return settings_from(values, dict[str, object], origin=origin)
