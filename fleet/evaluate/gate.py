"""Decide from evidence whether a candidate may drive: pass, fail, or not enough evidence.

``judge_candidate`` compares numbers and nothing else; ``fleet/evaluate/evidence.py`` makes the numbers. Every
rule gives an outcome of its own. A rule about an interval passes when the whole interval lies on the good
side, fails when the whole interval lies on the bad side, and otherwise the evidence is not enough; the same
holds when a sample is smaller than the rule requires. One failed rule fails the candidate. Every claimed
slice must pass by itself, so claiming more slices never makes passing easier and needs no correction for many
tests. The guards of single classes work the other way round, each may refuse, and are corrected: see
``guard``.

The threshold is chosen by the false alarms on the tune split and checked on the gate split, over *all* its
frames: the upper bound of the rate must keep the allowance, as every bound here must lie on the good side. A
threshold that just keeps it on the tune split therefore rarely passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from edge.contracts.fields import Count, Length, Range, Ratio, Size, Unit
from fleet.evaluate.bootstrap import BootstrapSettings, Interval
from fleet.evaluate.episodes import EpisodeComparison
from fleet.evaluate.guard import ApChange, ClassGuard, Compared, Guard, Other, compared, lost
from fleet.evaluate.matching import MatchSettings

VERDICT_SCHEMA = 1


class Decision(StrEnum):
    """The gate's three answers, for a rule and for the whole."""

    PASS = "pass"
    FAIL = "fail"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass
class GateSettings:
    """Bounds that a candidate must keep."""

    max_false_alarms_per_clean_frame: Range = 0.05
    """On the tune split; fixes each model's threshold of the rare class."""
    max_false_alarms_per_frame: Range = 0.05
    """On the gate split, over all frames, at that threshold: the interval must not reach above it."""
    min_encounters: Count = 60
    """Gate encounters per claimed slice."""
    min_recall_difference: Unit = 0.0
    """The interval of candidate minus incumbent, and minus control, must lie above this."""
    min_map_difference: Unit = -0.03
    """The interval of ordinary mAP, candidate minus incumbent and minus anchor, must lie above this."""
    max_class_drop: Ratio = 0.03
    """AP that a single class may lose; one that is surely worse and down by more fails."""
    min_guard_frames: Count = 1200
    """Fewest frames of ordinary traffic that the guard against forgetting needs."""
    min_guard_places: Count = 100
    """Fewest places that these frames must come from."""
    min_instances: Size = 50
    """Counted truths that a class needs to be compared; a known class with fewer withholds the verdict."""
    min_episodes: Count = 1
    """Closed-loop episodes that must have been driven for the veto to mean anything."""
    distance_m: Length = 2.0
    """Centre distance of a hit, for recall."""
    match: MatchSettings = field(default_factory=MatchSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)


class RareRecall(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one claimed slice."""

    threshold: float
    """Fixed on the tune split."""
    tune_false_alarms: float
    """Per clean frame of the tune split, at that threshold."""
    gate_false_alarms: float | None
    """Per clean frame of the gate split, at that threshold; None when it has no clean frame."""
    gate_alarm_rate: Interval | None = None
    """False alarms per frame of the gate split, over all frames; None in verdicts of older software."""
    precision: float | None
    """On the gate split."""
    recall: Interval | None
    """None when the gate split holds no counted truth of the slice."""


class ClaimEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that the candidate is claimed to have improved, and its numbers on the gate split."""

    slice: str
    category: str
    encounters: int
    truths: int
    candidate: RareRecall
    incumbent: RareRecall
    control: RareRecall | None
    over_incumbent: Interval | None
    """Recall, candidate minus incumbent; None when there was nothing to find."""
    over_control: Interval | None
    """Recall, candidate minus control; None also when there is no control."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers that the gate looks at. What is None was not measured."""

    claims: tuple[ClaimEvidence, ...]
    guard: Guard | None
    episodes: EpisodeComparison | None


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's answer."""

    rule: str
    outcome: Decision
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.rule}: expected {self.expected}, got {self.got}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's answer with its reasons, the numbers behind it and the settings it ran with."""

    schema: int = VERDICT_SCHEMA
    decision: Decision
    reasons: tuple[Reason, ...]
    numbers: Evidence
    settings: GateSettings

    def to_json(self) -> bytes:
        """Encode canonically: the same verdict is the same bytes."""
        return msgspec.json.encode(self, order="deterministic")

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical bytes, which identifies the verdict."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def lines(self) -> tuple[str, ...]:
        """The reasons as text, one line each."""
        return tuple(str(reason) for reason in self.reasons)


