"""The members of the fleet: enrolment, revocation, and the roster that the gateway checks every message by.

A vehicle makes its keys on its own disk and the operator registers the public halves here. A key belongs to
one vehicle for ever and a revoked vehicle does not come back under its name, so that a vehicle id in an old
event always means the same vehicle.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import zmq
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from zmq.utils import z85

from edge.contracts.errors import ContractError, OperatorError, SignatureError
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import HealthReport, SignedReport, decode_record
from fleet.catalog import (
    Catalog,
    KeyPurpose,
    KeyRow,
    StreamKind,
    Transaction,
    TrustState,
    VehicleRow,
)
from fleet.disk import write_synced


@dataclass(frozen=True)
class Enrolment:
    """Keys and calibration that an operator registers of a vehicle; all of it public."""

    vehicle_id: str
    curve_key: str
    """40 characters of Z85."""
    report_key: str
    """Ed25519, 64 hex digits."""
    profile: str = "laptop"
    rig_id: str | None = None
    """Hash of its calibration; without it every clip is quarantined."""


def enrol(
    catalog: Catalog, enrolment: Enrolment, *, at_ns: int, actor: str = "operator"
) -> VehicleRow:
    """Register a vehicle and its two public keys; doing it again changes nothing.

    Raises:
        OperatorError: A key is malformed or belongs to another vehicle, or the vehicle is known with
            other keys, or was revoked.
    """
    keys = {
        _checked_curve_key(enrolment.curve_key): KeyPurpose.CURVE,
        _checked_report_key(enrolment.report_key): KeyPurpose.REPORT,
    }
    vehicle_id = enrolment.vehicle_id
    vehicle = VehicleRow(
        vehicle_id=vehicle_id, profile=enrolment.profile, rig_id=enrolment.rig_id, at_ns=at_ns
    )
    with catalog.write(at_ns=at_ns, actor=actor) as tx:
        if not tx.add(vehicle):
            return _enrolled_before(tx, enrolment, set(keys))
        for key, purpose in keys.items():
            row = KeyRow(key=key, purpose=purpose, vehicle_id=vehicle_id, at_ns=at_ns)
            if not tx.add(row):
                raise OperatorError(
                    f"vehicle {vehicle_id} not enrolled: its {purpose} key belongs to another vehicle"
                )
        tx.append(
            StreamKind.VEHICLE,
            vehicle_id,
            "vehicle_enrolled.1",
            cause="enrolment",
            curve_key=enrolment.curve_key,
            report_key=enrolment.report_key,
            profile=enrolment.profile,
            rig_id=enrolment.rig_id,
        )
    return vehicle


def register_rig(
    catalog: Catalog, vehicle_id: str, rig_id: str, *, at_ns: int, actor: str = "operator"
) -> VehicleRow:
    """Register a vehicle's new calibration; its clips must carry this one from now on.

    Raises:
        OperatorError: There is no such vehicle, or ``rig_id`` is no SHA-256.
    """
    if not _is_sha256(rig_id):
        raise OperatorError(f"rig id {rig_id!r}: expected 64 hex digits; nothing was changed")
    with catalog.write(at_ns=at_ns, actor=actor) as tx:
        vehicle = tx.change(VehicleRow, vehicle_id, rig_id=rig_id)
        tx.append(
            StreamKind.VEHICLE, vehicle_id, "rig_registered.1", cause="calibration", rig_id=rig_id
        )
    return vehicle


def revoke(
    catalog: Catalog, vehicle_id: str, *, cause: str, at_ns: int, actor: str = "operator"
) -> VehicleRow:
    """Refuse a vehicle and its keys from now on; doing it again changes nothing.

    Raises:
        OperatorError: There is no such vehicle.
    """
    with catalog.write(at_ns=at_ns, actor=actor) as tx:
        before = tx.get(VehicleRow, vehicle_id)
        vehicle = tx.change(VehicleRow, vehicle_id, state=TrustState.REVOKED)
        if before is not None and before.state is TrustState.REVOKED:
            return vehicle
        for key in tx.all(KeyRow, vehicle_id=vehicle_id):
            tx.change(KeyRow, key.key, state=TrustState.REVOKED)
        tx.append(StreamKind.VEHICLE, vehicle_id, "vehicle_revoked.1", cause=cause)
    return vehicle


def verify_report(catalog: Catalog, vehicle_id: str, signed: SignedReport) -> HealthReport:
    """Check which vehicle signed a health report, whatever connection brought it.

    Raises:
        SignatureError: No active report key of the vehicle made the signature.
        SchemaError: The payload is no report.
        ContractError: The report names another vehicle.
    """
    keys = catalog.all(
        KeyRow, vehicle_id=vehicle_id, purpose=KeyPurpose.REPORT, state=TrustState.ACTIVE
    )
    if not any(_is_signed_by(key.key, signed) for key in keys):
        raise SignatureError(
            f"report of vehicle {vehicle_id} refused: signed by none of its {len(keys)} report keys"
        )
    report: HealthReport = decode_record(signed.payload, HealthReport, "health report")
    if report.vehicle_id != vehicle_id:
        raise ContractError(f"vehicle {vehicle_id} signed a report of vehicle {report.vehicle_id}")
    return report


class Roster:
    """The active CURVE keys, in memory: what ZAP and every message are checked against.

    Another process may revoke, so it is read anew when it is older than ``max_age_s``; that is the
    longest time for which a revoked vehicle is still served.
    """

    def __init__(self, catalog: Catalog, max_age_s: float = 0.25) -> None:
        self._catalog = catalog
        self._max_age_ns = round(max_age_s * NS_PER_S)
        self._read_ns: int | None = None
        self._vehicle_of: dict[str, str] = {}

    def refresh(self, now_ns: int) -> bool:
        """Read the keys when they are too old; True when it did.

        Raises:
            StoreUnavailableError: They cannot be read; from then on no key is known.
        """
        if self._read_ns is not None and 0 <= now_ns - self._read_ns < self._max_age_ns:
            return False
        self._vehicle_of = {}
        rows = self._catalog.all(KeyRow, purpose=KeyPurpose.CURVE, state=TrustState.ACTIVE)
        self._vehicle_of = {row.key: row.vehicle_id for row in rows}
        self._read_ns = now_ns
        return True

    def vehicle_of(self, curve_key: str) -> str | None:
        """Return whose key this is; None when it is unknown or revoked."""
        return self._vehicle_of.get(curve_key)


def make_gateway_key(path: Path) -> None:
    """Make the gateway's secret CURVE key; every vehicle will hold the public half."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_synced(path, z85.encode(secrets.token_bytes(32)), mode=0o600)


