"""Say what is true about a whole clip: confident tracks by hindsight, a queue of doubts, and silence.

Three kinds of place come out. Where the teacher's smoothed tracks are sure, there is a label. Where
something is but nobody is sure what (a weak track, a radar track without any box), there is a
*question* for a reviewer; unanswered, the place is masked, because what a model missed is the last
thing it should be taught not to see. Everywhere else is background, but only for the classes that the
teacher has learnt: it cannot testify to the absence of what it does not know.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.clip_file import Clip, ClipFrame, decode_jpegs
from edge.contracts.geometry import wrap_rad
from edge.contracts.scene import Attribute, Box3D, BoxSource, Category, RadarTrack
from edge.contracts.sensors import CameraRig, FrameSet
from edge.perceive.engine import Engine
from edge.perceive.tensors import NetSpec
from fleet.hindsight_tracks import (
    Detections,
    HindsightSettings,
    HindsightTrack,
    hindsight_tracks,
    measured_covariance,
)
from fleet.label.teacher import Opinion, Teacher, TeacherSettings
from fleet.labeler import ReviewAnswer, ReviewQuestion, Sighting
from fleet.recipe import with_futures
from fleet.samples import Disc, LabelSource, Sample, SampleBox, SampleLabels, SensedInstant

LOW_CONFIDENCE = "low_confidence"
RADAR_WITHOUT_BOX = "radar_without_box"
_HINT_M = 3.0
"""A box of the teacher this near to a radar track is a hint at what it is."""


@dataclass
class LabelSettings:
    """Where a label ends and a question begins."""

    interval_s: float = 0.25
    """Between labelled instants."""
    auto_confidence: float = 0.6
    """A track whose median confidence is this high is a label."""
    max_range_m: float = 32.0
    question_range_m: float = 28.0
    """Nobody is asked about what is too far away to be seen."""
    box_margin_m: float = 1.5
    """A radar track this near to a box's outline belongs to it."""
    min_radar_age_s: float = 0.5
    ignored_radius_m: float = 2.0
    looked_radius_m: float = 2.0
    ground_weights: tuple[float, float, float, float] = (0.25, 1.0, 0.6, 1.0)
    """How interesting a doubt is on other ground, on the road, on a pavement, on a crossing."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    hindsight: HindsightSettings = field(default_factory=HindsightSettings)


@dataclass(frozen=True, eq=False)
class _Doubt:
    """Something that nobody is sure of, where it stands at each instant, and what to ask."""

    question: ReviewQuestion
    discs: Mapping[int, Disc]


@dataclass(frozen=True, eq=False)
class ClipOpinion:
    """All that can be said about a clip without asking anybody."""

    clip: Clip
    frames: tuple[ClipFrame, ...]
    """The labelled instants."""
    boxes: Mapping[int, tuple[SampleBox, ...]]
    """Confident boxes by stamp."""
    doubts: tuple[_Doubt, ...]
    known: tuple[Category, ...]
    """What the teacher has learnt to see."""

    @property
    def questions(self) -> tuple[ReviewQuestion, ...]:
        """What a reviewer would be asked, most valuable first."""
        return tuple(sorted((d.question for d in self.doubts), key=lambda q: (-q.value, q.track)))


def opine(
    clip: Clip,
    engine: Engine,
    spec: NetSpec,
    known: Sequence[Category],
    settings: LabelSettings,
) -> ClipOpinion:
    """Label what can be labelled in a clip and list what cannot.

    Args:
        clip: As admitted.
        engine: The teacher's network.
        spec: Its sizes.
        known: The categories the teacher has learnt.
        settings: Thresholds.
    """
    frames = _instants(clip, settings.interval_s)
    teacher = Teacher(engine, spec, clip.manifest.rig, settings.teacher)
    opinions = [teacher.look(frame_set_of(frame, clip.manifest.rig)) for frame in frames]
    detections = [
        _detections(frame, opinion, known) for frame, opinion in zip(frames, opinions, strict=True)
    ]
    boxes: dict[int, list[SampleBox]] = {frame.stamp_ns: [] for frame in frames}
    explained: dict[int, list[Box3D]] = {frame.stamp_ns: [] for frame in frames}
    doubts: list[_Doubt] = []
    for track in hindsight_tracks(detections, settings.hindsight):
        confidence = float(np.median(track.confidence))
        for frame, box in _boxes_of(track, frames):
            explained[frames[frame].stamp_ns].append(box)
        if confidence >= settings.auto_confidence:
            for frame, box in _boxes_of(track, frames):
                weight = max(0.3, float(track.confidence[frame - int(track.frame[0])]))
                boxes[frames[frame].stamp_ns].append(_auto(box, track, weight, settings))
        else:
            doubts.append(_weak_track(track, clip, frames, opinions, settings))
    doubts.extend(_radar_doubts(clip, frames, opinions, explained, settings))
    return ClipOpinion(
        clip=clip,
        frames=frames,
        boxes={stamp: tuple(found) for stamp, found in boxes.items()},
        doubts=tuple(doubts),
        known=tuple(known),
    )


def settle(
    opinion: ClipOpinion, answers: Mapping[str, ReviewAnswer], settings: LabelSettings
) -> dict[int, SampleLabels]:
    """Join labels and answers; what was asked by nobody is masked."""
    boxes = {stamp: list(found) for stamp, found in opinion.boxes.items()}
    ignored: dict[int, list[Disc]] = {stamp: [] for stamp in boxes}
    looked: dict[int, list[Disc]] = {stamp: [] for stamp in boxes}
    for doubt in opinion.doubts:
        answer = answers.get(doubt.question.track)
        for stamp, disc in doubt.discs.items():
            (ignored if answer is None else looked)[stamp].append(disc)
        for stamp, box in (answer.boxes if answer else {}).items():
            boxes[stamp] = _with_reviewed(boxes[stamp], box)
            looked[stamp].append(Disc(box.box.x_m, box.box.y_m, settings.looked_radius_m))
    return {
        stamp: SampleLabels(
            boxes=tuple(found),
            ignored=tuple(ignored[stamp]),
            absence_known=opinion.known,
            looked=tuple(looked[stamp]) + tuple(_footprint(b.box) for b in found),
        )
        for stamp, found in boxes.items()
    }


def _with_reviewed(boxes: list[SampleBox], reviewed: SampleBox) -> list[SampleBox]:
    """Add what a reviewer said; it replaces whatever stood in the same place."""

    def is_same(other: SampleBox) -> bool:
        apart = math.hypot(other.box.x_m - reviewed.box.x_m, other.box.y_m - reviewed.box.y_m)
        return apart < 0.4 * min(other.box.length_m, reviewed.box.length_m) + 0.2

    return [b for b in boxes if not is_same(b)] + [reviewed]


def _footprint(box: Box3D) -> Disc:
    return Disc(box.x_m, box.y_m, max(0.8, 0.5 * box.length_m))


def clip_samples(
    opinion: ClipOpinion, labels: Mapping[int, SampleLabels], tags: Sequence[str] = ()
) -> list[Sample]:
    """Turn a labelled clip into training rows; what later instants know of the futures is added."""
    poses = {frame.stamp_ns: frame.ego.world_from_ego for frame in opinion.frames}
    said = {stamp_ns: with_futures(stamp_ns, labels, poses) for stamp_ns in poses}
    return clip_rows(opinion.clip, said, tags)


def clip_rows(
    clip: Clip, said: Mapping[int, SampleLabels], tags: Sequence[str] = ()
) -> list[Sample]:
    """Join a clip with what was said about its instants; each row's earlier one is the instant before.

    Args:
        clip: As recorded.
        said: By stamp in ns; only these instants become rows.
        tags: Of every row.
    """
    manifest = clip.manifest
    instants = [sensed_instant(frame) for frame in clip.frames if frame.stamp_ns in said]
    return [
        Sample(
            sample_id=hashlib.sha256(f"{manifest.clip_id}:{now.stamp_ns}".encode()).hexdigest(),
            clip_id=manifest.clip_id,
            place_id=manifest.drive_id,
            rig_id=manifest.rig_id,
            now=now,
            earlier=instants[k - 1] if k > 0 else None,
            labels=said[now.stamp_ns],
            tags=tuple(tags),
        )
        for k, now in enumerate(instants)
    ]


def frame_set_of(frame: ClipFrame, rig: CameraRig) -> FrameSet:
    """Decode a recorded frame to what the vehicle saw."""
    first = rig.cameras[0].intrinsics
    images = decode_jpegs(frame.jpegs, height_px=first.height_px, width_px=first.width_px)
    return FrameSet(
        index=frame.index,
        stamp_ns=frame.stamp_ns,
        images=images,
        radar=frame.radar,
        ultrasonics=frame.ultrasonics,
        ego=frame.ego,
        route=frame.route,
        is_present=np.array([jpeg is not None for jpeg in frame.jpegs]),
    )


def sensed_instant(frame: ClipFrame) -> SensedInstant:
    """Keep a recorded frame as a training row does, its JPEGs untouched."""
    return SensedInstant(
        stamp_ns=frame.stamp_ns,
        ego=frame.ego,
        route=frame.route,
        jpegs=tuple(jpeg or b"" for jpeg in frame.jpegs),
        radar=frame.radar.points_ego.astype("<f4").tobytes(),
        ultrasonics=frame.ultrasonics.ranges_m.astype("<f4").tobytes(),
    )


def _instants(clip: Clip, interval_s: float) -> tuple[ClipFrame, ...]:
    """Choose the frames nearest to a regular grid of instants."""
    chosen: list[ClipFrame] = []
    for frame in clip.frames:
        due_ns = chosen[-1].stamp_ns + round((interval_s - 0.02) * 1e9) if chosen else 0
        if frame.stamp_ns >= due_ns:
            chosen.append(frame)
    return tuple(chosen)


def _detections(frame: ClipFrame, opinion: Opinion, known: Sequence[Category]) -> Detections:
    """Bring the teacher's boxes into the world."""
    boxes = [b for b in opinion.boxes if b.category in known]
    pose = frame.ego.world_from_ego
    xyz = np.array([[b.x_m, b.y_m, b.z_m] for b in boxes]).reshape(-1, 3)
    xy_world = (pose @ xyz)[:, :2]
    return Detections(
        stamp_ns=frame.stamp_ns,
        categories=tuple(b.category for b in boxes),
        score=np.array([b.score for b in boxes]),
        xy_world=xy_world,
        z_m=xyz[:, 2],
        size_m=np.array([[b.length_m, b.width_m, b.height_m] for b in boxes]).reshape(-1, 3),
        yaw_world_rad=np.array([wrap_rad(b.yaw_rad + pose.yaw_rad) for b in boxes]),
        covariance=measured_covariance(xy_world, pose.translation[:2]),
    )


