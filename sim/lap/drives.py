"""Run the drives of a lap: one child process a vehicle, each with a simulated world of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fleet.repository import DirectorRepository, ImageRepository
from fleet.service import ServiceCard
from fleet.work.process import Work, run_all
from fleet.work.workspace import OnProgress, OnSteps, ProgressFeed, ignore_progress, ignore_steps
from sim.lap.folders import LapFolders
from sim.lap.vehicle import TrustAnchorsFile, VehicleOrder, VehicleOutcome
from sim.place.maps import Split, load_map
from sim.vehicle import DriveOrder


@dataclass(frozen=True)
class FinishedDrive:
    """A drive as it was ordered, and its outcome."""

    order: DriveOrder
    outcome: VehicleOutcome


def training_places(road_maps: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """List the ids of the places that vehicles may start from, by road map."""
    return {
        name: tuple(place.place_id for place in load_map(name).places_of(Split.TRAIN))
        for name in road_maps
    }


def ticks_of(orders: Sequence[DriveOrder]) -> int:
    """Count the ticks that drives will take."""
    return sum(order.ticks for order in orders)


def anchors_of(image: ImageRepository, director: DirectorRepository) -> TrustAnchorsFile:
    """Return the roots that vehicles are delivered with."""
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
    on_steps: OnSteps = ignore_steps,
    on_progress: OnProgress = ignore_progress,
) -> list[FinishedDrive]:
    """Run drives side by side, and read their outcomes.

    Args:
        folders: Of the lap.
        card: How to reach the fleet.
        anchors: What vehicles trust.
        profile: The vehicles' kind of board.
        orders: One per vehicle.
        truth: Folder of the truth logs.
        advance: Called with the number of ticks driven since its last call.
        on_progress: Called with each vehicle's progress.

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
    run_all(
        work, folders.logs, at_once=len(work), on_poll=ProgressFeed(logs, on_steps, on_progress)
    )
    return [FinishedDrive(order, _outcome(outcomes[order.drive_id])) for order in orders]


def _outcome(path: Path) -> VehicleOutcome:
    return msgspec.json.decode(path.read_bytes(), type=VehicleOutcome)
