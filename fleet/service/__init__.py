"""The fleet's one long-running process: the gateway for vehicles and a server of update files.

It decides nothing that takes long: labelling, training and evaluation are child processes (see
``fleet.jobs``) that meet it in catalog and store. It never imports torch.
"""

from fleet.service.files import FileServer
from fleet.service.run import FleetService, ServiceSettings, serve
from fleet.service.state import ServiceCard, StateFolder, read_card

__all__ = [
    "FileServer",
    "FleetService",
    "ServiceCard",
    "ServiceSettings",
    "StateFolder",
    "read_card",
    "serve",
]
