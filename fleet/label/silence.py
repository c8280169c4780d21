"""Find places without any sign of a road user: only there every class is known to be absent.

A teacher says nothing about a class that it has not learnt, but a thing on the road returns echoes sooner or
later, whatever its class. Where for a second neither an echo came nor the teacher found the faintest box of
any class, an empty place counts as empty for every class. Without this, clips full of a new thing hold no
background to tell it from. A radar that measures nothing anywhere may be faulty and proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.clip_file import Clip, ClipFrame
from edge.contracts.time import NS_PER_S
from fleet.label.settings import LabelSettings
from fleet.label.teacher import Opinion
from fleet.sample.row import Disc

_GRID_M = 1.0
"""Signs are rounded to this, because a hundred echoes of one lorry tell no more than ten."""
_RANGE_M = 34.0
"""Signs further ahead or aside than this lie beyond every label."""


def signs(
    clip: Clip, frames: Sequence[ClipFrame], opinions: Sequence[Opinion], settings: LabelSettings
) -> Mapping[int, tuple[Disc, ...]]:
    """List by stamp the places of signs, in the ego frame.

    A stamp round which the radar measured nothing at all is left out.

    Args:
        clip: As recorded; its radar counts at every recorded instant.
        frames: The labelled instants.
        opinions: What the teacher saw at each of them.
        settings: Time window of echoes, least score of a box, and radius of a sign.
    """
    echoes = [
        (
            frame.stamp_ns,
            _moved(frame.sensed.ego.world_from_ego.matrix, frame.sensed.radar_points[:, :2]),
        )
        for frame in clip.frames
    ]
    listen_ns = round(settings.listen_s * NS_PER_S)
    found = {}
    for frame, opinion in zip(frames, opinions, strict=True):
        heard = [xy for stamp_ns, xy in echoes if abs(stamp_ns - frame.stamp_ns) <= listen_ns]
        here = _moved(frame.sensed.ego.world_from_ego.inverse().matrix, np.concatenate(heard))
        if len(here) == 0:
            continue
        faint = [(b.x_m, b.y_m) for b in opinion.boxes if b.score >= settings.faint_score]
        places = np.concatenate([here, np.array(faint).reshape(-1, 2)])
        near = places[(np.abs(places) < _RANGE_M).all(axis=1)]
        cells = np.unique(np.round(near / _GRID_M), axis=0) * _GRID_M
        found[frame.stamp_ns] = tuple(
            Disc(float(x), float(y), settings.sign_radius_m) for x, y in cells
        )
    return found


def _moved(matrix: NDArray[np.float64], xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bring points (N, 2) on the ground into another frame by its (4, 4) matrix."""
    return xy @ matrix[:2, :2].T + matrix[:2, 3]
