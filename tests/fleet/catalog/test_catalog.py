"""What the catalog promises: one row per thing, one event per happening, and no quiet rewriting."""

import hashlib
import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from edge.contracts.errors import (
    HashMismatchError,
    OperatorError,
    SchemaError,
)
from fleet.catalog import (
    Catalog,
    ClipRow,
    KeyPurpose,
    KeyRow,
    RolloutRow,
    StreamKind,
    TrustState,
    VehicleRow,
    create_catalog,
    merkle_root,
    since,
    stream_name,
)
from fleet.catalog.tables import METADATA, TABLES

VEHICLE = VehicleRow(vehicle_id="v-01", profile="laptop", rig_id=None, at_ns=5)
STREAM = "vehicle/v-01"
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def catalog(path: Path) -> Catalog:
    return create_catalog(path)


def clip(name: str, *, at_ns: int = 5, blob_bytes: int = 10) -> ClipRow:
    return ClipRow(
        clip_id=hashlib.sha256(name.encode()).hexdigest(),
        blob_id=hashlib.sha256(b"blob " + name.encode()).hexdigest(),
        blob_bytes=blob_bytes,
        vehicle_id="v-01",
        drive_id="d-1",
        bundle_id="b-0",
        campaign_ids=("edge_cases", "control"),
        rules=("low_ttc",),
        worth=0.25,
        start_ns=1,
        end_ns=2,
        frame_count=36,
        manifest=b"\x00\xff sealed",
        at_ns=at_ns,
    )


def write_events(catalog: Catalog, count: int) -> None:
    for n in range(count):
        with catalog.write(at_ns=n, actor="gateway") as tx:
            tx.append(StreamKind.VEHICLE, "v-01", "clip_admitted.1", cause=f"offer {n}", count=n)


def test_a_row_comes_back_as_it_was_written(catalog: Catalog) -> None:
    with catalog.write(at_ns=5, actor="test") as tx:
        tx.add(VEHICLE)
        tx.add(clip("a"))
    assert catalog.get(VehicleRow, "v-01") == VEHICLE
    assert catalog.get(ClipRow, clip("a").clip_id) == clip("a")
    assert catalog.get(ClipRow, "0" * 64) is None


def test_the_same_clip_twice_is_one_row(catalog: Catalog) -> None:
    with catalog.write(at_ns=5, actor="test") as tx:
        tx.add(VEHICLE)
        first = tx.add(clip("a"))
        second = tx.add(clip("a", at_ns=9))
    assert (first, second) == (True, False)
    assert catalog.all(ClipRow) == [clip("a")]


def test_rows_are_found_by_column_in_order_of_their_key(catalog: Catalog) -> None:
    with catalog.write(at_ns=5, actor="test") as tx:
        tx.add(VEHICLE)
        for name in "edcba":
            tx.add(clip(name))
    ids = [row.clip_id for row in catalog.all(ClipRow, vehicle_id="v-01")]
    assert ids == sorted(clip(name).clip_id for name in "abcde")
    assert catalog.all(ClipRow, vehicle_id="v-02") == []


def test_totals_count_and_add_up_what_is_recent(catalog: Catalog) -> None:
    with catalog.write(at_ns=5, actor="test") as tx:
        tx.add(VEHICLE)
        for n in range(4):
            tx.add(clip(str(n), at_ns=n, blob_bytes=100))
    assert catalog.total(ClipRow, "blob_bytes", vehicle_id="v-01") == (4, 400)
    assert catalog.total(ClipRow, "blob_bytes", since(3), vehicle_id="v-01") == (1, 100)
    assert catalog.total(ClipRow, "blob_bytes", vehicle_id="v-02") == (0, 0)


