"""Bring clips and health reports home over a link that fails, from a vehicle that may lose power.

What is to be sent lies on disk first, and is forgotten only when the fleet says that it is durable there.
Read ``spool`` for the disk, ``protocol`` for what is said when, ``uplink`` for the sockets.
"""

from edge.upload.keys import VehicleKeys, load_or_make_keys
from edge.upload.outbox import Outbox, OutboxItem
from edge.upload.protocol import UplinkCounts, UplinkSettings, UplinkState
from edge.upload.spool import Spool, SpoolItem, SpoolSettings, check_manifest
from edge.upload.uplink import Uplink

__all__ = [
    "Outbox",
    "OutboxItem",
    "Spool",
    "SpoolItem",
    "SpoolSettings",
    "Uplink",
    "UplinkCounts",
    "UplinkSettings",
    "UplinkState",
    "VehicleKeys",
    "check_manifest",
    "load_or_make_keys",
]
