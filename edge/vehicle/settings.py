"""All settings of a vehicle, composed from the settings beside the code that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.clip import RecorderSettings
from edge.ota import AgentSettings
from edge.runtime import RuntimeSettings
from edge.upload import SpoolSettings, UplinkSettings


@dataclass
class VehicleSettings:
    """One vehicle."""

    profile: str = "laptop"
    """Kind of board: a file of ``conf/device``."""
    rig: str = "sim_eight"
    """What a simulated vehicle carries: a file of ``conf/rig``, or the path of one."""
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    recorder: RecorderSettings = field(default_factory=RecorderSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    uplink: UplinkSettings = field(default_factory=UplinkSettings)
    update: AgentSettings = field(default_factory=AgentSettings)
    report_capacity: int = 1000
    """Health reports that may wait for the fleet; beyond it the oldest is dropped."""
    answer_s: float = 30.0
    """Longest wait for the fleet's first answer, and for each sign of progress of an upload."""
    poll_s: float = 0.05
    """Pause between two looks at the connection while a vehicle waits for its fleet."""