def load_gateway_key(path: Path) -> bytes:
    """Load the gateway's secret CURVE key, 40 characters of Z85.

    Raises:
        OperatorError: There is no such file, or it holds no key.
    """
    try:
        secret = path.read_bytes()
        zmq.curve_public(secret)
    except (FileNotFoundError, ValueError, zmq.ZMQError) as error:
        raise OperatorError(
            f"{path} holds no CURVE key; restore it: with another key no vehicle will connect"
        ) from error
    return secret


def _enrolled_before(tx: Transaction, enrolment: Enrolment, keys: set[str]) -> VehicleRow:
    vehicle_id = enrolment.vehicle_id
    vehicle = tx.get(VehicleRow, vehicle_id)
    assert vehicle is not None
    if vehicle.state is TrustState.REVOKED:
        raise OperatorError(f"vehicle {vehicle_id} was revoked; enrol it under another id")
    if {row.key for row in tx.all(KeyRow, vehicle_id=vehicle_id)} != keys:
        raise OperatorError(
            f"vehicle {vehicle_id} is enrolled with other keys; revoke it and enrol it under another id"
        )
    return vehicle


def _checked_curve_key(key: str) -> str:
    try:
        is_key = len(z85.decode(key)) == 32
    except (ValueError, KeyError):
        is_key = False
    if len(key) != 40 or not is_key:
        raise OperatorError(f"curve key {key!r}: expected 40 characters of Z85")
    return key


def _checked_report_key(key: str) -> str:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except ValueError as error:
        raise OperatorError(f"report key {key!r}: expected 64 hex digits") from error
    return key


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _is_signed_by(report_key: str, signed: SignedReport) -> bool:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(report_key))
    try:
        key.verify(signed.signature, signed.payload)
    except InvalidSignature:
        return False
    return True
