"""The fleet's one long-running process: the gateway for vehicles and a server of update files.

It does no long work: labelling, training and evaluation are child processes (see ``fleet.work.process``) that
exchange their data with it through catalog and store. It never imports torch.
"""

from fleet.service.files import FileServer
from fleet.service.renew import expiries_of, renew_all
from fleet.service.run import FleetService, serve
from fleet.settings import ServiceSettings
from fleet.state import ServiceCard, StateFolder, read_service_card

__all__ = [
    "FileServer",
    "FleetService",
    "ServiceCard",
    "ServiceSettings",
    "StateFolder",
    "expiries_of",
    "read_service_card",
    "renew_all",
    "serve",
]
