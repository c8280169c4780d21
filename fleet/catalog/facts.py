"""Facts of a stage that are kept with its row and are not searched, one record per stage, stored as JSON.

A run's facts carry the name of their stage, so that they decode without looking at the row. A field that is
added needs a default: older rows lack it.
"""

from __future__ import annotations

import msgspec

from edge.contracts.fields import Count, Name, Seconds, Sha256, Text


class LabelFacts(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="label"):
    """Parameters, result and cost of a labelling run; see ``fleet.label.job.LabelRun``."""

    labeler: Text
    budget_tracks: Count
    choice: Name
    seed: Count
    clips: Count
    """Labelled."""
    auto: Count
    reviewed: Count
    masked: Count
    questions: Count
    asked: Count
    asked_by_reason: dict[str, Count]
    answered_by_category: dict[str, Count]
    reviewer_tracks: Count
    reviewer_seconds: Seconds
    skipped: dict[str, Text] = {}
    """Clips that could not be read, by id, and why."""


class TrainFacts(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="train"):
    """Datasets, losses and files of a training run."""

    size: Name
    categories: tuple[Name, ...] = ()
    """Classes of the network's outputs, in their order; the shipped ones where the row is older."""
    known: tuple[Name, ...]
    """Categories that the network has learnt to see."""
    fresh: tuple[Name, ...]
    """Ids of datasets."""
    replay: tuple[Name, ...]
    parent_sha256: Sha256 | None
    calibration: Name
    examples: Count
    replay_examples: Count
    steps: Count
    final_losses: dict[str, float]
    blobs: dict[str, Sha256]
    """Blob ids by file name."""


class EvaluateFacts(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="evaluate"):
    """The models that were judged, the sets, and the verdict."""

    models: dict[Name, Text]
    """Run ids by role: candidate, incumbent, control, anchor."""
    sets: dict[Name, Name]
    """Ids of datasets by role."""
    decision: Name
    reasons: tuple[Text, ...]
    verdict_blob_id: Sha256


RunFacts = LabelFacts | TrainFacts | EvaluateFacts


class LabelCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one clip's labels."""

    instants: Count
    auto: Count
    """Boxes by hindsight."""
    reviewed: Count
    """Boxes that a reviewer confirmed or drew."""
    masked: Count
    """Boxes that training ignores."""


class DatasetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of a list of datasets; the manifest is the blob."""

    names: tuple[Name, ...]
    """What it was called, oldest first."""
    samples: Count
    clips: Count
    said_purpose: Text = ""
