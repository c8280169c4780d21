"""The fleet's one long-running process: the gateway for vehicles and a server of update files.

It decides nothing that takes long: labelling, training and evaluation are child processes (see
``fleet.work.process``) that meet it in catalog and store. It never imports torch.
"""

from fleet.service.door import ServedFleet, open_repositories, open_served
from fleet.service.files import FileServer
from fleet.service.renew import expiries_of, renew_all
from fleet.service.run import FleetService, serve
from fleet.service.settings import ServiceSettings
from fleet.service.state import ServiceCard, StateFolder, read_card

__all__ = [
    "FileServer",
    "FleetService",
    "ServedFleet",
    "ServiceCard",
    "ServiceSettings",
    "StateFolder",
    "expiries_of",
    "open_repositories",
    "open_served",
    "read_card",
    "renew_all",
    "serve",
]
