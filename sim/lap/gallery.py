"""Choose the moments of a lap that a person should see, and let both models look at them again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.contracts.bundle import BundleManifest
from edge.contracts.scene import Box3D, Category
from edge.contracts.sensors import CameraRig
from edge.perceive.engine import OnnxEngine
from edge.perceive.tensors import SPECS
from fleet.catalog import ClipRow
from fleet.evaluate.predict import look
from fleet.label import Labelled
from fleet.samples import LabelSource, Sample
from sim.lap.report import EdgeCase, Picture, clearest, edge_case_pictures, mosaic_picture

SHOWN = 3
"""Clips on the page."""
_TRIED = 6
"""Instants of a clip among which the clearest is chosen."""


def gallery(
    labelled: Labelled,
    clips: Sequence[ClipRow],
    rare: Category,
    models: Mapping[str, tuple[Path, BundleManifest]],
) -> list[Picture]:
    """Draw the clearest instants of a few clips that hold the rare class, as a reviewer saw it.

    Args:
        labelled: The rows that the candidate learnt from.
        clips: Their clips, for what triggered them.
        rare: The class that the lap is about.
        models: ``incumbent`` and ``candidate``: ONNX file, and the manifest with its thresholds.
    """
    rigs = {rig.rig_id: rig for rig in labelled.rigs}
    caught_by = {row.clip_id: tuple(dict.fromkeys(row.rules)) for row in clips}
    engines = {name: OnnxEngine(path) for name, (path, _) in models.items()}
    manifests = {name: manifest for name, (_, manifest) in models.items()}
    pictures: list[Picture] = []
    for clip_id, samples in _by_clip(labelled.samples, rare)[:SHOWN]:
        nearest = sorted(samples, key=lambda s: _nearest_m(s, rare))[:_TRIED]
        cases = [
            _case(sample, rigs[sample.rig_id], rare, engines, manifests, caught_by.get(clip_id, ()))
            for sample in nearest
        ]
        case = clearest(cases)
        pictures.extend(edge_case_pictures(case))
        if len({p.clip_id for p in pictures}) == 1:
            pictures.append(mosaic_picture(case))
    return pictures


def _by_clip(samples: Sequence[Sample], rare: Category) -> list[tuple[str, list[Sample]]]:
    """Group the rows on which a reviewer drew the class by clip; most rows first."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        if math.isfinite(_nearest_m(sample, rare)):
            groups.setdefault(sample.clip_id, []).append(sample)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def _nearest_m(sample: Sample, rare: Category) -> float:
    """Measure to the nearest reviewed box of the class; infinite where there is none."""
    return min(
        (
            math.hypot(b.box.x_m, b.box.y_m)
            for b in sample.labels.boxes
            if b.box.category is rare and b.source is LabelSource.REVIEWED
        ),
        default=math.inf,
    )


def _case(
    sample: Sample,
    rig: CameraRig,
    rare: Category,
    engines: Mapping[str, OnnxEngine],
    manifests: Mapping[str, BundleManifest],
    caught_by: tuple[str, ...],
) -> EdgeCase:
    def seen(name: str) -> tuple[Box3D, ...]:
        manifest = manifests[name]
        boxes = look(sample, rig, engines[name], SPECS[manifest.model]).boxes
        return tuple(b for b in boxes if b.score >= manifest.thresholds[b.category])

    return EdgeCase(
        clip_id=sample.clip_id,
        frame_set=sample.now.to_frame_set(rig),
        rig=rig,
        category=rare,
        labels=tuple(b.box for b in sample.labels.boxes),
        incumbent=seen("incumbent"),
        candidate=seen("candidate"),
        caught_by=caught_by,
    )