def _boxes_of(track: HindsightTrack, frames: Sequence[ClipFrame]) -> list[tuple[int, Box3D]]:
    """Give a track's smoothed boxes, in the ego frame of each of its instants."""
    found = []
    for k, frame in enumerate(track.frame.tolist()):
        ego_from_world = frames[frame].ego.world_from_ego.inverse()
        yaw = ego_from_world.yaw_rad
        x, y, _ = ego_from_world @ np.array([*track.xy_world[k], 0.0])
        vx, vy = _turned(track.velocity_world[k], yaw)
        speed = math.hypot(vx, vy)
        box = Box3D(
            category=track.category,
            x_m=float(x),
            y_m=float(y),
            z_m=track.z_m,
            length_m=float(track.size_m[0]),
            width_m=float(track.size_m[1]),
            height_m=float(track.size_m[2]),
            yaw_rad=wrap_rad(float(track.yaw_world_rad[k]) + yaw),
            vx_mps=vx,
            vy_mps=vy,
            attribute=Attribute.MOVING if speed > 0.5 else Attribute.STOPPED,
            source=BoxSource.HINDSIGHT,
        )
        found.append((frame, box))
    return found


def _turned(vector: np.ndarray, yaw_rad: float) -> tuple[float, float]:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return float(c * vector[0] - s * vector[1]), float(s * vector[0] + c * vector[1])


