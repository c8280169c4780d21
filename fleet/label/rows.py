"""Join a recorded clip with what was said about its instants: the rows that a network learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from edge.clip_file import Clip, ClipFrame, decode_jpegs
from edge.contracts.clip import ClipManifest, TriggerRule
from edge.contracts.sensors import CameraRig, FrameSet
from fleet.sample.row import Sample, SampleLabels, SensedInstant


def clip_rows(
    clip: Clip, said: Mapping[int, SampleLabels], tags: Sequence[str] = ()
) -> list[Sample]:
    """Join a clip with what was said about its instants; each row's earlier one is the instant before.

    Agents' futures stay in every row: what others did is true whatever the vehicle did.

    Args:
        clip: As recorded.
        said: By stamp in ns; only these instants become rows.
        tags: Of every row.
    """
    manifest = clip.manifest
    instants = [sensed_instant(frame) for frame in clip.frames if frame.stamp_ns in said]
    teaches_driving = is_random(manifest)
    return [
        Sample(
            sample_id=hashlib.sha256(f"{manifest.clip_id}:{now.stamp_ns}".encode()).hexdigest(),
            clip_id=manifest.clip_id,
            place_id=manifest.drive_id,
            rig_id=manifest.rig_id,
            now=now,
            earlier=instants[k - 1] if k > 0 else None,
            labels=msgspec.structs.replace(said[now.stamp_ns], teaches_driving=teaches_driving),
            tags=tuple(tags),
        )
        for k, now in enumerate(instants)
    ]


def is_random(manifest: ClipManifest) -> bool:
    """Say whether chance alone chose a clip, so that its driving is ordinary driving.

    A clip with a trigger event beside a random one holds the same trouble as without the latter. A rule
    that this version does not know counts as a trigger.
    """
    return all(event.rule is TriggerRule.RANDOM for event in manifest.events)


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
