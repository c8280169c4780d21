"""Take in what vehicles send: prove the sender, collect the bytes, decide, commit, then acknowledge.

``admit`` decides and touches nothing; ``intake`` makes durable; ``session`` speaks the protocol; ``gateway``
and ``zap`` hold the sockets and the keys.
"""

from fleet.ingest.admit import Admission, AdmissionSettings, BlobFacts, Known, admit
from fleet.ingest.gateway import Gateway, GatewayCounts, GatewaySettings
from fleet.ingest.intake import IngestSettings, Intake
from fleet.ingest.session import SessionState

__all__ = [
    "Admission",
    "AdmissionSettings",
    "BlobFacts",
    "Gateway",
    "GatewayCounts",
    "GatewaySettings",
    "IngestSettings",
    "Intake",
    "Known",
    "SessionState",
    "admit",
]
