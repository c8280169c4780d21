"""Durable marks that the vehicle never goes behind: versions of both repositories, and a clock floor.

python-tuf remembers versions only in its cache, which a power cut may empty, and trusts the wall clock. These
marks are our own, durable, and checked after every refresh. A role's mark holds as long as its keys: when a
newer root gives the role other keys, whoever stole the old ones may have raised its version without bound, so
counting starts again, as the TUF specification requires (5.3.11). The snapshot names the newest targets, so
new snapshot keys start the targets' counting again, too.

The floor rises to the clock's time only up to the expiry of the signed metadata. A clock that is far ahead
can therefore spoil at most the metadata of that moment, and what was once seen expired stays expired when the
clock falls back.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edge.contracts.fields import Count, Sha256, StampNs

MARKS_SCHEMA = 1
ROLES = ("timestamp", "snapshot", "targets")

Repository = Literal["image", "director"]


class RoleMark(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of one role's metadata that was ever trusted."""

    version: Count
    keys_sha256: Sha256
    """Identifies who could sign it then."""


class RepositoryMarks(msgspec.Struct, frozen=True, kw_only=True):
    """The newest metadata of one repository that was ever trusted."""

    root: Count
    """The root of the newest complete look, whose keys the roles' marks are counted by."""
    roles: dict[str, RoleMark]
    verified_root: Count = 0
    """The newest root that was verified, though what came after it may have failed."""


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """One durable record."""

    schema: Count = MARKS_SCHEMA
    floor_ns: StampNs = 0
    """UTC; it is never earlier than this, whatever the clock says."""
    repositories: dict[Repository, RepositoryMarks] = {}


def older_than_marked(marks: Marks, name: Repository, seen: RepositoryMarks) -> str | None:
    """Name the metadata that is older than what was trusted before; None when nothing is."""
    marked = marks.repositories.get(name)
    if marked is None:
        return None
    newest_root = max(marked.root, marked.verified_root)
    if seen.root < newest_root:
        return f"{name} root version {seen.root} is older than trusted {newest_root}"
    has_new_keys = {
        role
        for role, old in marked.roles.items()
        if seen.root > marked.root and seen.roles[role].keys_sha256 != old.keys_sha256
    }
    for role, old in marked.roles.items():
        version = seen.roles[role].version
        may_fall = role in has_new_keys or (role == "targets" and "snapshot" in has_new_keys)
        if version < old.version and not may_fall:
            return f"{name} {role} version {version} is older than trusted {old.version}"
    return None


def with_versions(marks: Marks, name: Repository, seen: RepositoryMarks) -> Marks:
    """Raise one repository's marks to what was just verified."""
    repositories: dict[Repository, RepositoryMarks] = {**marks.repositories, name: seen}
    return msgspec.structs.replace(marks, repositories=repositories)


def with_root(marks: Marks, name: Repository, version: int) -> Marks:
    """Raise one repository's root to what was just verified, even if the rest of it is refused."""
    known = marks.repositories.get(name, RepositoryMarks(root=0, roles={}))
    if version <= max(known.root, known.verified_root):
        return marks
    return with_versions(marks, name, msgspec.structs.replace(known, verified_root=version))


def with_floor(marks: Marks, now_ns: int, expires_ns: int) -> Marks:
    """Raise the floor to now, but not beyond ``expires_ns``, when the metadata expires."""
    floor_ns = max(marks.floor_ns, min(now_ns, expires_ns))
    return msgspec.structs.replace(marks, floor_ns=floor_ns)
