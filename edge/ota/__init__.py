"""Updates over the air: signed metadata, resumable fetch, two slots, a health gate, and a way back."""

from edge.ota.agent import AgentSettings, UpdateAgent, UpdateOutcome, open_agent
from edge.ota.fetch import FetchSettings
from edge.ota.install import active_bundle, install_factory_bundle
from edge.ota.metadata import Identity, TrustAnchors
from edge.ota.probe import BundleProbe, ProbeOutcome, golden_probe
from edge.ota.refusal import Refusal, RefusalKind
from edge.ota.state import BundlePhase, TrialRule

__all__ = [
    "AgentSettings",
    "BundlePhase",
    "BundleProbe",
    "FetchSettings",
    "Identity",
    "ProbeOutcome",
    "Refusal",
    "RefusalKind",
    "TrialRule",
    "TrustAnchors",
    "UpdateAgent",
    "UpdateOutcome",
    "active_bundle",
    "golden_probe",
    "install_factory_bundle",
    "open_agent",
]
