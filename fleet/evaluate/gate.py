"""Decide from evidence whether a candidate may drive: pass, fail, or not enough evidence.

``judge`` compares numbers and nothing else; ``fleet/evaluate/evidence.py`` makes the numbers. Every rule
answers on its own line. A rule about an interval passes when the whole interval lies on the good side,
fails when the whole interval lies on the bad side, and else the evidence is not enough; so it is when a
sample is smaller than the rule asks. One failed rule fails the candidate. Every claimed slice must pass
by itself, so claiming more slices never makes passing easier and needs no correction for many tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from edge.contracts.fields import Count, Length, Range, Unit
from fleet.evaluate.bootstrap import BootstrapSettings, Interval
from fleet.evaluate.episodes import EpisodeComparison
from fleet.evaluate.matching import MatchSettings

VERDICT_SCHEMA = 1


class Decision(StrEnum):
    """The gate's three answers, for a rule and for the whole."""

    PASS = "pass"
    FAIL = "fail"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass
class GateSettings:
    """What a candidate must show."""

    max_false_alarms_per_clean_frame: Range = 0.05
    """On the tune split; fixes each model's threshold of the rare class."""
    min_encounters: Count = 60
    """Gate encounters per claimed slice."""
    min_recall_difference: Unit = 0.0
    """The interval of candidate minus incumbent, and minus control, must lie above this."""
    min_map_difference: Unit = -0.03
    """The interval of ordinary mAP, candidate minus incumbent, must lie above this."""
    min_guard_frames: Count = 1200
    min_guard_places: Count = 100
    min_instances: Count = 50
    """Counted truths that a class needs to enter mAP."""
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
    """The same on the gate split; None when it has no clean frame."""
    precision: float | None
    """On the gate split."""
    recall: Interval | None
    """None when the gate split holds no counted truth of the slice."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A slice on which the candidate is said to be better, and what the gate split says."""

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


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """Ordinary traffic: what the candidate must not lose."""

    frames: int
    places: int
    categories: tuple[str, ...]
    candidate_map: float
    incumbent_map: float
    difference: Interval


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers that the gate looks at. What is None was not measured."""

    claims: tuple[Claim, ...]
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
        """Hash of the canonical bytes; a bundle names its verdict by it."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def lines(self) -> tuple[str, ...]:
        """The reasons as text, one line each."""
        return tuple(str(reason) for reason in self.reasons)


def judge(evidence: Evidence, settings: GateSettings) -> Verdict:
    """Apply every rule and combine: one fail fails, one doubt withholds, else pass."""
    reasons = (
        *_judge_claims(evidence.claims, settings),
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


def _judge_claims(claims: tuple[Claim, ...], settings: GateSettings) -> Iterator[Reason]:
    if not claims:
        yield _lacking("claim", "at least one rare slice", "none")
    for claim in claims:
        yield _alarms(claim, settings)
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


def _alarms(claim: Claim, settings: GateSettings) -> Reason:
    allowed = settings.max_false_alarms_per_clean_frame
    rare = claim.candidate
    on_gate = "unknown" if rare.gate_false_alarms is None else f"{rare.gate_false_alarms:.3f}"
    is_kept = rare.tune_false_alarms <= allowed
    return Reason(
        rule=f"false alarms of {claim.category} per clean frame at threshold {rare.threshold:.3f}",
        outcome=Decision.PASS if is_kept else Decision.FAIL,
        expected=f"at most {allowed:.3f} on the tune split",
        got=f"{rare.tune_false_alarms:.3f} (on the gate split {on_gate})",
    )


def _judge_guard(guard: Guard | None, settings: GateSettings) -> Iterator[Reason]:
    if guard is None:
        expected = f"a class with at least {settings.min_instances} counted truths"
        yield _lacking("ordinary mAP", expected, "none in the gate split")
        return
    yield _enough("frames behind ordinary mAP", guard.frames, settings.min_guard_frames, "frames")
    yield _enough("places behind ordinary mAP", guard.places, settings.min_guard_places, "places")
    is_enough = (
        guard.frames >= settings.min_guard_frames and guard.places >= settings.min_guard_places
    )
    rule, bound = "ordinary mAP, candidate minus incumbent", settings.min_map_difference
    yield _interval_rule(rule, guard.difference, bound, is_enough=is_enough)


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
    outcome = Decision.NOT_ENOUGH_EVIDENCE
    if is_enough and interval.lower > bound:
        outcome = Decision.PASS
    elif is_enough and interval.upper <= bound:
        outcome = Decision.FAIL
    got = f"{interval.estimate:+.3f} [{interval.lower:+.3f}, {interval.upper:+.3f}]"
    return Reason(rule=rule, outcome=outcome, expected=expected, got=got)


def _enough(rule: str, got: int, expected: int, unit: str) -> Reason:
    return Reason(
        rule=rule,
        outcome=Decision.PASS if got >= expected else Decision.NOT_ENOUGH_EVIDENCE,
        expected=f"at least {expected} {unit}",
        got=f"{got}",
    )


def _lacking(rule: str, expected: str, got: str) -> Reason:
    return Reason(rule=rule, outcome=Decision.NOT_ENOUGH_EVIDENCE, expected=expected, got=got)
