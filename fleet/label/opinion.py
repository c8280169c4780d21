"""Label a whole clip without a reviewer: confident tracks by hindsight, a queue of doubts, and background.

Every place is one of three kinds. Where the teacher's smoothed tracks are sure, there is a label. Where
something of uncertain class stands (a weak track, a radar track without any box), there is a *question* for a
reviewer; without an answer the place is masked, because training must not teach that something a model has
missed is background. Everywhere else is background: for the classes that the teacher has learnt, and for the
others only where neither radar nor teacher found anything, because a teacher's silence about a class that it
has not learnt proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from edge.clip_file import Clip, ClipFrame, decode_instant
from edge.contracts.classes import Category
from edge.contracts.scene import Box3D
from edge.perceive.engine import Engine
from edge.perceive.tensors import NetSpec
from fleet.label.doubt import Doubt, radar_doubts, weak_track
from fleet.label.form import Form
from fleet.label.hindsight_tracks import HindsightTrack, hindsight_tracks
from fleet.label.outline import is_on
from fleet.label.rows import clip_rows
from fleet.label.settings import LabelSettings
from fleet.label.silence import signs
from fleet.label.teacher import Teacher
from fleet.label.world import boxes_of, detections
from fleet.labeler import ReviewAnswer, ReviewQuestion
from fleet.sample.futures import with_futures
from fleet.sample.row import Disc, LabelSource, Sample, SampleBox, SampleLabels


@dataclass(frozen=True, eq=False)
class ClipOpinion:
    """All that is known of a clip before a reviewer is asked."""

    clip: Clip
    frames: tuple[ClipFrame, ...]
    """The labelled instants."""
    boxes: Mapping[int, tuple[SampleBox, ...]]
    """Confident boxes by stamp."""
    doubts: tuple[Doubt, ...]
    known: tuple[Category, ...]
    """What the teacher has learnt to see."""
    signs: Mapping[int, tuple[Disc, ...]] = field(default_factory=dict)
    """By stamp, places of signs, see ``silence``; a stamp at which the radar measured nothing is absent."""
    unseen: tuple[Form, ...] = ()
    """Forms of known classes that the teacher has not seen; that it finds none of them proves nothing."""

    @property
    def absence_known(self) -> tuple[Category, ...]:
        """Classes that are absent where the teacher finds none: known, and seen in every form."""
        unseen = {form.category for form in self.unseen}
        return tuple(category for category in self.known if category not in unseen)

    @property
    def questions(self) -> tuple[ReviewQuestion, ...]:
        """The questions for a reviewer, most valuable first."""
        return tuple(sorted((d.question for d in self.doubts), key=lambda q: (-q.value, q.track)))


def opine(
    clip: Clip,
    engine: Engine,
    spec: NetSpec,
    known: Sequence[Category],
    settings: LabelSettings,
    *,
    categories: Sequence[Category],
    unseen: Sequence[Form] = (),
) -> ClipOpinion:
    """Label what can be labelled in a clip and list what cannot.

    Args:
        clip: As admitted.
        engine: The teacher's network.
        spec: Its sizes.
        known: The categories the teacher has learnt.
        settings: Thresholds.
        categories: The network's classes in the order of its channels.
        unseen: Forms of these categories that the teacher has not seen.
    """
    frames = _instants(clip, settings.interval_s)
    teacher = Teacher(engine, spec, clip.manifest.rig, settings.teacher, categories=categories)
    opinions = [teacher.look(decode_instant(frame.sensed, clip.manifest.rig)) for frame in frames]
    found = [
        detections(frame, opinion, known) for frame, opinion in zip(frames, opinions, strict=True)
    ]
    boxes: dict[int, list[SampleBox]] = {frame.stamp_ns: [] for frame in frames}
    explained: dict[int, list[Box3D]] = {frame.stamp_ns: [] for frame in frames}
    doubts: list[Doubt] = []
    for track in hindsight_tracks(found, settings.hindsight):
        placed = boxes_of(track, frames)
        for frame, box in placed:
            explained[frames[frame].stamp_ns].append(box)
        if float(np.median(track.confidence)) >= settings.auto_confidence:
            for frame, box in placed:
                weight = max(0.3, float(track.confidence[frame - int(track.frame[0])]))
                boxes[frames[frame].stamp_ns].append(_auto(box, track, weight))
        else:
            doubts.append(weak_track(track, placed, clip, frames, opinions, settings))
    doubts.extend(radar_doubts(clip, frames, opinions, explained, settings))
    return ClipOpinion(
        clip=clip,
        frames=frames,
        boxes={stamp: tuple(sure) for stamp, sure in boxes.items()},
        doubts=tuple(doubts),
        known=tuple(known),
        signs=signs(clip, frames, opinions, settings),
        unseen=tuple(unseen),
    )


def settle(
    opinion: ClipOpinion, answers: Mapping[str, ReviewAnswer], settings: LabelSettings
) -> dict[int, SampleLabels]:
    """Join labels and answers; doubts without a clear answer are masked.

    An answer is about the one thing that was asked about. Its neighbours, in a herd or a crowd, were not
    looked at: a wider circle once taught a third of all animals as background.
    """
    boxes = {stamp: list(found) for stamp, found in opinion.boxes.items()}
    reviewed: dict[int, list[SampleBox]] = {stamp: [] for stamp in boxes}
    for doubt in opinion.doubts:
        own = answers.get(doubt.question.track)
        for stamp, box in (own.boxes if own else {}).items():
            boxes[stamp] = _with_reviewed(boxes[stamp], box)
            reviewed[stamp].append(box)
    ignored: dict[int, list[Disc]] = {stamp: [] for stamp in boxes}
    looked: dict[int, list[Disc]] = {stamp: [] for stamp in boxes}
    for doubt in opinion.doubts:
        own = answers.get(doubt.question.track)
        for stamp, disc in doubt.discs.items():
            if own is not None and own.is_nothing:
                looked[stamp].append(Disc(disc.x_m, disc.y_m, settings.nothing_radius_m))
            elif not _is_told(disc, reviewed[stamp], settings):
                ignored[stamp].append(disc)
    return {
        stamp: SampleLabels(
            boxes=tuple(found),
            ignored=tuple(ignored[stamp]),
            absence_known=opinion.absence_known,
            looked=tuple(looked[stamp]) + tuple(_footprint(b.box) for b in found),
            signs=opinion.signs.get(stamp, msgspec.UNSET),
        )
        for stamp, found in boxes.items()
    }


def _is_told(disc: Disc, reviewed: Sequence[SampleBox], settings: LabelSettings) -> bool:
    """Return whether a reviewer drew what a doubt points at."""
    margin_m = settings.same_thing_margin_m
    return any(is_on(box.box, disc.x_m, disc.y_m, margin_m) for box in reviewed)


def _with_reviewed(boxes: list[SampleBox], reviewed: SampleBox) -> list[SampleBox]:
    """Add a reviewer's boxes; they replace whatever stood in the same place."""

    def is_same(other: SampleBox) -> bool:
        apart = math.hypot(other.box.x_m - reviewed.box.x_m, other.box.y_m - reviewed.box.y_m)
        return apart < 0.4 * min(other.box.length_m, reviewed.box.length_m) + 0.2

    return [b for b in boxes if not is_same(b)] + [reviewed]


