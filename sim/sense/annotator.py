"""Simulate the people who label: slow, sometimes wrong, and paid for their time.

No other file opens truth logs. Every answer passes through the ``Labeler`` protocol, with the errors of a
person: boxes a few centimetres off, now and then a wrong class or an overlooked object. The errors of a
question depend on its name and the seed alone, so that neither the order of questions nor the process that
asks them changes an answer.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from conf.named import load_file
from conf.records import write_resolved
from edge.contracts.classes import (
    Category,
    row_of,
)
from edge.contracts.geometry import wrap_rad
from edge.contracts.scene import Box3D, BoxSource
from fleet.labeler import LabelCost, ReviewAnswer, ReviewQuestion, Sighting
from fleet.sample.row import LabelSource, SampleBox, SampleLabels
from sim.sense.truth import TruthBox, TruthFrame, read_truth

_SETTINGS_FILE = "annotator.yaml"


@dataclass
class AnnotatorSettings:
    """Errors and speed of the people who label."""

    position_sigma_m: float = 0.10
    """Standard deviation of the position of a drawn box."""
    size_sigma_ratio: float = 0.04
    """Standard deviation of its length, width and height, as a share of them."""
    heading_sigma_rad: float = 0.04
    """Standard deviation of its heading."""
    wrong_class_ratio: float = 0.02
    """Share of the reviewed tracks with a wrong class."""
    overlooked_ratio: float = 0.03
    """Share of the reviewed tracks of an object for which the answer is that nothing is there."""
    seconds_per_track: float = 15.0
    """Working time for each reviewed track, without its boxes."""
    seconds_per_box: float = 1.5
    """Working time for each box of a reviewed track."""
    max_range_m: float = 45.0
    """A reviewer draws no box further away."""
    min_visible_px: int = 12
    """A reviewer draws a box only where the object shows at least so many pixels."""
    pointing_distance_m: float = 1.5
    """Distance beside an object's outline within which a sighting points at it."""
    seed: int = 0
    """Seed of the errors."""


