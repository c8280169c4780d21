"""Renew the short-lived metadata of both update repositories, a few vehicles at a time.

Vehicles refuse a timestamp that is older than a day, also when they are to go back to the incumbent. Its keys
are on line for this: a round checks every file for half of its life and signs those afresh. A failure is
logged and tried again soon, with half of that life left; where the private keys are not, nothing is written.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from tuf.api.exceptions import RepositoryError

from edge.contracts.errors import RingroadError
from edge.contracts.time import NS_PER_S
from fleet.repository import DirectorRepository, Expiry, ImageRepository

_log = logging.getLogger(__name__)

_ROUND_S = 600.0
_RETRY_S = 60.0
_AT_ONCE = 16
"""Repositories looked at per step: about a tenth of a second in which vehicles wait."""

_FAULTS = (RingroadError, RepositoryError, OSError, ValueError, KeyError, TypeError)
"""A missing key, another process at work, a full disk; a damaged file or an encrypted key."""

Chore = Callable[[int], bool]
"""Renew one repository if it is due at this time (ns, UTC), and tell whether it was."""


class Renewal:
    """The chore of one service; every failure is logged and none is raised."""

    def __init__(self, image: ImageRepository, director: DirectorRepository) -> None:
        self._image, self._director = image, director
        self._left: deque[tuple[str, Chore]] = deque()
        self._failures: list[str] = []
        self._next_ns: int | None = None

    def step(self, now_ns: int) -> None:
        """Go on with a round, or begin one when it is time.

        Args:
            now_ns: UTC.
        """
        if not self._left and self._is_time(now_ns):
            self._left.extend(_chores(self._image, self._director, waits=False))
            self._failures = []
        pieces = [self._left.popleft() for _ in range(min(_AT_ONCE, len(self._left)))]
        renewed, failures = _done(pieces, now_ns)
        self._failures += failures
        if renewed:
            _log.info("metadata_renewed", extra={"repositories": ", ".join(renewed)})
        if pieces and not self._left:
            self._end(now_ns)

    def _is_time(self, now_ns: int) -> bool:
        """Return whether the next round is due; at once, also, when the clock was set back."""
        if self._next_ns is None:
            return True
        return not now_ns < self._next_ns <= now_ns + _ROUND_S * NS_PER_S

    def _end(self, now_ns: int) -> None:
        wait_s = _RETRY_S if self._failures else _ROUND_S
        self._next_ns = now_ns + round(wait_s * NS_PER_S)
        if self._failures:
            fields = {"count": len(self._failures), "first": self._failures[0]}
            _log.warning("metadata_not_renewed", extra=fields)


def renew_all(
    image: ImageRepository, director: DirectorRepository, now_ns: int
) -> tuple[list[str], list[str]]:
    """Renew everything that is due, waiting for other processes.

    Returns:
        Whose metadata was renewed; and whose could not be, each with the reason.
    """
    return _done(_chores(image, director, waits=True), now_ns)


def _chores(
    image: ImageRepository, director: DirectorRepository, *, waits: bool
) -> list[tuple[str, Chore]]:
    vehicles = director.vehicles()
    return [
        ("image", lambda now_ns: image.renew(now_ns, waits=waits)),
        *((v, partial(director.renew_vehicle, v, waits=waits)) for v in vehicles),
    ]


def _done(chores: Iterable[tuple[str, Chore]], now_ns: int) -> tuple[list[str], list[str]]:
    renewed: list[str] = []
    failures: list[str] = []
    for name, renew in chores:
        try:
            if renew(now_ns):
                renewed.append(name)
        except _FAULTS as error:
            failures.append(f"{name}: {error}")
    return renewed, failures


def expiries_of(
    image: ImageRepository, director: DirectorRepository
) -> tuple[list[Expiry], list[str]]:
    """Read when every metadata file expires, and name what cannot be read."""
    readers = [("image", image.expiries)]
    readers += [(f"director/{v}", partial(director.expiries, v)) for v in director.vehicles()]
    found: list[Expiry] = []
    damaged: list[str] = []
    for name, read in readers:
        try:
            found.extend(read())
        except _FAULTS as error:
            damaged.append(f"metadata of {name} cannot be read: {error}")
    return found, damaged
