"""Settings that the command line must refuse before anything begins."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Ringroad = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("lap", "vehicels=4"),
            "configuration lap refused: no key vehicels; did you mean vehicles?",
        ),
        (
            ("fleet", "serve", "gateway.bnid=tcp://127.0.0.1:0"),
            "configuration fleet refused: no key gateway.bnid; did you mean bind?",
        ),
    ],
    ids=["lap", "service"],
)
def test_a_misspelt_configuration_key_is_refused_before_anything_begins(
    tmp_path: Path, words: tuple[str, ...], complaint: str, ringroad: Ringroad
) -> None:
    done = ringroad(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ringroad: {complaint}\n"
    assert not list(tmp_path.iterdir())
