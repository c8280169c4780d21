"""The page's first sentence: which model won, by how much, and what vehicles drive on now.

A refusal is as good a result as a promotion, so every decision has a sentence of its own and none is written
as a failure of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.contracts.classes import CLASSES
from fleet.evaluate import Decision
from fleet.rollout import RolloutStage
from sim.lap.record import LapRecord, SliceScore
from sim.lap.report.history import claimed, score_of
from sim.lap.report.text import BOUND, interval, named, number

_BLIND_RECALL = 0.05
"""A model that finds less than this does not see a class at all."""

_LABELS = {
    Decision.PASS: "Promoted",
    Decision.FAIL: "Refused",
    Decision.NOT_ENOUGH_EVIDENCE: "Not enough evidence",
}


@dataclass(frozen=True)
class Headline:
    """The claimed slice on the gate, for all three models."""

    slice: str
    incumbent: SliceScore | None
    candidate: SliceScore
    control: SliceScore | None


@dataclass(frozen=True)
class LapOutcome:
    """The top of the page: a sentence in three parts, and the reason of the decision."""

    tone: str
    """``pass``, ``fail`` or ``not_enough_evidence``."""
    label: str
    claim: str
    numbers: str
    """Empty when the gate did not measure the claimed slice."""
    ending: str
    because: str

    @property
    def sentence(self) -> str:
        """The parts as one."""
        numbers = f": {self.numbers}" if self.numbers else ""
        return f"{self.claim}{numbers}; {self.ending}."

    @property
    def line(self) -> str:
        """Sentence and reason as one line for a terminal, with ordinary blanks."""
        return " ".join((self.sentence, self.because)).replace(BOUND, " ").strip()


def headline(record: LapRecord) -> Headline | None:
    """Return the numbers of the lap's claim; None when the gate did not measure it."""
    claim = claimed(record)
    candidate = score_of(record.candidate, *claim) if claim else None
    if claim is None or candidate is None:
        return None
    return Headline(
        slice=claim[0],
        incumbent=score_of(record.incumbent, *claim),
        candidate=candidate,
        control=score_of(record.control, *claim),
    )


def outcome(record: LapRecord) -> LapOutcome:
    """Put the lap into one sentence, and the reason of the decision into another."""
    decision, found = Decision(record.verdict.decision), headline(record)
    on_candidate = _count_on(record, record.candidate.bundle_id)
    is_promoted = decision is Decision.PASS and on_candidate == len(record.vehicles)
    has_stopped = decision is Decision.PASS and not is_promoted
    return LapOutcome(
        tone=str(Decision.FAIL if has_stopped else decision),
        label="Rollout stopped" if has_stopped else _LABELS[decision],
        claim=_claim(record, decision, found),
        numbers=_numbers(found) if found else "",
        ending=_ending(record, decision),
        because=_because(record, decision),
    )


def _claim(record: LapRecord, decision: Decision, found: Headline | None) -> str:
    many = _plural(record.claimed_slice)
    if decision is Decision.FAIL:
        return f"The candidate for {many} was refused"
    if decision is Decision.NOT_ENOUGH_EVIDENCE:
        return f"Too little evidence to judge the candidate for {many}"
    if found is None:
        return f"The candidate for {many} passed the gate"
    if _was_blind(found):
        return f"The candidate finds {many} that the incumbent missed"
    return f"The candidate finds more {many}"


def _was_blind(found: Headline) -> bool:
    score = found.incumbent.score if found.incumbent else None
    return score is None or score.value < _BLIND_RECALL


def _numbers(found: Headline) -> str:
    before = found.incumbent.score if found.incumbent else None
    start = f"{number(before.value)}{BOUND}→{BOUND}" if before else ""
    beside = found.control.score if found.control else None
    control = f", control {number(beside.value)}" if beside else ""
    return f"recall {start}{interval(found.candidate.score)}{control}"


def _ending(record: LapRecord, decision: Decision) -> str:
    count = len(record.vehicles)
    on_candidate = _count_on(record, record.candidate.bundle_id)
    if decision is not Decision.PASS:
        kept = _count_on(record, record.incumbent.bundle_id)
        return f"{kept} of {count} vehicles keep the incumbent"
    if on_candidate == count:
        return f"promoted to {on_candidate} of {count} vehicles"
    return f"the rollout stopped with {on_candidate} of {count} vehicles on it"


def _because(record: LapRecord, decision: Decision) -> str:
    """Name the rule that decided, or the wave."""
    stopped = [
        wave.reason for wave in record.rollout if wave.state == RolloutStage.HALTED and wave.reason
    ]
    if decision is Decision.PASS and stopped:
        return f"It passed the gate, and a wave was halted: {stopped[0]}."
    rules = record.verdict.rules
    if not rules:
        return ""
    against = [rule for rule in rules if rule.outcome is decision and decision is not Decision.PASS]
    if not against:
        return f"All {len(rules)} rules of the gate passed."
    first = against[0]
    others = f" So did {len(against) - 1} more." if len(against) > 1 else ""
    verb = "failed" if decision is Decision.FAIL else "lacked evidence"
    return (
        f"Of {len(rules)} rules, “{first.rule}” {verb}: "
        f"expected {first.expected}, got {first.got}.{others}"
    )


def _count_on(record: LapRecord, bundle_id: str | None) -> int:
    return sum(vehicle.bundle_id == bundle_id for vehicle in record.vehicles)


def _plural(name: str) -> str:
    return CLASSES[name].plural if name in CLASSES else f"{named(name)}s"
