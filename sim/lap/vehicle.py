"""One simulated vehicle as a process: talks to its fleet, drives, sends what it kept, updates itself.

    python -m sim.lap.vehicle ORDER.json OUTCOME.json

A drive is one life of the process, as between two ignitions: connect and learn the campaigns, send what
waits, look for an update, drive in lockstep, close the world, send clips and reports, end. Whatever was
not acknowledged stays in the spool and goes with the next life, and so do clips that a killed drive had
sealed.
"""

from __future__ import annotations

import random
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from edge.board.profile import device_profile
from edge.budget import SENSOR_TO_PLAN
from edge.clip import CLIP_SUFFIX, SealedClip, sealed_clips
from edge.contracts.campaign import Campaign
from edge.contracts.errors import LinkDownError
from edge.contracts.fields import Count, Finite, Name, Text
from edge.contracts.scene import Rung
from edge.contracts.time import FRAME_RATE_HZ
from edge.contracts.wire import Hello
from edge.ota import Agent, AgentSettings, TrustAnchors, golden_probe, open_agent
from edge.perceive.engine import open_engine
from edge.runtime import TickResult
from edge.upload import (
    Outbox,
    Spool,
    Uplink,
    UplinkCounts,
    UplinkSettings,
    load_or_make_keys,
)
from fleet.disk import write_whole
from fleet.work.process import Progress, write_progress
from sim.vehicle import DriveOrder, DriveOutcome, drive_order

_ANSWER_S = 30.0
"""Longest wait for the fleet's first word, and for each sign of progress of the upload."""
_WAIT_S = 0.05


class TrustAnchorsFile(msgspec.Struct, frozen=True, kw_only=True):
    """The roots that the vehicle was born with, as hex."""

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
    """What one life came to."""

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
    """Live one life.

    Raises:
        LinkDownError: The fleet did not answer.
        OperatorError: The scenario placed nothing, or no bundle is installed.
    """
    told = _Told.of(order)
    told.say(0, "asks its fleet")
    with ExitStack() as stack:
        agent = stack.enter_context(_agent(order))
        uplink, spool = _uplink(order, agent, stack)
        waiting = spool.pending()
        campaigns = _wait_for_campaigns(uplink)
        with suppress(LinkDownError):  # first, so that a full disk empties before more is written
            _send(uplink, told, 0, waiting=len(waiting))
        waiting += spool.take(_left_over(Path(order.home)))
        found = agent.step(time.time_ns())
        manifest, folder = agent.active()
        told.say(0, f"starts on {manifest.bundle_id}")
        outcome = drive_order(
            order.drive,
            manifest=manifest,
            bundle_folder=folder,
            profile=device_profile(order.profile),
            campaigns=campaigns,
            clips_folder=told.clips,
            truth_folder=Path(order.truth),
            on_tick=report_to(agent, told),
        )
        waiting += spool.take(outcome.clips.kept)
        reports = agent.reports(outcome.health.rungs, time.time_ns())
        for report in reports:
            uplink.report(report)
        _send(uplink, told, told.ticks, waiting=len(spool.pending()))
        while found_room := spool.take(_left_over(Path(order.home))):
            waiting += found_room
            _send(uplink, told, told.ticks, waiting=len(found_room))
        for report in reports:
            agent.acknowledge(report.sequence)
        told.say(told.ticks, f"home, clips uploaded: {_acknowledged(uplink)}")
        taken = {item.clip_id: item.blob_bytes for item in waiting if not spool.get(item.clip_id)}
        refusal = str(found.refusal or "")
        return _summary(
            order, agent, outcome, uplink.counts, refusal=refusal, bytes_sent=sum(taken.values())
        )


@dataclass(frozen=True)
class _Told:
    """What a vehicle says of itself while it lives, for people alone: no decision reads it."""

    path: Path
    ticks: int
    clips: Path

    @classmethod
    def of(cls, order: VehicleOrder) -> Self:
        drive = order.drive
        ticks = round(drive.seconds * FRAME_RATE_HZ)
        clips = Path(order.home) / "clips" / drive.drive_id
        return cls(path=Path(order.progress), ticks=ticks, clips=clips)

    def say(self, tick: int, words: str) -> None:
        write_progress(self.path, Progress(done=tick, total=self.ticks, note=words))

    def kept(self) -> int:
        """Count the clips that lie sealed on the disk by now."""
        return sum(1 for _ in self.clips.glob(f"*{CLIP_SUFFIX}"))


def _agent(order: VehicleOrder) -> AbstractContextManager[Agent]:
    settings = AgentSettings(
        vehicle_id=order.drive.vehicle_id, profile=order.profile, base_url=order.updates
    )
    anchors = TrustAnchors(
        image_root=bytes.fromhex(order.anchors.image_root),
        director_root=bytes.fromhex(order.anchors.director_root),
    )
    return open_agent(
        Path(order.home) / "bundles",
        settings=settings,
        anchors=anchors,
        probe=golden_probe(open_engine),
        boot_id=order.drive.drive_id,
        now_ns=time.time_ns(),
    )


