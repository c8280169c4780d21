"""The loop as eight steps, each with what happened there and how long it took."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sim.lap.record import LapRecord
from sim.lap.report.text import answer_text, count, many, megabytes

REDRIVE = "again"

_STEP_WORDS: dict[str, frozenset[str]] = {
    REDRIVE: frozenset({"redrive", "redrives", "again"}),
    "drive": frozenset({"drive", "drives"}),
    "notice": frozenset({"trigger", "triggers", "select"}),
    "send": frozenset({"send", "upload", "uplink"}),
    "admit": frozenset({"admit", "ingest"}),
    "label": frozenset({"label", "labels", "review"}),
    "learn": frozenset({"freeze", "dataset", "train", "export"}),
    "judge": frozenset({"evaluate", "gate", "episodes"}),
    "ship": frozenset({"bundle", "sign", "release", "rollout"}),
}
"""Words in the name of a stage by which it belongs to a step; the first step that has one counts."""


@dataclass(frozen=True)
class Step:
    """One step of the loop."""

    title: str
    side: str
    """``vehicle``, ``fleet`` or ``air``."""
    lines: tuple[str, ...]
    seconds: float | None
    """None when no stage of the record belongs to it."""


def steps(record: LapRecord) -> tuple[Step, ...]:
    """List the steps of the loop, in order."""
    clips, labels, gate = record.clips, record.labels, record.gate
    vehicles = len(record.vehicles)
    ticks = sum(drive.ticks for drive in record.drives if not drive.is_redrive)
    updated = sum(v.bundle_id == record.candidate.bundle_id for v in record.vehicles)
    rows = (
        ("drive", "vehicle", "Drive", many(vehicles, "vehicle"), many(ticks, "tick")),
        (
            "notice",
            "vehicle",
            "Notice",
            f"{many(clips.captured, 'clip')} captured",
            f"{count(clips.evicted)} evicted by the quota",
        ),
        (
            "send",
            "vehicle",
            "Send home",
            f"{many(clips.uploaded, 'clip')} uploaded",
            megabytes(clips.bytes_uploaded),
        ),
        (
            "admit",
            "fleet",
            "Admit",
            f"{count(clips.admitted)} admitted",
            f"{count(clips.quarantined)} quarantined",
        ),
        (
            "label",
            "fleet",
            "Label",
            f"{count(labels.auto)} by hindsight",
            f"{count(labels.reviewed)} reviewed, {count(labels.masked)} masked",
        ),
        ("learn", "fleet", "Learn", "a candidate, and a control", "with the same label budget"),
        (
            "judge",
            "fleet",
            "Judge",
            f"{count(gate.encounters)} encounters",
            f"gate: {answer_text(record.verdict.decision)}",
        ),
        (
            "ship",
            "air",
            "Sign and roll out",
            many(len(record.rollout), "wave"),
            f"{updated} of {vehicles} on the candidate",
        ),
    )
    return tuple(
        Step(title=title, side=side, lines=tuple(lines), seconds=step_seconds(record, step))
        for step, side, title, *lines in rows
    )


def step_seconds(record: LapRecord, step: str) -> float | None:
    """Add up the stages of a step; None when the record names none."""
    seconds = [stage.seconds for stage in record.stages if _step_of(stage.name) == step]
    return math.fsum(seconds) if seconds else None


def _step_of(stage: str) -> str | None:
    words = set(re.split(r"[^a-z0-9]+", stage))
    return next((step for step, known in _STEP_WORDS.items() if words & known), None)
