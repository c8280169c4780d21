"""Read YAML as its second edition means it: ``1e-3`` is a number, ``no`` and ``12:30`` are text.

PyYAML by itself reads the first edition, where ``8e-4`` is text, ``no`` is false and ``1:30`` is 90. A
key that stands twice in one mapping is refused: which of the two was meant cannot be known.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from edge.contracts.errors import OperatorError

_SCALARS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)
"""Tag, pattern and first characters of every kind of scalar that is no text."""


class _Reader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return int(node.value)  # 010 is ten


_Reader.yaml_implicit_resolvers = {}
_Reader.add_constructor("tag:yaml.org,2002:int", _Reader.construct_yaml_int)
for _tag, _pattern, _first in _SCALARS:
    _Reader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))


def read_yaml(text: str | bytes, origin: str) -> Any:
    """Turn YAML into dicts, lists and scalars.

    Args:
        text: One document; none at all is None. Bytes are UTF-8.
        origin: Where it came from, for the error message.

    Raises:
        OperatorError: It is no YAML, or a key stands twice in one mapping.
    """
    try:
        return yaml.load(text, _Reader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OperatorError(f"{origin} is no YAML: {' '.join(str(error).split())}") from error