class Annotator:
    """A ``Labeler`` over truth logs, ``truth_of`` giving each vehicle's."""

    def __init__(
        self,
        truth_of: Callable[[str], Mapping[int, TruthFrame]],
        settings: AnnotatorSettings | None = None,
    ) -> None:
        self._truth_of = truth_of
        self._settings = settings or AnnotatorSettings()
        self.cost = LabelCost()

    @classmethod
    def over(cls, folder: Path, settings: AnnotatorSettings | None = None) -> Annotator:
        """Read ``<folder>/<vehicle_id>.truth`` of each vehicle when first asked about it."""
        known: dict[str, Mapping[int, TruthFrame]] = {}

        def truth_of(vehicle_id: str) -> Mapping[int, TruthFrame]:
            if vehicle_id not in known:
                known[vehicle_id] = read_truth(truth_path(folder, vehicle_id), vehicle_id)
            return known[vehicle_id]

        return cls(truth_of, settings)

    def annotate(self, vehicle_id: str, stamps_ns: Sequence[int]) -> dict[int, SampleLabels]:
        """Label every road user at these instants with full care, hidden ones by their tracks."""
        truth = self._truth_of(vehicle_id)
        labels: dict[int, SampleLabels] = {}
        tracks: set[int] = set()
        for stamp_ns in stamps_ns:
            frame = truth[stamp_ns]
            rng = self._rng(f"{vehicle_id}:{stamp_ns}")
            near = [t for t in frame.boxes if _range_m(t.box) < self._settings.max_range_m]
            boxes = tuple(self._drawn(t, LabelSource.ANNOTATED, rng, t.box.category) for t in near)
            labels[stamp_ns] = SampleLabels(boxes=boxes)
            tracks.update(t.entity_id for t in near)
            self._count(tracks=0, boxes=len(boxes))
        self._count(tracks=len(tracks), boxes=0)
        return labels

    def review(self, question: ReviewQuestion, stamps_ns: Sequence[int]) -> ReviewAnswer:
        """Answer what one uncertain track is, with a box at each instant where it can be seen.

        Where the question points at several things by turns, or at something hidden, the answer is
        neither a box nor "nothing".
        """
        truth = self._truth_of(question.vehicle_id)
        rng = self._rng(question.track)
        votes = self._votes(question.sightings, truth)
        entity_id = _majority(votes, len(question.sightings))
        is_overlooked = bool(rng.uniform() < self._settings.overlooked_ratio)
        is_wrong = bool(rng.uniform() < self._settings.wrong_class_ratio)
        boxes: dict[int, SampleBox] = {}
        if entity_id is not None and not is_overlooked:
            for stamp_ns in stamps_ns:
                seen = self._visible(truth.get(stamp_ns), entity_id)
                if seen is not None:
                    category = seen.box.category
                    said = row_of(category).looks_like if is_wrong else category
                    boxes[stamp_ns] = self._drawn(seen, LabelSource.REVIEWED, rng, said)
        self._count(tracks=1, boxes=len(boxes))
        is_nothing = not votes or is_overlooked
        return ReviewAnswer(track=question.track, boxes=boxes, is_nothing=is_nothing)

    def _votes(
        self, sightings: Sequence[Sighting], truth: Mapping[int, TruthFrame]
    ) -> Counter[int]:
        """Count how many sightings point at each object."""
        votes: Counter[int] = Counter()
        for sighting in sightings:
            frame = truth.get(sighting.stamp_ns)
            for candidate in frame.boxes if frame else ():
                if (
                    _outline_distance_m(candidate.box, sighting)
                    < self._settings.pointing_distance_m
                ):
                    votes[candidate.entity_id] += 1
        return votes

    def _visible(self, frame: TruthFrame | None, entity_id: int) -> TruthBox | None:
        for candidate in frame.boxes if frame else ():
            if candidate.entity_id == entity_id:
                is_seen = candidate.visible_px >= self._settings.min_visible_px
                return candidate if is_seen else None
        return None

    def _drawn(
        self, truth: TruthBox, source: LabelSource, rng: np.random.Generator, category: Category
    ) -> SampleBox:
        """Draw a box as a person does."""
        settings, box = self._settings, truth.box
        shift = rng.normal(0.0, settings.position_sigma_m, 2)
        stretch = np.exp(rng.normal(0.0, settings.size_sigma_ratio, 3))
        return SampleBox(
            box=msgspec.structs.replace(
                box,
                category=category,
                x_m=box.x_m + float(shift[0]),
                y_m=box.y_m + float(shift[1]),
                length_m=box.length_m * float(stretch[0]),
                width_m=box.width_m * float(stretch[1]),
                height_m=box.height_m * float(stretch[2]),
                yaw_rad=wrap_rad(box.yaw_rad + float(rng.normal(0.0, settings.heading_sigma_rad))),
                source=BoxSource.ANNOTATOR,
                track_id=None,
            ),
            track=f"a{truth.entity_id}",
            source=source,
            visible_px=truth.visible_px,
            encounter_id=truth.encounter_id,
        )

    def _rng(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self._settings.seed}:{name}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))

    def _count(self, *, tracks: int, boxes: int) -> None:
        seconds = tracks * self._settings.seconds_per_track + boxes * self._settings.seconds_per_box
        self.cost.tracks += tracks
        self.cost.seconds += seconds


def over(folder: Path) -> Annotator:
    """Make the annotator of a folder of truth logs; how a fleet names it: ``sim.sense.annotator:over``.

    Its settings are the folder's ``annotator.yaml``, where there is one.

    Raises:
        OperatorError: A key or a value in that file makes no sense.
    """
    told = folder / _SETTINGS_FILE
    settings = load_file(told, AnnotatorSettings) if told.exists() else AnnotatorSettings()
    return Annotator.over(folder, settings)


def write_settings(folder: Path, settings: AnnotatorSettings) -> None:
    """Leave the annotator's settings beside the truth logs, where ``over`` finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_resolved(settings, folder / _SETTINGS_FILE)


def truth_path(folder: Path, vehicle_id: str) -> Path:
    """Name the truth log of one vehicle."""
    return folder / f"{vehicle_id}.truth"


def _range_m(box: Box3D) -> float:
    return math.hypot(box.x_m, box.y_m)


def _majority(votes: Counter[int], sightings: int) -> int | None:
    """Find the object that most sightings point at; None when fewer than half point at one."""
    if not votes:
        return None
    entity_id, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
    return entity_id if 2 * count >= sightings else None


def _outline_distance_m(box: Box3D, sighting: Sighting) -> float:
    """Measure from a point on the ground to a box's outline; 0 inside."""
    dx, dy = sighting.x_m - box.x_m, sighting.y_m - box.y_m
    c, s = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
    along = max(0.0, abs(c * dx + s * dy) - 0.5 * box.length_m)
    across = max(0.0, abs(c * dy - s * dx) - 0.5 * box.width_m)
    return math.hypot(along, across)
