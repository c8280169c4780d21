"""Make text of a peer safe to print: a terminal or a log must not obey control characters in it."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Write out every character that does not print as itself, as Python does: ``\x1b``, ``\u202e``.

    That holds for control characters (C0 and C1, so line breaks and escape sequences), for marks that
    turn the direction of writing or have no width, and for lone surrogates, which no stream can encode.
    """
    if text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
