"""The rows of the page's tables, each with its drawing.

Computed here, beyond the record, are shares, sums and differences; every interval about a *claim* is the
gate's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.scene import Rung
from sim.lap.record import BoundedScore, DriveRecord, LapRecord, StageCost
from sim.lap.report.charts import Axis, BarPart, Mark, bar, interval_plot, squares
from sim.lap.report.history import score_of
from sim.lap.report.text import BOUND, answer_text, change, count, interval, named
from sim.lap.report.words import headline

_COUNTABLE = 200
"""More clips than this are drawn as a bar, not as squares."""
_OLDER_RATE_HZ = 36.0
"""Ticks per second of every drive of a record that states no seconds."""
_RUNGS = tuple(str(rung) for rung in Rung)


@dataclass(frozen=True)
class SliceRow:
    """One number of the three models side by side."""

    slice: str
    metric: str
    truths: int
    incumbent: BoundedScore | None
    control: BoundedScore | None
    candidate: BoundedScore | None
    is_headline: bool

    @property
    def change(self) -> float | None:
        """Candidate minus incumbent."""
        if self.candidate is None or self.incumbent is None:
            return None
        return self.candidate.value - self.incumbent.value

    @property
    def is_measured(self) -> bool:
        """Whether there was anything to find."""
        return any((self.incumbent, self.control, self.candidate))

    def plot(self, axis: Axis) -> str:
        """Draw the three intervals below each other."""
        named_scores = {n: getattr(self, n) for n in ("incumbent", "control", "candidate")}
        label = ", ".join(f"{name} {interval(score)}" for name, score in named_scores.items())
        marks = [Mark(n, s.value, s.low, s.high) for n, s in named_scores.items() if s]
        return interval_plot(marks, axis, label=label)


@dataclass(frozen=True)
class Share:
    """Count of clips of one origin that show the claimed slice."""

    title: str
    name: str
    filled: int
    count: int

    @property
    def ratio(self) -> BoundedScore | None:
        """The share with its bounds; None without a clip."""
        return wilson(self.filled, self.count) if self.count else None

    @property
    def drawing(self) -> str:
        """Squares to count, or a bar where there are too many."""
        label = f"{self.filled} of {self.count} clips"
        if self.count <= _COUNTABLE:
            return squares(self.filled, self.count, name=self.name, label=label)
        return bar([BarPart(self.name, self.filled)], self.count, label=label)


@dataclass(frozen=True)
class UplinkUse:
    """Bytes that were sent, per clip, per minute and per find."""

    per_clip_bytes: int
    per_minute_bytes: int
    """Of one vehicle."""
    per_find_bytes: int | None
    """All that was sent, for each clip of a trigger that shows the claimed slice."""


@dataclass(frozen=True)
class Drives:
    """The drives before or after the gate."""

    title: str
    drives: tuple[DriveRecord, ...]

    @property
    def ticks(self) -> int:
        """Ticks of all of them."""
        return sum(drive.ticks for drive in self.drives)

    @property
    def faults(self) -> int:
        """Network outputs that were thrown away."""
        return sum(drive.faults for drive in self.drives)

    @property
    def collisions(self) -> int:
        """Collisions of all of them."""
        return sum(drive.collisions for drive in self.drives)

    @property
    def progress_m(self) -> float:
        """Way driven."""
        return math.fsum(drive.progress_m for drive in self.drives)


def slice_rows(record: LapRecord) -> tuple[SliceRow, ...]:
    """Pair up the three models slice by slice, in the candidate's order."""
    models = (record.incumbent, record.control, record.candidate)
    keys = dict.fromkeys((s.slice, s.metric) for m in reversed(models) for s in m.slices)
    found = headline(record)
    rows = []
    for name, metric in keys:
        scores = [score_of(model, name, metric) for model in models]
        incumbent, control, candidate = (score.score if score else None for score in scores)
        rows.append(
            SliceRow(
                slice=name,
                metric=metric,
                truths=max(score.truths for score in scores if score),
                incumbent=incumbent,
                control=control,
                candidate=candidate,
                is_headline=found is not None and scores[-1] is found.candidate,
            )
        )
    return tuple(rows)


def error_rows(record: LapRecord) -> tuple[SliceRow, ...]:
    """Pair up the three models' errors of plan and forecast, in m; what no model has is left out."""
    models = (record.incumbent, record.control, record.candidate)
    errors = {
        "Plan, L2": [model.plan_l2_m for model in models],
        "Forecast, minADE of 6": [model.forecast_ade_m for model in models],
    }
    rows = (
        SliceRow(
            slice=name,
            metric="m",
            truths=record.gate.futures,
            incumbent=incumbent,
            control=control,
            candidate=candidate,
            is_headline=False,
        )
        for name, (incumbent, control, candidate) in errors.items()
    )
    return tuple(row for row in rows if row.is_measured)


