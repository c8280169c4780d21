"""Turn the detections of a whole clip into tracks, from past and future instants alike.

Forwards, each instant's boxes are given to running tracks (Hungarian assignment on likelihood). Then ends are
joined to beginnings across gaps, judged by place *and* velocity on both sides; short tracks are dropped; the
others are smoothed over the whole clip and get one class, one size and a heading.

The choice to question: a box may join a track of another class at a price, because a network that has never
seen a deer calls it a pedestrian in one frame and a bicycle in the next. The class is voted at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleet.label.hindsight_tracks.boxes import (
    ClipBoxes,
    Detections,
    HindsightSettings,
    gather_boxes,
    measured_covariance,
    smoothed,
)
from fleet.label.hindsight_tracks.finish import HindsightTrack, finished
from fleet.label.hindsight_tracks.follow import follow
from fleet.label.hindsight_tracks.join import join

__all__ = [
    "Detections",
    "HindsightSettings",
    "HindsightTrack",
    "hindsight_tracks",
    "measured_covariance",
]


def hindsight_tracks(
    clip: Sequence[Detections], settings: HindsightSettings | None = None
) -> tuple[HindsightTrack, ...]:
    """Track a whole clip offline; tracks come in the order of their first box.

    Raises:
        OperatorError: Stamps that do not increase.
    """
    settings = settings or HindsightSettings()
    boxes = gather_boxes(clip)
    pieces = follow(boxes, settings)
    tracks = join(pieces, boxes, settings)
    tracks = [t for t in tracks if is_long_enough(t, boxes, settings)]
    states = smoothed(tracks, boxes, settings)
    return tuple(
        finished(k, np.array(rows), states.mean[k], states.covariance[k], boxes, settings)
        for k, rows in enumerate(tracks)
    )


def is_long_enough(rows: list[int], boxes: ClipBoxes, settings: HindsightSettings) -> bool:
    """Return whether a track has enough boxes over enough time to be kept."""
    length_s = boxes.times_s[boxes.frame[rows[-1]]] - boxes.times_s[boxes.frame[rows[0]]]
    return len(rows) >= settings.min_hits and bool(length_s >= settings.min_length_s)
