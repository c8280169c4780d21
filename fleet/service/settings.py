"""What the fleet service is told: read from conf/fleet.yaml and the command line, kept beside its state."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.ingest import GatewaySettings, IngestSettings
from fleet.store import StoreSettings


@dataclass
class ServiceSettings:
    """Everything the fleet service needs to know."""

    state: str = ".ringroad/fleet"
    """Folder of catalog, keys, incoming clips, update files and, by default, blobs."""
    catalog_url: str = ""
    """A file or a SQLAlchemy URL; empty means SQLite in the state folder."""
    updates_host: str = "127.0.0.1"
    updates_port: int = 0
    """Port 0 means any free one."""
    roster_max_age_s: float = 0.25
    """How long a revoked vehicle may still be served."""
    store: StoreSettings = field(default_factory=StoreSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
