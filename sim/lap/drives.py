"""Run the drives of a lap: one child process a vehicle, each with a simulated world of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge.contracts.time import FRAME_RATE_HZ
from fleet.repository import DirectorRepository, ImageRepository
from fleet.service import ServiceCard
from fleet.work.process import Work, run_all
from fleet.work.workspace import Advance, Heard, ProgressFeed, unheard, unheard_of
from sim.lap.folders import LapFolders
from sim.lap.settings import LapSettings
from sim.lap.vehicle import TrustAnchorsFile, VehicleOrder, VehicleOutcome
from sim.place.maps import Split, load_map
from sim.vehicle import DriveOrder


def drive_orders(
    settings: LapSettings, lap: int, vehicles: Sequence[str], phase: str, seconds: float
) -> list[DriveOrder]:
    """Give every vehicle a place to start from; another one in every lap and phase."""
    orders = []
    for number, vehicle in enumerate(vehicles):
        scene = settings.scenes[number % len(settings.scenes)]
        places = load_map(scene.road_map).places_of(Split.TRAIN)
        rng = np.random.default_rng([settings.seed, lap, sum(phase.encode()), number])
        orders.append(
            DriveOrder(
                vehicle_id=vehicle,
                drive_id=f"lap{lap}-{phase}-{vehicle}",
                road_map=scene.road_map,
                place_id=places[int(rng.integers(len(places)))].place_id,
                scenario=scene.scenario,
                seconds=seconds,
                seed=int(rng.integers(2**31)),
                is_night=scene.is_night,
                vehicles_per_km=scene.vehicles_per_km,
            )
        )
    return orders


def ticks_of(orders: Sequence[DriveOrder]) -> int:
    """Count the ticks that drives will take."""
    return sum(round(order.seconds * FRAME_RATE_HZ) for order in orders)


def anchors_of(image: ImageRepository, director: DirectorRepository) -> TrustAnchorsFile:
    """Give the roots that vehicles are born with."""
    return TrustAnchorsFile(
        image_root=image.root_bytes().hex(), director_root=director.root_bytes().hex()
    )


def run_drives(
    folders: LapFolders,
    card: ServiceCard,
    anchors: TrustAnchorsFile,
    profile: str,
    orders: Sequence[DriveOrder],
    *,
    truth: Path,
    advance: Advance = unheard,
    heard: Heard = unheard_of,
) -> list[VehicleOutcome]:
    """Let vehicles live one life each, side by side, and read what came of it.

    Args:
        folders: Of the lap.
        card: How to reach the fleet.
        anchors: What vehicles trust.
        profile: Their kind of board.
        orders: One per vehicle.
        truth: Folder of what was really there.
        advance: Hears of the ticks as they are driven.
        heard: Hears what each vehicle says of itself.

    Raises:
        JobError: A vehicle's process failed; the others are ended.
    """
    truth.mkdir(parents=True, exist_ok=True)
    outcomes = {order.drive_id: folders.job(f"{order.drive_id}.outcome.json") for order in orders}
    logs = {order.vehicle_id: folders.job(f"{order.drive_id}.progress") for order in orders}
    work = []
    for order in orders:
        full = VehicleOrder(
            home=str(folders.vehicle(order.vehicle_id)),
            truth=str(truth),
            profile=profile,
            gateway=card.gateway,
            gateway_key=card.gateway_key,
            updates=card.updates,
            anchors=anchors,
            drive=order,
            progress=str(logs[order.vehicle_id]),
        )
        job = folders.job(f"{order.drive_id}.json")
        job.write_bytes(msgspec.json.encode(full))
        words = (str(job), str(outcomes[order.drive_id]))
        work.append(Work(order.drive_id, "sim.lap.vehicle", words))
    run_all(work, folders.logs, at_once=len(work), on_poll=ProgressFeed(logs, advance, heard))
    return [
        msgspec.json.decode(path.read_bytes(), type=VehicleOutcome) for path in outcomes.values()
    ]
