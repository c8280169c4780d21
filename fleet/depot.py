"""Build bundles, have them signed by two people, publish them, and roll them out.

The keys of this demonstration fleet lie side by side in its state folder; two people who sign on two
machines use the same repositories, each with one private half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.bundle import Provenance
from edge.contracts.errors import OperatorError
from edge.contracts.release import Release
from edge.perceive.tensors import SPECS
from fleet.bundle.assemble import assemble
from fleet.bundle.bundle import Bundle, Tuned, read_bundle, rereleased, write_bundle
from fleet.catalog import BundleRow, StreamKind, prefix
from fleet.dataset.frozen import Dataset
from fleet.fleet import Fleet
from fleet.model import Model
from fleet.repository import DirectorRepository, ImageRepository
from fleet.rollout import CanaryRule, RolloutPlan, plan_waves
from fleet.rollout.conduct import report_keys
from fleet.work.workspace import Workspace

RELEASERS = ("release-a", "release-b")
"""Two people who check a bundle before vehicles may drive on it."""


@dataclass(frozen=True)
class Depot:
    """The keys, repositories and bundles with which an operator releases models."""

    fleet: Fleet
    workspace: Workspace

    @property
    def image(self) -> ImageRepository:
        """Which bundles exist."""
        return self.fleet.image

    @property
    def director(self) -> DirectorRepository:
        """Which bundle each vehicle should run."""
        return self.fleet.director

    def next_counter(self) -> int:
        """Return a release counter above every one that was given out."""
        given = [self.workspace.catalog.largest(BundleRow, "release_counter") or 0]
        given += [release.release_counter for release in self.image.released()]
        return max(given, default=0) + 1

    def build(
        self,
        model: Model,
        tuned: Tuned,
        questions: Dataset,
        *,
        profile: str,
        parent_bundle_id: str | None = None,
    ) -> Bundle:
        """Assemble the bundle of a network under the next counter.

        Args:
            model: Whose files ship.
            tuned: What the tune set says of it; a category without a threshold reports nothing.
            questions: Frames of the tune set, for the golden answers.
            profile: The kind of board.
            parent_bundle_id: What the network was fine-tuned from.
        """
        return assemble(
            model.files,
            SPECS[model.size],
            tuned,
            questions,
            profile=profile,
            release_counter=self.next_counter(),
            provenance=Provenance(
                parent_bundle_id=parent_bundle_id,
                dataset_id=model.dataset_id,
                run_id=model.run_id,
            ),
            categories=model.categories,
        )

    def keep(self, bundle: Bundle) -> None:
        """Keep a bundle's files and write it down; one that is known under a newer counter stays so."""
        manifest, at_ns = bundle.manifest, self.workspace.now_ns()
        kept = self.workspace.catalog.get(BundleRow, manifest.bundle_id)
        if kept is not None and kept.release_counter > manifest.release_counter:
            return
        write_bundle(bundle, self.fleet.bundles / manifest.bundle_id)
        row = BundleRow(
            bundle_id=manifest.bundle_id,
            profile=manifest.profile,
            release_counter=manifest.release_counter,
            run_id=manifest.provenance.run_id,
            manifest=bundle.manifest_bytes,
            at_ns=at_ns,
        )
        counter = manifest.release_counter
        with self.workspace.catalog.write(at_ns=at_ns, actor=self.workspace.actor) as tx:
            known = tx.get(BundleRow, manifest.bundle_id)
            if known is not None and known.release_counter >= counter:
                return
            if known is None:
                tx.add(row)
            else:
                tx.change(
                    BundleRow,
                    manifest.bundle_id,
                    release_counter=counter,
                    manifest=bundle.manifest_bytes,
                )
            kind, schema = StreamKind.BUNDLE, "bundle_built.1"
            cause = manifest.provenance.run_id or "unknown run"
            tx.append(kind, manifest.bundle_id, schema, cause=cause, release_counter=counter)

    def find(self, beginning: str) -> Bundle:
        """Read a kept bundle by the beginning of its id.

        Raises:
            OperatorError: None is meant, or several.
        """
        catalog = self.workspace.catalog
        found = catalog.all(BundleRow, prefix("bundle_id", beginning), limit=2)
        if len(found) != 1:
            count = catalog.count(BundleRow, prefix("bundle_id", beginning))
            raise OperatorError(
                f"{count} bundles begin with {beginning!r}; `ringroad bundle list` shows all"
            )
        return read_bundle(self.fleet.bundles / found[0].bundle_id)

    def propose(self, bundle: Bundle) -> Release:
        """Keep a bundle and put it on the draft that people sign."""
        self.keep(bundle)
        return self.image.propose(bundle, self.workspace.now_ns())

    def sign(self, name: str) -> int:
        """Put one person's signature on the draft; give how many have signed."""
        return self.image.sign(name)

    def publish(self) -> None:
        """Publish the signed draft; no vehicle installs it before a rollout assigns it."""
        self.image.publish(self.workspace.now_ns())

    def release(self, bundle: Bundle) -> Release:
        """Propose, sign by two people and publish, in one go."""
        release = self.propose(bundle)
        for name in RELEASERS:
            self.sign(name)
        self.publish()
        return release

    def released(self, bundle_id: str) -> Release:
        """Return the newest release of a bundle.

        Raises:
            OperatorError: It is not published.
        """
        found = [r for r in self.image.released() if r.bundle_id == bundle_id]
        if not found:
            raise OperatorError(
                f"bundle {bundle_id} is not published: two people run `ringroad bundle sign`, "
                "then `ringroad bundle publish`"
            )
        return max(found, key=lambda release: release.release_counter)

    def plan(
        self,
        rollout_id: str,
        candidate: Release,
        heal: Release,
        vehicles: Sequence[str],
        rule: CanaryRule,
        canaries: int = 1,
    ) -> RolloutPlan:
        """Plan a rollout of what is published already.

        Raises:
            OperatorError: A vehicle has no report key, or the way back is not above the candidate.
        """
        if heal.release_counter <= candidate.release_counter:
            raise OperatorError(
                f"incumbent {heal.bundle_id} is released as {heal.release_counter}, not above the "
                f"candidate's {candidate.release_counter}, so no vehicle could go back to it: "
                f"`ringroad bundle build --again {heal.bundle_id}`, sign and publish it first"
            )
        return RolloutPlan(
            rollout_id=rollout_id,
            candidate=candidate,
            heal=heal,
            waves=plan_waves(vehicles, canaries),
            report_keys=report_keys(self.workspace.catalog, tuple(sorted(vehicles))),
            rule=rule,
        )

    def enrol(self, vehicles: Sequence[str]) -> None:
        """Create the update metadata of vehicles that have none yet."""
        for vehicle_id in vehicles:
            self.director.enrol(vehicle_id, self.workspace.now_ns())

    def rerelease(self, bundle: Bundle) -> Bundle:
        """Return the same bundle under the next counter, so that a fleet can go back to it."""
        return rereleased(bundle, self.next_counter())
