"""The fleet's database: rows that answer questions, and events that cannot be rewritten.

A row holds only the latest state; what happened stands in append-only event streams, each a hash chain, and
row and event are written in one transaction. Read ``records`` for what is kept, ``chain`` for the proof.
"""

from fleet.catalog.chain import Checkpoint, Event, Head, StreamKind, merkle_root, stream_name
from fleet.catalog.create import create_catalog
from fleet.catalog.database import Catalog, Transaction
from fleet.catalog.facts import (
    DatasetFacts,
    EvaluateFacts,
    LabelCounts,
    LabelFacts,
    RunFacts,
    TrainFacts,
)
from fleet.catalog.query import among, before, prefix, since
from fleet.catalog.records import (
    BundleRow,
    CampaignRow,
    CampaignState,
    ClipRow,
    DatasetRow,
    KeyPurpose,
    KeyRow,
    LabelRow,
    QuarantineRow,
    ReportRow,
    RolloutRow,
    RunRow,
    TrustState,
    VehicleRow,
)

__all__ = [
    "BundleRow",
    "CampaignRow",
    "CampaignState",
    "Catalog",
    "Checkpoint",
    "ClipRow",
    "DatasetFacts",
    "DatasetRow",
    "EvaluateFacts",
    "Event",
    "Head",
    "KeyPurpose",
    "KeyRow",
    "LabelCounts",
    "LabelFacts",
    "LabelRow",
    "QuarantineRow",
    "ReportRow",
    "RolloutRow",
    "RunFacts",
    "RunRow",
    "StreamKind",
    "TrainFacts",
    "Transaction",
    "TrustState",
    "VehicleRow",
    "among",
    "before",
    "create_catalog",
    "merkle_root",
    "prefix",
    "since",
    "stream_name",
]
