"""Open a vehicle's home folder: keys, slots, spool and outbox, and the connections that work on them."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.clip import DriveIdentity, SealedClip, sealed_clips
from edge.contracts.wire import Hello
from edge.ota import Identity, TrustAnchors, UpdateAgent, golden_probe, open_agent
from edge.perceive.engine import open_engine
from edge.upload import Outbox, Spool, Uplink, load_or_make_keys
from edge.vehicle.settings import VehicleSettings


@dataclass(frozen=True, eq=False)
class VehicleHome:
    """Everything that outlives a drive: clips, spool, installed bundles, and the connections to the fleet."""

    folder: Path
    agent: UpdateAgent
    spool: Spool
    uplink: Uplink

    def clips_folder(self, drive_id: str) -> Path:
        """Return the folder in which a drive seals its clips."""
        return self.folder / "clips" / drive_id

    def left_over(self) -> Iterator[SealedClip]:
        """Find clips that a killed drive had sealed, and clips that found no room in the spool."""
        for folder in sorted((self.folder / "clips").glob("*")):
            yield from sealed_clips(folder)


@contextmanager
def open_home(
    folder: Path,
    settings: VehicleSettings,
    identity: DriveIdentity,
    *,
    anchors: TrustAnchors,
    now_ns: int,
) -> Iterator[VehicleHome]:
    """Open a home folder; keys are made where there are none.

    Args:
        folder: The vehicle's own folder.
        settings: Numbers.
        identity: Its ``drive_id`` is the id of this boot.
        anchors: Root metadata that the vehicle was delivered with.
        now_ns: UTC.

    Raises:
        OperatorError: Another process runs on this folder, no bundle was ever installed, a key file
            holds no key, or the settings do not say where the fleet is.
        HashMismatchError: No slot holds a whole bundle any more.
    """
    with ExitStack() as stack:
        agent = stack.enter_context(
            open_agent(
                folder / "bundles",
                settings=settings.update,
                identity=Identity(identity.vehicle_id, settings.profile),
                anchors=anchors,
                probe=golden_probe(open_engine),
                boot_id=identity.drive_id,
                now_ns=now_ns,
            )
        )
        spool = Spool(folder / "spool", settings.spool)
        stack.callback(spool.close)
        outbox = Outbox(folder / "outbox", settings.report_capacity)
        stack.callback(outbox.close)
        uplink = Uplink(
            settings.uplink,
            load_or_make_keys(folder / "keys"),
            _hello(settings, identity, agent),
            spool=spool,
            outbox=outbox,
            rng=random.Random(zlib.crc32(identity.vehicle_id.encode())),
        )
        stack.callback(uplink.close)
        yield VehicleHome(folder, agent, spool, uplink)


def _hello(settings: VehicleSettings, identity: DriveIdentity, agent: UpdateAgent) -> Hello:
    manifest, _ = agent.active()
    return Hello(
        vehicle_id=identity.vehicle_id,
        boot_id=identity.drive_id,
        profile=settings.profile,
        bundle_id=manifest.bundle_id,
        release_counter=manifest.release_counter,
    )
