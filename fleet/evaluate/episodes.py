"""Closed loop as a veto: episodes are driven behind a protocol, and one rule reads the results.

The fleet owns the protocol, a simulator implements it, and the program that starts both joins them, so that
the gate needs no import of a world. The rule: a candidate that collides more often than the incumbent in the
same episode is refused, whatever its detection scores are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from edge.contracts.errors import OperatorError
from edge.contracts.fields import Count, Finite, Metres, Name, Seconds, Text


class EpisodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated run, fully determined: the same spec and bundle give the same result."""

    episode_id: Name
    """Name of the episode."""
    scenario: Text
    """A file of ``conf/sim/scenario``, or the path of one."""
    map_name: Text
    """Name of a shipped map, or path of one's own."""
    place_id: Name
    """Where the drive starts."""
    seed: Count
    """What everything random in the episode derives from."""
    duration_s: Seconds
    """How long is driven."""


class EpisodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one run."""

    episode_id: Name
    collisions: Count
    """Contacts of the ego with anything, one per thing and contact."""
    min_ttc_s: Seconds
    """Smallest time to collision in the run; ``TTC_FREE_S`` when nothing was ever in the way."""
    progress_m: Metres
    """Distance driven along the route."""
    hard_brakes: Count = 0
    minimum_risk_s: Seconds = 0.0
    """Time under the minimum-risk manoeuvre."""
    off_road_s: Seconds = 0.0
    """Time with some of the body beside the road."""
    max_deceleration_mps2: Finite = 0.0


class EpisodeRunner(Protocol):
    """Drives a bundle through episodes."""

    def run(self, episodes: Sequence[EpisodeSpec], bundle_dir: Path) -> Sequence[EpisodeResult]:
        """Drive the bundle in ``bundle_dir`` through each episode and report, in their order."""
        ...


class EpisodeTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of one model over all episodes."""

    collisions: int
    min_ttc_s: float
    progress_m: float
    hard_brakes: int
    minimum_risk_s: float = 0.0
    off_road_s: float = 0.0


class EpisodeComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Candidate and incumbent over the same episodes."""

    episodes: int
    new_collisions: tuple[str, ...]
    """Episodes in which the candidate collided more often than the incumbent, by id."""
    candidate: EpisodeTotals | None
    """None when there was no episode."""
    incumbent: EpisodeTotals | None


def run_episodes(
    runner: EpisodeRunner, episodes: Sequence[EpisodeSpec], bundle_dir: Path
) -> tuple[EpisodeResult, ...]:
    """Drive one bundle through every episode.

    Raises:
        OperatorError: The runner answered for other episodes than it was asked.
    """
    asked = [episode.episode_id for episode in episodes]
    results = tuple(runner.run(episodes, bundle_dir))
    answered = [result.episode_id for result in results]
    if answered != asked:
        raise OperatorError(
            f"episode runner mixed up its answers: expected {', '.join(asked)}, "
            f"got {', '.join(answered) or 'nothing'}; nothing is compared"
        )
    return results


def compare_episodes(
    candidate: Sequence[EpisodeResult], incumbent: Sequence[EpisodeResult]
) -> EpisodeComparison:
    """Find the episodes in which the candidate has a collision that the incumbent did not have.

    Raises:
        OperatorError: They did not drive the same episodes, or one twice.
    """
    before = {r.episode_id: r for r in incumbent}
    after = {r.episode_id: r for r in candidate}
    if (
        before.keys() != after.keys()
        or len(before) != len(incumbent)
        or len(after) != len(candidate)
    ):
        lacking = sorted(before.keys() ^ after.keys())
        raise OperatorError(
            f"episodes cannot be compared: expected the same ones once each, got {len(candidate)} "
            f"of the candidate and {len(incumbent)} of the incumbent, unpaired: {lacking}"
        )
    return EpisodeComparison(
        episodes=len(after),
        new_collisions=tuple(
            sorted(i for i in after if after[i].collisions > before[i].collisions)
        ),
        candidate=_totals(candidate),
        incumbent=_totals(incumbent),
    )


def _totals(results: Sequence[EpisodeResult]) -> EpisodeTotals | None:
    if not results:
        return None
    return EpisodeTotals(
        collisions=sum(r.collisions for r in results),
        min_ttc_s=min(r.min_ttc_s for r in results),
        progress_m=sum(r.progress_m for r in results),
        hard_brakes=sum(r.hard_brakes for r in results),
        minimum_risk_s=math.fsum(r.minimum_risk_s for r in results),
        off_road_s=math.fsum(r.off_road_s for r in results),
    )
