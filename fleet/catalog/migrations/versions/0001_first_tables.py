"""The tables of the first lap, as they were made before revisions were kept."""

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all twelve tables."""
    op.create_table(
        "vehicles",
        Column("vehicle_id", String, primary_key=True),
        Column("state", String, nullable=False),
        Column("profile", String, nullable=False),
        Column("rig_id", String),
        Column("at_ns", BigInteger, nullable=False),
    )
    _events_and_keys()
    _clips()
    _results()
    _releases()


def _events_and_keys() -> None:
    op.create_table(
        "events",
        Column("stream", String, primary_key=True),
        Column("seq", BigInteger, primary_key=True),
        Column("schema", String, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
        Column("actor", String, nullable=False),
        Column("cause", String, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("hash", String, nullable=False),
    )
    op.create_table(
        "keys",
        Column("key", String, primary_key=True),
        Column("purpose", String, nullable=False),
        _vehicle(),
        Column("state", String, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )
    op.create_table(
        "campaigns",
        Column("campaign_id", String, primary_key=True),
        Column("state", String, nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("vehicles", JSON, nullable=False),
        Column("until_ns", BigInteger, nullable=False),
        Column("approved_by", String, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )


def _clips() -> None:
    op.create_table(
        "clips",
        Column("clip_id", String, primary_key=True),
        Column("blob_id", String, nullable=False),
        Column("blob_bytes", BigInteger, nullable=False),
        _vehicle(),
        Column("drive_id", String, nullable=False),
        Column("bundle_id", String, nullable=False),
        Column("campaign_ids", JSON, nullable=False),
        Column("rules", JSON, nullable=False),
        Column("worth", Float, nullable=False),
        Column("start_ns", BigInteger, nullable=False),
        Column("end_ns", BigInteger, nullable=False),
        Column("frame_count", Integer, nullable=False),
        Column("manifest", LargeBinary, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )
    op.create_table(
        "quarantine",
        Column("offer_id", String, primary_key=True),
        Column("clip_id", String, nullable=False),
        Column("offered_blob_id", String, nullable=False),
        Column("blob_id", String, nullable=False),
        Column("blob_bytes", BigInteger, nullable=False),
        _vehicle(),
        Column("reasons", JSON, nullable=False),
        Column("manifest", LargeBinary, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )


def _results() -> None:
    op.create_table(
        "labels",
        Column("label_id", String, primary_key=True),
        Column("clip_id", String, nullable=False, index=True),
        Column("source", String, nullable=False),
        Column("blob_id", String, nullable=False),
        Column("facts", JSON, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )
    op.create_table(
        "datasets",
        Column("dataset_id", String, primary_key=True),
        Column("purpose", String, nullable=False),
        Column("blob_id", String, nullable=False),
        Column("facts", JSON, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )
    op.create_table(
        "runs",
        Column("run_id", String, primary_key=True),
        Column("stage", String, nullable=False),
        Column("state", String, nullable=False),
        Column("dataset_id", String),
        Column("facts", JSON, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )


def _releases() -> None:
    op.create_table(
        "bundles",
        Column("bundle_id", String, primary_key=True),
        Column("profile", String, nullable=False),
        Column("release_counter", BigInteger, nullable=False),
        Column("run_id", String),
        Column("manifest", LargeBinary, nullable=False),
        Column("facts", JSON, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )
    op.create_table(
        "rollouts",
        Column("rollout_id", String, primary_key=True),
        Column("bundle_id", String, nullable=False),
        Column("state", String, nullable=False),
        Column("facts", JSON, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )
    op.create_table(
        "reports",
        Column("vehicle_id", String, ForeignKey("vehicles.vehicle_id"), primary_key=True),
        Column("boot_id", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True),
        Column("bundle_id", String, nullable=False),
        Column("release_counter", BigInteger, nullable=False),
        Column("phase", String, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("signature", LargeBinary, nullable=False),
        Column("at_ns", BigInteger, nullable=False),
    )


def _vehicle() -> Column[str]:
    vehicle = ForeignKey("vehicles.vehicle_id")
    return Column("vehicle_id", String, vehicle, nullable=False, index=True)
