"""The two update repositories of the Uptane Standard, written as files that any web server can serve.

A vehicle installs only what the Image repository (two people) and the Director (on line) agree on, so
neither alone can make it run anything. The layout of the tree is in ``edge.contracts.release``.
"""

from fleet.repository.director import DIRECTOR_KEYS, DirectorRepository
from fleet.repository.expiry import Expiry, utc_text, warnings_of
from fleet.repository.image import IMAGE_KEYS, ImageRepository
from fleet.repository.metadata import Lifetimes
from fleet.repository.signing import KeyRing

__all__ = [
    "DirectorRepository",
    "Expiry",
    "ImageRepository",
    "KeyRing",
    "Lifetimes",
    "create_keys",
    "utc_text",
    "warnings_of",
]


def create_keys(keys: KeyRing) -> None:
    """Make every key of both repositories that is not there yet."""
    for table in (IMAGE_KEYS, DIRECTOR_KEYS):
        for names, _ in table.values():
            keys.create(*names)
