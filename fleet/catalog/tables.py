"""The catalog's tables, in the SQL that SQLite and PostgreSQL share: one column per field of a record.

A change here needs a migration, a file of ``migrations/versions``, and its number in ``revision.REVISIONS``.
"""

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from fleet.catalog import records
from fleet.catalog.chain import Event

METADATA = MetaData()


def _text(name: str, *, is_key: bool = False, is_indexed: bool = False) -> Column[str]:
    return Column(name, String, primary_key=is_key, nullable=False, index=is_indexed)


def _stamp(name: str = "at_ns", *, is_indexed: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=False, index=is_indexed)


def _vehicle(*, is_key: bool = False) -> Column[str]:
    vehicle = ForeignKey("vehicles.vehicle_id")
    return Column(
        "vehicle_id", String, vehicle, primary_key=is_key, nullable=False, index=not is_key
    )


def _facts() -> Column[object]:
    return Column("facts", JSON, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


EVENTS = Table(
    "events",
    METADATA,
    _text("stream", is_key=True),
    Column("seq", BigInteger, primary_key=True),
    _text("schema"),
    _stamp(),
    _text("actor"),
    _text("cause"),
    _bytes("payload"),
    _text("hash"),
)

TABLES: dict[type[msgspec.Struct], Table] = {
    Event: EVENTS,
    records.VehicleRow: Table(
        "vehicles",
        METADATA,
        _text("vehicle_id", is_key=True),
        _text("state"),
        _text("profile"),
        Column("rig_id", String),
        _stamp(),
    ),
    records.KeyRow: Table(
        "keys",
        METADATA,
        _text("key", is_key=True),
        _text("purpose"),
        _vehicle(),
        _text("state"),
        _stamp(),
    ),
    records.CampaignRow: Table(
        "campaigns",
        METADATA,
        _text("campaign_id", is_key=True),
        _text("state"),
        _bytes("record"),
        Column("vehicles", JSON, nullable=False),
        _stamp("until_ns"),
        _text("approved_by"),
        _stamp(),
    ),
    records.ClipRow: Table(
        "clips",
        METADATA,
        _text("clip_id", is_key=True),
        _text("blob_id"),
        Column("blob_bytes", BigInteger, nullable=False),
        _vehicle(),
        _text("drive_id", is_indexed=True),
        _text("bundle_id"),
        Column("campaign_ids", JSON, nullable=False),
        Column("rules", JSON, nullable=False),
        Column("worth", Float, nullable=False),
        _stamp("start_ns"),
        _stamp("end_ns"),
        Column("frame_count", Integer, nullable=False),
        _bytes("manifest"),
        _stamp(is_indexed=True),
    ),
    records.QuarantineRow: Table(
        "quarantine",
        METADATA,
        _text("offer_id", is_key=True),
        _text("clip_id"),
        _text("offered_blob_id"),
        _text("blob_id"),
        Column("blob_bytes", BigInteger, nullable=False),
        _vehicle(),
        Column("reasons", JSON, nullable=False),
        _bytes("manifest"),
        _stamp(),
    ),
    records.LabelRow: Table(
        "labels",
        METADATA,
        _text("label_id", is_key=True),
        Column("clip_id", String, nullable=False, index=True),
        _text("source", is_indexed=True),
        _text("blob_id"),
        _facts(),
        _stamp(),
    ),
    records.DatasetRow: Table(
        "datasets",
        METADATA,
        _text("dataset_id", is_key=True),
        _text("purpose"),
        _text("blob_id"),
        _facts(),
        _stamp(),
    ),
    records.RunRow: Table(
        "runs",
        METADATA,
        _text("run_id", is_key=True),
        _text("stage"),
        _text("state"),
        Column("dataset_id", String),
        _facts(),
        _stamp(),
    ),
    records.BundleRow: Table(
        "bundles",
        METADATA,
        _text("bundle_id", is_key=True),
        _text("profile"),
        Column("release_counter", BigInteger, nullable=False),
        Column("run_id", String),
        _bytes("manifest"),
        _stamp(),
    ),
    records.RolloutRow: Table(
        "rollouts",
        METADATA,
        _text("rollout_id", is_key=True),
        _text("bundle_id"),
        _text("state"),
        Column("plan", JSON, nullable=False),
        _stamp(),
    ),
    records.ReportRow: Table(
        "reports",
        METADATA,
        _vehicle(is_key=True),
        _text("boot_id", is_key=True),
        Column("sequence", BigInteger, primary_key=True),
        _text("bundle_id"),
        Column("release_counter", BigInteger, nullable=False),
        _text("phase"),
        _bytes("payload"),
        _bytes("signature"),
        _stamp(is_indexed=True),
    ),
}
