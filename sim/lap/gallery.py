"""Choose the moments of a lap for its page, and run both models on them again.

The choice does not depend on the models' answers: of the clips it takes those, and of a clip the instant,
that show the object best; of the gate the encounters at fixed ranks from the best visible to the median.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

from edge.clip_file import decode_instant
from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D
from edge.perceive.engine import OnnxEngine
from edge.perceive.tensors import SPECS
from fleet.catalog import ClipRow
from fleet.dataset.frozen import Dataset
from fleet.evaluate import MatchSettings, Slice, holds
from fleet.evaluate.predict import look
from fleet.label.job import Labelled
from fleet.sample.row import NIGHT, LabelSource, Sample, SampleBox
from sim.lap.orders import BundledModel
from sim.lap.report import (
    EdgeCase,
    Picture,
    clarity_px,
    edge_case_pictures,
    mosaic_picture,
)
from sim.place.ground import Ground
from sim.place.maps import load_map
from sim.vehicle import DriveOrder

SHOWN = 3
"""Clips on the page, and encounters of the gate."""
_TRIED = 6
"""Instants of a clip among which the clearest is chosen."""


@dataclass(frozen=True)
class Gallery:
    """The two models and the images that they are run on."""

    claim: Slice
    models: Mapping[str, BundledModel]
    """``incumbent`` and ``candidate``; each with the thresholds of its own bundle."""
    limits: MatchSettings
    """Range and pixels from which an object counts, as in the gate."""

    @cached_property
    def _engines(self) -> dict[str, OnnxEngine]:
        return {name: OnnxEngine(m.model.files.int8) for name, m in self.models.items()}

    def caught(
        self, labelled: Labelled, clips: Sequence[ClipRow], drives: Mapping[str, DriveOrder]
    ) -> list[Picture]:
        """Draw a few clips as a reviewer saw them, those that show the claim first.

        Args:
            labelled: The rows that the candidate learnt from.
            clips: Their clips, for what triggered them.
            drives: The orders of their drives, by id.
        """
        rigs = {rig.rig_id: rig for rig in labelled.rigs}
        rows = {row.clip_id: row for row in clips}
        nights = {row.clip_id for row in clips if drives[row.drive_id].is_night}
        best = [self._clearest(s, rigs, nights) for s in self._by_clip(labelled.samples, nights)]
        best.sort(key=lambda found: (not found[0].claimed, -clarity_px(found[0]), found[0].clip_id))
        pictures: list[Picture] = []
        for bare, sample in best[:SHOWN]:
            row = rows[bare.clip_id]
            case = replace(self._seen(bare, sample), caught_by=tuple(dict.fromkeys(row.rules)))
            pictures.extend(edge_case_pictures(case, _ground(drives[row.drive_id].road_map)))
            if bare is best[0][0]:
                pictures.append(mosaic_picture(case))
        return pictures

    def judged(self, gate: Dataset) -> list[Picture]:
        """Draw encounters of the gate: the best visible, the median, and one between.

        Args:
            gate: The set of encounters that judge the claim, on places that no model was trained on.
        """
        best: dict[str, tuple[int, int]] = {}
        for number in range(len(gate)):
            sample = gate[number]
            shown = self._visible_px(sample)
            best[sample.clip_id] = max(best.get(sample.clip_id, (0, 0)), (shown, number))
        ranked = sorted((f for f in best.values() if f[0]), key=lambda found: (-found[0], found[1]))
        pictures: list[Picture] = []
        for rank in shown_ranks(len(ranked)):
            sample = gate[ranked[rank][1]]
            bare = self._bare(sample, gate.rig_of(sample), is_night=NIGHT in sample.tags)
            case = replace(self._seen(bare, sample), is_unseen=True)
            road_map = sample.place_id.rpartition("-")[0]
            pictures.extend(edge_case_pictures(case, _ground(road_map)))
        return pictures

    def _seen(self, case: EdgeCase, sample: Sample) -> EdgeCase:
        """Add both models' boxes of an instant, at the thresholds that they ship with."""

        def seen(name: str) -> tuple[Box3D, ...]:
            manifest = self.models[name].bundle.manifest
            engine, spec = self._engines[name], SPECS[manifest.model]
            boxes = look(sample, case.rig, engine, spec, manifest.categories).boxes
            return tuple(b for b in boxes if b.score >= manifest.thresholds.get(b.category, 1.0))

        return replace(case, incumbent=seen("incumbent"), candidate=seen("candidate"))

    def _by_clip(self, samples: Sequence[Sample], nights: Collection[str]) -> list[list[Sample]]:
        """Group rows by clip, those on which the claimed object is nearest first."""
        groups: dict[str, list[Sample]] = {}
        for sample in sorted(
            samples, key=lambda s: (self._nearest_m(s, s.clip_id in nights), s.sample_id)
        ):
            groups.setdefault(sample.clip_id, []).append(sample)
        return list(groups.values())

    def _clearest(
        self, samples: Sequence[Sample], rigs: Mapping[str, Rig], nights: Collection[str]
    ) -> tuple[EdgeCase, Sample]:
        """Find the instant of a clip that shows its object best, among the first few."""
        cases = [
            (self._bare(s, rigs[s.rig_id], is_night=s.clip_id in nights), s)
            for s in samples[:_TRIED]
        ]
        return max(cases, key=lambda found: (bool(found[0].claimed), clarity_px(found[0])))

    def _nearest_m(self, sample: Sample, is_night: bool) -> float:
        """Measure to the nearest claimed box that a person drew; infinite where there is none."""
        return min(
            (
                math.hypot(b.box.x_m, b.box.y_m)
                for b in self._counted(sample)
                if holds(self.claim, b.box, is_night=is_night) and b.source is not LabelSource.AUTO
            ),
            default=math.inf,
        )

    def _visible_px(self, sample: Sample) -> int:
        """Count the pixels of the best visible claimed object; 0 where there is none."""
        is_night = NIGHT in sample.tags
        boxes = [b for b in self._counted(sample) if holds(self.claim, b.box, is_night=is_night)]
        return max((b.visible_px or 0 for b in boxes), default=0)

    def _bare(self, sample: Sample, rig: Rig, *, is_night: bool) -> EdgeCase:
        """Lay an instant out before any model has looked at it."""
        return EdgeCase(
            clip_id=sample.clip_id,
            frame_set=decode_instant(sample.now, rig),
            rig=rig,
            claim=self.claim,
            is_night=is_night,
            labels=tuple(b.box for b in self._counted(sample)),
            incumbent=(),
            candidate=(),
        )

    def _counted(self, sample: Sample) -> list[SampleBox]:
        """List the labels near enough and visible enough to count; unmeasured pixels are enough."""
        return [
            b
            for b in sample.labels.boxes
            if math.hypot(b.box.x_m, b.box.y_m) < self.limits.max_range_m
            and (b.visible_px is None or b.visible_px >= self.limits.min_visible_px)
        ]


def shown_ranks(count: int) -> list[int]:
    """Return the ranks of ``count`` that are shown: the first, the median, and evenly between."""
    last = count - 1
    return sorted({last * k // (2 * (SHOWN - 1)) for k in range(SHOWN)}) if count else []


@cache
def _ground(road_map: str) -> Ground:
    return Ground(load_map(road_map))