def _footprint(box: Box3D) -> Disc:
    """Return a disc within a box's outline: a thing beside a lorry is not the lorry."""
    return Disc(box.x_m, box.y_m, max(0.8, 0.5 * box.width_m))


def clip_samples(
    opinion: ClipOpinion, labels: Mapping[int, SampleLabels], tags: Sequence[str] = ()
) -> list[Sample]:
    """Turn a labelled clip into training rows; what later instants know of the futures is added."""
    poses = {frame.stamp_ns: frame.sensed.ego.world_from_ego for frame in opinion.frames}
    said = {stamp_ns: with_futures(stamp_ns, labels, poses) for stamp_ns in poses}
    return clip_rows(opinion.clip, said, tags)


def _instants(clip: Clip, interval_s: float) -> tuple[ClipFrame, ...]:
    """Choose the frames nearest to a regular grid of instants."""
    chosen: list[ClipFrame] = []
    for frame in clip.frames:
        due_ns = chosen[-1].stamp_ns + round((interval_s - 0.02) * 1e9) if chosen else 0
        if frame.stamp_ns >= due_ns:
            chosen.append(frame)
    return tuple(chosen)


def _auto(box: Box3D, track: HindsightTrack, weight: float) -> SampleBox:
    return SampleBox(
        box=box, track=f"h{track.track_id}", source=LabelSource.AUTO, confidence=min(1.0, weight)
    )