def _auto(box: Box3D, track: HindsightTrack, weight: float, settings: LabelSettings) -> SampleBox:
    return SampleBox(
        box=box, track=f"h{track.track_id}", source=LabelSource.AUTO, confidence=min(1.0, weight)
    )


def _weak_track(
    track: HindsightTrack,
    clip: Clip,
    frames: Sequence[ClipFrame],
    opinions: Sequence[Opinion],
    settings: LabelSettings,
) -> _Doubt:
    """Turn a track that the teacher is not sure of into a question.

    Worth most is what returns a radar echo, so that it is there, and is called a pedestrian in one
    frame and a bicycle in the next, so that the teacher does not know what it is.
    """
    measured = set(track.frame[track.is_measured].tolist())
    places = {
        frames[frame].stamp_ns: (box.x_m, box.y_m)
        for frame, box in _boxes_of(track, frames)
        if frame in measured
    }
    name = f"{clip.manifest.clip_id[:16]}-w{track.track_id}"
    puzzle = 0.3 + 0.7 * (1.0 - track.class_share)
    echo = 0.1 + 0.9 * _radar_support(track, frames, settings)
    worth = puzzle * echo * _interest(places, frames, opinions, settings)
    return _doubt(name, LOW_CONFIDENCE, worth, places, clip, settings)


