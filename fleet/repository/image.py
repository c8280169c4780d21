"""The Image repository: which bundles exist, signed by two people.

Its targets need two of three release keys, so a bundle that reaches vehicles was signed by two people, each
in a call and with a key file of their own; a change of the draft voids earlier signatures.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path

from tuf.api.metadata import Metadata, TargetFile, Targets  # type: ignore[attr-defined]

from edge.contracts.errors import OperatorError, SignatureError
from edge.contracts.release import (
    IMAGE_METADATA,
    IMAGE_TARGETS,
    Release,
    blob_path,
    manifest_path,
    release_of,
)
from fleet.bundle.bundle import Bundle
from fleet.repository.expiry import Expiry
from fleet.repository.metadata import (
    Lifetimes,
    MetadataFolder,
    RoleKeys,
    alone,
    as_custom,
    release_in,
    write_atomically,
)
from fleet.repository.signing import KeyRing

IMAGE_KEYS: RoleKeys = {
    "root": (("root-a", "root-b", "root-c"), 2),
    "targets": (("release-a", "release-b", "release-c"), 2),
    "snapshot": (("image-snapshot",), 1),
    "timestamp": (("image-timestamp",), 1),
}
_ONLINE = frozenset({"snapshot", "timestamp"})
"""Roles that are signed on line; people sign the targets."""


class ImageRepository:
    """All released bundles, and one draft of what is to be released next."""

    def __init__(
        self, tree: Path, drafts: Path, keys: KeyRing, lifetimes: Lifetimes | None = None
    ) -> None:
        """Open, without touching anything.

        Args:
            tree: What is served.
            drafts: Private folder for what is not signed by enough people yet.
        """
        self._tree = tree
        self._draft = drafts / "targets.json"
        self._metadata = MetadataFolder(tree / IMAGE_METADATA, keys, lifetimes or Lifetimes())

    def create(self, now_ns: int) -> None:
        """Start with an empty list of bundles; without effect when there is one."""
        if not self._metadata.is_started():
            self._metadata.start(IMAGE_KEYS, now_ns)
        if self._metadata.published() is None:
            draft = self._metadata.next_targets(now_ns)
            self._metadata.sign(draft, "targets")
            self._save_draft(draft)
            self.publish(now_ns)

    def is_created(self) -> bool:
        """Return whether there is a list of bundles, empty or not."""
        return self._metadata.is_started()

    def root_bytes(self) -> bytes:
        """Return the root that vehicles are delivered with."""
        return self._metadata.root_bytes()

    def propose(self, bundle: Bundle, now_ns: int) -> Release:
        """Add a bundle to the draft and its files to the tree; every signature on the draft is void.

        Raises:
            OperatorError: Its id does not name its content, or its counter is not the profile's highest.
        """
        manifest, release = bundle.manifest, release_of(bundle.manifest)
        if manifest.bundle_id != manifest.content_id():
            raise OperatorError(
                f"bundle {manifest.bundle_id} not proposed: its content is {manifest.content_id()}"
            )
        with self._writing():
            draft = self._read_draft() or self._metadata.next_targets(now_ns)
            latest = max(_counters(draft.signed, release.profile), default=-1)
            if release.release_counter <= latest:
                raise OperatorError(
                    f"bundle {manifest.bundle_id} not proposed: counter {release.release_counter} of "
                    f"profile {release.profile} is not above {latest}"
                )
            draft.signatures.clear()
            self._add(draft.signed, bundle, release)
            self._save_draft(draft)
        return release

    def sign(self, key_name: str) -> int:
        """Put one person's signature on the draft.

        Returns:
            How many people have signed it.

        Raises:
            OperatorError: There is no draft, or this key may not sign it.
        """
        with self._writing():
            draft = self._load_draft()
            count = self._metadata.sign(draft, "targets", (key_name,))
            self._save_draft(draft)
        return count

    def publish(self, now_ns: int, *, minimum_signatures: int | None = None) -> None:
        """Publish the draft.

        Args:
            minimum_signatures: None: as many as the root requires. A smaller number publishes metadata that
                every vehicle refuses, for tests of that refusal.

        Raises:
            OperatorError: There is no draft.
            SignatureError: Too few people signed it; nothing was published.
        """
        with self._writing():
            draft = self._load_draft()
            count = self._metadata.signature_count(draft, "targets")
            threshold = self._metadata.root().signed.roles["targets"].threshold
            needed = threshold if minimum_signatures is None else minimum_signatures
            if count < needed:
                raise SignatureError(
                    f"draft {draft.signed.version} has {count} of {needed} signatures; not published"
                )
            self._metadata.publish(draft, now_ns)
            self._draft.unlink()

    def renew(self, now_ns: int, *, waits: bool = True) -> bool:
        """Sign snapshot and timestamp afresh when one has lived half its life; run it on a timer.

        Args:
            waits: Whether to wait for another process that changes the repository.

        Raises:
            SignatureError: A private key is not here; nothing was written.
            StoreUnavailableError: Another process changes the repository.
        """
        if not self._is_due(now_ns):
            return False
        with self._writing(waits=waits):
            if not self._is_due(now_ns):
                return False  # another process did it meanwhile
            self._metadata.publish(None, now_ns)
        return True

    def rotate(self, role: str, old: str, new: str, now_ns: int) -> None:
        """Replace a key; after a release key, publish a fresh draft signed by the present ones at once."""
        with self._writing():
            self._metadata.rotate(role, old, new, now_ns)
            if role in {"snapshot", "timestamp"}:
                self._metadata.publish(None, now_ns)

    def refresh_draft(self, now_ns: int) -> None:
        """Draft the present list again, to be signed: before it expires, or by a new release key.

        Raises:
            OperatorError: There is a draft that people have yet to sign; publishing it renews as well.
        """
        with self._writing():
            if self._read_draft() is not None:
                raise OperatorError(
                    f"there is a draft in {self._draft.parent} already; sign and publish that one"
                )
            self._save_draft(self._metadata.next_targets(now_ns))

    def expiries_ns(self) -> dict[str, int]:
        """Return when each role's metadata expires, UTC."""
        return self._metadata.expiries_ns()

    def expiries(self) -> tuple[Expiry, ...]:
        """Return when each file that vehicles see expires; nothing before the first."""
        if not self._metadata.is_started():
            return ()
        return self._metadata.expiries(IMAGE_METADATA, _ONLINE)

    def released(self) -> tuple[Release, ...]:
        """List what vehicles can be assigned, lowest counter first."""
        published = self._metadata.published()
        targets = published[2].signed.targets if published is not None else {}
        found = [release_in(target) for target in targets.values()]
        releases = [release for release in found if release is not None]
        return tuple(sorted(releases, key=lambda r: (r.profile, r.release_counter)))

    def _add(self, targets: Targets, bundle: Bundle, release: Release) -> None:
        for sha256, data in bundle.blobs.items():
            if hashlib.sha256(data).hexdigest() != sha256:
                raise OperatorError(
                    f"bundle {release.bundle_id}: blob {sha256[:12]} has other content"
                )
            path = blob_path(sha256)
            if not (self._tree / path).exists():
                write_atomically(self._tree / path, data)
            targets.targets[path] = TargetFile.from_data(path, data, ["sha256"])
        path = manifest_path(release)
        target = TargetFile.from_data(path, bundle.manifest_bytes, ["sha256"])
        target.unrecognized_fields["custom"] = as_custom(release)
        targets.targets[path] = target
        served = self._tree / IMAGE_TARGETS / target.get_prefixed_paths()[0]
        write_atomically(served, bundle.manifest_bytes)

    def _load_draft(self) -> Metadata[Targets]:
        draft = self._read_draft()
        if draft is None:
            raise OperatorError(f"no draft in {self._draft.parent}; propose a bundle first")
        return draft

    def _read_draft(self) -> Metadata[Targets] | None:
        """Read the draft, unless it is one that was published just before a crash."""
        if not self._draft.exists():
            return None
        draft = Metadata[Targets].from_bytes(self._draft.read_bytes())
        published = self._metadata.published()
        is_stale = published is not None and draft.signed.version <= published[2].signed.version
        return None if is_stale else draft

    def _save_draft(self, draft: Metadata[Targets]) -> None:
        write_atomically(self._draft, draft.to_bytes())

    def _is_due(self, now_ns: int) -> bool:
        if not self._metadata.is_started():
            return False
        return bool(self._metadata.due(now_ns) & _ONLINE)

    def _writing(self, *, waits: bool = True) -> AbstractContextManager[None]:
        return alone(self._draft.parent / "lock", waits=waits)


def _counters(targets: Targets, profile: str) -> list[int]:
    found = (release_in(target) for target in targets.targets.values())
    return [r.release_counter for r in found if r is not None and r.profile == profile]
