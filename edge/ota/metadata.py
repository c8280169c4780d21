"""Decide from signed metadata which bundle this vehicle should run, in the manner of Uptane.

Two repositories must agree: the Image repository (release people, off line, two signatures) says which
bundles exist; the Director (on line) says which of them this vehicle runs. python-tuf verifies each;
on top of it stand our own high-water marks, clock floor and the comparison of the two. Nothing that a
network attacker serves can lower a mark, install, or lock the vehicle out. A root that was verified once
is kept and marked at once, whatever happens to the rest of that look: it may have revoked a stolen key.
Of the Director, nothing else outlives a refusal: its keys sign for every vehicle, so what was verified
before the refusal may be another vehicle's.

``Updater`` fixes its reference time when it is built, and neither that nor its trusted metadata has a
public name, so ``_trusted_set`` is used here and only here; the tests of this module pin it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Root, Signed, TargetFile, Targets  # type: ignore[attr-defined]
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.updater import Updater

from edge.contracts.release import (
    IMAGE_METADATA,
    IMAGE_TARGETS,
    Assignment,
    Recipient,
    Release,
    blob_path,
    director_metadata,
    manifest_path,
)
from edge.contracts.time import NS_PER_S
from edge.ota.disk import Disk
from edge.ota.fetch import Link, MetadataFetcher
from edge.ota.marks import (
    ROLES,
    Marks,
    Repository,
    RepositoryMarks,
    RoleMark,
    older_than_marked,
    with_floor,
    with_root,
    with_versions,
)
from edge.ota.record import DurableRecord
from edge.ota.refusal import Refusal, RefusalKind

FLOOR_STEP_NS = 600 * NS_PER_S
KNOWN_CRITICAL = frozenset(Release.__struct_fields__) | frozenset(Assignment.__struct_fields__)

_TUF_REFUSALS: tuple[tuple[type[Exception], RefusalKind], ...] = (
    (DownloadLengthMismatchError, RefusalKind.HASH),
    (DownloadError, RefusalKind.LINK),
    (ExpiredMetadataError, RefusalKind.EXPIRED),
    (UnsignedMetadataError, RefusalKind.SIGNATURE),
    (BadVersionNumberError, RefusalKind.ROLLBACK),
    (LengthOrHashMismatchError, RefusalKind.HASH),
    (OSError, RefusalKind.SPACE),
)


@dataclass(frozen=True)
class TrustAnchors:
    """The root metadata that came with the vehicle; all later trust is a chain from these bytes."""

    image_root: bytes
    director_root: bytes


@dataclass(frozen=True)
class Identity:
    """The vehicle that the metadata must be for."""

    vehicle_id: str
    profile: str


@dataclass(frozen=True)
class Offer:
    """A release that both repositories vouch for and the Director assigns to this vehicle."""

    release: Release
    manifest_url: str
    manifest_sha256: str
    manifest_bytes: int
    not_before_ns: int
    blob_sizes: Mapping[str, int]
    """Every blob that release people signed: SHA-256 to size in bytes."""


@dataclass(frozen=True)
class _Refreshed:
    targets: Targets
    marks: RepositoryMarks
    expires_ns: int


class Repositories:
    """The two repositories as one vehicle sees them."""

    def __init__(
        self,
        *,
        base_url: str,
        identity: Identity,
        anchors: TrustAnchors,
        disk: Disk,
        link: Link,
        cache: str = "tuf",
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._identity = identity
        self._anchors = anchors
        self._fetcher = MetadataFetcher(link)
        self._cache = disk.locate(cache)
        self._record = DurableRecord(disk, "marks", Marks)
        self._marks = Marks()
        self._roots: dict[Repository, int] = {}
        """The newest root of each that was verified, though no disk may have taken it."""

    def check(self, now_ns: int) -> Offer | Refusal | None:
        """Look at both repositories; None when the Director assigns nothing.

        Args:
            now_ns: What the wall clock says, UTC.

        Raises:
            OSError: The marks cannot be written; nothing was concluded.
        """
        self._marks = self._record.load() or Marks()
        for name, version in self._roots.items():
            self._remember(with_root(self._marks, name, version), 1)
        director = self._refresh("director", now_ns)
        if isinstance(director, Refusal):
            return director
        image = self._refresh("image", now_ns)
        if isinstance(image, Refusal):
            return image
        refusal = foreign_metadata(director.targets, self._identity) or _rollback(
            self._marks, director=director.marks, image=image.marks
        )
        if refusal is not None:
            self._keep_roots_only("director")
            self._keep_roots_only("image")
            return refusal
        raised = with_versions(self._marks, "director", director.marks)
        raised = with_versions(raised, "image", image.marks)
        raised = with_floor(raised, now_ns, min(director.expires_ns, image.expires_ns))
        self._remember(raised, FLOOR_STEP_NS)
        return agreed_release(director.targets, image.targets, self._identity, self._base_url)

    def _refresh(self, name: Repository, now_ns: int) -> _Refreshed | Refusal:
        """Verify one repository up to its targets, as of now or of the clock floor, if that is later."""
        try:
            trusted = self._verify(name, max(now_ns, self._marks.floor_ns))
        except (RepositoryError, DownloadError, OSError) as error:
            if isinstance(error, ExpiredMetadataError):
                self._learn_expiry(name, now_ns)
            if name == "director" or isinstance(error, OSError):
                self._keep_roots_only(name)
            return _refusal_of_tuf(name, error)
        roles = {
            role: RoleMark(version=trusted[role].version, keys_sha256=_keys(trusted.root, role))
            for role in ROLES
        }
        seen = RepositoryMarks(root=trusted.root.version, roles=roles)
        return _Refreshed(trusted.targets, seen, _expiry_ns(trusted.timestamp))

    def _verify(self, name: Repository, as_of_ns: int) -> Any:
        """Fetch and verify one repository; its root is marked even when the rest fails.

        Raises:
            RepositoryError: Something in it is not valid.
            DownloadError: Something of it cannot be had.
            OSError: The disk refused.
        """
        updater = self._updater(name)
        trusted = updater._trusted_set
        trusted.reference_time = _utc(as_of_ns)
        try:
            updater.refresh()
        finally:
            self._roots[name] = max(self._roots.get(name, 0), trusted.root.version)
            self._remember(with_root(self._marks, name, trusted.root.version), 1)
        return trusted

    def _learn_expiry(self, name: Repository, now_ns: int) -> None:
        """Raise the floor to the expiry of what expired, so that a clock that falls back cannot revive it.

        The timestamp holds up to its own expiry, but it is not read when the root has expired as of a clock
        far ahead; so this reads it again, as of the floor.
        """
        updater = self._updater(name)
        trusted = updater._trusted_set
        trusted.reference_time = _utc(self._marks.floor_ns)
        with suppress(RepositoryError, DownloadError):
            updater.refresh()
        timestamp = trusted.get("timestamp")
        if timestamp is not None:
            self._remember(with_floor(self._marks, now_ns, _expiry_ns(timestamp)), 1)

    def _remember(self, raised: Marks, floor_step_ns: int) -> None:
        """Save the marks that rose; a rise of the floor by less than one step is not worth a write."""
        has_risen = raised.floor_ns - self._marks.floor_ns >= floor_step_ns
        if has_risen or raised.repositories != self._marks.repositories:
            self._record.save(raised)
            self._marks = raised

    def _updater(self, name: Repository) -> Updater:
        is_image = name == "image"
        folder = IMAGE_METADATA if is_image else director_metadata(self._identity.vehicle_id)
        cache = self._cache / name
        cache.mkdir(parents=True, exist_ok=True)
        return Updater(
            metadata_dir=str(cache),
            metadata_base_url=f"{self._base_url}/{folder}",
            fetcher=self._fetcher,
            config=UpdaterConfig(
                max_delegations=8, snapshot_max_length=200_000, targets_max_length=1_000_000
            ),
            bootstrap=self._anchors.image_root if is_image else self._anchors.director_root,
        )

    def _keep_roots_only(self, name: Repository) -> None:
        """Clear the cache of everything but the verified roots."""
        cache = self._cache / name
        history = cache / "root_history"
        for path in (*cache.glob("*"), *history.glob("*")):
            is_folder = path.is_dir() and not path.is_symlink()
            if (path == history and is_folder) or (path.parent == history and path.is_file()):
                continue
            with suppress(OSError):
                shutil.rmtree(path) if is_folder else path.unlink()


def foreign_metadata(director: Targets, identity: Identity) -> Refusal | None:
    """Refuse a Director's metadata that is, as a whole, not this vehicle's."""
    recipient = _custom(director.unrecognized_fields.get("custom"), Recipient)
    found = recipient.vehicle_id if recipient is not None else "nobody"
    if found == identity.vehicle_id:
        return None
    reason = (
        f"director metadata is for {found}, this is {identity.vehicle_id}; nothing of it is kept"
    )
    return Refusal(RefusalKind.FOREIGN_VEHICLE, reason)


def agreed_release(
    director: Targets, image: Targets, identity: Identity, base_url: str
) -> Offer | Refusal | None:
    """Compare what two verified repositories say, and find the one release for this vehicle."""
    if director.delegations is not None:
        return Refusal(RefusalKind.AMBIGUOUS, "the director delegates, which it never may; refused")
    if len(director.targets) > 1:
        names = ", ".join(sorted(director.targets))
        return Refusal(RefusalKind.AMBIGUOUS, f"the director assigns more than one bundle: {names}")
    if not director.targets:
        return None
    path, assigned = next(iter(director.targets.items()))
    assignment = _custom(assigned.custom, Assignment)
    if assignment is None:
        return Refusal(
            RefusalKind.SCHEMA, f"the director's words about {path} do not decode; refused"
        )
    release = assignment.release
    refusal = _unfit(assignment, path, identity) or _disagreement(assigned, image, path, release)
    if refusal is not None:
        return refusal
    return Offer(
        release=release,
        manifest_url=f"{base_url}/{IMAGE_TARGETS}/{_prefixed(assigned)}",
        manifest_sha256=assigned.hashes["sha256"],
        manifest_bytes=assigned.length,
        not_before_ns=assignment.not_before_ns,
        blob_sizes=_signed_blobs(image),
    )


def _rollback(marks: Marks, **seen: RepositoryMarks) -> Refusal | None:
    for name in ("director", "image"):
        older = older_than_marked(marks, name, seen[name])
        if older is not None:
            return Refusal(RefusalKind.ROLLBACK, older)
    return None


def _unfit(assignment: Assignment, path: str, identity: Identity) -> Refusal | None:
    release = assignment.release
    unknown = {*assignment.critical, *release.critical} - KNOWN_CRITICAL
    if assignment.vehicle_id != identity.vehicle_id:
        kind = RefusalKind.FOREIGN_VEHICLE
        reason = f"{path} is assigned to {assignment.vehicle_id}, this is {identity.vehicle_id}"
    elif release.profile != identity.profile:
        kind = RefusalKind.PROFILE
        reason = f"{path} is for profile {release.profile}, this vehicle is {identity.profile}"
    elif unknown:
        kind = RefusalKind.CRITICAL
        reason = f"{path} needs {', '.join(sorted(unknown))}, which this software does not know"
    elif path != manifest_path(release):
        kind = RefusalKind.MISMATCH
        reason = f"{path} is not where {manifest_path(release)} belongs"
    else:
        return None
    return Refusal(kind, f"bundle {release.bundle_id} refused: {reason}", release.bundle_id)


def _disagreement(
    assigned: TargetFile, image: Targets, path: str, release: Release
) -> Refusal | None:
    released = image.targets.get(path)
    if released is None:
        found = "does not list it"
    elif (released.length, released.hashes) != (assigned.length, assigned.hashes):
        found = "lists other bytes under that name"
    elif "sha256" not in released.hashes:
        found = "gives no SHA-256 for it"
    elif _custom(released.custom, Release) != release:
        found = "says something else about it"
    else:
        return None
    reason = (
        f"bundle {release.bundle_id} refused: director assigns {path}, the image repository {found}"
    )
    return Refusal(RefusalKind.MISMATCH, reason, release.bundle_id)


def _signed_blobs(image: Targets) -> dict[str, int]:
    found = ((target.hashes.get("sha256", ""), target) for target in image.targets.values())
    return {sha: target.length for sha, target in found if target.path == blob_path(sha)}


def _prefixed(target: TargetFile) -> str:
    """Return the URL path of a target in a repository with consistent snapshots (TUF 6.2)."""
    folder, _, name = target.path.rpartition("/")
    return f"{folder}/{target.hashes['sha256']}.{name}"


def _custom(custom: Any, record: type[Any]) -> Any:
    try:
        return msgspec.convert(custom, record)
    except msgspec.ValidationError:
        return None


def _keys(root: Root, role: str) -> str:
    """Identify who can sign a role: its keys and its threshold."""
    signers = root.roles[role]
    text = f"{signers.threshold}:{','.join(sorted(signers.keyids))}"
    return hashlib.sha256(text.encode()).hexdigest()


def _expiry_ns(signed: Signed) -> int:
    return int(signed.expires.timestamp()) * NS_PER_S


def _utc(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns / NS_PER_S, UTC)


def _refusal_of_tuf(name: Repository, error: Exception) -> Refusal:
    kind = next((k for cls, k in _TUF_REFUSALS if isinstance(error, cls)), RefusalKind.SCHEMA)
    what = "not read" if kind is RefusalKind.LINK else "refused"
    return Refusal(kind, f"{name} repository {what}: {error}")
