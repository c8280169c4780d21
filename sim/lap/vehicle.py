"""One simulated vehicle as a process: one life of ``edge.vehicle`` in a simulated world.

    python -m sim.lap.vehicle ORDER.json OUTCOME.json

The world is open for the drive alone, and closed before clips are sent.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from edge.budget import SENSOR_TO_PLAN
from edge.contracts.fields import Count, Finite, Name, Text
from edge.contracts.files import write_whole
from edge.contracts.progress import Progress, write_progress
from edge.contracts.scene import Rung
from edge.runtime import TickResult
from edge.vehicle import (
    Life,
    LifeOutcome,
    ProgressReport,
    TrustAnchors,
    VehicleSettings,
    open_home,
)
from sim.lap.measures import MeasureTally, SeenTick
from sim.vehicle import DriveOrder, SimulatedRoad, identity_of, open_road, simulated_vehicle


class TrustAnchorsFile(msgspec.Struct, frozen=True, kw_only=True):
    """The roots that the vehicle was delivered with, as hex."""

    image_root: str
    director_root: str


class VehicleOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One life of one vehicle."""

    home: str
    """The vehicle's own folder: keys, slots, spool, clips."""
    truth: str
    """Where the truth goes; not the vehicle's own folder."""
    profile: Name
    gateway: Text
    gateway_key: Text
    updates: Text
    anchors: TrustAnchorsFile
    drive: DriveOrder
    progress: str
    """Path of the progress file."""


class VehicleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one life."""

    vehicle_id: Name
    drive_id: Name
    bundle_id: Name
    phase: Name
    refusal: Text = ""
    """Why an offered update was not taken."""
    ticks: Count
    faults: Count
    rungs: dict[str, Count]
    collisions: Count
    progress_m: Finite
    measures: dict[str, Finite] = {}
    """By name, see ``sim.lap.measures``."""
    placed: dict[str, Count]
    captured: Count
    evicted: Count
    kept: Count
    uploaded: Count
    quarantined: Count
    """Of ``uploaded``, those that the fleet put aside."""
    bytes_sent: Count
    """Of the clips that the fleet took; greetings and what was sent twice depend on the clock."""
    modelled_p99_ms: Finite
    measured_ms: tuple[float, ...]
    """Whole ticks as this process took them; a side log that decides nothing."""


def live(order: VehicleOrder) -> VehicleOutcome:
    """Run one life of a vehicle: prepare, drive, send.

    Raises:
        LinkDownError: The fleet did not answer.
        OperatorError: The scenario placed nothing, or no bundle is installed.
    """
    settings, identity = _settings(order), identity_of(order.drive)
    with open_home(
        Path(order.home), settings, identity, anchors=_anchors(order), now_ns=time.time_ns()
    ) as home:
        life = Life(home, settings, identity, utc_ns=time.time_ns, report=progress_of(order))
        life.prepare()
        with open_road(order.drive, Path(order.truth)) as road:
            tally = MeasureTally()
            life.drive(road, on_tick=lambda result: tally.add(_seen(result, road)))
        return _summary(order, life.finish(), road, tally)


def progress_of(order: VehicleOrder) -> ProgressReport:
    """Write how far a life is to the order's progress file, for the lap that waits for it."""
    total = order.drive.ticks

    def report(ticks: int, note: str) -> None:
        write_progress(Path(order.progress), Progress(done=ticks, total=total, note=note))

    return report


def _settings(order: VehicleOrder) -> VehicleSettings:
    """Fill in the addresses of the fleet's service; all else is the order's."""
    settings = simulated_vehicle(order.drive.vehicle)
    return replace(
        settings,
        profile=order.profile,
        uplink=replace(settings.uplink, endpoint=order.gateway, server_key=order.gateway_key),
        update=replace(settings.update, base_url=order.updates),
    )


def _anchors(order: VehicleOrder) -> TrustAnchors:
    return TrustAnchors(
        image_root=bytes.fromhex(order.anchors.image_root),
        director_root=bytes.fromhex(order.anchors.director_root),
    )


def _seen(result: TickResult, road: SimulatedRoad) -> SeenTick:
    return SeenTick(result.perception, road.truths, road.speed_mps)


def _summary(
    order: VehicleOrder, outcome: LifeOutcome, road: SimulatedRoad, tally: MeasureTally
) -> VehicleOutcome:
    counts = outcome.counts
    return VehicleOutcome(
        vehicle_id=order.drive.vehicle_id,
        drive_id=order.drive.drive_id,
        bundle_id=outcome.health.bundle_id,
        phase=outcome.phase,
        refusal=outcome.refusal,
        ticks=outcome.ticks,
        faults=outcome.faults,
        rungs={str(rung): outcome.rungs.get(rung, 0) for rung in Rung},
        collisions=road.collisions,
        progress_m=road.progress_m,
        measures=tally.measured(road.progress_m),
        placed=road.placed,
        captured=outcome.clips.captured,
        evicted=outcome.clips.evicted,
        kept=len(outcome.clips.kept),
        uploaded=counts.clips_admitted + counts.clips_quarantined,
        quarantined=counts.clips_quarantined,
        bytes_sent=outcome.bytes_sent,
        modelled_p99_ms=outcome.deadline.p99_ms,
        measured_ms=_sensor_to_plan(outcome),
    )


def _sensor_to_plan(outcome: LifeOutcome) -> tuple[float, ...]:
    """Add up, tick by tick, the measured stages from the sensors to the plan."""
    stages = [outcome.measured_ms[name] for name in SENSOR_TO_PLAN if name in outcome.measured_ms]
    whole = [ms for ms in stages if len(ms) == outcome.ticks]
    return tuple(round(sum(tick), 3) for tick in zip(*whole, strict=True))


def main(arguments: list[str]) -> None:
    """Read an order, run it, write its outcome."""
    order = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=VehicleOrder)
    outcome = live(order)
    write_whole(Path(arguments[1]), msgspec.json.encode(outcome))


if __name__ == "__main__":
    main(sys.argv[1:])
