"""What an operator names as module:attribute is imported, or refused in one sentence."""

import pytest

from edge.contracts.errors import OperatorError
from fleet.work.plug import plugged


def test_a_named_attribute_is_imported() -> None:
    assert plugged("json:dumps")([1]) == "[1]"


@pytest.mark.parametrize("name", ["no_such_module:x", "json:no_such_name", "json", "", ":x"])
def test_a_name_that_means_nothing_is_refused_by_that_name(name: str) -> None:
    with pytest.raises(OperatorError, match=f"'{name}' is not module:attribute"):
        plugged(name)
