"""Updates over the air: signed metadata, resumable fetch, two slots, a health gate, and a way back."""

from edge.ota.agent import Agent, AgentSettings, Outcome, open_agent
from edge.ota.fetch import FetchSettings
from edge.ota.install import active_bundle, install_factory_bundle
from edge.ota.metadata import Identity, TrustAnchors
from edge.ota.probe import Probe, ProbeOutcome, golden_probe
from edge.ota.refusal import Refusal, RefusalKind
from edge.ota.state import Phase, TrialRule

__all__ = [
    "Agent",
    "AgentSettings",
    "FetchSettings",
    "Identity",
    "Outcome",
    "Phase",
    "Probe",
    "ProbeOutcome",
    "Refusal",
    "RefusalKind",
    "TrialRule",
    "TrustAnchors",
    "active_bundle",
    "golden_probe",
    "install_factory_bundle",
    "open_agent",
]
