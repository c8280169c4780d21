"""Evidence of a vehicle's reports: signed by its own key, counted once, about the release in question."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.contracts.errors import SchemaError
from edge.contracts.release import Release
from edge.contracts.scene import Rung
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import HealthReport, InstallPhase, SignedReport, decode_record
from fleet.rollout.plan import CanaryRule, Reported, RolloutPlan


@dataclass(frozen=True)
class VehicleEvidence:
    """A vehicle's reports since the rollout was planned, and its results since its wave opened."""

    opened_ns: int | None = None
    received_ns: int | None = None
    boots: tuple[str, ...] = ()
    """Every boot reported, newest last; a report of an older one is a replay."""
    sequence: int = -1
    faults: tuple[str, ...] = ()
    has_passed: bool = False
    is_healed: bool = False
    ignored: int = 0
    """Reports that did not count: forged, replayed or unreadable."""


def with_report(
    evidence: VehicleEvidence, event: Reported, vehicle_id: str, plan: RolloutPlan, now_ns: int
) -> VehicleEvidence:
    """Take in a report under a vehicle's name, if the vehicle signed it and had not sent it before."""
    report = verified_report(event, vehicle_id, plan.report_keys[vehicle_id])
    if report is None or _is_replayed(report, evidence):
        return replace(evidence, ignored=evidence.ignored + 1)
    return _with_report(evidence, report, plan, now_ns)


def silence_of(evidence: VehicleEvidence, rule: CanaryRule, now_ns: int) -> tuple[str, ...]:
    """Return the complaint about a vehicle that owes a report; one that has passed owes none."""
    if evidence.opened_ns is None or evidence.has_passed:
        return ()
    silent_ns = now_ns - max(evidence.opened_ns, evidence.received_ns or 0)
    if silent_ns <= rule.report_s * NS_PER_S:
        return ()
    return (f"was silent for more than {rule.report_s:.0f} s",)


def verified_report(
    signed: SignedReport | Reported, vehicle_id: str, public_key: bytes
) -> HealthReport | None:
    """Read a report that the vehicle's own key signed; None when it is not one."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed.signature, signed.payload)
        report: HealthReport = decode_record(signed.payload, HealthReport, "health report")
    except (InvalidSignature, SchemaError, ValueError):
        return None
    return report if report.vehicle_id == vehicle_id else None


def _is_replayed(report: HealthReport, evidence: VehicleEvidence) -> bool:
    """Tell a replayed report: one of an earlier boot, or with a sequence that has been used."""
    if report.boot_id not in evidence.boots:
        return False
    return report.boot_id != evidence.boots[-1] or report.sequence <= evidence.sequence


def _with_report(
    evidence: VehicleEvidence, report: HealthReport, plan: RolloutPlan, now_ns: int
) -> VehicleEvidence:
    is_new_boot = report.boot_id not in evidence.boots
    silence = silence_of(evidence, plan.rule, now_ns)
    evidence = replace(
        evidence,
        received_ns=now_ns,
        boots=(*evidence.boots, report.boot_id) if is_new_boot else evidence.boots,
        sequence=report.sequence,
        faults=(*evidence.faults, *silence),
    )
    if _is_about(report, plan.heal):
        is_back = report.phase is InstallPhase.COMMITTED
        return replace(evidence, is_healed=evidence.is_healed or is_back)
    if evidence.opened_ns is None or not _is_about(report, plan.candidate):
        return evidence
    return replace(
        evidence,
        faults=(*evidence.faults, *_faults_of(report, plan.rule)),
        has_passed=evidence.has_passed or _is_good(report, plan.rule),
    )


def _is_about(report: HealthReport, release: Release) -> bool:
    about = (report.bundle_id, report.release_counter)
    return about == (release.bundle_id, release.release_counter)


def _faults_of(report: HealthReport, rule: CanaryRule) -> tuple[str, ...]:
    """List what a report about the candidate counts against it."""
    found = []
    if report.phase in {InstallPhase.REVERTED, InstallPhase.REFUSED}:
        found.append(f"{report.phase} the candidate: {report.reason}")
    elif not report.is_golden_passed:
        found.append("drives on the candidate without its golden frames passed")
    if report.faults > rule.max_faults:
        found.append(
            f"had {report.faults} faults in {report.ticks} ticks, at most {rule.max_faults}"
        )
    if _has_histogram(report, rule) and _full_ratio(report) < rule.full_ratio:
        found.append(
            f"ran {_full_ratio(report):.2f} of its ticks on the full rung, "
            f"at least {rule.full_ratio:.2f}"
        )
    return tuple(found)


def _is_good(report: HealthReport, rule: CanaryRule) -> bool:
    return (
        report.phase is InstallPhase.COMMITTED
        and report.ticks >= rule.ticks
        and _has_histogram(report, rule)
        and not _faults_of(report, rule)
    )


def _has_histogram(report: HealthReport, rule: CanaryRule) -> bool:
    """Return whether a report's histogram covers enough ticks to be judged."""
    return 0 < sum(report.rungs.values()) >= rule.ticks


def _full_ratio(report: HealthReport) -> float:
    return report.rungs.get(Rung.FULL, 0) / sum(report.rungs.values())