def judge_candidate(evidence: Evidence, settings: GateSettings) -> Verdict:
    """Apply every rule and combine: one fail fails, one doubt withholds, else pass."""
    reasons = (
        *_judge_claims(evidence, settings),
        *_judge_guard(evidence.guard, settings),
        *_judge_episodes(evidence.episodes, settings),
    )
    outcomes = {reason.outcome for reason in reasons}
    decision = Decision.PASS
    if Decision.FAIL in outcomes:
        decision = Decision.FAIL
    elif Decision.NOT_ENOUGH_EVIDENCE in outcomes:
        decision = Decision.NOT_ENOUGH_EVIDENCE
    return Verdict(decision=decision, reasons=reasons, numbers=evidence, settings=settings)


def class_outcome(row: ClassGuard, guard: Guard, settings: GateSettings) -> Decision:
    """Return the guards' outcome for one class, against incumbent and anchor together."""
    if not _is_enough(guard, settings) or row.truths < settings.min_instances:
        return Decision.NOT_ENOUGH_EVIDENCE
    fallen = [found for found, _, _ in lost_classes(guard.classes, settings)]
    return Decision.FAIL if row in fallen else Decision.PASS


def lost_classes(classes: Sequence[ClassGuard], settings: GateSettings) -> tuple[Compared, ...]:
    """Choose the classes that refuse the candidate, and beside which model."""
    return lost(compared(classes), level=_level(settings), max_drop=settings.max_class_drop)


def _judge_claims(evidence: Evidence, settings: GateSettings) -> Iterator[Reason]:
    if not evidence.claims:
        yield _lacking("claim", "at least one rare slice", "none")
    for claim in evidence.claims:
        yield _alarms(claim, settings, is_enough=_is_enough(evidence.guard, settings))
        yield _enough(
            f"encounters of {claim.slice}", claim.encounters, settings.min_encounters, "encounters"
        )
        is_enough = claim.encounters >= settings.min_encounters
        bound = settings.min_recall_difference
        for other, interval in (
            ("incumbent", claim.over_incumbent),
            ("control", claim.over_control),
        ):
            rule = f"recall of {claim.slice}, candidate minus {other}"
            yield _interval_rule(rule, interval, bound, is_enough=is_enough)


def _alarms(claim: ClaimEvidence, settings: GateSettings, *, is_enough: bool) -> Reason:
    """Check on the gate split the false alarms that the threshold was chosen for on the tune split."""
    allowed, rare = settings.max_false_alarms_per_frame, claim.candidate
    rule = f"false alarms of {claim.category} per gate frame at threshold {rare.threshold:.3f}"
    expected, rate = f"interval at most {allowed:.3f}", rare.gate_alarm_rate
    if rate is None:
        return _lacking(rule, expected, "nothing measured")
    outcome = _outcome(is_enough, passes=rate.upper <= allowed, fails=rate.lower > allowed)
    got = f"{rate.estimate:.3f} [{rate.lower:.3f}, {rate.upper:.3f}]"
    return Reason(
        rule=rule,
        outcome=outcome,
        expected=expected,
        got=f"{got}, on the tune split {rare.tune_false_alarms:.3f}",
    )


def _judge_guard(guard: Guard | None, settings: GateSettings) -> Iterator[Reason]:
    if guard is None:
        expected = f"a class with at least {settings.min_instances} counted truths"
        yield _lacking("ordinary mAP", expected, "none in the gate split")
        return
    yield _enough("frames behind ordinary mAP", guard.frames, settings.min_guard_frames, "frames")
    yield _enough("places behind ordinary mAP", guard.places, settings.min_guard_places, "places")
    is_enough = _is_enough(guard, settings)
    for other in Other:
        if other is Other.ANCHOR and guard.over_anchor is None:
            continue  # the anchor is the incumbent: the same comparison is not counted twice
        change = guard.difference if other is Other.INCUMBENT else guard.over_anchor
        rule, bound = f"ordinary mAP, candidate minus {other}", settings.min_map_difference
        yield _interval_rule(rule, change, bound, is_enough=is_enough)
        yield _class_rule(guard, other, settings, is_enough=is_enough)


