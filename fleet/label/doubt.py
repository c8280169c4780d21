"""Find what is uncertain in a clip, and how much an answer about it would teach.

Two kinds: a weak track of the teacher, and a thing that the vehicle's radar followed and that no track of the
teacher, sure or weak, explains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.clip_file import Clip, ClipFrame
from edge.contracts.scene import Box3D, RadarTrack
from fleet.label.hindsight_tracks import HindsightTrack
from fleet.label.outline import is_on
from fleet.label.settings import LabelSettings
from fleet.label.teacher import Opinion
from fleet.labeler import ReviewQuestion, Sighting
from fleet.sample.row import Disc

LOW_CONFIDENCE = "low_confidence"
RADAR_WITHOUT_BOX = "radar_without_box"
_HINT_M = 3.0
"""A box of the teacher this near to a radar track suggests what it is."""
_LONG_TRACK = 8
"""A weak track of fewer instants than this has less value: most such are false, or several things."""
_BY_DEFINITION = 3.0
"""Value of a radar track without a box over that of a weak track: its class may be one that the teacher has
not learnt."""
_GRID_RANGE_M = 32.0
"""The teacher's segmentation covers so much on every side of the ego."""


@dataclass(frozen=True, eq=False)
class Doubt:
    """An uncertain object: where it stands at each instant, and what to ask."""

    question: ReviewQuestion
    discs: Mapping[int, Disc]


def weak_track(
    track: HindsightTrack,
    boxes: Sequence[tuple[int, Box3D]],
    clip: Clip,
    frames: Sequence[ClipFrame],
    opinions: Sequence[Opinion],
    settings: LabelSettings,
) -> Doubt:
    """Turn a weak track of the teacher into a question.

    Most valuable is a track that returns a radar echo, so that something is there, and that is called a
    pedestrian in one frame and a bicycle in the next, so that the teacher does not know its class.

    Args:
        track: By hindsight.
        boxes: Its boxes in the ego frame, each with the number of its frame.
        clip: The clip of both.
        frames: The labelled instants.
        opinions: What the teacher saw at each of them.
        settings: Thresholds.
    """
    measured = set(track.frame[track.is_measured].tolist())
    places = {
        frames[frame].stamp_ns: (box.x_m, box.y_m) for frame, box in boxes if frame in measured
    }
    name = f"{clip.manifest.clip_id[:16]}-w{track.track_id}"
    puzzle = 0.3 + 0.7 * (1.0 - track.class_share)
    echo = 0.1 + 0.9 * _radar_support(boxes, frames, settings)
    length = min(1.0, len(places) / _LONG_TRACK)
    worth = puzzle * echo * length * _interest(places, frames, opinions, settings)
    return _doubt(name, LOW_CONFIDENCE, worth, places, clip, settings)


def _radar_support(
    boxes: Sequence[tuple[int, Box3D]], frames: Sequence[ClipFrame], settings: LabelSettings
) -> float:
    """Return the share of a track's instants at which the vehicle's radar followed something there.

    Most weak tracks are false boxes of a network; a track that also returns an echo is real.
    """
    supported = [
        any(_belongs(r, box, settings) for r in (p.radar_tracks if p else ()))
        for frame, box in boxes
        for p in (frames[frame].perception,)
    ]
    return sum(supported) / len(boxes)


