from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from conf.records import joined


@pytest.fixture
def words_of() -> Callable[[Any], list[str]]:
    """Write a record of defaults as the words of a command line that make it."""
    return lambda settings: list(flat(settings, inspect.type_info(type(settings)), at=""))


def flat(value: Any, kind: inspect.Type, *, at: str) -> Iterator[str]:
    """Write a record key by key; a mapping, and a list, is one word, and a text is written as it is."""
    if isinstance(kind, inspect.DataclassType | inspect.StructType):
        for field in kind.fields:
            inner = getattr(value, field.name)
            yield from flat(inner, field.type, at=joined(at, field.encode_name))
        return
    plain = msgspec.to_builtins(value, str_keys=True)
    yield f"{at}={plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()}"