def test_state_changes_in_place(catalog: Catalog) -> None:
    row = RolloutRow(
        rollout_id="r-1", bundle_id="b-1", state="running", plan={"waves": []}, at_ns=1
    )
    with catalog.write(at_ns=1, actor="test") as tx:
        tx.add(row)
        changed = tx.change(RolloutRow, "r-1", state="halted", plan={"waves": [["v-01"]]})
    assert (
        changed.state == "halted"
        and changed.plan == {"waves": [["v-01"]]}
        and changed.bundle_id == "b-1"
    )
    assert catalog.get(RolloutRow, "r-1") == changed


def test_changing_what_is_not_there_is_refused(catalog: Catalog) -> None:
    with (
        pytest.raises(OperatorError, match="no v-99 among the vehicles"),
        catalog.write(at_ns=1, actor="test") as tx,
    ):
        tx.change(VehicleRow, "v-99", state=TrustState.REVOKED)


def test_a_key_of_an_unknown_vehicle_is_refused(catalog: Catalog) -> None:
    key = KeyRow(key="k", purpose=KeyPurpose.CURVE, vehicle_id="v-99", at_ns=1)
    with (
        pytest.raises(OperatorError, match="FOREIGN KEY"),
        catalog.write(at_ns=1, actor="test") as tx,
    ):
        tx.add(key)


def test_row_and_event_are_written_together_or_not_at_all(catalog: Catalog) -> None:
    def write_and_fail() -> None:
        with catalog.write(at_ns=1, actor="test") as tx:
            tx.add(VEHICLE)
            tx.append(StreamKind.VEHICLE, "v-01", "vehicle_enrolled.1", cause="test")
            raise KeyError("the power went")

    with pytest.raises(KeyError):
        write_and_fail()
    assert catalog.get(VehicleRow, "v-01") is None
    assert catalog.events(STREAM) == []


def test_events_are_numbered_from_zero_and_chained(catalog: Catalog) -> None:
    write_events(catalog, 3)
    events = catalog.events(STREAM)
    assert [e.seq for e in events] == [0, 1, 2]
    assert [e.facts for e in events] == [{"count": n} for n in range(3)]
    assert len({e.hash for e in events}) == 3
    assert catalog.verify_chain(STREAM) == 3


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE events SET payload = x'7b7d' WHERE seq = 1",
        "UPDATE events SET actor = 'nobody' WHERE seq = 1",
        "UPDATE events SET at_ns = 77 WHERE seq = 0",
        "UPDATE events SET cause = 'chance' WHERE seq = 2",
        "UPDATE events SET schema = 'clip_refused.1' WHERE seq = 2",
        "DELETE FROM events WHERE seq = 1",
        "DELETE FROM events WHERE seq = 0",
        "UPDATE events SET seq = seq + 10 WHERE seq = 2",
        "UPDATE events SET hash = '" + "1" * 64 + "' WHERE seq = 2",
    ],
)
def test_a_rewritten_event_is_noticed(catalog: Catalog, path: Path, tampering: str) -> None:
    write_events(catalog, 3)
    with sqlite3.connect(path) as connection:
        connection.execute(tampering)
    with pytest.raises(HashMismatchError, match="vehicle/v-01 is broken"):
        catalog.verify_chain(STREAM)


