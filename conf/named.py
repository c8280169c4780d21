"""Find a file of settings by its group and name, ``conf/<group>/<name>.yaml``, or by its path.

The one loader of such files: devices, recipes, episodes, scenarios and whatever else is a name on a command
line. It reads YAML with msgspec and knows nothing of Hydra, so that a board can read its own settings.
"""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import TypeVar

from conf.records import settings_from
from conf.text import read_yaml
from edge.contracts.errors import OperatorError

T = TypeVar("T")


def load(group: str, name: str, schema: type[T], *, what: str = "") -> T:
    """Read a named file as a settings record.

    Args:
        group: A folder of ``conf``, for instance ``device`` or ``sim/scenario``.
        name: A file of it without ``.yaml``, or the path of any file.
        schema: What the file holds.
        what: How to call such a thing in an error message; the last word of ``group`` otherwise.

    Raises:
        OperatorError: There is no such file, or a key or value in it makes no sense.
    """
    path = path_of(group, name, what=what)
    return load_file(path, schema, origin=f"{what or _last(group)} {name}")


def load_file(path: Path, schema: type[T], *, origin: str = "") -> T:
    """Read a file as a settings record; it need not name a field that has a default.

    Raises:
        OperatorError: The file cannot be read, or a key or value in it makes no sense.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from error
    return settings_from(read_yaml(text, str(path)), schema, origin=origin or str(path))


def path_of(group: str, name: str, *, what: str = "", module: str = "conf") -> Path:
    """Give the file that a name means; a name with a slash or an ending is the path of a file.

    Args:
        group: A folder of the package.
        name: A file of it without ``.yaml``, or a path.
        what: How to call such a thing in the error message.
        module: The package that holds the groups.

    Raises:
        OperatorError: There is no such file.
    """
    known = names(group, module=module)
    if name in known:
        return _folder(group, module) / f"{name}.yaml"
    if is_path(name) and Path(name).is_file():
        return Path(name)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    what = what or _last(group)
    raise OperatorError(f"there is no {what} {name!r}; there are {', '.join(known)}{hint}")


def names(group: str, *, module: str = "conf") -> tuple[str, ...]:
    """List the files of a group, by name; a group that does not exist has none."""
    return tuple(sorted(path.stem for path in _folder(group, module).glob("*.yaml")))


def is_path(name: str) -> bool:
    """Return whether a word is the path of a file rather than a name."""
    return "/" in name or name.endswith((".yaml", ".yml"))


def _folder(group: str, module: str) -> Path:
    return Path(next(iter(importlib.import_module(module).__path__))) / group


def _last(group: str) -> str:
    return group.rpartition("/")[2]
