"""Sign and write the metadata of one TUF repository as files (TUF specification 1.0, consistent snapshots).

Everything but ``timestamp.json`` is written once under its version; the timestamp comes last and makes
the new state visible in one step. What was written before it and never named by it does no harm and is
written over by the next attempt, so a publication that died half-way is simply done again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edge.contracts.errors import OperatorError, SignatureError, StoreUnavailableError
from edge.contracts.release import Release
from edge.contracts.time import NS_PER_S
from fleet.disk import write_synced
from fleet.repository.expiry import Expiry
from fleet.repository.signing import KeyRing

RoleKeys = Mapping[str, tuple[tuple[str, ...], int]]
"""Per role, the names of its keys and how many of them must sign."""


Days = Annotated[float, msgspec.Meta(gt=0.0, le=3650.0)]


@dataclass
class Lifetimes:
    """Lifetime of each role's metadata, in real time."""

    root_days: Days = 365.0
    """Of a root, which names the keys of every role; people sign it."""
    targets_days: Days = 180.0
    """Of the list of bundles; people sign it."""
    snapshot_days: Days = 7.0
    """Of the list of all metadata; the service signs it."""
    timestamp_days: Days = 1.0
    """Of the timestamp, which names the newest metadata; the service signs it, at half of its life anew."""

    def of(self, role: str) -> timedelta:
        """Return the lifetime of a role's metadata."""
        return timedelta(days=getattr(self, f"{role}_days"))