def _class_rule(guard: Guard, other: Other, settings: GateSettings, *, is_enough: bool) -> Reason:
    """Compare every class with the other model's, and name those that are lost."""
    rule = f"AP of every class, candidate beside {other}"
    expected = f"none surely lower and down by more than {settings.max_class_drop:.3f}"
    found = [r for r in lost_classes(guard.classes, settings) if r[1] is other]
    if is_enough and found:
        got = "; ".join(_fallen(row, change) for row, _, change in found)
        return Reason(rule=rule, outcome=Decision.FAIL, expected=expected, got=got)
    few = [row for row in guard.classes if row.truths < settings.min_instances]
    if few and other is Other.INCUMBENT:  # named once, though it holds for both
        counts = ", ".join(f"{row.truths} {row.category}" for row in few)
        return _lacking(rule, expected, f"{counts}, of {settings.min_instances} truths needed")
    every, resamples = compared(guard.classes), settings.bootstrap.resamples
    rows = [(row, change) for row, beside, change in every if beside is other]
    if not rows:
        return _lacking(rule, expected, "nothing measured")
    if len(every) > _level(settings) * (1 + resamples):
        got = f"{resamples} resamples, too few to be sure of any of {len(every)} comparisons"
        return _lacking(rule, expected, got)
    row, change = min(rows, key=lambda pair: pair[1].difference.estimate)
    got = f"lowest {row.category}, {_shown(change.difference)}"
    outcome = Decision.PASS if is_enough else Decision.NOT_ENOUGH_EVIDENCE
    return Reason(rule=rule, outcome=outcome, expected=expected, got=got)


def _fallen(row: ClassGuard, change: ApChange) -> str:
    after = change.ap + change.difference.estimate
    return f"{row.category} fell from {change.ap:.3f} to {after:.3f}, {_shown(change.difference)}"


def _level(settings: GateSettings) -> float:
    """Return the one-sided level of an interval's upper bound."""
    return 0.5 * (1.0 - settings.bootstrap.confidence_ratio)


def _is_enough(guard: Guard | None, settings: GateSettings) -> bool:
    """Return whether the gate split is large enough for its bounds to mean anything."""
    return (
        guard is not None
        and guard.frames >= settings.min_guard_frames
        and guard.places >= settings.min_guard_places
    )


def _judge_episodes(
    comparison: EpisodeComparison | None, settings: GateSettings
) -> Iterator[Reason]:
    driven = 0 if comparison is None else comparison.episodes
    yield _enough("closed-loop episodes", driven, settings.min_episodes, "episodes")
    if comparison is None:
        return
    new = comparison.new_collisions
    yield Reason(
        rule="closed-loop collisions",
        outcome=Decision.FAIL if new else Decision.PASS,
        expected="none that the incumbent did not have",
        got=f"{len(new)} in {driven} episodes" + (f" ({', '.join(new)})" if new else ""),
    )


def _interval_rule(
    rule: str, interval: Interval | None, bound: float, *, is_enough: bool
) -> Reason:
    expected = f"interval above {bound:+.3f}"
    if interval is None:
        return _lacking(rule, expected, "nothing measured")
    outcome = _outcome(is_enough, passes=interval.lower > bound, fails=interval.upper <= bound)
    return Reason(rule=rule, outcome=outcome, expected=expected, got=_shown(interval))


def _outcome(is_enough: bool, *, passes: bool, fails: bool) -> Decision:
    """Return the outcome of an interval: wholly on the good side, wholly on the bad one, or on both."""
    if is_enough and passes:
        return Decision.PASS
    return Decision.FAIL if is_enough and fails else Decision.NOT_ENOUGH_EVIDENCE


def _shown(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.lower:+.3f}, {interval.upper:+.3f}]"


def _enough(rule: str, got: int, expected: int, unit: str) -> Reason:
    return Reason(
        rule=rule,
        outcome=Decision.PASS if got >= expected else Decision.NOT_ENOUGH_EVIDENCE,
        expected=f"at least {expected} {unit}",
        got=f"{got}",
    )


def _lacking(rule: str, expected: str, got: str) -> Reason:
    return Reason(rule=rule, outcome=Decision.NOT_ENOUGH_EVIDENCE, expected=expected, got=got)
