"""What every test stands on: repeatable examples and the arithmetic of a fresh process."""

import ctypes

import pytest
from hypothesis import settings

# The same examples on every machine, and no deadline: two cores are shared.
settings.register_profile("ringroad", deadline=None, derandomize=True, database=None)
settings.load_profile("ringroad")

_LIBM = ctypes.CDLL("libm.so.6")
_DEFAULT_ENVIRONMENT = ctypes.c_void_p(-1)
"""glibc's FE_DFL_ENV."""


@pytest.fixture(autouse=True)
def _arithmetic_of_a_fresh_process() -> None:
    """Undo flush-to-zero, which the first ONNX session of a process leaves switched on for good."""
    _LIBM.fesetenv(_DEFAULT_ENVIRONMENT)