def class_rows(record: LapRecord) -> list[dict[str, object]]:
    """List the guarded classes for a terminal: AP of each model, change with its bounds, and the answer."""
    has_anchor = any(row.anchor is not None for row in record.verdict.classes)
    return [
        {
            "class": row.category,
            "incumbent": row.incumbent,
            **({"anchor": row.anchor} if has_anchor else {}),
            "candidate": row.candidate,
            "minus incumbent": change(row.over_incumbent).replace(BOUND, " "),
            **({"minus anchor": change(row.over_anchor).replace(BOUND, " ")} if has_anchor else {}),
            "answer": answer_text(row.outcome),
        }
        for row in record.verdict.classes
    ]


def common_axis(rows: Sequence[SliceRow]) -> Axis:
    """Return an axis from 0 to 1, or wider where a score lies outside."""
    scores = [s for row in rows for s in (row.incumbent, row.control, row.candidate) if s]
    return Axis(
        low=min([0.0, *(math.floor(score.low) for score in scores)]),
        high=max([1.0, *(math.ceil(score.high) for score in scores)]),
    )


def shares(record: LapRecord) -> tuple[Share, Share]:
    """Set the triggers' clips beside the random stream's."""
    clips = record.clips
    return (
        Share("Triggers", "triggered", clips.with_rare_triggered, clips.triggered),
        Share("Random stream", "random", clips.with_rare_random, clips.random),
    )


def driven_s(drive: DriveRecord) -> float:
    """Return the simulated time of a drive, also of an older record, which does not state it."""
    return drive.ticks / _OLDER_RATE_HZ if drive.seconds is None else drive.seconds


def uplink(record: LapRecord) -> UplinkUse | None:
    """Return the bytes of a clip, of a minute and of a find; None when nothing was sent."""
    clips = record.clips
    seconds = math.fsum(driven_s(drive) for drive in record.drives if not drive.is_redrive)
    if not clips.uploaded or not seconds:
        return None
    finds = clips.with_rare_triggered
    return UplinkUse(
        per_clip_bytes=clips.bytes_uploaded // clips.uploaded,
        per_minute_bytes=round(clips.bytes_uploaded * 60 / seconds),
        per_find_bytes=clips.bytes_uploaded // finds if finds else None,
    )


def drive_groups(record: LapRecord) -> tuple[Drives, ...]:
    """Part the drives before the gate from those after; a group without drives is left out."""
    groups = [
        Drives(title, tuple(d for d in record.drives if d.is_redrive is is_redrive))
        for title, is_redrive in (("Before the gate", False), ("After the gate", True))
    ]
    return tuple(group for group in groups if group.drives)


def stage_bars(stage: StageCost, longest_s: float) -> str:
    """Draw the wall and CPU time of a stage to the scale of the longest."""
    wall = bar(
        [BarPart("wall", stage.seconds)], longest_s, label=f"{stage.seconds:.1f} s", height_px=8
    )
    label = f"{stage.cpu_seconds:.1f} s of CPU"
    return wall + bar([BarPart("cpu", stage.cpu_seconds)], longest_s, label=label, height_px=8)


def longest_s(record: LapRecord) -> float:
    """Return the longest time of any stage, wall or CPU."""
    return max((t for s in record.stages for t in (s.seconds, s.cpu_seconds)), default=0.0)


def rungs(drive: DriveRecord) -> list[tuple[str, int]]:
    """List how many ticks ran on which rung, richest first; rungs that were never used are left out."""
    return sorted(
        ((rung, ticks) for rung, ticks in drive.rungs.items() if ticks),
        key=lambda item: (_RUNGS.index(item[0]) if item[0] in _RUNGS else len(_RUNGS), item[0]),
    )


def rung_bar(drive: DriveRecord) -> str:
    """Draw the share of each rung in a drive."""
    label = ", ".join(f"{named(rung)} {count(ticks)}" for rung, ticks in rungs(drive))
    parts = [BarPart(f"rung-{rung}", ticks) for rung, ticks in rungs(drive)]
    return bar(parts, sum(drive.rungs.values()), label=label)


def wilson(hits: int, draws: int, z: float = 1.96) -> BoundedScore:
    """Bound a share of independent draws by its 95 % interval (Wilson 1927, the score interval)."""
    share = hits / draws
    scale = 1.0 / (1.0 + z * z / draws)
    middle = scale * (share + z * z / (2 * draws))
    half = scale * z * math.sqrt(share * (1.0 - share) / draws + z * z / (4 * draws * draws))
    return BoundedScore(value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))