class MetadataFolder:
    """The metadata of one repository."""

    def __init__(self, folder: Path, keys: KeyRing, lifetimes: Lifetimes) -> None:
        self._folder = folder
        self._keys = keys
        self._lifetimes = lifetimes

    def is_started(self) -> bool:
        """Return whether a root was ever written here."""
        return bool(self._root_versions())

    def start(self, roles: RoleKeys, now_ns: int) -> None:
        """Write the first root.

        Raises:
            SignatureError: Too few private root keys are here.
        """
        root = Root(expires=self.expiry("root", now_ns))
        for role, (names, threshold) in roles.items():
            for name in names:
                root.add_key(self._keys.public(name), role)
            root.roles[role].threshold = threshold
        self._write_root(Metadata(root), ())

    def adopt_root(self, data: bytes) -> None:
        """Take over a root that was signed elsewhere."""
        version = Metadata[Root].from_bytes(data).signed.version
        write_atomically(self._folder / f"{version}.root.json", data)

    def root(self) -> Metadata[Root]:
        """Read the newest root.

        Raises:
            OperatorError: The repository was never started.
        """
        return Metadata[Root].from_bytes(self.root_bytes(max(self._root_versions(), default=0)))

    def root_bytes(self, version: int = 1) -> bytes:
        """Read a root as it was signed; vehicles are delivered with the first one.

        Raises:
            OperatorError: There is no such root.
        """
        path = self._folder / f"{version}.root.json"
        if not path.is_file():
            raise OperatorError(f"{self._folder} holds no root of version {version}")
        return path.read_bytes()

    def published(self) -> tuple[Metadata[Timestamp], Metadata[Snapshot], Metadata[Targets]] | None:
        """Read what vehicles see now, following the timestamp; None before the first publication."""
        if not (self._folder / "timestamp.json").is_file():
            return None
        timestamp = Metadata[Timestamp].from_bytes((self._folder / "timestamp.json").read_bytes())
        version = timestamp.signed.snapshot_meta.version
        snapshot = Metadata[Snapshot].from_bytes(
            (self._folder / f"{version}.snapshot.json").read_bytes()
        )
        version = snapshot.signed.meta["targets.json"].version
        data = (self._folder / f"{version}.targets.json").read_bytes()
        return timestamp, snapshot, Metadata[Targets].from_bytes(data)

    def next_targets(self, now_ns: int) -> Metadata[Targets]:
        """Draft the next targets from what is published: same content, next version, unsigned."""
        published = self.published()
        targets = Targets(expires=self.expiry("targets", now_ns))
        if published is not None:
            targets = published[2].signed
            targets.version += 1
            targets.expires = self.expiry("targets", now_ns)
        return Metadata(targets)

    def sign(self, metadata: Metadata[Any], role: str, key_names: tuple[str, ...] = ()) -> int:
        """Add signatures: of the named keys, or of every key of the role whose private half is here.

        Returns:
            How many valid signatures of the role it bears now.

        Raises:
            OperatorError: A named key is none of the role's.
        """
        keyids = self.root().signed.roles[role].keyids
        for name in key_names:
            if self._keys.public(name).keyid not in keyids:
                raise OperatorError(f"key {name!r} may not sign {role} of {self._folder}")
        signers = [self._keys.signer(name) for name in key_names] or self._keys.signers_of(keyids)
        for signer in signers:
            metadata.sign(signer, append=True)
        return self.signature_count(metadata, role)

    def can_sign(self, role: str) -> bool:
        """Return whether the private half of a key of this role is here."""
        return self._keys.holds(self.root().signed.roles[role].keyids)

    def signature_count(self, metadata: Metadata[Any], role: str) -> int:
        """Count valid signatures of a role's present keys."""
        result = self.root().signed.get_verification_result(
            role, metadata.signed_bytes, metadata.signatures
        )
        return len(result.signed)

    def publish(self, targets: Metadata[Targets] | None, now_ns: int) -> None:
        """Make new targets visible, or renew snapshot and timestamp over the present ones.

        The targets' own signatures are the caller's to count: this only signs what is kept on line.

        Raises:
            SignatureError: A private key of snapshot or timestamp is not here; nothing was written.
        """
        for role in ("snapshot", "timestamp"):
            if not self.can_sign(role):
                raise SignatureError(
                    f"no private key of {role} is here; {self._folder} not published"
                )
        published = self.published()
        if targets is not None:
            path = self._folder / f"{targets.signed.version}.targets.json"
            write_atomically(path, targets.to_bytes())
            targets_meta = _meta(targets, targets.to_bytes())
        elif published is not None:
            targets_meta = published[1].signed.meta["targets.json"]
        else:
            raise OperatorError(f"{self._folder} has nothing to renew")
        snapshot = Snapshot(
            version=published[1].signed.version + 1 if published else 1,
            expires=self.expiry("snapshot", now_ns),
            meta={"targets.json": targets_meta},
        )
        snapshot_bytes = self._write_signed(Metadata(snapshot), "snapshot", str(snapshot.version))
        timestamp = Timestamp(
            version=published[0].signed.version + 1 if published else 1,
            expires=self.expiry("timestamp", now_ns),
            snapshot_meta=_meta(Metadata(snapshot), snapshot_bytes),
        )
        self._write_signed(Metadata(timestamp), "timestamp", None)

    def rotate(self, role: str, old: str, new: str, now_ns: int) -> None:
        """Publish a new root in which key ``new`` stands in for ``old``.

        Present metadata of that role must be signed afresh right after, else vehicles refuse it.

        Raises:
            OperatorError: ``old`` is no key of that role.
            SignatureError: Too few root keys are here, of the old root or of the new one.
        """
        before = self.root()
        after = self.root()
        keyid = self._keys.public(old).keyid
        if keyid not in before.signed.roles[role].keyids:
            raise OperatorError(f"key {old!r} is no key of {role} in {self._folder}")
        after.signatures.clear()
        after.signed.revoke_key(keyid, role)
        after.signed.add_key(self._keys.public(new), role)
        after.signed.version += 1
        after.signed.expires = self.expiry("root", now_ns)
        self._write_root(after, tuple(before.signed.roles["root"].keyids))

    def expiries_ns(self) -> dict[str, int]:
        """Return when each role's metadata expires, UTC: what an alarm watches."""
        return {
            role: int(found.signed.expires.timestamp()) * NS_PER_S
            for role, found in self._present().items()
        }

    def expiries(self, name: str, online: frozenset[str]) -> tuple[Expiry, ...]:
        """Return when each file of what vehicles see now expires.

        Args:
            name: How its files' names begin, for a reader.
            online: The roles that a service renews.
        """
        return tuple(
            Expiry(
                file=f"{name}/{'' if role == 'timestamp' else f'{found.signed.version}.'}{role}.json",
                role=role,
                expires_ns=int(found.signed.expires.timestamp()) * NS_PER_S,
                lifetime_ns=round(self._lifetimes.of(role).total_seconds() * NS_PER_S),
                is_online=role in online,
            )
            for role, found in self._present().items()
        )

    def due(self, now_ns: int) -> frozenset[str]:
        """Name the roles whose metadata has lived more than half its life."""
        return frozenset(
            role
            for role, expires_ns in self.expiries_ns().items()
            if expires_ns - now_ns < self._lifetimes.of(role).total_seconds() * NS_PER_S / 2
        )

    def expiry(self, role: str, now_ns: int) -> datetime:
        """Return when metadata of a role that is signed now will expire."""
        return datetime.fromtimestamp(now_ns // NS_PER_S, UTC) + self._lifetimes.of(role)

    def _present(self) -> dict[str, Metadata[Any]]:
        published = self.published()
        roles: dict[str, Metadata[Any]] = {"root": self.root()}
        if published is not None:
            roles |= dict(zip(("timestamp", "snapshot", "targets"), published, strict=True))
        return roles

    def _root_versions(self) -> list[int]:
        found = self._folder.glob("*.root.json")
        return [int(path.name.partition(".")[0]) for path in found]

    def _write_root(self, root: Metadata[Root], former_keyids: tuple[str, ...]) -> None:
        keyids = {*root.signed.roles["root"].keyids, *former_keyids}
        for signer in self._keys.signers_of(sorted(keyids)):
            root.sign(signer, append=True)
        verifiers = [root.signed] if not former_keyids else [root.signed, self.root().signed]
        for verifier in verifiers:
            result = verifier.get_verification_result("root", root.signed_bytes, root.signatures)
            if not result.verified:
                raise SignatureError(
                    f"root {root.signed.version} has {len(result.signed)} of {result.threshold} "
                    "signatures; not published"
                )
        path = self._folder / f"{root.signed.version}.root.json"
        write_atomically(path, root.to_bytes())

    def _write_signed(self, metadata: Metadata[Any], role: str, version: str | None) -> bytes:
        if not self.sign(metadata, role):
            raise SignatureError(f"no private key of {role} is here; {self._folder} not published")
        data = metadata.to_bytes()
        name = f"{role}.json" if version is None else f"{version}.{role}.json"
        write_atomically(self._folder / name, data)
        return data


def published_targets(metadata: MetadataFolder) -> Targets:
    """Read the targets that vehicles see now.

    Raises:
        OperatorError: Nothing was published there yet.
    """
    published = metadata.published()
    if published is None:
        raise OperatorError(
            "nothing is published there; create the repository or enrol the vehicle"
        )
    return published[2].signed


def release_in(target: TargetFile) -> Release | None:
    """Return what is signed about an Image target; None for a blob."""
    return None if target.custom is None else msgspec.convert(target.custom, Release)


def as_custom(record: msgspec.Struct) -> Any:
    """Return a record as it reads back from JSON, to be signed beside a target."""
    return msgspec.json.decode(msgspec.json.encode(record))


@contextmanager
def alone(lock: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold a lock file, so that one process at a time changes a repository.

    Raises:
        StoreUnavailableError: Another process holds it, and the caller does not wait.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailableError(f"another process is changing {lock.parent}") from error
        yield


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file as ``write_synced`` does; make its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_synced(path, data)


def _meta(metadata: Metadata[Any], data: bytes) -> MetaFile:
    return MetaFile.from_data(metadata.signed.version, data, ["sha256"])