def _radar_support(
    track: HindsightTrack, frames: Sequence[ClipFrame], settings: LabelSettings
) -> float:
    """Give the share of a track's instants at which the vehicle's radar followed something there.

    Most weak tracks are a network's own fancies; what also returns an echo is really there.
    """
    boxes = _boxes_of(track, frames)
    supported = [
        any(_belongs(r, box, settings) for r in (p.radar_tracks if p else ()))
        for frame, box in boxes
        for p in (frames[frame].perception,)
    ]
    return sum(supported) / len(boxes)


def _radar_doubts(
    clip: Clip,
    frames: Sequence[ClipFrame],
    opinions: Sequence[Opinion],
    explained: Mapping[int, Sequence[Box3D]],
    settings: LabelSettings,
) -> list[_Doubt]:
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
        worth = persistence * motion * _interest(lonely, frames, opinions, settings)
        name = f"{clip.manifest.clip_id[:16]}-r{track_id}"
        doubts.append(_doubt(name, RADAR_WITHOUT_BOX, worth, lonely, clip, settings))
    return doubts


def _wonder(
    places: Mapping[int, tuple[float, float]],
    frames: Sequence[ClipFrame],
    opinions: Sequence[Opinion],
    settings: LabelSettings,
) -> float:
    """Say how little the teacher has to offer for what the radar follows, in [0, 1].

    A missed truck still raises weak boxes where it stands; what the teacher has never seen raises
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
    """Say whether a radar track lies on or just beside a box."""
    dx, dy = track.x_m - box.x_m, track.y_m - box.y_m
    c, s = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
    along, across = abs(c * dx + s * dy), abs(c * dy - s * dx)
    margin = settings.box_margin_m
    return along < 0.5 * box.length_m + margin and across < 0.5 * box.width_m + margin


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
        cell_m = 64.0 / len(raster)
        row, column = (min(max(int((v + 32.0) / cell_m), 0), len(raster) - 1) for v in (x, y))
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
) -> _Doubt:
    question = ReviewQuestion(
        vehicle_id=clip.manifest.vehicle_id,
        clip_id=clip.manifest.clip_id,
        track=name,
        sightings=tuple(Sighting(stamp_ns=s, x_m=x, y_m=y) for s, (x, y) in sorted(places.items())),
        reason=reason,
        value=value,
    )
    discs = {s: Disc(x, y, settings.ignored_radius_m) for s, (x, y) in places.items()}
    return _Doubt(question, discs)
