"""Who belongs to the fleet, and for how long."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.contracts.errors import (
    ContractError,
    OperatorError,
    SchemaError,
    SignatureError,
    StoreUnavailableError,
)
from edge.contracts.wire import HealthReport, InstallPhase, SignedReport
from edge.upload import VehicleKeys, load_or_make_keys
from fleet.catalog import Catalog, KeyRow, TrustState, VehicleRow, create_catalog
from fleet.keys import (
    Enrolment,
    Roster,
    enrol,
    load_gateway_key,
    make_gateway_key,
    register_rig,
    revoke,
    verify_report,
)

S = 10**9


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return create_catalog(tmp_path / "catalog.sqlite")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VehicleKeys]:
    folder = tmp_path_factory.mktemp("keys")
    return lambda name: load_or_make_keys(folder / name)


@pytest.fixture
def enrolment(keys: Callable[[str], VehicleKeys]) -> Enrolment:
    return Enrolment("v-01", keys("v-01").curve_key, keys("v-01").report_key, rig_id="c" * 64)


def signed(keys: VehicleKeys, **changes: object) -> SignedReport:
    report = HealthReport(
        vehicle_id="v-01",
        boot_id="b",
        sequence=1,
        bundle_id="b-0",
        phase=InstallPhase.IDLE,
        ticks=36,
        faults=0,
        is_golden_passed=True,
        rungs={},
        stamp_ns=1,
    )
    payload = msgspec.msgpack.encode(msgspec.structs.replace(report, **changes))
    return SignedReport(payload=payload, signature=keys.sign(payload))


def test_an_enrolled_vehicle_is_known_by_its_key(catalog: Catalog, enrolment: Enrolment) -> None:
    enrol(catalog, enrolment, at_ns=1)
    roster = Roster(catalog)
    roster.refresh(0)
    assert roster.vehicle_of(enrolment.curve_key) == "v-01"
    assert roster.vehicle_of("x" * 40) is None
    assert catalog.verify_chain("vehicle/v-01") == 1


def test_a_report_key_opens_no_connection(catalog: Catalog, enrolment: Enrolment) -> None:
    enrol(catalog, enrolment, at_ns=1)
    roster = Roster(catalog)
    roster.refresh(0)
    assert roster.vehicle_of(enrolment.report_key) is None


def test_enrolling_twice_changes_nothing(catalog: Catalog, enrolment: Enrolment) -> None:
    assert enrol(catalog, enrolment, at_ns=1) == enrol(catalog, enrolment, at_ns=2)
    assert len(catalog.all(KeyRow)) == 2
    assert len(catalog.events("vehicle/v-01")) == 1


def test_other_keys_under_a_known_name_are_refused(
    catalog: Catalog, enrolment: Enrolment, keys: Callable[[str], VehicleKeys]
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    other = Enrolment("v-01", keys("v-02").curve_key, keys("v-02").report_key)
    with pytest.raises(OperatorError, match="enrolled with other keys"):
        enrol(catalog, other, at_ns=2)


def test_one_key_for_two_vehicles_is_refused_and_leaves_nothing(
    catalog: Catalog, enrolment: Enrolment, keys: Callable[[str], VehicleKeys]
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    thief = Enrolment("v-02", enrolment.curve_key, keys("v-02").report_key)
    with pytest.raises(OperatorError, match="belongs to another vehicle"):
        enrol(catalog, thief, at_ns=2)
    assert catalog.get(VehicleRow, "v-02") is None


def test_a_revoked_vehicle_does_not_come_back_under_its_name(
    catalog: Catalog, enrolment: Enrolment
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    assert revoke(catalog, "v-01", cause="stolen", at_ns=2).state is TrustState.REVOKED
    assert {row.state for row in catalog.all(KeyRow)} == {TrustState.REVOKED}
    with pytest.raises(OperatorError, match="was revoked"):
        enrol(catalog, enrolment, at_ns=3)


def test_revoking_twice_is_one_event(catalog: Catalog, enrolment: Enrolment) -> None:
    enrol(catalog, enrolment, at_ns=1)
    revoke(catalog, "v-01", cause="stolen", at_ns=2)
    revoke(catalog, "v-01", cause="stolen", at_ns=3)
    schemas = [event.schema for event in catalog.events("vehicle/v-01")]
    assert schemas == ["vehicle_enrolled.1", "vehicle_revoked.1"]


def test_an_unknown_vehicle_cannot_be_revoked_or_calibrated(catalog: Catalog) -> None:
    with pytest.raises(OperatorError, match="no v-99 among the vehicles"):
        revoke(catalog, "v-99", cause="stolen", at_ns=1)
    with pytest.raises(OperatorError, match="no v-99 among the vehicles"):
        register_rig(catalog, "v-99", "c" * 64, at_ns=1)


def test_a_new_calibration_replaces_the_old(catalog: Catalog, enrolment: Enrolment) -> None:
    enrol(catalog, enrolment, at_ns=1)
    assert register_rig(catalog, "v-01", "d" * 64, at_ns=2).rig_id == "d" * 64


@pytest.mark.parametrize(
    ("curve_key", "report_key", "vehicle_id"),
    [
        ("short", "", "v-01"),
        ("~" * 40, "", "v-01"),
        ("é" * 40, "", "v-01"),
        ("", "ab", "v-01"),
        ("", "z" * 64, "v-01"),
        ("", "", "../etc"),
    ],
)
def test_malformed_enrolments_are_refused(
    catalog: Catalog, enrolment: Enrolment, curve_key: str, report_key: str, vehicle_id: str
) -> None:
    bad = Enrolment(
        vehicle_id, curve_key or enrolment.curve_key, report_key or enrolment.report_key
    )
    with pytest.raises(OperatorError):
        enrol(catalog, bad, at_ns=1)
    assert catalog.all(VehicleRow) == []


def test_the_roster_notices_a_revocation_within_its_age(
    catalog: Catalog, enrolment: Enrolment
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    roster = Roster(catalog, max_age_s=0.25)
    assert roster.refresh(0)
    revoke(catalog, "v-01", cause="stolen", at_ns=2)
    assert not roster.refresh(S // 4 - 1)
    assert roster.vehicle_of(enrolment.curve_key) == "v-01"
    assert roster.refresh(S // 4)
    assert roster.vehicle_of(enrolment.curve_key) is None


def test_a_roster_that_cannot_be_read_knows_nobody(
    tmp_path: Path, catalog: Catalog, enrolment: Enrolment
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    roster = Roster(catalog)
    roster.refresh(0)
    catalog.close()
    (tmp_path / "catalog.sqlite").write_bytes(b"the disk is broken" * 1000)
    with pytest.raises(StoreUnavailableError):
        roster.refresh(S)
    assert roster.vehicle_of(enrolment.curve_key) is None


def test_a_report_of_the_vehicle_itself_is_believed(
    catalog: Catalog, enrolment: Enrolment, keys: Callable[[str], VehicleKeys]
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    assert verify_report(catalog, "v-01", signed(keys("v-01"))).ticks == 36


def test_a_report_signed_by_another_vehicle_is_refused(
    catalog: Catalog, enrolment: Enrolment, keys: Callable[[str], VehicleKeys]
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    with pytest.raises(SignatureError, match="none of its 1 report keys"):
        verify_report(catalog, "v-01", signed(keys("v-02")))


def test_a_report_changed_after_signing_is_refused(
    catalog: Catalog, enrolment: Enrolment, keys: Callable[[str], VehicleKeys]
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    honest, worse = signed(keys("v-01")), signed(keys("v-01"), faults=9)
    forged = SignedReport(payload=worse.payload, signature=honest.signature)
    with pytest.raises(SignatureError):
        verify_report(catalog, "v-01", forged)


def test_a_report_about_another_vehicle_is_refused(
    catalog: Catalog, enrolment: Enrolment, keys: Callable[[str], VehicleKeys]
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    with pytest.raises(ContractError, match="v-02"):
        verify_report(catalog, "v-01", signed(keys("v-01"), vehicle_id="v-02"))


def test_signed_nonsense_is_refused(
    catalog: Catalog, enrolment: Enrolment, keys: Callable[[str], VehicleKeys]
) -> None:
    enrol(catalog, enrolment, at_ns=1)
    nonsense = SignedReport(payload=b"\xc1", signature=keys("v-01").sign(b"\xc1"))
    with pytest.raises(SchemaError):
        verify_report(catalog, "v-01", nonsense)


def test_the_gateway_key_is_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "gateway.curve"
    make_gateway_key(path)
    assert len(load_gateway_key(path)) == 40
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"spoiled"])
def test_a_lost_or_spoiled_gateway_key_is_not_silently_replaced(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "gateway.curve"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OperatorError, match="restore it"):
        load_gateway_key(path)
    assert path.exists() == (content is not None)
