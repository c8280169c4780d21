"""Join a recorded clip with its labels: the rows that a network learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from edge.clip_file import Clip
from edge.contracts.clip import ClipManifest, TriggerRule
from fleet.sample.row import Sample, SampleLabels


def clip_rows(
    clip: Clip, said: Mapping[int, SampleLabels], tags: Sequence[str] = ()
) -> list[Sample]:
    """Join a clip with its labels; each row's earlier instant is the labelled one before it.

    Agents' futures stay in every row: how others moved is true whatever the vehicle did.

    Args:
        clip: As recorded.
        said: Labels by stamp in ns; only these instants become rows.
        tags: Of every row.
    """
    manifest = clip.manifest
    instants = [frame.sensed for frame in clip.frames if frame.stamp_ns in said]
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
    """Return whether a clip was chosen by chance alone, so that its driving is ordinary driving.

    A clip with a trigger event beside a random one is not. A rule that this version does not know counts as a
    trigger.
    """
    return all(event.rule is TriggerRule.RANDOM for event in manifest.events)
