"""What the vehicle will never go back behind: high-water marks of both repositories, and a clock floor.

python-tuf remembers versions only in its cache, which a power cut may empty, and trusts the wall clock.
These marks are our own, durable, and checked after every refresh (closing what the cache leaves open).

A role's mark holds as long as its keys: when a newer root gives the role other keys, a thief may have
driven its version up to infinity, so counting starts again, as the TUF specification asks (5.3.11).

The floor rises to the clock's time only as far as signed metadata vouches for it (its expiry). So a clock
far ahead can spoil at most the metadata of the moment, and what was once seen expired stays expired
when the clock falls back.
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
    roles: dict[str, RoleMark]


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
    if seen.root < marked.root:
        return f"{name} root version {seen.root} is older than trusted {marked.root}"
    for role in ROLES:
        old, new = marked.roles[role], seen.roles[role]
        has_new_keys = seen.root > marked.root and new.keys_sha256 != old.keys_sha256
        if new.version < old.version and not has_new_keys:
            return f"{name} {role} version {new.version} is older than trusted {old.version}"
    return None


def with_versions(marks: Marks, name: Repository, seen: RepositoryMarks) -> Marks:
    """Raise one repository's marks to what was just verified."""
    repositories: dict[Repository, RepositoryMarks] = {**marks.repositories, name: seen}
    return msgspec.structs.replace(marks, repositories=repositories)


def with_floor(marks: Marks, now_ns: int, expires_ns: int) -> Marks:
    """Raise the floor to now, as far as metadata that expires at ``expires_ns`` vouches for it."""
    floor_ns = max(marks.floor_ns, min(now_ns, expires_ns))
    return msgspec.structs.replace(marks, floor_ns=floor_ns)