def test_two_events_that_changed_places_are_noticed(catalog: Catalog, path: Path) -> None:
    write_events(catalog, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET seq = 9 WHERE seq = 1")
        connection.execute("UPDATE events SET seq = 1 WHERE seq = 2")
        connection.execute("UPDATE events SET seq = 2 WHERE seq = 9")
    with pytest.raises(HashMismatchError):
        catalog.verify_chain(STREAM)


def test_a_cut_off_end_is_noticed_against_a_checkpoint(catalog: Catalog, path: Path) -> None:
    write_events(catalog, 3)
    checkpoint = catalog.checkpoint()
    catalog.verify_checkpoint(checkpoint)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM events WHERE seq = 2")
    assert catalog.verify_chain(STREAM) == 2
    with pytest.raises(HashMismatchError, match="the checkpoint saw"):
        catalog.verify_checkpoint(checkpoint)


def test_a_checkpoint_outlives_later_events_and_changes_with_them(catalog: Catalog) -> None:
    write_events(catalog, 2)
    early = catalog.checkpoint()
    write_events(catalog, 1)
    catalog.verify_checkpoint(early)
    assert catalog.checkpoint().root != early.root
    assert [h.seq for h in catalog.checkpoint().heads] == [2]


def test_event_counts_are_per_kind_of_stream(catalog: Catalog) -> None:
    write_events(catalog, 2)
    with catalog.write(at_ns=1, actor="test") as tx:
        tx.append(StreamKind.ROLLOUT, "r-1", "wave_started.1", cause="test")
    assert catalog.event_count(StreamKind.VEHICLE) == 2
    assert catalog.event_count(StreamKind.ROLLOUT) == 1
    assert catalog.event_count(StreamKind.DATASET) == 0


def test_many_writers_on_one_file_keep_one_chain(path: Path) -> None:
    catalogs = [create_catalog(path), *(Catalog(path) for _ in range(3))]
    writers = [threading.Thread(target=write_events, args=(c, 10)) for c in catalogs]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert catalogs[0].verify_chain(STREAM) == 40


def test_a_stream_needs_a_name() -> None:
    assert stream_name(StreamKind.DATASET, "d-1") == "dataset/d-1"
    with pytest.raises(OperatorError):
        stream_name(StreamKind.DATASET, "")


def leaf(content: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + content).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_merkle_roots_are_those_of_rfc_6962() -> None:
    assert merkle_root([]) == hashlib.sha256(b"").hexdigest()
    assert merkle_root([b"a"]) == leaf(b"a").hex()
    assert merkle_root([b"a", b"b"]) == node(leaf(b"a"), leaf(b"b")).hex()
    three = node(node(leaf(b"a"), leaf(b"b")), leaf(b"c"))
    assert merkle_root([b"a", b"b", b"c"]) == three.hex()
    five = node(
        node(node(leaf(b"a"), leaf(b"b")), node(leaf(b"c"), leaf(b"d"))),
        leaf(b"e"),
    )
    assert merkle_root([b"a", b"b", b"c", b"d", b"e"]) == five.hex()


@given(st.lists(st.binary(max_size=4), max_size=9), st.integers(0, 8), st.binary(max_size=4))
def test_a_merkle_root_changes_with_any_leaf(leaves: list[bytes], at: int, new: bytes) -> None:
    changed = leaves.copy()
    if at < len(leaves):
        changed[at] = new
    assert (merkle_root(leaves) == merkle_root(changed)) == (leaves == changed)


def test_every_record_has_a_column_per_field() -> None:
    for record, table in TABLES.items():
        assert tuple(record.__struct_fields__) == tuple(table.columns.keys())


def test_the_tables_are_understood_by_postgresql() -> None:
    ddl = "".join(
        str(CreateTable(table).compile(dialect=DIALECT)) for table in METADATA.sorted_tables
    )
    assert ddl.count("CREATE TABLE") == len(TABLES)
    assert "BYTEA" in ddl and "BIGINT" in ddl


def test_a_value_out_of_bounds_is_not_written(catalog: Catalog) -> None:
    bad = VehicleRow(vehicle_id="../etc", profile="laptop", rig_id=None, at_ns=1)
    with (
        pytest.raises(OperatorError, match="vehicles refused a row"),
        catalog.write(at_ns=1, actor="test") as tx,
    ):
        tx.add(bad)
    with catalog.write(at_ns=1, actor="test") as tx:
        tx.add(VEHICLE)
    with pytest.raises(SchemaError), catalog.write(at_ns=1, actor="test") as tx:
        tx.change(VehicleRow, "v-01", rig_id="short")
    assert catalog.all(VehicleRow) == [VEHICLE]
