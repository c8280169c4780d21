"""Power is cut before every single operation on the disk, and once more while recovering; nothing bricks.

The disk is the pessimistic one of ``conftest``: what was not synced may be lost, torn or reordered.
"""

import hashlib
from contextlib import suppress

import numpy as np
import pytest

from edge.contracts.errors import RingroadError
from edge.contracts.release import blob_path
from edge.ota import AgentSettings, BundlePhase, FetchSettings, Identity, ProbeOutcome, TrialRule
from edge.ota.agent import UpdateAgent
from edge.ota.metadata import Offer
from edge.ota.record import DurableRecord
from edge.ota.slots import fill_slot, make_folders, partial_path, record_of
from edge.ota.state import InstallState, first

PATTERNS = 5
"""Random losses tried per cut."""


class World:
    """A vehicle on bundle 1, offered bundle 2 and then bundle 3, on a disk that can lose power."""

    def __init__(self, disk, link, old, offers, is_good=True):
        self.disk = disk
        self.link = link
        self.offers = offers
        self.offer = None
        self.is_good = is_good
        make_folders(disk)
        for sha256, data in old.blobs.items():
            disk.write(partial_path(sha256), data)
            disk.sync(partial_path(sha256))
        fill_slot(disk, "a", old.manifest_bytes, old.manifest)
        DurableRecord(disk, "state", InstallState).save(first(record_of(disk, "a")))

    def boot(self):
        settings = AgentSettings(
            base_url="mem:",
            trial=TrialRule(ticks=4),
            progress_s=0.0,
            fetch=FetchSettings(chunk_bytes=512),
        )
        return UpdateAgent(
            settings=settings,
            identity=Identity("vehicle", "laptop"),
            disk=self.disk,
            check=lambda _now: self.offer,
            link=self.link,
            probe=self.probe,
            boot_id="boot",
            now_ns=0,
        )

    def probe(self, folder, manifest):
        for sha256 in (e.sha256 for e in manifest.engines):
            assert hashlib.sha256(self.disk.read(f"{folder}/{sha256}")).hexdigest() == sha256
        return ProbeOutcome(self.is_good, "" if self.is_good else "bad")

    def live(self, faults=0):
        """One process: boot, update, drive, update again, until all is settled."""
        agent = self.boot()
        for offer in self.offers:
            self.offer = offer
            for _ in range(4):
                agent.step(0)
                agent.active()
                agent.on_ticks(2, faults, 0)
        return agent


@pytest.fixture
def make_world(tmp_path, make_disk, make_memory_link, toy_release):
    old, _ = toy_release(tmp_path, 1.0, 1)
    files, offers = {}, []
    for counter in (2, 3):
        new, release = toy_release(tmp_path, float(counter), counter, padding=1500)
        files |= {f"mem:/{blob_path(sha256)}": data for sha256, data in new.blobs.items()}
        files[f"manifest-{counter}"] = new.manifest_bytes
        offer = Offer(
            release=release,
            manifest_url=f"manifest-{counter}",
            manifest_sha256=hashlib.sha256(new.manifest_bytes).hexdigest(),
            manifest_bytes=len(new.manifest_bytes),
            not_before_ns=0,
            blob_sizes={sha256: len(data) for sha256, data in new.blobs.items()},
        )
        offers.append(offer)

    def make(**kwargs):
        return World(make_disk(), make_memory_link(files), old, offers, **kwargs)

    return make


def operations_of(make_world, **kwargs):
    """How many disk operations a whole undisturbed life takes, and how many were there before it."""
    world = make_world()
    before = world.disk.operations
    world.live(**kwargs)
    return range(before, world.disk.operations)


def live_until_cut(world, power_loss, dies_at, rng, **kwargs):
    world.disk.dies_at = dies_at
    with pytest.raises(power_loss):
        world.live(**kwargs)
    world.disk.lose_power(rng)


def test_undisturbed_life_ends_committed(make_world):
    agent = make_world().live()
    assert agent.state.phase is BundlePhase.COMMITTED
    assert agent.active()[0].release_counter == 3


def test_what_was_committed_before_the_power_loss_is_committed_after_it(make_world):
    for seed in range(20):
        world = make_world()
        world.live()
        world.disk.lose_power(np.random.default_rng(seed))
        assert world.boot().state.phase is BundlePhase.COMMITTED


def test_power_loss_at_any_operation_leaves_a_bundle_to_drive_on_and_the_update_completes(
    make_world, power_loss
):
    rng = np.random.default_rng(1)
    cuts = operations_of(make_world)
    assert len(cuts) > 120
    for dies_at in cuts:
        for _ in range(PATTERNS):
            world = make_world()
            live_until_cut(world, power_loss, dies_at, rng)
            manifest, _ = world.boot().active()
            assert manifest.release_counter in {1, 2, 3}
            agent = world.live()
            assert agent.state.phase is BundlePhase.COMMITTED, f"after a cut at operation {dies_at}"
            assert agent.active()[0].release_counter == 3


def test_second_power_loss_while_recovering_changes_nothing(make_world, power_loss):
    rng = np.random.default_rng(2)
    cuts = operations_of(make_world)
    for dies_at in cuts:
        world = make_world()
        live_until_cut(world, power_loss, dies_at, rng)
        world.disk.dies_at = world.disk.operations + int(rng.integers(0, 40))
        with suppress(power_loss):
            world.live()
        world.disk.lose_power(rng)
        agent = world.live()
        assert agent.active()[0].release_counter == 3
        assert agent.state.phase is BundlePhase.COMMITTED


def test_power_loss_while_going_back_never_leaves_the_bad_bundle_driving(make_world, power_loss):
    rng = np.random.default_rng(3)
    for dies_at in operations_of(make_world, faults=1):
        world = make_world()
        live_until_cut(world, power_loss, dies_at, rng, faults=1)
        agent = world.live(faults=1)
        assert agent.active()[0].release_counter == 1
        assert agent.state.phase in {BundlePhase.REVERTED, BundlePhase.IDLE}
        assert agent.state.bad


def test_power_loss_around_a_failed_probe_never_switches(make_world, power_loss):
    rng = np.random.default_rng(4)
    world = make_world(is_good=False)
    before = world.disk.operations
    world.live()
    for dies_at in range(before, world.disk.operations):
        world = make_world(is_good=False)
        live_until_cut(world, power_loss, dies_at, rng)
        assert world.boot().active()[0].release_counter == 1
        assert world.live().active()[0].release_counter == 1


def test_disk_that_is_full_at_any_operation_changes_nothing_that_drives(make_world):
    for is_full_at in operations_of(make_world):
        world = make_world()
        agent = world.boot()
        world.offer = world.offers[0]
        world.disk.is_full_at = is_full_at
        for _ in range(4):
            agent.step(0)
            assert agent.active()[0].release_counter in {1, 2}
            agent.on_ticks(2, 0, 0)
        world.disk.is_full_at = None
        for _ in range(4):
            agent.step(0)
            agent.on_ticks(2, 0, 0)
        assert agent.active()[0].release_counter == 2
        assert world.boot().state.phase is BundlePhase.COMMITTED


def test_without_syncing_the_same_cuts_do_brick(make_world, power_loss):
    """The disk is as cruel as it claims: an installer that does not sync is caught by it."""
    rng = np.random.default_rng(5)
    bricked = 0
    for dies_at in operations_of(make_world):
        world = make_world()
        world.disk.sync = lambda _path, disk=world.disk: disk._count()
        live_until_cut(world, power_loss, dies_at, rng)
        try:
            world.live()
        except RingroadError:
            bricked += 1
    assert bricked > 10
