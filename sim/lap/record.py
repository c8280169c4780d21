"""The record of a lap, ``lap.json``. The page ``report.html`` is drawn from the same.

The same seed gives the same record apart from ``seconds``, ``cpu_seconds``, ``deadline`` and signatures,
so everything measured in real time stands in fields of its own.
"""

from __future__ import annotations

import msgspec

from edge.contracts.fields import Count, Finite, Name, Seconds, Text
from fleet.evaluate import Reason

LAP_SCHEMA = 2


class StageCost(msgspec.Struct, frozen=True, kw_only=True):
    """One stage and what it cost."""

    name: Name
    seconds: Seconds
    cpu_seconds: Seconds
    """Of the process tree."""
    note: Text = ""
    """What it did, in a few words."""


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """Measured tick times of the drives; contended, for several vehicles share the machine."""

    p50_ms: Finite
    p99_ms: Finite
    max_ms: Finite
    missed: Count
    """Ticks over 100 ms."""
    modelled_p99_ms: Finite
    """What lockstep charged on the modelled board."""


class ClipCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a lap's clips, from trigger to admission."""

    captured: Count
    evicted: Count
    uploaded: Count
    admitted: Count
    quarantined: Count
    bytes_uploaded: Count
    with_rare_triggered: Count
    """Admitted trigger clips that show the claimed slice, and how many there are."""
    triggered: Count
    with_rare_random: Count
    random: Count


class LapLabelCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the labels of the candidate's clips, and their cost."""

    auto: Count
    """Boxes by hindsight."""
    reviewed: Count
    """Boxes by a reviewer."""
    masked: Count
    """Places without a label that are left out of the loss."""
    questions: Count
    asked: Count
    reviewer_seconds: Seconds


class BoundedScore(msgspec.Struct, frozen=True, kw_only=True):
    """A value and its 95 % bounds."""

    value: Finite
    low: Finite
    high: Finite


class SliceScore(msgspec.Struct, frozen=True, kw_only=True):
    """One number of one model on one slice of the gate."""

    slice: Name
    metric: Name
    """``recall`` or ``ap``, or ``map``."""
    score: BoundedScore | None
    """None where the slice holds nothing to find."""
    truths: Count


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """One model: incumbent, candidate or control."""

    bundle_id: Name | None = None
    """None for the control, which is never shipped."""
    slices: tuple[SliceScore, ...]
    plan_l2_m: BoundedScore | None = None
    """Mean distance of the best-scored plan from what was driven, over 3 s; None without futures."""
    forecast_ade_m: BoundedScore | None = None
    """Mean distance of the best of six forecasts over 3 s, of the moving road users that were found."""


class GateCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the gate's evidence."""

    frames: Count
    places: Count
    encounters: Count
    futures: Count = 0
    """Frames whose next three seconds are known: plans and forecasts are measured on them."""


class ClassScore(msgspec.Struct, frozen=True, kw_only=True):
    """AP of one class that the gate guards, of the models side by side."""

    category: Name
    truths: Count
    candidate: Finite | None
    """None where the gate has too few truths to compare anything."""
    incumbent: Finite | None
    """None where the incumbent has not learnt the class."""
    anchor: Finite | None
    """Of the shipped baseline; None where it has not learnt the class, or is the incumbent itself."""
    over_incumbent: BoundedScore | None
    """Candidate minus incumbent."""
    over_anchor: BoundedScore | None
    outcome: Name


class VerdictRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's answer."""

    decision: Name
    reasons: tuple[Text, ...]
    rules: tuple[Reason, ...] = ()
    """The reasons again, in their parts, for a page to lay out."""
    classes: tuple[ClassScore, ...] = ()


class WaveRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One wave of the rollout."""

    vehicles: tuple[Name, ...]
    state: Name
    reason: Text = ""


class VehicleEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Bundle and phase of a vehicle at the end of the lap."""

    vehicle_id: Name
    bundle_id: Name
    phase: Name


class DriveRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One drive, before or after the update."""

    vehicle_id: Name
    drive_id: Name
    bundle_id: Name
    scenario: Name
    ticks: Count
    seconds: Seconds | None = None
    """Simulated time; None in an older record, whose drives all had 36 ticks a second."""
    faults: Count
    collisions: Count
    progress_m: Finite
    rungs: dict[str, Count]
    measures: dict[str, Finite] = {}
    """Numbers that need the truth, by name, see ``sim.lap.measures``."""
    is_redrive: bool = False
    """Driven after the gate had decided."""


class LapRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One lap."""

    schema: Count = LAP_SCHEMA
    seed: Count
    lap: Count = 1
    is_quick: bool = False
    stages: tuple[StageCost, ...]
    ticks: Count
    drives: tuple[DriveRecord, ...]
    deadline: Deadline
    clips: ClipCounts
    labels: LapLabelCounts
    skipped: tuple[Text, ...] = ()
    """Admitted clips that labelling could not read, and why, in words."""
    dataset_id: Name
    claim: Name
    claimed_slice: Name
    """Part of the gate's evidence on which the candidate was to be better."""
    incumbent: Contestant
    candidate: Contestant
    control: Contestant
    straight_l2_m: BoundedScore | None = None
    """What ``plan_l2_m`` is of driving straight on at constant speed."""
    gate: GateCounts
    verdict: VerdictRecord
    rollout: tuple[WaveRecord, ...]
    vehicles: tuple[VehicleEnd, ...]
