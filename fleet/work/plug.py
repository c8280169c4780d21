"""Import a function that an operator names: a labeler, a runner of recipes, or a runner of episodes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from edge.contracts.errors import OperatorError


def plugged(name: str) -> Callable[..., Any]:
    """Import a labeler, or a runner of recipes or episodes, that is named ``module:attribute``.

    Raises:
        OperatorError: There is no such module or attribute.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise OperatorError(f"{name!r} is not module:attribute: {error}") from error
    return found
