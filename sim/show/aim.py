"""Find the instant of a drive at which there is something to see."""

from __future__ import annotations

import math

from edge.contracts.errors import OperatorError
from sim.world.snapshot import Snapshot
from sim.world.world import World

LONGEST_SEARCH_S = 300.0
"""Longest time to search for an encounter in a drive."""


def advance_to_encounter(
    world: World, number: int, *, near_m: float, longest_s: float = LONGEST_SEARCH_S
) -> Snapshot:
    """Drive, without looking, until an encounter of the trip is near.

    Args:
        world: Stands at its first frame after a visit.
        number: 1 for the first encounter that comes within the world's range, and so on.
        near_m: Distance from the ego's rear axle to the middle of the nearest thing of the encounter.
        longest_s: When to give up.

    Returns:
        The first snapshot in which that distance is ``near_m`` or less.

    Raises:
        OperatorError: No such encounter came near within ``longest_s``.
    """
    found: list[str] = []
    snapshot = world.now()
    for _ in range(round(longest_s * world.rate_hz)):
        distance_m = _distances_m(world, snapshot)
        found.extend(encounter_id for encounter_id in distance_m if encounter_id not in found)
        if len(found) >= number and distance_m.get(found[number - 1], math.inf) <= near_m:
            return snapshot
        snapshot = world.step()
    raise OperatorError(
        f"encounter {number} did not come within {near_m:g} m in {longest_s:g} s; {len(found)} came "
        "within range. Ask for another one, or start at another place or with another seed"
    )


def _distances_m(world: World, snapshot: Snapshot) -> dict[str, float]:
    """Return how near each encounter is, the order being that of the snapshot."""
    pose = snapshot.ego.world_from_ego
    nearest: dict[str, float] = {}
    for entity in snapshot.entities:
        encounter_id = world.encounter_of(entity.entity_id)
        if encounter_id is not None:
            distance_m = math.dist((entity.x_m, entity.y_m), (pose.x_m, pose.y_m))
            nearest[encounter_id] = min(distance_m, nearest.get(encounter_id, math.inf))
    return nearest
