"""Keep the best clips of one stream: at most so many, at most so many bytes.

A quota keeps the clips of highest worth and not the first ones, and a clip that was let go does not come
back. The result therefore does not depend on the order in which clips came.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

Rank = tuple[float, str]
"""(-worth, clip_id): the smaller is kept. Control clips all have worth 0, so their hash decides."""


@dataclass
class Quota:
    """Keeps the best clips of one stream: at most so many, at most so many bytes.

    It holds the longest run of best clips offered so far that fits both limits. ``floor`` is the best clip
    that it ever let go: no worse clip comes back, whatever room there is later.
    """

    max_clips: int
    max_bytes: int
    held: list[tuple[Rank, int]] = field(default_factory=list)
    floor: Rank | None = None

    def is_open_to(self, rank: Rank) -> bool:
        """Return whether a clip might be kept, before the work of sealing it."""
        if self.floor is not None and rank > self.floor:
            return False
        return len(self.held) < self.max_clips or bool(self.held and rank < self.held[-1][0])

    def offer(self, rank: Rank, size_bytes: int) -> list[str]:
        """Take a clip in; give the clips that are let go for it, perhaps itself."""
        if not self.is_open_to(rank):
            return [rank[1]]
        bisect.insort(self.held, (rank, size_bytes))
        gone = []
        while len(self.held) > self.max_clips or self._held_bytes() > self.max_bytes:
            self.floor, _size = self.held.pop()
            gone.append(self.floor[1])
        return gone

    def _held_bytes(self) -> int:
        return sum(size_bytes for _rank, size_bytes in self.held)
