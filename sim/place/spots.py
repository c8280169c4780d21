"""Spots at which traffic can be put on a map, and where it can go from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.place.maps import LaneKind, RoadMap

SPOT_SPACING_M = 6.0
_END_MARGIN_M = 8.0


@dataclass(frozen=True, eq=False)
class Spots:
    """Points along all lanes of one kind, every ``SPOT_SPACING_M``. ``xy_world``: (N, 2)."""

    lane_ids: tuple[str, ...]
    offsets_m: tuple[float, ...]
    xy_world: NDArray[np.float64]

    def within(self, x_m: float, y_m: float, inner_m: float, outer_m: float) -> NDArray[np.intp]:
        """Return the indices of the spots in the ring about a point."""
        squared = ((self.xy_world - (x_m, y_m)) ** 2).sum(1)
        return np.flatnonzero((squared >= inner_m**2) & (squared <= outer_m**2))


def spots_of(road_map: RoadMap, kind: LaneKind) -> Spots:
    """List the spots of all lanes of one kind, away from the lanes' ends and not on dead ends."""
    found: list[tuple[str, float, float, float]] = []
    for lane in road_map.lanes:
        is_dead_end = kind is LaneKind.DRIVING and lane.edge_id not in road_map.through_edges
        if lane.kind is not kind or is_dead_end:
            continue
        stop_m = lane.line.length_m - _END_MARGIN_M
        for offset_m in np.arange(_END_MARGIN_M, stop_m, SPOT_SPACING_M).tolist():
            x, y, _ = lane.line.at(offset_m)
            found.append((lane.lane_id, offset_m, x, y))
    return Spots(
        lane_ids=tuple(lane_id for lane_id, _, _, _ in found),
        offsets_m=tuple(offset_m for _, offset_m, _, _ in found),
        xy_world=np.array([(x, y) for _, _, x, y in found]).reshape(-1, 2),
    )


def edges_after(road_map: RoadMap) -> dict[str, tuple[str, ...]]:
    """Return for each road the roads that a vehicle can drive on to."""
    after: dict[str, set[str]] = {}
    for link in road_map.links:
        edge_id = road_map.lane[link.from_lane].edge_id
        after.setdefault(edge_id, set()).add(road_map.lane[link.to_lane].edge_id)
    return {edge_id: tuple(sorted(edges)) for edge_id, edges in after.items()}


def pavements_at(road_map: RoadMap) -> dict[str, tuple[str, ...]]:
    """Return for each junction the roads whose pavements meet there."""
    at: dict[str, list[str]] = {}
    for lane in road_map.lanes:
        if lane.kind is LaneKind.PAVEMENT:
            for junction in road_map.ends_of_edge[lane.edge_id]:
                at.setdefault(junction, []).append(lane.edge_id)
    return {junction: tuple(sorted(edges)) for junction, edges in at.items()}