def _uplink(order: VehicleOrder, agent: Agent, stack: ExitStack) -> tuple[Uplink, Spool]:
    home, vehicle_id = Path(order.home), order.drive.vehicle_id
    spool = Spool(home / "spool")
    stack.callback(spool.close)
    outbox = Outbox(home / "outbox")
    stack.callback(outbox.close)
    manifest, _ = agent.active()
    hello = Hello(
        vehicle_id=vehicle_id,
        boot_id=order.drive.drive_id,
        profile=order.profile,
        bundle_id=manifest.bundle_id,
        release_counter=manifest.release_counter,
    )
    uplink = Uplink(
        UplinkSettings(endpoint=order.gateway, server_key=order.gateway_key),
        load_or_make_keys(home / "keys"),
        hello,
        spool=spool,
        outbox=outbox,
        rng=random.Random(zlib.crc32(vehicle_id.encode())),
    )
    stack.callback(uplink.close)
    return uplink, spool


def _left_over(home: Path) -> Iterator[SealedClip]:
    """Find the clips that a life cut short had sealed, and those that found no room in the spool."""
    for folder in sorted((home / "clips").glob("*")):
        yield from sealed_clips(folder)


def _wait_for_campaigns(uplink: Uplink) -> tuple[Campaign, ...]:
    """Step until the fleet said what to record: campaigns are fixed before the first tick."""
    _until(uplink, lambda: uplink.campaigns is not None, "said Welcome")
    assert uplink.campaigns is not None
    return uplink.campaigns


def _send(uplink: Uplink, told: _Told, tick: int, *, waiting: int) -> None:
    """Step until everything that may leave was acknowledged; ``tick`` is how far the drive is."""
    before, said = _acknowledged(uplink), -1

    def is_done() -> bool:
        nonlocal said
        if waiting and said != _acknowledged(uplink) - before:
            said = _acknowledged(uplink) - before
            told.say(tick, f"uploads, clips: {said} of {waiting}")
        return uplink.is_idle

    _until(uplink, is_done, "acknowledged everything")


def _acknowledged(uplink: Uplink) -> int:
    return uplink.counts.clips_admitted + uplink.counts.clips_quarantined


def _until(uplink: Uplink, is_done: Callable[[], bool], what: str) -> None:
    """Step the link until something is so, as long as it makes progress."""
    last, deadline = uplink.counts.bytes_sent, time.monotonic() + _ANSWER_S
    while not is_done():
        uplink.step(time.monotonic_ns())
        uplink.wait(_WAIT_S)
        if uplink.counts.bytes_sent != last:
            last, deadline = uplink.counts.bytes_sent, time.monotonic() + _ANSWER_S
        if time.monotonic() > deadline:
            raise LinkDownError(
                f"the fleet has not {what} for {_ANSWER_S:.0f} s ({uplink.last_failure or 'silent'});"
                " what is in the spool stays there"
            )


def report_to(agent: Agent, told: _Told) -> Callable[[int, TickResult], None]:
    """Tell the agent how its bundle does, and whoever watches how far the drive is."""

    def on_tick(tick: int, result: TickResult) -> None:
        if not result.is_excused:
            agent.on_ticks(1, int(result.perception.has_fault), time.time_ns())
        if (tick + 1) % FRAME_RATE_HZ == 0:
            told.say(tick + 1, f"drives, clips kept: {told.kept()}")

    return on_tick


def _summary(
    order: VehicleOrder,
    agent: Agent,
    outcome: DriveOutcome,
    counts: UplinkCounts,
    *,
    refusal: str,
    bytes_sent: int,
) -> VehicleOutcome:
    health = outcome.health
    return VehicleOutcome(
        vehicle_id=order.drive.vehicle_id,
        drive_id=order.drive.drive_id,
        bundle_id=health.bundle_id,
        phase=str(agent.state.phase),
        refusal=refusal,
        ticks=health.ticks,
        faults=health.faults,
        rungs={str(rung): health.rungs.get(rung, 0) for rung in Rung},
        collisions=outcome.collisions,
        progress_m=outcome.progress_m,
        placed=outcome.placed,
        captured=outcome.clips.captured,
        evicted=outcome.clips.evicted,
        kept=len(outcome.clips.kept),
        uploaded=counts.clips_admitted + counts.clips_quarantined,
        quarantined=counts.clips_quarantined,
        bytes_sent=bytes_sent,
        modelled_p99_ms=outcome.deadline.p99_ms,
        measured_ms=_sensor_to_plan(outcome),
    )


def _sensor_to_plan(outcome: DriveOutcome) -> tuple[float, ...]:
    """Add up, tick by tick, the measured stages from the sensors to the plan."""
    stages = [outcome.measured_ms[name] for name in SENSOR_TO_PLAN if name in outcome.measured_ms]
    whole = [ms for ms in stages if len(ms) == outcome.ticks]
    return tuple(round(sum(tick), 3) for tick in zip(*whole, strict=True))


def main(arguments: list[str]) -> None:
    """Read an order, live it, write what came of it."""
    order = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=VehicleOrder)
    outcome = live(order)
    write_whole(Path(arguments[1]), msgspec.json.encode(outcome))


if __name__ == "__main__":
    main(sys.argv[1:])