def radar_doubts(
    clip: Clip,
    frames: Sequence[ClipFrame],
    opinions: Sequence[Opinion],
    explained: Mapping[int, Sequence[Box3D]],
    settings: LabelSettings,
) -> list[Doubt]:
    """Find what the vehicle's radar followed and no track of the teacher, sure or weak, explains."""
    seen: dict[int, dict[int, RadarTrack]] = {}
    for frame in frames:
        for track in frame.perception.radar_tracks if frame.perception else ():
            if math.hypot(track.x_m, track.y_m) < settings.max_range_m:
                seen.setdefault(track.track_id, {})[frame.stamp_ns] = track
    doubts = []
    for track_id, sightings in sorted(seen.items()):
        lonely = {
            stamp: (t.x_m, t.y_m)
            for stamp, t in sightings.items()
            if not any(_belongs(t, box, settings) for box in explained[stamp])
        }
        oldest_s = max(t.age_s for t in sightings.values())
        if (
            len(lonely) < 2
            or 2 * len(lonely) < len(sightings)
            or oldest_s < settings.min_radar_age_s
        ):
            continue
        persistence = min(1.0, len(lonely) / 6) * _wonder(lonely, frames, opinions, settings)
        speed = float(np.median([math.hypot(t.vx_mps, t.vy_mps) for t in sightings.values()]))
        motion = 1.0 if speed > 0.4 else 0.6
        interest = _interest(lonely, frames, opinions, settings)
        worth = _BY_DEFINITION * persistence * motion * interest
        name = f"{clip.manifest.clip_id[:16]}-r{track_id}"
        doubts.append(_doubt(name, RADAR_WITHOUT_BOX, worth, lonely, clip, settings))
    return doubts


def _wonder(
    places: Mapping[int, tuple[float, float]],
    frames: Sequence[ClipFrame],
    opinions: Sequence[Opinion],
    settings: LabelSettings,
) -> float:
    """Return how little the teacher found where the radar followed something, in [0, 1].

    A missed truck still raises weak boxes where it stands; a class that the teacher has never seen raises
    none. The strongest box of any class near each sighting counts, however weak.
    """
    known = {f.stamp_ns: o.boxes for f, o in zip(frames, opinions, strict=True)}
    hints = [
        max(
            (b.score for b in known[stamp] if math.hypot(b.x_m - x, b.y_m - y) < _HINT_M),
            default=0.0,
        )
        for stamp, (x, y) in places.items()
    ]
    return max(0.0, 1.0 - float(np.mean(hints)) / settings.auto_confidence)


def _belongs(track: RadarTrack, box: Box3D, settings: LabelSettings) -> bool:
    """Return whether a radar track lies on or just beside a box."""
    return is_on(box, track.x_m, track.y_m, settings.box_margin_m)


def _interest(
    places: Mapping[int, tuple[float, float]],
    frames: Sequence[ClipFrame],
    opinions: Sequence[Opinion],
    settings: LabelSettings,
) -> float:
    """Weigh a doubt by how near it comes and on what ground it stands."""
    grounds = {f.stamp_ns: o.segmentation for f, o in zip(frames, opinions, strict=True)}
    weights, nearest = [], math.inf
    for stamp, (x, y) in places.items():
        raster = grounds[stamp]
        cell_m = 2.0 * _GRID_RANGE_M / len(raster)
        row, column = (
            min(max(int((v + _GRID_RANGE_M) / cell_m), 0), len(raster) - 1) for v in (x, y)
        )
        weights.append(settings.ground_weights[int(raster[row, column])])
        nearest = min(nearest, math.hypot(x, y))
    nearness = max(0.0, 1.0 - nearest / settings.question_range_m)
    return float(np.mean(weights)) * (0.3 + 0.7 * nearness) if nearness > 0.0 else 0.0


def _doubt(
    name: str,
    reason: str,
    value: float,
    places: Mapping[int, tuple[float, float]],
    clip: Clip,
    settings: LabelSettings,
) -> Doubt:
    question = ReviewQuestion(
        vehicle_id=clip.manifest.vehicle_id,
        clip_id=clip.manifest.clip_id,
        track=name,
        sightings=tuple(Sighting(stamp_ns=s, x_m=x, y_m=y) for s, (x, y) in sorted(places.items())),
        reason=reason,
        value=value,
    )
    discs = {s: Disc(x, y, settings.ignored_radius_m) for s, (x, y) in places.items()}
    return Doubt(question, discs)
