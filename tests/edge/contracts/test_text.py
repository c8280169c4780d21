import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a cyclist, 4.9 m – Zürich 雨", "a cyclist, 4.9 m – Zürich 雨"),
        ("ok\x1b[2J\x07", r"ok\x1b[2J\x07"),
        ("bad\r\nWARNING clip_received", r"bad\r\nWARNING clip_received"),
        ("\x9b31m and \x7f", r"\x9b31m and \x7f"),
        ("gpj.\u202efdp\u200b\u2066", r"gpj.\u202efdp\u200b\u2066"),
        ("a\u2028b\u0085c", r"a\u2028b\x85c"),
        ("\ud800 alone", r"\ud800 alone"),
        ("[red]markup[/red]", "[red]markup[/red]"),
    ],
)
def test_a_text_is_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_no_control_character_leaves(text: str) -> None:
    shown = printable(text)
    kinds = {unicodedata.category(character) for character in shown}
    assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    shown.encode()
    assert printable(shown) == shown
