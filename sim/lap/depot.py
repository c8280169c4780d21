"""The operator's side of a lap: open the fleet, enrol vehicles, release a model to them.

Each function is what an operator would do by hand with ``ringroad fleet``, ``bundle`` and ``rollout``;
those commands call the same functions of ``fleet``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.contracts.errors import LinkDownError
from edge.contracts.release import Release
from edge.ota import install_factory_bundle
from edge.upload import load_or_make_keys
from fleet.bundle import Bundle, rereleased, write_bundle
from fleet.campaign import CampaignSettings, approve, campaign_from, propose
from fleet.catalog import BundleRow, Catalog
from fleet.jobs import start_child
from fleet.keys import Enrolment, enrol
from fleet.repository import DirectorRepository, ImageRepository, KeyRing, create_keys
from fleet.rollout import CanaryRule, RolloutPlan, plan_waves
from fleet.rollout.conduct import report_keys, start
from fleet.service import ServiceCard, StateFolder, read_card
from sim.rig import default_rig

ACTOR = "lap"
_START_S = 60.0
_RELEASERS = ("release-a", "release-b")
"""Two people who look at a bundle before it may drive."""


@contextmanager
def running_service(
    state: StateFolder, log: Path, overrides: Sequence[str]
) -> Iterator[ServiceCard]:
    """Run ``ringroad fleet serve`` as a process of its own until the block is left.

    Raises:
        LinkDownError: It did not come up; the message ends with what it said.
    """
    words = ["fleet", "serve", "--state", str(state.root), "--json", *overrides]
    with start_child("edge", words, log) as child:
        deadline = time.monotonic() + _START_S
        while (card := read_card(state)) is None:
            if child.poll() is not None or time.monotonic() > deadline:
                raise LinkDownError(f"the fleet service did not start: {child.tail()}")
            time.sleep(0.05)
        yield card


class Depot:
    """The keys, repositories and catalog with which an operator releases models."""

    def __init__(self, state: StateFolder, catalog: Catalog) -> None:
        self.catalog = catalog
        self._keys = KeyRing(state.root / "release-keys")
        self.image = ImageRepository(state.updates, state.root / "drafts", self._keys)
        self.director = DirectorRepository(state.updates, self._keys)

    def open(self) -> None:
        """Make keys and empty repositories; nothing happens when they exist."""
        create_keys(self._keys)
        self.image.create(time.time_ns())
        self.director.create(time.time_ns())

    def next_counter(self) -> int:
        """Give a release counter above every one that was published."""
        return max((r.release_counter for r in self.image.released()), default=0) + 1

    def release(self, bundle: Bundle, run_id: str | None = None) -> Release:
        """Sign a bundle by two people, publish it and write it down."""
        now_ns = time.time_ns()
        release = self.image.propose(bundle, now_ns)
        for name in _RELEASERS:
            self.image.sign(name)
        self.image.publish(now_ns)
        row = BundleRow(
            bundle_id=bundle.manifest.bundle_id,
            profile=bundle.manifest.profile,
            release_counter=bundle.manifest.release_counter,
            run_id=run_id,
            manifest=bundle.manifest_bytes,
            at_ns=now_ns,
        )
        with self.catalog.write(at_ns=now_ns, actor=ACTOR) as tx:
            tx.add(row)
        return release

    def enrol(self, vehicle_id: str, home: Path, profile: str) -> None:
        """Register a vehicle by the public halves of the keys on its disk."""
        keys = load_or_make_keys(home / "keys")
        enrolment = Enrolment(
            vehicle_id=vehicle_id,
            curve_key=keys.curve_key,
            report_key=keys.report_key,
            profile=profile,
            rig_id=default_rig().rig_id,
        )
        enrol(self.catalog, enrolment, at_ns=time.time_ns(), actor=ACTOR)
        self.director.enrol(vehicle_id, time.time_ns())

    def campaign(self, campaign_id: str, settings: CampaignSettings) -> None:
        """Propose and approve one campaign; doing it again changes nothing."""
        now_ns = time.time_ns()
        propose(self.catalog, campaign_from(campaign_id, settings), at_ns=now_ns, actor=ACTOR)
        approve(self.catalog, campaign_id, by=ACTOR, at_ns=now_ns)

    def roll_out(
        self,
        rollout_id: str,
        candidate: Bundle,
        incumbent: Bundle,
        vehicles: Sequence[str],
        rule: CanaryRule,
    ) -> RolloutPlan:
        """Release a candidate, and the incumbent above it for the way back; let the canary go."""
        released = self.release(candidate)
        heal = self.release(rereleased(incumbent, self.next_counter()))
        plan = RolloutPlan(
            rollout_id=rollout_id,
            candidate=released,
            heal=heal,
            waves=plan_waves(vehicles),
            report_keys=report_keys(self.catalog, tuple(sorted(vehicles))),
            rule=rule,
        )
        start(self.catalog, plan, actor=ACTOR, at_ns=time.time_ns())
        return plan


def install_factory(bundle: Bundle, homes: Mapping[str, Path], folder: Path) -> None:
    """Give every vehicle the bundle it is born with."""
    write_bundle(bundle, folder)
    for home in homes.values():
        install_factory_bundle(home / "bundles", folder)
